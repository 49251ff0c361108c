"""The plane of the slow coordinates, the metastable states in it, and the time scales of their exchange."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial

import numpy as np

from ..analysis import TrajectoryLike
from ..analysis.tica import describe_states, fit_slow_coordinates, usual_lag
from . import planes
from .plots import Panel, Plot

PLANE_BINS = 80
FEWEST_FRAMES = 40
MOST_FRAMES = 40_000
"""Frames that the page fits slow coordinates to, and draws; ``timewarp experiment tica`` takes more."""


def slow_plot(runs: Mapping[str, TrajectoryLike], dynamics: Collection[str] = ()) -> Plot | None:
    """The first two slow coordinates (TICA) of a run, and all runs in them.

    They are fitted to the last of the runs, the reference where there is one, whose chains are long enough.

    Args:
        runs: by name.
        dynamics: names of runs whose frames follow each other in physical time.

    Returns:
        None where there is too little to fit: short chains, or a molecule that hardly has slow coordinates.
    """
    long_enough = [name for name, run in runs.items() if np.shape(run.energies)[1] >= FEWEST_FRAMES]
    if not long_enough or len(next(iter(runs.values())).atoms.peptide_bonds) == 0:
        return None
    name = long_enough[-1]
    fitted = runs[name]
    n_frames = np.shape(fitted.energies)[1]
    spacing = float(fitted.frame_spacing)
    lag = usual_lag(fitted)
    try:
        slow = fit_slow_coordinates(fitted.positions, fitted.atoms, lag, most_frames=MOST_FRAMES)
    except ValueError:
        return None  # frozen chains: there is no covariance to speak of, and the verdict says so
    projected = {key: slow.project(_thinned(run), run.atoms) for key, run in runs.items()}
    if not all(np.isfinite(y).all() for y in projected.values()):
        return None
    centres, populations = describe_states(slow, projected)
    panels = plane_panels({key: y.reshape(-1, 2) for key, y in projected.items()}, centres, populations)
    unit = "MH steps" if fitted.unit == "step" else fitted.unit
    caption = (
        f"Time-lagged independent components of {name}: the two combinations of distances and backbone torsions that "
    )
    caption += (
        f"change slowest (Koopman-reweighted, lag {lag * spacing:g} {unit}). Numbers mark its metastable states "
        "(k-means and PCCA+), the most populated first. A state with no bar was not visited in the frames drawn."
        if slow.n_states > 1
        else f"change slowest (Koopman-reweighted, lag {lag * spacing:g} {unit}). No state lasts longer than the lag: "
        "there is nothing to part here."
    )
    if name in dynamics:
        longest = max(n_frames // 4, lag + 1)
        lags = np.unique(np.geomspace(1, longest, 12).round().astype(int))
        few = max(1, MOST_FRAMES // n_frames)  # whole chains
        whole = slow.project(np.asarray(fitted.positions)[:few], fitted.atoms)
        times = slow.implied_timescales(whole, [int(x) for x in lags]) * spacing
        draw = partial(planes.draw_timescales, lags=lags * spacing, times=times, unit=fitted.unit)
        panels.append(Panel(f"Implied time scales of {name}", draw))
        caption += (
            " Implied time scales of its Markov state model are believable where they no longer grow with the lag; "
            "those in the shaded part are shorter than the lag and cannot be told."
        )
    return Plot("tica", "Slow coordinates", caption, tuple(panels), (4.0, 3.2))


def plane_panels(
    projected: Mapping[str, np.ndarray],
    centres: Mapping[int, np.ndarray],
    populations: Mapping[str, Sequence[tuple[float, float]]],
) -> list[Panel]:
    """The plane of slow coordinates of each run, and the populations of the metastable states.

    Args:
        projected: run -> (n, 2).
        centres: of the metastable states, by their number.
        populations: run -> (population, error) of each state.
    """
    pooled = np.concatenate(list(projected.values()))
    low, high = np.quantile(pooled, 0.0002, axis=0), np.quantile(pooled, 0.9998, axis=0)
    margin = 0.03 * (high - low) + 1e-9
    first, second = (np.linspace(low[k] - margin[k], high[k] + margin[k], PLANE_BINS + 1) for k in range(2))
    top = float(np.clip(np.ceil(np.log(max(len(p) for p in projected.values()) / PLANE_BINS)), 4, 12))
    panels = [
        Panel(
            f"Free energy over the slow coordinates, {name}",
            partial(planes.draw_plane, points=points, edges=(first, second), top=top, title=name, centres=centres),
        )
        for name, points in projected.items()
    ]
    if len(next(iter(populations.values()))) > 1:
        draw = partial(planes.draw_populations, populations=populations)
        panels.append(Panel("Populations of metastable states", draw))
    return panels


def _thinned(run: TrajectoryLike) -> np.ndarray:
    positions = np.asarray(run.positions)
    return positions[:, :: max(1, -(-positions.shape[0] * positions.shape[1] // MOST_FRAMES))]
