"""Sphinx configuration of the documentation: `make docs`. The build and the pages need no network."""

import sys
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "timewarp"
author = "The timewarp developers"
copyright = "The timewarp developers, MIT licence"
version = release = installed("timewarp-md")

extensions = [
    *("myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"),
    *("commands", "links", "mathml", "notebooks", "offline", "options"),
]
exclude_patterns = ["_ext", "_static", "images/*.py"]

myst_enable_extensions = ["dollarmath", "deflist", "attrs_inline"]
myst_heading_anchors = 3
# Model cards and the changelog begin their sections where their tables do.
suppress_warnings = ["myst.header"]

smartquotes_action = "De"  # dashes, not quotes: U(x') stays what it is
add_module_names = False

html_theme = "furo"
html_title = "timewarp"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # fields are told once, by their class


def _whole_sentences(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Join again what Napoleon takes for type and description of a property: "What computes it: the kernel."."""
    kinds = [n for n, line in enumerate(lines) if line.startswith(":type: ")]
    if what in ("property", "attribute", "data") and len(kinds) == 1:
        lines[0] = f"{lines.pop(kinds[0]).removeprefix(':type: ')}: {lines[0]}"


def setup(app: Any) -> None:
    """After Napoleon, whose priority is 500."""
    app.connect("autodoc-process-docstring", _whole_sentences, priority=600)
