"""Notebooks as pages: `<!-- notebook: ../examples/first-run.ipynb -->` in a page stands for its cells."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

MARK = re.compile(r"<!-- notebook: (\S+) -->")


def cells(path: Path) -> str:
    """Markdown of a notebook's cells; code as blocks, without outputs."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    parts = []
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        parts.append(f"```python\n{text}\n```" if cell["cell_type"] == "code" else text)
    return "\n\n".join(parts) + "\n"


def fill(app: Sphinx, docname: str, source: list[str]) -> None:
    """Put the cells where a page asks for them."""
    page = Path(app.env.doc2path(docname))

    def filled(match: re.Match[str]) -> str:
        path = (page.parent / match[1]).resolve()
        app.env.note_dependency(str(path))
        return cells(path)

    source[0] = MARK.sub(filled, source[0])


def setup(app: Sphinx) -> dict[str, Any]:
    """Fill pages as they are read."""
    app.connect("source-read", fill)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
