"""Tables of settings, written from their fields: `<!-- settings: timewarp.settings.sampling.SampleSettings -->`."""

from __future__ import annotations

import importlib
import re
from typing import Any

from sphinx.application import Sphinx

from commands import escape

MARK = re.compile(r"<!-- settings: ([\w.]+)\.(\w+) -->")


def table(module: str, name: str) -> str:
    """Markdown (MyST): a row for each field of a settings class."""
    from timewarp.settings import options_of

    cls = getattr(importlib.import_module(module), name)
    rows = ["| setting | default | what must be given | |", "|---|---|---|---|"]
    for option in options_of(cls):
        spec = option.spec
        default = spec.shown or ("" if option.default in (None, ()) else f"{option.default}")
        bounds = ("several, each " if option.many else "") + option.bounds
        cells = (f"`{option.name}`", escape(default), escape(bounds), escape(spec.help))
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return f"```{{py:class}} {module}.{name}\n```\n\n{(cls.__doc__ or '').strip()}\n\n" + "\n".join(rows) + "\n"


def fill(app: Sphinx, docname: str, source: list[str]) -> None:
    """Put the tables where a page asks for them."""
    source[0] = MARK.sub(lambda match: table(match[1], match[2]), source[0])


def setup(app: Sphinx) -> dict[str, Any]:
    """Fill pages as they are read."""
    app.connect("source-read", fill)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
