"""Runs in the plane of the slow coordinates of one of them: metastable states, their populations, their time scales."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from .convergence import ess
from .tica import FIT_FRAMES, LAG_PS, SlowCoordinates, describe_states, fit_slow_coordinates, n_features, usual_lag
from .torsions import TrajectoryLike

FEWEST_FRAMES = 40
"""Of each chain that slow coordinates are fitted to."""
MOST_NUMBERS = 100_000_000
"""Frames times features that they are fitted to: 0.8 GB."""
N_TIMESCALES = 5


@dataclass(frozen=True, eq=False)
class SlowMotions:
    """The first two slow coordinates (TICA) of one of several runs, and all runs in them.

    Attributes:
        coordinates: the projection, with its metastable states.
        fitted: name of the run that it was fitted to.
        projected: name of each run -> (chains, frames, 2).
        frame_spacing: of the fitted run, in ``unit``.
        unit: ``ps`` or ``step``.
        implied: lags (n,) and implied time scales (n, 3) of its Markov state model, in ``unit``; None for a run
            whose time is not that of molecular dynamics.
    """

    coordinates: SlowCoordinates
    fitted: str
    projected: Mapping[str, np.ndarray]
    frame_spacing: float
    unit: str
    implied: tuple[np.ndarray, np.ndarray] | None

    @property
    def lag(self) -> float:
        """Of TICA and the Markov state model, in ``unit``."""
        return self.coordinates.lag_frames * self.frame_spacing

    @cached_property
    def described(self) -> tuple[dict[int, np.ndarray], dict[str, list[tuple[float, float]]]]:
        """Of :func:`~timewarp.analysis.tica.describe_states`: where the states lie, and their populations by run."""
        return describe_states(self.coordinates, self.projected)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        lags, times = (None, None) if self.implied is None else (array.tolist() for array in self.implied)
        return {
            "fitted_to": self.fitted,
            "lag": self.lag,
            "unit": self.unit,
            "timescales": (self.coordinates.timescales[:N_TIMESCALES] * self.frame_spacing).tolist(),
            "implied_lags": lags,
            "implied_timescales": times,
            "states": {
                name: [{"population": p, "error": e} for p, e in rows] for name, rows in self.described[1].items()
            },
            "ess_tic_1": {name: ess(y[..., 0]) for name, y in self.projected.items()},
        }


def slow_motions(
    runs: Mapping[str, TrajectoryLike], *, dynamics: Collection[str] = (), lag_ps: float = LAG_PS
) -> SlowMotions | None:
    """Slow coordinates of the last of some runs whose chains are long enough, and all runs in them.

    Args:
        runs: by name, the reference last.
        dynamics: names of runs whose frames follow each other in physical time.
        lag_ps: lag of TICA in ps, at most a fifth of a replica; of chains of a sampler it is one stored frame.

    Returns:
        None where there is too little to fit: short chains, chains that hardly move or are not finite, a molecule
        without a peptide bond.
    """
    long_enough = [name for name, run in runs.items() if np.shape(run.energies)[1] >= FEWEST_FRAMES]
    if not long_enough or len(next(iter(runs.values())).atoms.peptide_bonds) == 0:
        return None
    name = long_enough[-1]
    fitted = runs[name]
    n_frames = np.shape(fitted.energies)[1]
    most = min(FIT_FRAMES, MOST_NUMBERS // n_features(fitted.atoms))
    try:
        slow = fit_slow_coordinates(fitted.positions, fitted.atoms, usual_lag(fitted, lag_ps), most_frames=most)
    except ValueError:
        return None
    projected = {key: slow.project(run.positions, run.atoms) for key, run in runs.items()}
    if not all(np.isfinite(y).all() for y in projected.values()):
        return None
    implied = None
    if name in dynamics:
        lags = np.unique(np.geomspace(1, max(n_frames // 4, slow.lag_frames + 1), 12).round().astype(int))
        whole = projected[name][: max(1, most // n_frames)]
        times = slow.implied_timescales(whole, [int(x) for x in lags])
        implied = lags * float(fitted.frame_spacing), times * float(fitted.frame_spacing)
    return SlowMotions(slow, name, projected, float(fitted.frame_spacing), fitted.unit, implied)
