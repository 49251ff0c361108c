"""Free energies along torsions, in kT, with error bars that take autocorrelation into account."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .autocorrelation import integrated_time
from .convergence import ess, slower
from .distributions import bin_centres, circular_histogram

PROFILE_BINS = 72
"""Bins of a free-energy profile, of 5 degrees."""

POPULATED_KT = 6.0
"""Profiles are compared below this free energy."""

CHAINS_FOR_BOOTSTRAP = 16
"""From this many chains on, whole chains are resampled; with fewer, blocks of them."""

BLOCK_TIMES = 5.0
"""Length of a block in integrated autocorrelation times (of the slower of sine and cosine)."""

MIN_BLOCKS = 8
"""Fewer blocks than this give no error bar."""


@dataclass(frozen=True)
class Profile:
    """Free energy along a torsion.

    Attributes:
        centres: bin centres in rad (bins,).
        free_energy: in kT, lowest bin 0; infinity where nothing was seen (bins,).
        error: one standard error in kT; NaN where nothing was seen or the run is too short to tell (bins,).
        n_blocks: how many independent pieces the error is estimated from.
        block_frames: frames in each piece.
    """

    centres: np.ndarray
    free_energy: np.ndarray
    error: np.ndarray
    n_blocks: int
    block_frames: int


@dataclass(frozen=True)
class Basin:
    """Population of the side phi > 0, and the free energy between it and phi < 0.

    Attributes:
        population: P(phi > 0).
        population_error: its standard error.
        delta_F: F(phi > 0) - F(phi < 0) in kT; NaN when one side was never visited.
        error: standard error of ``delta_F`` in kT.
        ess: of the indicator phi > 0.
        crossings: how often the sign of phi changed between successive frames, in all chains.
    """

    population: float
    population_error: float
    delta_F: float
    error: float
    ess: float
    crossings: int

    @property
    def visited(self) -> bool:
        """Whether both sides were seen."""
        return 0 < self.population < 1


def free_energy(angles: np.ndarray, bins: int = PROFILE_BINS, replicates: int = 200, seed: int = 0) -> Profile:
    """Free energy -ln p along a torsion, with bootstrap errors.

    The pieces resampled are whole chains where there are at least 16 of them, right however slowly a chain moves
    if the starts are independent; otherwise blocks of five integrated autocorrelation times of the slower of sine
    and cosine. The error of F is that of p over p.

    Args:
        angles: (chains, frames) in rad.
        bins: equal bins from -pi to pi.
        replicates: bootstrap replicates.
        seed: of the resampling.
    """
    chains = np.atleast_2d(angles)
    n_chains, frames = chains.shape
    block = frames
    if n_chains < CHAINS_FOR_BOOTSTRAP:
        time = integrated_time(slower(chains))
        block = frames if math.isnan(time) else min(max(math.ceil(BLOCK_TIMES * time), 1), frames)
        block = max(block, frames // 512)  # more than a few hundred blocks per chain bring nothing but work
    per_chain = frames // block
    counts = np.stack(
        [circular_histogram(c[b * block : (b + 1) * block], bins) for c in chains for b in range(per_chain)]
    )
    total = circular_histogram(chains, bins)
    with np.errstate(divide="ignore", invalid="ignore"):
        profile = -np.log(total / total.sum())
        profile = profile - profile.min()
        error = np.full(bins, np.nan)
        if len(counts) >= MIN_BLOCKS:
            rng = np.random.default_rng(seed)
            weights = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=replicates)
            resampled = weights @ counts
            resampled /= resampled.sum(1, keepdims=True)
            error = np.where(total > 0, resampled.std(0, ddof=1) / (total / total.sum()), np.nan)
    return Profile(bin_centres(bins), profile, error, len(counts), block)


def profile_difference(first: Profile, second: Profile) -> dict[str, float]:
    """The largest difference of two profiles where both are populated (below 6 kT), in kT and in standard errors.

    Each profile's zero is its own lowest bin, so that differences are taken about their mean over that range.

    Returns:
        ``{"difference_kT": ..., "difference_errors": ...}``; NaN where they have no populated bin in common.
    """
    seen = (first.free_energy < POPULATED_KT) & (second.free_energy < POPULATED_KT)
    if not seen.any():
        return {"difference_kT": math.nan, "difference_errors": math.nan}
    gap = first.free_energy[seen] - second.free_energy[seen]
    gap = np.abs(gap - np.average(gap, weights=np.exp(-second.free_energy[seen])))
    error = np.hypot(first.error[seen], second.error[seen])
    known = error > 0  # False for NaN
    errors = float((gap[known] / error[known]).max()) if known.any() else math.nan
    return {"difference_kT": float(gap.max()), "difference_errors": errors}


def phi_basin(phi: np.ndarray) -> Basin:
    """Populations on both sides of phi = 0, by the ESS of the indicator phi > 0.

    With p = P(phi > 0): Delta F = -ln(p / (1 - p)), and its error is 1 / sqrt(p (1 - p) ESS).

    Args:
        phi: (chains, frames) in rad.
    """
    positive = np.atleast_2d(np.asarray(phi) > 0)
    indicator = positive.astype(np.float64)
    p = float(indicator.mean())
    size = ess(indicator)
    crossings = int((positive[:, 1:] != positive[:, :-1]).sum())
    if not 0 < p < 1:
        return Basin(p, math.nan, math.nan, math.nan, math.nan, crossings)
    spread = p * (1 - p)
    error = 1 / math.sqrt(spread * size) if size > 0 else math.nan
    return Basin(p, spread * error, -math.log(p / (1 - p)), error, size, crossings)


@dataclass(frozen=True)
class Estimate:
    """A mean with its error.

    Attributes:
        value: the estimate.
        error: one standard error, by ESS; NaN where there is none.
        ess: the effective sample size behind it.
    """

    value: float
    error: float
    ess: float


def mean(series: np.ndarray) -> Estimate:
    """Mean of (chains, frames), with the standard error sd / sqrt(ESS)."""
    chains = np.atleast_2d(np.asarray(series, dtype=np.float64))
    size = ess(chains)
    return Estimate(float(chains.mean()), float(chains.std() / math.sqrt(size)) if size > 0 else math.nan, size)


def fluctuation(series: np.ndarray) -> Estimate:
    """Standard deviation of (chains, frames) or (chains, frames, n), with its error by the ESS of its square.

    Several numbers of a frame are pooled: their squared deviations are averaged before the ESS is estimated.
    """
    values = np.atleast_2d(np.asarray(series, dtype=np.float64))
    squared = (values - values.mean()) ** 2
    square = mean(squared.reshape(*values.shape[:2], -1).mean(-1))
    sd = math.sqrt(square.value)
    return Estimate(sd, square.error / (2 * sd) if sd > 0 else math.nan, square.ess)
