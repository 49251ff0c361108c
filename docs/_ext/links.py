"""Pages of the site that are files elsewhere in the repository, and links that hold on the site and on a web forge.

A page that consists of ``{include}`` alone stands for a file outside of ``docs/`` (a model card, the changelog). The
file's relative links are those of its own folder, so that a web forge follows them; here they lead to the page that
stands for their target where there is one, and to a copy of the file otherwise.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

INCLUDE = re.compile(r"\A```\{include\} (\S+)\n```\n*\Z")
LINK = re.compile(r"(\]\()((?!https?:|mailto:|#)[^)\s#]+)((?:#[^)\s]*)?\))")


def stands_for(source: Path) -> dict[Path, Path]:
    """The page of each file that is included whole, by the file's path."""
    found = {}
    for page in source.rglob("*.md"):
        if match := INCLUDE.match(page.read_text(encoding="utf-8")):
            found[(page.parent / match[1]).resolve()] = page.resolve()
    return found


def relink(text: str, written_in: Path, shown_in: Path, pages: dict[Path, Path]) -> str:
    """Markdown whose relative links, written in one folder, are right in another.

    Args:
        text: the Markdown.
        written_in: the folder of the file that it is from.
        shown_in: the folder of the page that shows it.
        pages: page by the file that it stands for.
    """

    def moved(match: re.Match[str]) -> str:
        target = (written_in / match[2]).resolve()
        if target.is_dir() and (target / "README.md") in pages:
            target = target / "README.md"
        target = pages.get(target, target)
        return f"{match[1]}{Path(os.path.relpath(target, shown_in)).as_posix()}{match[3]}"

    return LINK.sub(moved, text)


def read(app: Sphinx, docname: str, source: list[str]) -> None:
    """Take in the file that a page stands for, and lead links to pages."""
    page = Path(app.env.doc2path(docname)).resolve()
    if page.suffix != ".md":
        return
    text, written_in = source[0], page.parent
    if match := INCLUDE.match(text):
        file = (page.parent / match[1]).resolve()
        text, written_in = file.read_text(encoding="utf-8"), file.parent
        app.env.note_dependency(str(file))
    source[0] = relink(text, written_in, page.parent, stands_for(Path(app.srcdir)))


def setup(app: Sphinx) -> dict[str, Any]:
    """Relink pages as they are read."""
    app.connect("source-read", read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
