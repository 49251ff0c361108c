"""Which figures a run gets, with their captions: analysis results in, panels ready to be drawn out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..analysis import (
    TrajectoryLike,
    autocorrelation,
    backbone_planes,
    bonded_types,
    bonded_values,
    free_energy,
    integrated_time,
    kind_of_torsion,
    ramachandran,
    slower,
)
from . import drawing, planes
from .drawing import symbol
from .theme import Draw, Picture, to_figure

RAMACHANDRAN_BINS = 72
TRACE_CHAINS, TRACE_POINTS = 3, 700
MOST_TORSIONS, MOST_BONDED = 12, 24
MOST_ATOM_FRAMES = 200_000


@dataclass(frozen=True)
class Panel:
    """One set of axes.

    Attributes:
        label: what it shows, in words, for those who cannot see it.
        draw: draws it on axes in a theme.
    """

    label: str
    draw: Draw


@dataclass(frozen=True)
class Plot:
    """A figure: panels of one size, with a caption that says what to look at.

    Attributes:
        name: of the files and of the anchor on the page.
        title: heading.
        caption: below the panels.
        panels: at least one.
        size: of a panel in inches.
        columns: panels per row in the files; on the page the browser decides.
    """

    name: str
    title: str
    caption: str
    panels: tuple[Panel, ...]
    size: tuple[float, float] = (3.6, 2.7)
    columns: int = 2


def figure_of(plot: Plot) -> Picture:
    """A plot as a matplotlib figure."""
    return to_figure([panel.draw for panel in plot.panels], plot.columns, plot.size)


Runs = Mapping[str, TrajectoryLike]
Angles = Mapping[str, dict[str, np.ndarray]]


def ramachandran_plot(angles: Angles) -> Plot | None:
    """Free energy over the backbone torsions of each residue; None without any."""
    first = next(iter(angles.values()))
    planes = backbone_planes(list(first))
    if not planes:
        return None
    panels = []
    for residue, (phi, psi) in planes.items():
        counts = {name: ramachandran(a[phi], a[psi], RAMACHANDRAN_BINS) for name, a in angles.items()}
        top = max(_depth(c) for c in counts.values())
        for name, table in counts.items():
            draw = partial(
                drawing.draw_ramachandran,
                counts=table,
                top=top,
                title=f"{residue.capitalize()}, {name}",
                labels=(symbol(phi), symbol(psi)),
            )
            panels.append(Panel(f"Ramachandran plot of {residue}, {name}", draw))
    caption = (
        "Free energy over the backbone torsions, −ln p in units of kT, in bins of 5°. Dark is populated, blank was "
        "never visited."
    )
    if len(angles) > 1:
        caption += (
            " Look for islands that only one of the two has: a missed state shows here first. Both share one scale."
        )
    return Plot("ramachandran", "Ramachandran", caption, tuple(panels), (3.9, 3.3))


def profiles_plot(angles: Angles) -> Plot | None:
    """Free energy along each torsion, with error bands; None without any."""
    first = next(iter(angles.values()))
    shown = _backbone_first(first)
    panels = [
        Panel(
            f"Free energy along {name}",
            partial(
                drawing.draw_profile,
                profiles={run: free_energy(a[name]) for run, a in angles.items()},
                title=symbol(name),
                label=symbol(name),
                around_trans=name.startswith("omega"),
            ),
        )
        for name in shown
    ]
    caption = (
        "Free energy along each torsion, lowest point at zero. Bands are one standard error, from resampling whole "
        "chains or blocks longer than the autocorrelation time. A gap in a line is a stretch that was never visited."
    )
    if len(angles) > 1:
        caption += " Where the bands overlap, run and reference agree; barriers are the hardest part for both."
    return Plot("free_energy", "Free energy along torsions", caption, tuple(panels), (4.6, 2.7)) if panels else None


def energies_plot(runs: Runs) -> Plot:
    """Histograms of the potential energy."""
    samples = {name: _finite(run.energies) for name, run in runs.items()}
    draw = partial(drawing.draw_histogram, samples=samples, title="Potential energy", label="kJ/mol")
    caption = (
        "Distribution of the potential energy. It is sensitive to everything at once: a wrong temperature, a missed "
        "state or a sampler that is off in the stiff coordinates shifts or widens it."
    )
    return Plot("energy", "Energy", caption, (Panel("Histogram of the potential energy", draw),), (5.0, 2.9), 1)


def traces_plot(run: TrajectoryLike, angles: dict[str, np.ndarray]) -> Plot | None:
    """Torsions of a few chains against time; None without any."""
    shown = [name for name in _backbone_first(angles) if not name.startswith("omega")]
    if not shown:
        return None
    n_chains, n_frames = angles[shown[0]].shape
    chosen = np.unique(np.linspace(0, n_chains - 1, min(TRACE_CHAINS, n_chains)).astype(int))
    stride = max(1, -(-n_frames // TRACE_POINTS))
    times = np.arange(0, n_frames, stride) * float(run.frame_spacing)
    panels = [
        Panel(
            f"{name} of {len(chosen)} chains against time",
            partial(
                drawing.draw_traces,
                series=angles[name][chosen, ::stride],
                times=times,
                title=f"{symbol(name)}: chain{'s' if len(chosen) > 1 else ''} {', '.join(str(c + 1) for c in chosen)}",
                unit=run.unit,
            ),
        )
        for name in shown[:6]
    ]
    caption = (
        "Each dot is a frame, each row a chain. A well-mixed chain looks like rain over the same bands in every row; a "
        "row that keeps to one band for most of its length is a chain that has not moved on."
    )
    return Plot("traces", "Traces", caption, tuple(panels), (4.2, 0.85 + 0.8 * len(chosen)))


def autocorrelations_plot(runs: Runs, angles: Angles) -> Plot | None:
    """Autocorrelation functions of torsions, a panel for each run; None where nothing moved."""
    panels = []
    for name, table in angles.items():
        run, functions, longest = runs[name], {}, 1.0
        series = {symbol(t): slower(table[t]) for t in _backbone_first(table) if not t.startswith("omega")}
        series |= {f"{symbol(t)} > 0": (x > 0).astype(float) for t, x in table.items() if t.startswith("phi_")}
        for label, values in list(series.items())[:MOST_TORSIONS]:
            time = integrated_time(values)
            if np.isfinite(time):
                functions[label] = autocorrelation(values)
                longest = max(longest, time)
        if functions:
            stop = max(int(min(12 * longest, table[next(iter(table))].shape[1] / 2)), 4)
            draw = partial(
                drawing.draw_autocorrelation,
                functions={label: rho[: stop + 1] for label, rho in functions.items()},
                spacing=float(run.frame_spacing),
                title=name,
                unit=run.unit,
            )
            panels.append(Panel(f"Autocorrelation functions, {name}", draw))
    caption = (
        "How long a torsion remembers where it was (the slower of sine and cosine; and which side of φ = 0 it is on). "
        "The area under a curve sets the effective sample size. Chains count Metropolis-Hastings steps, MD picoseconds."
    )
    return Plot("autocorrelation", "Autocorrelation", caption, tuple(panels), (4.4, 2.9)) if panels else None


def speed_plot(speed: Mapping[str, Mapping[str, Any]], names: tuple[str, str]) -> Plot:
    """Effective samples per second of run and reference.

    Args:
        speed: of :func:`timewarp.analysis.speed.compare_speed`.
        names: what run and reference are called.
    """
    speeds = {
        name: {symbol(quantity): (row[key]["per_second"], row[key]["bound"]) for quantity, row in speed.items()}
        for name, key in zip(names, ("run", "reference"), strict=True)
    }
    draw = partial(planes.draw_speeds, speeds=speeds)
    caption = (
        "Effective samples per second of wall-clock time, each on the machine where it ran. An open arrow is an upper "
        "bound: the chains crossed the middle of the quantity fewer than ten times."
    )
    panel = Panel("Effective samples per second", draw)
    return Plot("speed", "Speed", caption, (panel,), (6.0, 1.4 + 0.42 * len(speed)), 1)


def acceptance_plot(kernels: list[Mapping[str, Any]]) -> Plot | None:
    """How acceptance spreads over chains, a panel for each kernel; None without any."""
    panels = tuple(
        Panel(
            f"Acceptance of {k['name']} per chain",
            partial(drawing.draw_acceptance, per_chain=k["per_chain"], title=k["name"]),
        )
        for k in kernels
        if len(k.get("per_chain") or ()) > 1
    )
    caption = "How acceptance spreads over the chains. A chain far to the left sits where the proposal rarely goes."
    return Plot("acceptance", "Acceptance per chain", caption, panels, (3.4, 2.2), 3) if panels else None


def bonded_plot(runs: Runs, trajectory: TrajectoryLike) -> Plot:
    """Histograms of bond lengths and angles by chemical type."""
    types = bonded_types(trajectory.atoms)
    if len(types) > MOST_BONDED:
        types = {key: rows for key, rows in types.items() if key[0] == "bond" or not key[1].endswith("-H")}
    panels = []
    for (kind, name), rows in list(types.items())[:MOST_BONDED]:
        samples = {}
        for run_name, run in runs.items():
            frames = run.positions.reshape(1, -1, run.atoms.n_atoms, 3)
            stride = max(1, frames.shape[1] * len(rows) // MOST_ATOM_FRAMES)
            values = bonded_values(frames[:, ::stride], run.atoms, kind, rows)
            samples[run_name] = _finite(values if kind == "bond" else np.rad2deg(values))
        draw = partial(
            drawing.draw_histogram,
            samples=samples,
            title=_short(name),
            label="nm" if kind == "bond" else "degrees",
            bins=40,
            small=True,
        )
        panels.append(Panel(f"Distribution of {kind} {name}", draw))
    caption = (
        "Bond lengths (nm) and angles (degrees) by chemical type, pooled over the molecule. These stiff coordinates "
        "must match MD: a proposal that left them cold, stretched or frozen would show here."
    )
    return Plot("bonded", "Bonds and angles", caption, tuple(panels), (2.15, 1.55), 5)


def _backbone_first(angles: Mapping[str, np.ndarray]) -> list[str]:
    order = {"phi": 0, "psi": 0, "other": 1, "chi": 1, "omega": 2}
    ranked = sorted(angles, key=lambda name: order[kind_of_torsion(name)])
    return ranked[:MOST_TORSIONS]


def _depth(counts: np.ndarray) -> float:
    """Height of the colour scale in kT: down to a bin with a single count, on a round number."""
    return float(np.clip(np.ceil(np.log(max(counts.max(), math.e))), 4, 12))


def _finite(values: Any) -> np.ndarray:
    flat = np.asarray(values).ravel()
    return flat[np.isfinite(flat)]


def _short(name: str) -> str:
    return name.replace("(sp3)", "sp³").replace("(sp2)", "sp²").replace("(+)", "⁺").replace("-", "–")
