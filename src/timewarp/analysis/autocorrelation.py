"""Autocorrelation and effective sample size over many chains, in NumPy; tested to give ArviZ's numbers.

Sources: Geyer, Stat. Sci. 7, 473 (1992), section 3.3; Gelman et al., Bayesian Data Analysis, 3rd edition, section 11.5;
Vehtari et al., Bayesian Anal. 16, 667 (2021).
"""

from __future__ import annotations

import numpy as np


def autocovariance(series: np.ndarray) -> np.ndarray:
    """Autocovariance of each row at every lag (divided by the number of frames: biased, positive definite).

    Args:
        series: (chains, frames).

    Returns:
        (chains, frames), lag 0 first.
    """
    chains = np.asarray(series, dtype=np.float64)
    frames = chains.shape[-1]
    centred = chains - chains.mean(-1, keepdims=True)
    padded = 1 << (2 * frames - 1).bit_length()
    spectrum = np.fft.rfft(centred, padded)
    power = spectrum.real**2 + spectrum.imag**2
    return np.fft.irfft(power, padded)[..., :frames] / frames


def autocorrelation(series: np.ndarray, max_lag: int | None = None) -> np.ndarray:
    """Autocorrelation function over all chains, with the variance between chains in it.

    ``rho_t = 1 - (W - mean autocovariance_t) / var_plus`` (Vehtari 2021, equation 10): it does not fall to zero
    when chains sit in different basins, however quickly each of them rattles in its own.

    Args:
        series: (chains, frames).
        max_lag: last lag; all lags by default.

    Returns:
        (lags,), 1 at lag 0; NaN for a constant series.
    """
    chains = np.atleast_2d(np.asarray(series, dtype=np.float64))
    n_chains, frames = chains.shape
    covariance = autocovariance(chains).mean(0)
    within = covariance[0] * frames / max(frames - 1, 1)
    total = covariance[0] + (chains.mean(1).var(ddof=1) if n_chains > 1 else 0.0)
    stop = frames if max_lag is None else min(max_lag + 1, frames)
    if not total > 0:
        return np.full(stop, np.nan)
    rho = 1.0 - (within - covariance[:stop]) / total
    rho[0] = 1.0
    return rho


def geyer_ess(series: np.ndarray) -> float:
    """Effective sample size of the mean: Geyer's initial positive, then monotone, sequence over all chains.

    Args:
        series: (chains, frames), four frames or more.

    Returns:
        ESS between 0 and N log10(N), as in Stan and ArviZ; NaN for a constant, non-finite or too short series.
    """
    chains = np.atleast_2d(np.asarray(series, dtype=np.float64))
    if not varies(chains):
        return float("nan")
    rho = autocorrelation(chains)
    n = chains.size
    last = len(rho) - 4 if len(rho) % 2 else len(rho) - 5  # ArviZ, too, stops short of the last, worthless lags
    most = max((last + 1) // 2, 0)
    pairs = rho[: 2 * most].reshape(-1, 2).sum(1)
    negative = np.flatnonzero(pairs <= 0)
    kept = pairs[: negative[0]] if len(negative) else pairs
    time = -1.0 + 2.0 * np.minimum.accumulate(kept).sum() + max(rho[2 * len(kept)], 0.0)
    return float(n / max(time, 1.0 / np.log10(n)))


def integrated_time(series: np.ndarray) -> float:
    """Integrated autocorrelation time in frames: all samples divided by :func:`geyer_ess`; 1 for independent ones."""
    chains = np.atleast_2d(np.asarray(series))
    return chains.size / geyer_ess(chains)


def split(chains: np.ndarray) -> np.ndarray:
    """Each chain cut into two halves, stacked; the middle frame of an odd number is dropped."""
    half = chains.shape[1] // 2
    return np.concatenate([chains[:, :half], chains[:, -half:]])


def varies(chains: np.ndarray) -> bool:
    """Whether there is anything to estimate: four frames or more, all finite, and not all equal."""
    return bool(chains.shape[-1] >= 4 and np.isfinite(chains).all() and np.ptp(chains) > 1e-12)
