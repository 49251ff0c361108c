"""All figures of a run, from the run and its reference."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ..analysis import TrajectoryLike, find_conformations, torsion_angles
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
    dynamics: Collection[str] = (),
) -> tuple[list[Plot], list[Structure]]:
    """All figures of a run, and the structures that one of them shows.

    Args:
        trajectory: the run.
        reference: MD of the same molecule to be drawn beside it.
        kernels: acceptance per kernel (``analysis.json``'s), for its spread over chains.
        names: what run and reference are called in legends.
        dynamics: those of the names whose time is that of molecular dynamics: they get implied time scales.
    """
    runs = {names[0]: trajectory} | ({names[1]: reference} if reference is not None else {})
    angles = {name: torsion_angles(run) for name, run in runs.items()}
    found = find_conformations(angles[names[0]])
    structures = [] if found is None else typical_structures(trajectory, found, angles[names[0]])
    drawn = [
        plots.ramachandran_plot(angles),
        structures_plot(trajectory.atoms, structures),
        plots.profiles_plot(angles),
        slow_plot(runs, dynamics),
        plots.energies_plot(runs),
        plots.traces_plot(trajectory, angles[names[0]]),
        plots.autocorrelations_plot(runs, angles),
        plots.acceptance_plot(kernels or []),
        plots.bonded_plot(runs, trajectory),
    ]
    return [plot for plot in drawn if plot is not None], structures
