"""The page of an evaluation: a table over peptides, their summary, and how far each measure is from its floor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from ..analysis.evaluation import MEASURES, Measure
from .drawing import grid
from .page import document, draw_figure
from .plots import Panel, Plot
from .tables import ABSENT, BOUND, heading, number, percent, table
from .theme import Theme

LEVELS = {"trust": "✓", "caution": "!", "reject": "✕"}


def floors_plot(rows: Sequence[Mapping[str, Any]]) -> Plot:
    """Each peptide's measures over their noise floors."""

    def draw(ax: Axes, theme: Theme) -> None:
        shown = _present(rows)
        for place, measure in enumerate(shown):
            cells = [row["measures"].get(measure.name) for row in rows]
            both = [(c["value"], c["floor"]) for c in cells if c and c["floor"]]
            ratios = np.array([np.inf if value is None else value / floor for value, floor in both])
            ratios = np.clip(ratios, 1e-2, 1e4)
            spread = np.linspace(-0.18, 0.18, len(ratios)) if len(ratios) > 1 else np.zeros(len(ratios))
            ax.plot(ratios, place + spread, "o", ms=4, mew=0, alpha=0.75, color=theme.run)
            if len(ratios):
                ax.plot([np.median(ratios)] * 2, [place - 0.32, place + 0.32], color=theme.ink, lw=1.5)
        ax.axvline(1.0, color=theme.reference, lw=1.0)
        ax.set_xscale("log")
        low, high = ax.get_xlim()
        ax.set_xlim(min(low, 0.2), max(high, 5.0))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set_yticks(range(len(shown)), [m.title for m in shown])
        ax.invert_yaxis()
        ax.set_xlabel("value / noise floor")
        grid(ax, theme)

    caption = (
        "One dot for each peptide, the bar is their median. At the line, a run differs from its reference as much as "
        "two halves of the reference from each other: it cannot be told from it."
    )
    panel = Panel("Measures over their noise floors, for each peptide", draw)
    return Plot("floors", "Distance from the reference", caption, (panel,), size=(6.4, 3.4), columns=1)


def render_evaluation(
    rows: Sequence[Mapping[str, Any]], summary: Mapping[str, Mapping[str, float]], version: str
) -> str:
    """The whole page.

    Args:
        rows: one per run, as ``timewarp evaluate`` writes them.
        summary: of :func:`timewarp.analysis.evaluation.summarise`.
        version: of this program.
    """
    plot = floors_plot(rows)
    shown = _present(rows)
    head = [
        "peptide",
        "verdict",
        *(escape(m.title) for m in shown),
        "states",
        "all met after / s",
        "nested R-hat",
        "ESS",
        "ESS / s",
        "speed-up over MD",
        "accepted",
    ]
    body = []
    for row in rows:
        states = row["states"]
        missed = f" <b>({len(states['missed'])} missed)</b>" if states["missed"] else ""
        body.append(
            [
                escape(row["name"]),
                f"<span title='{escape('; '.join(row['reasons']), quote=True)}'>{LEVELS[row['level']]}</span>",
                *(_cell(row["measures"].get(m.name)) for m in shown),
                f"{states['found']}{missed}",
                number(row["seconds_to_states"], 2),
                number(row["rhat"], 4),
                ABSENT if row["ess"] is None else number(round(row["ess"])),
                number(row["ess_per_second"]),
                ABSENT if row["speed_up"] is None else f"{BOUND[row['speed_up_sign']]}{number(row['speed_up'])}",
                percent(row["acceptance"]) if row["acceptance"] is not None else ABSENT,
            ]
        )
    figures = [
        [
            heading(m),
            *(number(summary[m.name][k]) for k in ("median", "lower_quartile", "upper_quartile", "worst")),
            number(summary[m.name]["over_floor_median"]),
        ]
        for m in shown
    ]
    meanings = "".join(f"<li><b>{escape(m.title)}</b> {escape(m.meaning)}.</li>" for m in shown)
    notes = [
        f"<li class='{'fail' if row['level'] == 'reject' else 'warn'}'><span class='mark'>{LEVELS[row['level']]}</span>"
        f"<span><b>{escape(row['name'])}</b> {escape(' '.join(row['reasons']))}</span></li>"
        for row in rows
        if row["level"] != "trust"
    ]
    verdict = f"{sum(row['level'] == 'trust' for row in rows)} of {len(rows)} can be trusted"
    level = "trust" if not notes else "reject" if any(row["level"] == "reject" for row in rows) else "caution"
    count = f"{len(rows)} {'peptide' if len(rows) == 1 else 'peptides'}"
    main = (
        f"<section id='verdict' class='{level}'><h2>{verdict}</h2><ul>{''.join(notes)}</ul></section>"
        "<section id='summary'><h2>Over all peptides</h2>"
        + table(["measure", "median", "lower quartile", "upper quartile", "worst", "median over floor"], figures)
        + f"<ul>{meanings}</ul></section>"
        f"<section id='floors'><h2>{escape(plot.title)}</h2>{draw_figure(plot)}</section>"
        "<section id='peptides'><h2>Each peptide</h2><p>Value, and its noise floor in brackets. The speed-up is that "
        "of effective samples per second of the slowest coordinate (TIC 1) over plain MD; &lt; and &gt; are bounds.</p>"
        + table(head, body)
        + "</section>"
    )
    header = f"<p class='eyebrow'>Runs beside their references</p><h1>{count}</h1>"
    return document("Timewarp evaluation", header, main, version)


def _present(rows: Sequence[Mapping[str, Any]]) -> list[Measure]:
    """Measures that some peptide has."""
    return [m for m in MEASURES if any(m.name in row["measures"] for row in rows)]


def _cell(measure: Mapping[str, Any] | None) -> str:
    if measure is None:
        return ABSENT
    value, floor = (number(measure[key]) if measure[key] is not None else "∞" for key in ("value", "floor"))
    return f"{value} ({floor})"
