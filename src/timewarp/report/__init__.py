"""Figures and the self-contained HTML page of a run; the only room that draws."""

from .curves import training_curves
from .experiment import experiment_figure
from .figures import make_figures
from .page import Provenance, render_page
from .plots import Panel, Plot, figure_of, profiles_plot, ramachandran_plot
from .theme import PRINT, WEB, Picture, Theme
from .write import write_report

__all__ = [
    "PRINT",
    "WEB",
    "Panel",
    "Picture",
    "Plot",
    "Provenance",
    "Theme",
    "experiment_figure",
    "figure_of",
    "make_figures",
    "profiles_plot",
    "ramachandran_plot",
    "render_page",
    "training_curves",
    "write_report",
]
