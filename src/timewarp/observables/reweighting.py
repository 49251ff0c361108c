"""Bayesian maximum-entropy reweighting of frames to measured values (BME).

Source: Bottaro, Bengtsen & Lindorff-Larsen, Methods Mol. Biol. 2112, 219 (2020); dual form: Cesari, Reisser & Bussi,
Computation 6, 15 (2018).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .experiment import Measured
from .series import Series, weighted

THETAS = tuple(float(x) for x in np.geomspace(1000.0, 0.1, 25))
"""Strengths of the trust in the simulation that are tried, the strongest first."""
FOLDS = 5
CARRIES_OVER = 0.5
"""Of the improvement of the fitted values, the least part that values left out of the fit must share."""
FEW = 0.1
"""Below this effective fraction of the frames the result hangs on few of them."""
MOST_STEPS, TOLERANCE, SHORTEST = 200, 1e-8, 1e-6
"""Of the Newton iteration: steps, largest slope at the end (in errors of a value), shortest fraction of a step."""
ALREADY = 1.0
"""A chi-squared per value below this is agreement already: what remains is noise."""


@dataclass(frozen=True, eq=False)
class Reweighting:
    """Weights of the frames that agree better with the measured values and differ least from equal ones.

    Attributes:
        theta: trust in the simulation that was chosen.
        weights: (chains, frames), of sum 1.
        kept: effective fraction of the frames, exp(relative entropy).
        chi_squared: per measured value, before and after.
        held_out: per value that was left out of the fit, before and after; NaN where there are too few values.
        curve: for each theta tried, ``theta``, ``kept``, ``chi_squared`` and ``held_out``.
        computed: the observables after reweighting, by name.
        warning: what speaks against believing it; empty for nothing.
    """

    theta: float
    weights: np.ndarray
    kept: float
    chi_squared: tuple[float, float]
    held_out: tuple[float, float]
    curve: tuple[dict[str, float], ...]
    computed: dict[str, float]
    warning: str

    def to_json(self) -> dict[str, Any]:
        """Plain data, without the weights."""
        return {
            "theta": self.theta,
            "kept": self.kept,
            "chi_squared": list(self.chi_squared),
            "held_out": list(self.held_out),
            "curve": [dict(row) for row in self.curve],
            "computed": dict(self.computed),
            "warning": self.warning,
        }


def reweight(
    series: Sequence[Series],
    measured: Sequence[Measured],
    *,
    theta: float | None = None,
    thetas: Sequence[float] = THETAS,
    seed: int = 0,
) -> Reweighting:
    """Fit weights of frames to measured values.

    Minimised is ``chi^2 / 2 - theta S`` over the weights, chi^2 the sum over the values and S their entropy relative to
    equal weights, by its dual in one multiplier for each value. Unless ``theta`` is given, it is the one whose fits to
    four fifths of the values predict the last fifth best (cross-validation); of those within one standard error of the
    best the largest, which changes the ensemble least.

    Args:
        series: observables of every frame; those that were measured are used.
        measured: the values.
        theta: trust in the simulation; None: chosen.
        thetas: those that are tried for the curve.
        seed: of the division into fifths.

    Raises:
        ValueError: an observable was measured that is not in ``series``, none was measured, or a value has no error.
    """
    problem = _Problem.of(series, measured)
    grid = sorted({float(t) for t in thetas} | ({theta} if theta is not None else set()), reverse=True)
    if any(not (math.isfinite(t) and t > 0) for t in grid):
        raise ValueError(f"theta must be a positive number, got {theta!r}")
    solutions = problem.path(grid)
    squares = _cross_validate(problem, grid, seed)
    held = squares.mean(1)
    before = problem.chi_squared(problem.equal)
    curve = [
        {"theta": t, "kept": problem.kept(w), "chi_squared": problem.chi_squared(w), "held_out": float(h)}
        for t, w, h in zip(grid, solutions, held, strict=True)
    ]
    held_before = before if np.isfinite(held).any() else math.nan
    chosen = grid.index(theta) if theta is not None else _choose(squares, [row["kept"] for row in curve])
    weights, row = solutions[chosen], curve[chosen]
    shape = np.atleast_2d(series[0].values).shape
    return Reweighting(
        grid[chosen],
        weights.reshape(shape),
        row["kept"],
        (before, row["chi_squared"]),
        (held_before, row["held_out"]),
        tuple(curve),
        {s.name: weighted(s, weights.reshape(np.atleast_2d(s.values).shape)) for s in series},
        _warning(before, held_before, row),
    )


def _warning(before: float, held_before: float, row: dict[str, float]) -> str:
    """Why the result should not be believed, or nothing."""
    reasons = []
    if before <= ALREADY:
        reasons.append(
            f"the run agrees with the values already (chi-squared {before:.2f} per value): what is left is noise"
        )
    elif not math.isfinite(row["held_out"]):
        reasons.append("too few values to test the fit on values that it has not seen")
    elif held_before - row["held_out"] < CARRIES_OVER * (before - row["chi_squared"]):
        reasons.append(
            f"it fits noise: chi-squared per value goes from {before:.2f} to {row['chi_squared']:.2f} in the fit, "
            f"and from {held_before:.2f} to {row['held_out']:.2f} where values are left out of it"
        )
    if row["kept"] < FEW:
        reasons.append(
            f"only {100 * row['kept']:.1f} % of the frames count: the run hardly holds the ensemble that was measured"
        )
    return "; ".join(reasons)


@dataclass(frozen=True, eq=False)
class _Problem:
    """Averages (frames, values) to be brought to targets, all in units of the errors.

    What is averaged is ``Series.values``; a value of an observable that is a power of an average is brought to the
    average's scale, its error to first order.
    """

    features: np.ndarray
    targets: np.ndarray
    bounds: tuple[str, ...]
    equal: np.ndarray

    @classmethod
    def of(cls, series: Sequence[Series], measured: Sequence[Measured]) -> _Problem:
        known = {s.name: s for s in series}
        columns, targets, bounds = [], [], []
        for m in measured:
            if m.observable not in known:
                raise ValueError(f"the run has no observable {m.observable!r}; it has {', '.join(known)}")
            s = known[m.observable]
            sigma = math.hypot(m.error, s.model_error)
            if not sigma > 0:
                raise ValueError(f"{m.observable} has no error: give one in the column error")
            target = s.average_of(m.value)
            scale = sigma / abs(s.slope(target))
            columns.append(np.asarray(s.values, dtype=np.float64).ravel() / scale)
            targets.append(target / scale)
            flipped = {"upper": "lower", "lower": "upper", "": ""}
            bounds.append(flipped[m.bound] if s.power < 0 else m.bound)
        if not columns:
            raise ValueError("no value was measured: there is nothing to reweight to")
        n = len(columns[0])
        return cls(np.stack(columns, 1), np.array(targets), tuple(bounds), np.full(n, 1.0 / n))

    def part(self, which: np.ndarray) -> _Problem:
        """The same frames with some of the values."""
        return _Problem(self.features[:, which], self.targets[which], tuple(self.bounds[k] for k in which), self.equal)

    def weights(self, multipliers: np.ndarray) -> tuple[np.ndarray, float]:
        """Weights and the logarithm of their normalisation."""
        exponent = -(self.features - self.targets) @ multipliers
        top = exponent.max()
        raw = np.exp(exponent - top)
        return raw / raw.sum(), float(top + np.log(raw.mean()))

    def path(self, thetas: Sequence[float]) -> list[np.ndarray]:
        """Weights for each theta, each fit begun at the one before."""
        multipliers = np.zeros(len(self.targets))
        found = []
        for theta in thetas:
            multipliers = self._minimum(multipliers, theta)
            found.append(self.weights(multipliers)[0])
        return found

    def _minimum(self, x: np.ndarray, theta: float) -> np.ndarray:
        """Multipliers at the minimum of the dual, which is convex, by projected Newton steps (Bertsekas 1982)."""
        low = np.array([0.0 if b == "upper" else -np.inf for b in self.bounds])
        high = np.array([0.0 if b == "lower" else np.inf for b in self.bounds])
        x = np.clip(x, low, high)
        value = self._dual(x, theta)
        for _ in range(MOST_STEPS):
            weights, _ = self.weights(x)
            gap = self.features - (average := weights @ self.features)
            slope = theta * x - (average - self.targets)
            free = ~(((x <= low) & (slope > 0)) | ((x >= high) & (slope < 0)))
            if not free.any() or np.abs(slope[free]).max() < TOLERANCE:
                break
            curvature = (gap[:, free] * weights[:, None]).T @ gap[:, free] + theta * np.eye(int(free.sum()))
            step = np.zeros_like(x)
            step[free] = -np.linalg.solve(curvature, slope[free])
            length = 1.0
            while True:
                trial = np.clip(x + length * step, low, high)
                new = self._dual(trial, theta)
                if new <= value + 1e-4 * float(slope @ (trial - x)) or length < SHORTEST:
                    break
                length *= 0.5
            if not new < value:
                break
            x, value = trial, new
        return x

    def _dual(self, x: np.ndarray, theta: float) -> float:
        return self.weights(x)[1] + 0.5 * theta * float(x @ x)

    def chi_squared(self, weights: np.ndarray) -> float:
        """Per value."""
        return float(np.mean(self.squares(weights)))

    def squares(self, weights: np.ndarray) -> np.ndarray:
        """Squared deviation of each value, 0 within a bound."""
        gap = weights @ self.features - self.targets
        inside = np.array(
            [(b == "upper" and g <= 0) or (b == "lower" and g >= 0) for b, g in zip(self.bounds, gap, strict=True)]
        )
        return np.where(inside, 0.0, gap**2)

    def kept(self, weights: np.ndarray) -> float:
        """exp of the entropy relative to equal weights."""
        some = weights[weights > 0]
        return float(np.exp(-(some * np.log(some * len(weights))).sum()))


def _cross_validate(problem: _Problem, thetas: Sequence[float], seed: int) -> np.ndarray:
    """Squared deviation of each value when it is left out, (thetas, values); NaN with fewer values than folds."""
    n = len(problem.targets)
    squares = np.full((len(thetas), n), np.nan)
    if n < FOLDS:
        return squares
    order = np.random.default_rng(seed).permutation(n)
    for fold in range(FOLDS):
        out = order[fold::FOLDS]
        for row, weights in enumerate(problem.part(np.setdiff1d(order, out)).path(thetas)):
            squares[row, out] = problem.part(out).squares(weights)
    return squares


def _choose(squares: np.ndarray, kept: Sequence[float]) -> int:
    """The largest theta whose predictions are within one standard error of the best ones (paired by value).

    Where nothing can be predicted, the smallest theta that keeps half of the frames.
    """
    if not np.isfinite(squares).all():
        return max((k for k, part in enumerate(kept) if part >= 0.5), default=0)
    worse = squares - squares[int(squares.mean(1).argmin())]
    error = worse.std(1, ddof=1) / math.sqrt(squares.shape[1])
    return int(np.flatnonzero(worse.mean(1) <= error)[0])
