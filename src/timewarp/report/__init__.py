"""Figures and the self-contained HTML page of a run; the only room that draws."""

from .curves import training_curves
from .page import Provenance, render_page
from .plots import Panel, Plot, make_plots
from .theme import PRINT, WEB, Theme
from .write import write_report

__all__ = [
    "PRINT",
    "WEB",
    "Panel",
    "Plot",
    "Provenance",
    "Theme",
    "make_plots",
    "render_page",
    "training_curves",
    "write_report",
]
