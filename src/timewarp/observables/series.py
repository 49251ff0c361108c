"""An observable of every frame, and its average with an error from its own effective sample size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..analysis.convergence import ess, rhat, rhat_limit

FEWEST_EFFECTIVE = 100
"""An average of fewer effective samples than this has no error that could be relied on."""


@dataclass(frozen=True, eq=False)
class Series:
    """One observable in every frame.

    What is measured may be a function of an average and not an average itself: an NOE gives
    ``<r^-6>^(-1/6)``. Then ``values`` holds ``r^-6``, and ``power`` is -1/6.

    Attributes:
        name: by which it is asked for and found again, such as ``3J(HN,HA) 2`` or ``distance=1:CA,4:CA``.
        kind: what it belongs to: ``coupling``, ``distance``, ``noe``, ...
        unit: of the observable (not of ``values``); empty for a fraction.
        values: (chains, frames).
        power: the observable is the average of ``values`` to this power.
        model_error: error of the relation between structure and observable, such as a Karplus relation's, in ``unit``.
    """

    name: str
    kind: str
    unit: str
    values: np.ndarray
    power: float = 1.0
    model_error: float = 0.0

    def observable(self, average: float) -> float:
        """The observable from the average of ``values``."""
        return float(average**self.power) if self.power != 1.0 else float(average)

    def slope(self, average: float) -> float:
        """Derivative of :meth:`observable` at an average."""
        return float(self.power * average ** (self.power - 1.0)) if self.power != 1.0 else 1.0

    def average_of(self, observable: float) -> float:
        """The average that gives an observable: the inverse of :meth:`observable`."""
        return float(observable ** (1.0 / self.power)) if self.power != 1.0 else float(observable)


@dataclass(frozen=True)
class Observed:
    """An observable of a run.

    Attributes:
        name: as of :class:`Series`, like ``kind``, ``unit`` and ``model_error``.
        value: the observable.
        error: standard error from sampling, in ``unit``; NaN where nothing varied.
        ess: effective sample size of the averaged quantity; NaN where nothing varied.
        rhat: its nested R-hat; NaN where nothing varied.
        status: ``ok``, ``not converged``, or ``constant`` where it had one value in all frames.
    """

    name: str
    kind: str
    unit: str
    value: float
    error: float
    ess: float
    rhat: float
    status: str
    model_error: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def average(series: Series, superchains: Sequence[int] | None = None) -> Observed:
    """The observable with its standard error, and whether that error can be relied on.

    The error is ``sd / sqrt(ESS)`` of the averaged quantity, carried through its power to first order. It is relied on
    where the superchains agree (nested R-hat below 1.01, or below what chance alone gives) and the effective sample
    size is at least 100.

    Args:
        series: of all frames.
        superchains: the label of each chain, as of :func:`timewarp.analysis.rhat`.

    >>> rng = np.random.default_rng(0)
    >>> found = average(Series("x", "own", "", rng.normal(size=(8, 500)) + 2.0))
    >>> found.status, abs(found.value - 2.0) < 5 * found.error
    ('ok', True)
    """
    values = np.atleast_2d(np.asarray(series.values, dtype=np.float64))
    middle = float(values.mean())
    size, between = ess(values), rhat(values, superchains)
    error = float(values.std() / math.sqrt(size)) if size > 0 else math.nan
    if not np.isfinite(values).all():
        status = "not converged"
    elif not np.ptp(values) > 1e-12:
        status = "constant"
    else:
        limit = rhat_limit(range(len(values)) if superchains is None else superchains, size)
        status = "ok" if size >= FEWEST_EFFECTIVE and between <= limit else "not converged"
    return Observed(
        series.name,
        series.kind,
        series.unit,
        series.observable(middle),
        abs(series.slope(middle)) * error,
        size,
        between,
        status,
        series.model_error,
    )


def weighted(series: Series, weights: np.ndarray) -> float:
    """The observable under other weights of the frames.

    Args:
        series: of all frames.
        weights: (chains, frames), of sum 1.
    """
    return series.observable(float((np.asarray(series.values, dtype=np.float64) * weights).sum()))
