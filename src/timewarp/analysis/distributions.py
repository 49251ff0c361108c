"""Histograms of torsions and the distances between distributions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

BINS_1D = 100
"""Bins per torsion for a Jensen-Shannon divergence."""

BINS_2D = 50
"""Bins per torsion and axis for that of a (phi, psi) plane."""

W2_POINTS = 10_000
"""Points on each side of a Wasserstein-2 distance."""

PLANE_POINTS = 1000
"""Points on each side of an exact transport in a plane or of torsions; its cost grows as their cube."""

Value = TypeVar("Value")


def circular_histogram(angles: np.ndarray, bins: int = BINS_1D) -> np.ndarray:
    """Counts of angles in rad, in equal bins from -pi to pi; float64 (bins,). Non-finite angles are left out."""
    return np.bincount(_bin(angles, bins), minlength=bins)[:bins].astype(np.float64)


def ramachandran(phi: np.ndarray, psi: np.ndarray, bins: int = BINS_2D) -> np.ndarray:
    """Counts (bins, bins) of (phi, psi) in rad; phi along the first axis, both from -pi to pi."""
    both = np.isfinite(phi) & np.isfinite(psi)
    flat = _bin(np.asarray(phi)[both], bins) * bins + _bin(np.asarray(psi)[both], bins)
    return np.bincount(flat, minlength=bins * bins).reshape(bins, bins).astype(np.float64)


def bin_centres(bins: int) -> np.ndarray:
    """Centres in rad of equal bins from -pi to pi."""
    return (np.arange(bins) + 0.5) * (2 * np.pi / bins) - np.pi


def jensen_shannon(p: np.ndarray, q: np.ndarray) -> float:
    """Jensen-Shannon divergence (not its root) of two histograms in bits: 0 for equal ones, 1 for disjoint ones.

    Args:
        p: counts or probabilities, any shape.
        q: of the same shape.

    Raises:
        ValueError: different shapes, negative entries, or nothing in one of them.

    >>> jensen_shannon(np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    1.0
    """
    p, q = (np.asarray(h, dtype=np.float64) for h in (p, q))
    if p.shape != q.shape or (p < 0).any() or (q < 0).any() or not (p.sum() > 0 and q.sum() > 0):
        raise ValueError(f"need two non-empty histograms of one shape, got {p.shape} and {q.shape}")
    p, q = p / p.sum(), q / q.sum()
    middle = (p + q) / 2
    return float(max((_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2, 0.0))


def jsd_torsion(first: np.ndarray, second: np.ndarray, bins: int = BINS_1D) -> float:
    """:func:`jensen_shannon` of two sets of angles in rad, in 100 bins."""
    return jensen_shannon(circular_histogram(first, bins), circular_histogram(second, bins))


def jsd_plane(first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray]) -> float:
    """:func:`jensen_shannon` of two sets of (phi, psi) in rad, in 50 x 50 bins."""
    return jensen_shannon(ramachandran(*first), ramachandran(*second))


def wasserstein(first: np.ndarray, second: np.ndarray, order: int = 2, points: int = W2_POINTS) -> float:
    """One-dimensional Wasserstein distance, in the units of the samples.

    Each side is represented by ``points`` evenly spaced quantiles, so the two may differ in size.

    Args:
        first: samples, any shape; non-finite ones are left out.
        second: samples.
        order: 1 or 2.
        points: quantiles on each side.

    >>> wasserstein(np.zeros(10), np.full(7, 3.0))
    3.0
    """
    levels = (np.arange(points) + 0.5) / points
    a, b = (np.quantile(np.ravel(x)[np.isfinite(np.ravel(x))], levels) for x in (first, second))
    return float(np.mean(np.abs(a - b) ** order) ** (1 / order))


def halves(chains: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two independent halves of (chains, frames): every other chain, or of a single chain its first and second half.

    Of an odd number of chains the last is cut in two as well.
    """
    if len(chains) == 1:
        middle = chains.shape[1] // 2
        return chains[:, :middle], chains[:, middle : 2 * middle]
    if len(chains) % 2 == 0:
        return chains[0::2], chains[1::2]
    middle = chains.shape[1] // 2
    first, second = chains[0:-1:2].ravel(), chains[1:-1:2].ravel()
    last = chains[-1]
    return np.concatenate([first, last[:middle]])[None], np.concatenate([second, last[middle : 2 * middle]])[None]


def noise_floor(metric: Callable[[np.ndarray, np.ndarray], Value], chains: np.ndarray) -> Value:
    """A metric between the :func:`halves` of one set of chains: what two equally good half-length runs differ by."""
    return metric(*halves(chains))


def _bin(angles: np.ndarray, bins: int) -> np.ndarray:
    flat = np.ravel(angles)
    flat = flat[np.isfinite(flat)]
    return np.floor((flat + np.pi) * (bins / (2 * np.pi))).astype(np.int64) % bins


def _relative_entropy(p: np.ndarray, q: np.ndarray) -> float:
    seen = p > 0
    return float((p[seen] * np.log2(p[seen] / q[seen])).sum())


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
