"""Nested R-hat and effective sample size of one quantity.

A quantity that never changes has neither: NaN, to be read as *not visited*, never as *converged*. A circular quantity
reports the worse of its sine and its cosine.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.stats import chi2

from .autocorrelation import geyer_ess, split, varies

RHAT_LIMIT = 1.01
"""Largest R-hat that counts as converged (Vehtari et al. 2021), unless chance gives larger ones "
"(:func:`rhat_by_chance`)."""

STILL_RAD = 1e-4
"""A torsion whose sine and cosine change by less than this in a whole chain stands still."""

FEWEST_FRAMES = 8
"""Of each chain, for any estimate."""

BY_CHANCE = 1e-3
"""Chance of a larger R-hat than :func:`rhat_by_chance` for one quantity; a run has some ten or twenty."""


def rhat(series: np.ndarray, superchains: Sequence[int] | np.ndarray | None = None) -> float:
    """Nested R-hat of (chains, frames), rank-normalised, the larger of bulk and folded.

    Chains of one superchain share a start. With B the variance of the means of K superchains, and W the mean over
    superchains of (the variance of the means of the chains in it + the mean variance within these chains),
    ``R-hat = sqrt(1 + B / W)``: it measures whether the starts are forgotten, with many short chains as with few long
    ones. In equilibrium ``R-hat^2 - 1`` is about K / ESS, ESS that of all chains together. So with K = 8 superchains
    the limit of 1.01 means an ESS of about 400, whatever the number of chains. With each chain a superchain of its own
    it is R-hat as of Gelman and Rubin, whose square is larger by one over the number of frames, and the limit means
    an ESS of 50 for each chain.

    Of chains that all belong to one superchain, each counts as a superchain of its own. A single chain is compared with
    itself: its first half with its second.

    Args:
        series: (chains, frames); one frame is enough where a superchain has several chains.
        superchains: the label of each chain; by default each chain is a superchain of its own.

    Returns:
        NaN where there is no number: a constant, chains none of which ever changed, a value that is not finite,
        a single chain of fewer than 8 frames, or nothing to compare the superchains' spread with. Infinity where
        superchains differ and nothing varies within them.

    Raises:
        ValueError: there is not one label for each chain.

    Source: Margossian, Hoffman, Sountsov, Riou-Durand, Vehtari and Gelman, "Nested R-hat: assessing the convergence of
    Markov chain Monte Carlo when running many short chains", Bayesian Analysis (2024); rank normalisation and folding:
    Vehtari et al., Bayesian Anal. 16, 667 (2021).
    """
    chains = np.atleast_2d(np.asarray(series, dtype=np.float64))
    labels = np.arange(len(chains)) if superchains is None else np.asarray(superchains)
    if labels.shape != (len(chains),):
        raise ValueError(f"expected one superchain for each of {len(chains)} chains, got {labels.size}")
    if len(chains) == 1:
        if chains.shape[1] < FEWEST_FRAMES:
            return float("nan")
        chains = split(chains)
    if len(np.unique(labels)) == 1:
        labels = np.arange(len(chains))
    if not np.isfinite(chains).all() or not np.ptp(chains) > 1e-12:
        return float("nan")
    members = [labels == label for label in np.unique(labels)]
    if chains.shape[1] == 1 and len(members) == len(chains):
        return float("nan")
    if chains.shape[1] > 1 and not np.ptp(chains, axis=1).max() > 1e-12:
        return float("nan")  # chains that stand still in different places
    folded = np.abs(chains - np.median(chains))
    bulk, tails = (_nested(_normal_scores(x), members) for x in (chains, folded))
    return float(np.fmax(bulk, tails))


def rhat_by_chance(superchains: int, ess: float) -> float:
    """What nested R-hat exceeds in one of a thousand runs that are in equilibrium, for an effective sample size.

    The means of K superchains, each of ESS / K independent samples, differ by chance: ``R-hat^2 - 1`` is K / ESS times
    a chi-squared number of K - 1 degrees of freedom over K - 1. At an ESS of 400, where 8 superchains have an R-hat of
    1.01 on average, 1.01 alone would refuse four of ten sound runs.

    Args:
        superchains: K; of a single chain, whose halves are compared, 2.
        ess: of all chains together.

    >>> round(rhat_by_chance(8, 400), 3), round(rhat_by_chance(8, 4000), 4)
    (1.034, 1.0035)
    """
    k = max(superchains, 2)
    return float(np.sqrt(1 + chi2.ppf(1 - BY_CHANCE, k - 1) / (k - 1) * k / ess)) if ess > 0 else RHAT_LIMIT


def rhat_limit(superchains: Sequence[int] | np.ndarray, ess: float, least: float = RHAT_LIMIT) -> float:
    """The largest R-hat of a quantity that counts as converged: ``least``, or what chance alone gives.

    Args:
        superchains: the label of each chain; chains that all share one count as superchains of their own.
        ess: of all chains together.
        least: the limit for any effective sample size.
    """
    groups = len(set(superchains))
    return max(least, rhat_by_chance(groups if groups > 1 else len(superchains), ess))


def ess(series: np.ndarray) -> float:
    """Effective sample size for the mean of (chains, frames), over all chains, which are halved first.

    Geyer's initial positive, then monotone, sequence of the quantity itself, as of ArviZ with ``method="mean"``. NaN
    for a series that is constant, not finite or shorter than 8 frames.
    """
    chains = np.atleast_2d(np.asarray(series, dtype=np.float64))
    return geyer_ess(split(chains)) if varies(chains) else float("nan")


def circular_rhat(angles: np.ndarray, superchains: Sequence[int] | np.ndarray | None = None) -> float:
    """The larger :func:`rhat` of sine and cosine of angles (chains, frames) in rad; NaN where :func:`stands_still`."""
    if stands_still(angles).all():
        return float("nan")
    return float(np.max([rhat(part, superchains) for part in _sine_cosine(angles)]))


def circular_ess(angles: np.ndarray) -> float:
    """The smaller ESS of sine and cosine of angles (chains, frames) in rad; NaN where :func:`stands_still`."""
    if stands_still(angles).all():
        return float("nan")
    return float(np.min([ess(part) for part in _sine_cosine(angles)]))


def stands_still(angles: np.ndarray) -> np.ndarray:
    """In which chains angles (chains, frames) in rad change by no more than the rounding of stored positions.

    Positions are stored in single precision, and turned and shifted now and then: the angles of a chain that never
    moves differ by 1e-7 to 1e-5 rad. A bond that turns, or vibrates, changes them by 1e-2 rad and more.
    """
    return np.ptp(_sine_cosine(angles), axis=-1).max(0) < STILL_RAD


def slower(angles: np.ndarray) -> np.ndarray:
    """Sine or cosine of angles (chains, frames), whichever decorrelates more slowly."""
    parts = _sine_cosine(angles)
    return parts[int(np.nanargmin([np.nan_to_num(geyer_ess(part), nan=np.inf) for part in parts]))]


def _nested(chains: np.ndarray, members: Sequence[np.ndarray]) -> float:
    """Nested R-hat of (chains, frames) whose superchains are the rows of each mask."""
    means = chains.mean(1)
    inner = chains.var(1, ddof=1) if chains.shape[1] > 1 else np.zeros(len(chains))
    between = np.var([means[m].mean() for m in members], ddof=1)
    within = np.mean([(means[m].var(ddof=1) if m.sum() > 1 else 0.0) + inner[m].mean() for m in members])
    if not within > 0:
        return float("inf") if between > 0 else float("nan")
    return float(np.sqrt(1.0 + between / within))


def _normal_scores(chains: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(chains, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    rank = (ends - (counts - 1) / 2.0)[inverse.reshape(-1)].reshape(chains.shape)
    return torch.special.ndtri(torch.from_numpy((rank - 0.375) / (chains.size + 0.25))).numpy()


def _sine_cosine(angles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    wide = np.atleast_2d(np.asarray(angles, dtype=np.float64))
    return np.sin(wide), np.cos(wide)
