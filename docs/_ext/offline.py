"""Refuse a site whose pages would load anything from the network."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

LOADS = re.compile(
    r"<(?:link|script|img|iframe|source|video|audio|object|embed)\b[^>]*\s(?:href|src|srcset|data)\s*=\s*[\"']?\s*"
    r"(?:https?:)?//[^\"'\s>]*|@import\s+[\"'](?:https?:)?//[^\"']*|url\(\s*[\"']?(?:https?:)?//[^)\"']*",
    re.IGNORECASE,
)


def loads(text: str) -> list[str]:
    """What a page or style sheet loads from elsewhere (links to follow are not loaded).

    >>> loads('<a href="https://example.org">there</a> <img src="images/here.png">')
    []
    >>> loads('<script src="https://example.org/x.js"></script>')
    ['<script src="https://example.org/x.js']
    """
    return LOADS.findall(text)


def check(app: Sphinx, exception: Exception | None) -> None:
    """Look through all pages and style sheets that were written."""
    if exception is not None or app.builder.format != "html":
        return
    for path in sorted(Path(app.outdir).rglob("*")):
        if path.suffix in (".html", ".css") and (found := loads(path.read_text(encoding="utf-8"))):
            raise ExtensionError(f"{path} loads from the network: {found[0]}")


def setup(app: Sphinx) -> dict[str, Any]:
    """Check at the end."""
    app.connect("build-finished", check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
