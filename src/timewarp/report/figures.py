"""All figures of a run, from the run and its reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..analysis import TrajectoryLike, find_conformations, torsion_angles
from ..analysis.slow import SlowMotions
from . import plots
from .plots import Plot
from .slow import slow_plot
from .structures import Structure, structures_plot, typical_structures


def make_figures(
    trajectory: TrajectoryLike,
    reference: TrajectoryLike | None = None,
    *,
    kernels: list[Mapping[str, Any]] | None = None,
    names: tuple[str, str] = ("chain", "MD"),
    slow: SlowMotions | None = None,
    speed: Mapping[str, Mapping[str, Any]] | None = None,
) -> tuple[list[Plot], list[Structure]]:
    """All figures of a run, and the structures that one of them shows.

    Args:
        trajectory: the run.
        reference: MD of the same molecule to be drawn beside it.
        kernels: acceptance per kernel (``analysis.json``'s), for its spread over chains.
        names: what run and reference are called in legends.
        slow: ``run`` and ``reference`` in slow coordinates.
        speed: effective samples per second of both, of :func:`timewarp.analysis.speed.compare_speed`.
    """
    runs = {names[0]: trajectory} | ({names[1]: reference} if reference is not None else {})
    angles = {name: torsion_angles(run) for name, run in runs.items()}
    found = find_conformations(angles[names[0]])
    structures = [] if found is None else typical_structures(trajectory, found, angles[names[0]])
    drawn = [
        plots.ramachandran_plot(angles),
        structures_plot(trajectory.atoms, structures),
        plots.profiles_plot(angles),
        None if slow is None else slow_plot(slow, dict(zip(("run", "reference"), names, strict=True))),
        plots.energies_plot(runs),
        plots.traces_plot(trajectory, angles[names[0]]),
        plots.autocorrelations_plot(runs, angles),
        None if speed is None else plots.speed_plot(speed, names),
        plots.acceptance_plot(kernels or []),
        plots.bonded_plot(runs, trajectory),
    ]
    return [plot for plot in drawn if plot is not None], structures
