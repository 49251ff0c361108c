"""The page of an exploration: states found against time, and that its frames are biased."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from html import escape
from typing import Any

import numpy as np

from . import planes
from .page import Provenance, document, draw_figure
from .plots import Panel, Plot
from .tables import number, pairs, table

MOST_LISTED = 200
BIASED = (
    "These states were found without Metropolis-Hastings: how often each occurs means nothing, and there is no "
    "average, R-hat or effective sample size. Sample them with `timewarp sample --start-from` to learn what they weigh."
)


def found_plot(by_time: Mapping[str, tuple[np.ndarray, np.ndarray]], by_move: tuple[np.ndarray, np.ndarray]) -> Plot:
    """States found against seconds in each run, and against the exploration's moves.

    Args:
        by_time: run, the exploration first -> seconds and states found by then.
        by_move: moves of all chains, and states found by then.
    """
    first = next(iter(by_time))
    panels = (
        Panel(
            "States found against time",
            partial(planes.draw_found, curves=by_time, label="time / s", title="Against computing time"),
        ),
        Panel(
            "States found against moves",
            partial(planes.draw_found, curves={first: by_move}, label="moves of all chains", title="Against moves"),
        ),
    )
    caption = "A state is a region of (φ, ψ) within 60° of the first frame that was met there."
    return Plot("exploration", "States found", caption, panels, (4.4, 3.2), 2)


def render_exploration(provenance: Provenance, found: Mapping[str, Any], plot: Plot) -> str:
    """The whole page.

    Args:
        provenance: what was explored and with what; its summary lists the states.
        found: numbers of states, of :class:`timewarp.verbs.survey.Survey`.
        plot: of :func:`found_plot`.
    """
    states, md = provenance.summary["states"], found["md"]
    counts = [["exploration (biased)", number(found["exploration"]["states"]), number(found["exploration"]["wall_s"])]]
    if md is not None:
        counts += [
            ["MD", number(md["states"]), number(md["wall_s"])],
            ["only in the exploration", number(md["only_in_exploration"]), ""],
            ["only in MD", number(md["only_in_md"]), ""],
            ["both together", number(found["together"]), ""],
        ]
    listed = [
        [
            f"state {k}",
            *(f"{row[name]:.0f}".replace("-", "−") for name in states["torsions"]),
            number(row["first_step"]),
            number(row["lowest_energy"], 5),
        ]
        for k, row in enumerate(states["listed"][:MOST_LISTED], 1)
    ]
    head = ["state", *(f"{escape(name)} / °" for name in states["torsions"]), "first step", "lowest energy / kJ mol⁻¹"]
    more = f"The first {MOST_LISTED} of {states['found']}." if states["found"] > MOST_LISTED else ""
    main = (
        f"<section id='verdict' class='caution'><h2>Biased: no samples of the Boltzmann distribution</h2><ul><li "
        f"class='warn'><span class='mark' role='img' aria-label='warning'>!</span><span>{escape(BIASED)}</span></li>"
        "</ul></section>"
        f"<section id='exploration'><h2>{escape(plot.title)}</h2>{draw_figure(plot)}"
        + table(["", "states", "time / s"], counts, name="found-table")
        + "</section><section id='states'><h2>States</h2>"
        + table(head, listed, more, "listed-table")
        + f"</section><section id='moves'><h2>Moves</h2>{pairs(provenance.summary['moves'])}</section>"
        f"<section id='provenance'><h2>Provenance</h2><details><summary>Resolved configuration</summary>"
        f"{pairs(provenance.config)}</details></section>"
    )
    header = f"<p class='eyebrow'>Exploration</p><h1>{escape(provenance.name)}</h1>"
    if provenance.reference:
        header += f"<ul class='what'><li>beside {escape(provenance.reference)}</li></ul>"
    return document(f"{provenance.name} – Timewarp exploration", header, main, provenance.version)
