"""Split R-hat and effective sample size: the only file that knows ArviZ, and that its releases differ.

- R-hat is rank-normalised split R-hat, the larger of bulk and folded (ArviZ's default; Vehtari et al., Bayesian Anal.
  16, 667 (2021)). A single chain is cut in two first, since ArviZ refuses one.
- ESS is ArviZ's ``method="mean"``: Geyer's initial positive sequence over all (split) chains, of the quantity itself.
  The default ``"bulk"`` rank-normalises first, which answers a different question.
- A quantity that never changes has neither: NaN, to be read as *not visited*, never as *converged*. (ArviZ itself
  gives an ESS of N for a constant.)
- A circular quantity reports the worse of its sine and its cosine.

ArviZ 0.x (Python 3.11) has ``arviz.ess`` and ``arviz.rhat`` on arrays; ArviZ 1.x (3.12 and later) moved them to the
package ``arviz_stats``, whose array functions take axes. We ask which is there, not for a version. With neither, the
estimators of :mod:`timewarp.analysis.autocorrelation`, tested to be the same, take over.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache

import numpy as np

from .autocorrelation import geyer_ess, split, split_rhat, varies

RHAT_LIMIT = 1.01
"""Largest R-hat that counts as converged (Vehtari et al. 2021)."""

Estimator = Callable[[np.ndarray], float]


@cache
def backend() -> tuple[str, Estimator, Estimator]:
    """Name of the library in use, its R-hat and its ESS on arrays (chains, frames)."""
    try:
        from arviz_stats.base import array_stats
    except ImportError:
        pass
    else:
        return (
            "arviz_stats",
            lambda x: float(array_stats.rhat(x, chain_axis=0, draw_axis=1, method="rank")),
            lambda x: float(array_stats.ess(x, chain_axis=0, draw_axis=1, method="mean")),
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # ArviZ 0.23 announces its refactoring once a day
            import arviz
    except ImportError:
        return "timewarp", split_rhat, lambda x: geyer_ess(split(x))
    return (
        "arviz",
        lambda x: float(arviz.rhat(x, method="rank")),
        lambda x: float(arviz.ess(x, method="mean")),
    )


def rhat(series: np.ndarray) -> float:
    """Rank-normalised split R-hat of (chains, frames); NaN where it cannot be had (constant, non-finite, too short)."""
    return _estimate(series, backend()[1])


def ess(series: np.ndarray) -> float:
    """Effective sample size for the mean of (chains, frames), over all chains; NaN where :func:`rhat` is."""
    return _estimate(series, backend()[2])


def circular_rhat(angles: np.ndarray) -> float:
    """The larger R-hat of sine and cosine of angles (chains, frames) in rad."""
    return float(np.max([rhat(part) for part in _sine_cosine(angles)]))


def circular_ess(angles: np.ndarray) -> float:
    """The smaller ESS of sine and cosine of angles (chains, frames) in rad."""
    return float(np.min([ess(part) for part in _sine_cosine(angles)]))


def slower(angles: np.ndarray) -> np.ndarray:
    """Sine or cosine of angles (chains, frames), whichever decorrelates more slowly."""
    parts = _sine_cosine(angles)
    return parts[int(np.nanargmin([np.nan_to_num(geyer_ess(part), nan=np.inf) for part in parts]))]


def _estimate(series: np.ndarray, estimator: Estimator) -> float:
    chains = np.atleast_2d(np.asarray(series, dtype=np.float64))
    if len(chains) == 1 and chains.shape[1] >= 8:
        chains = split(chains)
    if not varies(chains):
        return float("nan")
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return estimator(chains)


def _sine_cosine(angles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    wide = np.atleast_2d(np.asarray(angles, dtype=np.float64))
    return np.sin(wide), np.cos(wide)
