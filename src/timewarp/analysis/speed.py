"""Effective samples per second, of chains and of MD, and how often faster one is than the other."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .autocorrelation import autocorrelation, varies
from .convergence import ess, slower
from .torsions import TrajectoryLike, torsion_angles


def paper_ess(series: np.ndarray) -> float:
    """Effective samples as papers of the Timewarp era count them: N / (-1 + 2 sum |rho_k|), up to the first rho < 0.

    For comparison with published figures alone: :func:`timewarp.analysis.ess` is what is reported.

    Args:
        series: (chains, frames).

    Returns:
        NaN for a constant or too short series.
    """
    chains = np.atleast_2d(np.asarray(series, dtype=np.float64))
    if not varies(chains):
        return math.nan
    rho = autocorrelation(chains)
    below = np.flatnonzero(rho < 0)
    kept = rho[: below[0]] if len(below) else rho
    return float(chains.size / max(-1.0 + 2.0 * np.abs(kept).sum(), 1.0))


@dataclass(frozen=True)
class Speed:
    """Effective samples of one quantity, and how long they took.

    Attributes:
        ess: effective samples; where the quantity's slow part never changed sides, at most the number of chains.
        per_second: effective samples per second.
        paper_per_second: the same by :func:`paper_ess`.
        crossings: how often the chains crossed the middle of the quantity's range.
        bound: whether ``per_second`` is an upper bound, because hardly any chain crossed.
    """

    ess: float
    per_second: float
    paper_per_second: float
    crossings: int
    bound: bool


FEWEST_CROSSINGS = 10
"""With fewer crossings of its middle, a quantity's autocorrelation time is not known, only bounded from below."""


def speed_of(series: np.ndarray, seconds: float, middle: float) -> Speed:
    """Effective samples per second of a quantity.

    Args:
        series: (chains, frames).
        seconds: that they took, in all.
        middle: the value whose crossings tell whether the slow motion was seen: between the reference's two sides.
    """
    chains = np.atleast_2d(np.asarray(series, dtype=np.float64))
    above = chains > middle
    crossings = int((above[:, 1:] != above[:, :-1]).sum())
    size, papers = ess(chains), paper_ess(chains)
    bound = crossings < FEWEST_CROSSINGS
    if bound:
        # As many independent pieces as there were crossings, and one more, were seen at most.
        size, papers = (min(v if math.isfinite(v) else math.inf, crossings + 1.0) for v in (size, papers))
    return Speed(size, size / seconds, papers / seconds, crossings, bound)


def middle_of(series: np.ndarray) -> float:
    """A value between the two sides of a slow quantity: Otsu's threshold (1979) of its histogram."""
    values = np.ravel(series)
    values = values[np.isfinite(values)]
    counts, edges = np.histogram(values, 200)
    centres = (edges[1:] + edges[:-1]) / 2
    weight = np.cumsum(counts) / counts.sum()
    partial = np.cumsum(counts * centres) / counts.sum()
    inside = (weight > 0) & (weight < 1)
    between = np.full(len(centres), -np.inf)
    between[inside] = (partial[-1] * weight[inside] - partial[inside]) ** 2 / (weight[inside] * (1 - weight[inside]))
    best = np.flatnonzero(between >= between.max() * (1 - 1e-9))  # an empty gap is a plateau: its middle
    return float((edges[best[0] + 1] + edges[best[-1] + 1]) / 2)


def speed_up(run: Speed, reference: Speed) -> tuple[float, str]:
    """Ratio of effective samples per second, and how it is to be read: ``=``, ``>`` (at least), ``<`` or ``?``."""
    ratio = run.per_second / reference.per_second if reference.per_second > 0 else math.inf
    sign = {(False, False): "=", (False, True): ">", (True, False): "<", (True, True): "?"}[run.bound, reference.bound]
    return ratio, sign


def compare_speed(
    run: TrajectoryLike,
    reference: TrajectoryLike,
    seconds: tuple[float, float],
    slow: tuple[np.ndarray, np.ndarray] | None = None,
) -> dict[str, dict[str, Any]]:
    """Effective samples per second of a run and of MD, of each quantity, and how often faster the run is.

    Quantities are the slowest coordinate of the reference (``TIC 1``), each torsion but those of peptide bonds (the
    slower of sine and cosine), and each indicator phi > 0.

    Args:
        run: the run.
        reference: MD of the same molecule, in physical time.
        seconds: that each took, in all.
        slow: run and reference in the reference's slow coordinates, (chains, frames, 2).

    Returns:
        By quantity: ``run`` and ``reference`` (:class:`Speed` as plain data), ``ratio`` and ``sign``
        (:func:`speed_up`), and ``paper_ratio``, that of the estimator of papers.
    """
    angles, of_md = torsion_angles(run), torsion_angles(reference)
    pairs: dict[str, tuple[np.ndarray, np.ndarray, tuple[float, float]]] = {}
    if slow is not None:
        here, there = slow[0][..., 0], slow[1][..., 0]
        middle = middle_of(there)
        pairs["TIC 1"] = (here, there, (middle, middle))
    for name in (name for name in angles if not name.startswith("omega")):
        if name.startswith("phi_"):
            sides = ((x[name] > 0).astype(np.float64) for x in (angles, of_md))
            pairs[f"{name} > 0"] = (*sides, (0.5, 0.5))  # type: ignore[assignment]
        here, there = slower(angles[name]), slower(of_md[name])
        pairs[name] = (here, there, (float(np.median(here)), float(np.median(there))))
    found = {}
    for name, (here, there, middles) in pairs.items():
        ours, theirs = (speed_of(x, s, m) for x, s, m in zip((here, there), seconds, middles, strict=True))
        ratio, sign = speed_up(ours, theirs)
        paper = ours.paper_per_second / theirs.paper_per_second if theirs.paper_per_second > 0 else math.nan
        found[name] = {
            "run": asdict(ours),
            "reference": asdict(theirs),
            "ratio": ratio,
            "sign": sign,
            "paper_ratio": paper,
        }
    return found
