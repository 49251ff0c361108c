"""Colours, type and rendering of figures: one drawing serves the page (inline SVG, light and dark) and the files.

On the page a figure takes its colours from the style sheet: it is drawn in marker colours, which :func:`to_svg`
replaces by CSS variables, so that it follows the reader's light or dark setting without being drawn twice. Matplotlib
is used through its object interface alone; nothing global is left changed.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure


@dataclass(frozen=True)
class Theme:
    """Colours of a figure, as hexadecimal strings.

    Attributes:
        ink: titles and labels.
        muted: axes and tick labels.
        grid: grid lines.
        run: the run that is judged.
        reference: what it is compared with.
        series: colours for several torsions or chains in one panel.
        card: what the figure is drawn on.
    """

    ink: str
    muted: str
    grid: str
    run: str
    reference: str
    series: tuple[str, ...]
    card: str


PRINT = Theme(
    ink="#1b2430",
    muted="#5a6675",
    grid="#e4e8ec",
    run="#1d5fa6",
    reference="#c4620f",
    series=("#1d5fa6", "#c4620f", "#2a8a7a", "#8a4f9e", "#7a6a1f", "#a83250"),
    card="#ffffff",
)
"""For files: on white."""

WEB = Theme(
    ink="#010101",
    muted="#020202",
    grid="#030303",
    run="#040404",
    reference="#050505",
    series=("#040404", "#050505", "#060606", "#070707", "#080808", "#090909"),
    card="#0a0a0a",
)
"""For the page: markers that become CSS variables."""

CSS_VARIABLES = {
    WEB.ink: "--ink",
    WEB.muted: "--muted",
    WEB.grid: "--grid",
    WEB.run: "--run",
    WEB.reference: "--reference",
    WEB.card: "--card",
    **{colour: f"--series-{n}" for n, colour in enumerate(WEB.series) if n >= 2},
}
"""Which variable of the style sheet each marker stands for."""

FREE_ENERGY_COLOURS = LinearSegmentedColormap.from_list(
    "free_energy", ["#14224d", "#1d4a86", "#2a7b9b", "#4fa99b", "#93cda0", "#d3e6ad", "#f6f3cf"]
)
"""Deep blue for what is populated, fading to sand; monotonic in lightness, so that it survives a grey printer."""

_SETTINGS: Any = {
    "font.family": ["DejaVu Sans"],
    "font.size": 8.5,
    "axes.titlesize": 10,
    "axes.titleweight": "normal",
    "axes.titlelocation": "left",
    "axes.titlepad": 7.0,
    "axes.labelsize": 8.5,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "lines.linewidth": 1.5,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "legend.handlelength": 1.4,
    "legend.borderaxespad": 0.2,
    "svg.fonttype": "none",  # text stays text: small, sharp, found by a search, set in the page's font
    "path.simplify": False,
    "figure.dpi": 144,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}

Draw = Callable[[Axes, Theme], None]


class Picture(Figure):
    """A matplotlib figure that a notebook shows as an image, whatever backend it has; ``savefig`` writes it to a "
    "file."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=110, facecolor="white")
        return buffer.getvalue()


def new_figure(width: float, height: float, rows: int, columns: int, theme: Theme) -> tuple[Picture, list[Axes]]:
    """A figure of ``width`` x ``height`` inches with a grid of styled axes, row by row."""
    figure = Picture(figsize=(width, height), layout="constrained")
    axes = [figure.add_subplot(rows, columns, n + 1) for n in range(rows * columns)]
    for ax in axes:
        for spine in ax.spines.values():
            spine.set_color(theme.muted)
        ax.tick_params(which="both", colors=theme.muted, labelcolor=theme.muted)
        ax.xaxis.label.set_color(theme.ink)
        ax.yaxis.label.set_color(theme.ink)
    return figure, axes


def to_svg(draw: Draw, width: float, height: float, name: str, label: str) -> str:
    """Draw one panel as inline SVG for the page.

    Args:
        draw: draws on the axes it is given.
        width: in inches; on the page the panel scales with its column.
        height: in inches.
        name: unique on the page: ids inside the drawing are prefixed with it.
        label: what a screen reader says; must be escaped for HTML already.

    Returns:
        An ``<svg>`` element without prolog, metadata or addresses.
    """
    with matplotlib.rc_context(_SETTINGS | {"svg.hashsalt": name, "axes.titlecolor": WEB.ink}):
        figure, (ax,) = new_figure(width, height, 1, 1, WEB)
        draw(ax, WEB)
        buffer = io.StringIO()
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})  # savefig would draw twice
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\sxmlns(:xlink)?="[^"]*"', "", text)
    text = re.sub(r'\b(id|href)="(#?)(?!data:)([^"]+)"', rf'\1="\2{name}-\3"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", text)
    for colour, variable in CSS_VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    text = re.sub(r'<svg([^>]*?) width="[^"]*"', r"<svg\1", text, count=1)
    text = re.sub(r'<svg([^>]*?) height="[^"]*"', r"<svg\1", text, count=1)
    return text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


def to_figure(draws: list[Draw], columns: int, size: tuple[float, float]) -> Picture:
    """Panels in a grid as a matplotlib figure, on white, which a notebook shows and ``savefig`` writes.

    Args:
        draws: one per panel.
        columns: panels in a row.
        size: of a panel, in inches.
    """
    columns = min(columns, len(draws))
    rows = -(-len(draws) // columns)
    with matplotlib.rc_context(_SETTINGS | {"axes.titlecolor": PRINT.ink}):
        figure, axes = new_figure(size[0] * columns, size[1] * rows, rows, columns, PRINT)
        FigureCanvasAgg(figure)
        figure.set_facecolor("white")
        figure.set_layout_engine("constrained", w_pad=0.09, h_pad=0.09)
        for ax, draw in zip(axes, draws, strict=False):
            draw(ax, PRINT)
        for ax in axes[len(draws) :]:
            ax.set_axis_off()
    return figure


def to_file(draws: list[Draw], columns: int, size: tuple[float, float], path: Path) -> None:
    """Draw panels in a grid into a PNG, SVG or PDF file (by its suffix), on white.

    Args:
        draws: one per panel.
        columns: panels in a row.
        size: of a panel, in inches.
        path: the file.
    """
    settings = {"svg.hashsalt": path.stem, "svg.fonttype": "path", "axes.titlecolor": PRINT.ink}
    metadata = {"CreationDate": None} if path.suffix == ".pdf" else {"Date": None} if path.suffix == ".svg" else None
    with matplotlib.rc_context(_SETTINGS | settings):
        to_figure(draws, columns, size).savefig(path, dpi=200, facecolor="white", metadata=metadata)
