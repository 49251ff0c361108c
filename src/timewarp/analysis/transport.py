"""Wasserstein-2 distances in more than one dimension, by exact optimal transport."""

from __future__ import annotations

import numpy as np

PLANE_POINTS = 1000
"""Points on each side of an exact transport in a plane or of torsions; its cost grows as their cube."""


def plane_wasserstein(first: np.ndarray, second: np.ndarray, points: int = PLANE_POINTS, seed: int = 0) -> float:
    """Euclidean Wasserstein-2 distance of two sets of points (n, d), exact for random subsets of equal size.

    >>> round(plane_wasserstein(np.zeros((50, 2)), np.tile([3.0, 4.0], (60, 1))), 6)
    5.0
    """
    a, b = _equal(first, second, points, seed)
    return _transport(((a[:, None] - b[None]) ** 2).sum(-1))


def torsion_wasserstein(first: np.ndarray, second: np.ndarray, points: int = PLANE_POINTS, seed: int = 0) -> float:
    """T-W2: Wasserstein-2 distance in rad of torsions (n, d), with the sum of squared wrapped differences as cost."""
    a, b = _equal(first, second, points, seed)
    difference = np.remainder(a[:, None] - b[None] + np.pi, 2 * np.pi) - np.pi
    return _transport((difference**2).sum(-1))


def _equal(first: np.ndarray, second: np.ndarray, points: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1] or not (len(first) and len(second)):
        raise ValueError(f"need two non-empty sets of points (n, d), got {first.shape} and {second.shape}")
    rng = np.random.default_rng(seed)
    n = min(points, len(first), len(second))
    return tuple(np.asarray(x, np.float64)[rng.choice(len(x), n, replace=False)] for x in (first, second))  # type: ignore[return-value]


def _transport(cost: np.ndarray) -> float:
    from scipy.optimize import linear_sum_assignment

    return float(np.sqrt(cost[linear_sum_assignment(cost)].mean()))
