"""How long a trajectory of Hamiltonian Monte Carlo should be: tried in warm-up, judged by samples per computation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..geometry import dihedrals
from ..shapes import Float, Int
from ..state import State

TRIED_FROM, TRIED_TO = 0.4, 0.9
"""The part of the warm-up in which lengths are tried: after the step size has settled, before its last refinement."""
FEWEST_STEPS = 12
"""A length is judged on no fewer steps than this; a shorter warm-up leaves the length as it is."""
WINDOW = 5.0
"""Autocorrelations are summed up to this many times their sum (Sokal 1997)."""


class LengthTrial:
    """Tries several numbers of leapfrog steps in turn, and keeps that with the cheapest independent sample.

    The integrated autocorrelation time of each observable (sines and cosines of torsions, and the energy) is estimated
    over the steps that a length is tried for, all chains together about their common mean. What a length costs for one
    independent
    sample is ``(overhead + length) * tau`` with the time of the worst observable: forces per cycle, those that the
    cycle's other kernels are worth included. Costs are counted, not timed, so that the same seed tunes alike.

    Args:
        lengths: numbers of leapfrog steps to try.
        torsions: integer (n, 4), the observables.
        overhead: cost of the rest of the cycle, in force evaluations.

    Raises:
        ValueError: nothing to try, or nothing to judge it by.
    """

    def __init__(self, lengths: Sequence[int], torsions: Int[Tensor, "n 4"], overhead: float) -> None:
        if not lengths or min(lengths) < 1:
            raise ValueError(f"lengths to try must be positive numbers of leapfrog steps, got {list(lengths)}")
        if not len(torsions):
            raise ValueError("trajectories are judged by torsions, and there are none: give a fixed n_steps")
        self.lengths = tuple(lengths)
        self.torsions = torsions
        self.overhead = overhead
        self.costs: dict[int, float] = {}
        self._first, self._each = 0, 0
        self._step = 0
        self._series: list[Tensor] = []

    def begin(self, warmup: int) -> None:
        """Plan the trials for a warm-up of this many steps."""
        each = int((TRIED_TO - TRIED_FROM) * warmup) // len(self.lengths)
        self._each = each if each >= FEWEST_STEPS else 0
        self._first = int(TRIED_FROM * warmup)

    def observe(self, state: State, now: int) -> int:
        """Take note of a warm-up step that was made with ``now`` leapfrog steps; return how many the next one takes."""
        self._step += 1
        if not self._each or self._step <= self._first:
            return now
        done, within = divmod(self._step - self._first - 1, self._each)
        if done < len(self.lengths):
            if within:  # the first step was still made with the length before
                angles = dihedrals(state.positions, self.torsions.to(state.positions.device)).double()
                self._series.append(torch.cat([angles.sin(), angles.cos(), state.energy.double()[:, None]], -1))
            if within < self._each - 1:
                return self.lengths[done]
            times = autocorrelation_times(torch.stack(self._series))
            self.costs[self.lengths[done]] = (self.overhead + self.lengths[done]) * float(times.max())
            self._series = []
            if done + 1 < len(self.lengths):
                return self.lengths[done + 1]
            return min(self.costs, key=lambda length: (self.costs[length], length))
        return now


def autocorrelation_times(series: Float[Tensor, "steps chains observables"]) -> Float[Tensor, " observables"]:
    """Integrated autocorrelation times in steps, of all chains about their common mean; 1 for what never changes.

    >>> draws = torch.randn(50, 400, 1, generator=torch.Generator().manual_seed(0))
    >>> bool((autocorrelation_times(draws) - 1).abs() < 0.2)
    True
    """
    centred = series - series.mean((0, 1))
    variance = centred.square().mean((0, 1))
    constant = variance < 1e-12
    variance = torch.where(constant, torch.ones_like(variance), variance)
    times = torch.ones_like(variance)
    open_ = ~constant
    for lag in range(1, series.shape[0] // 2):
        rho = (centred[:-lag] * centred[lag:]).mean((0, 1)) / variance
        open_ = open_ & (lag <= WINDOW * times)
        times = torch.where(open_, times + 2 * rho, times)
    return times.clamp_min(1.0)
