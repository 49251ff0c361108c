"""How often Metropolis-Hastings would accept proposals, estimated from given states."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..shapes import Float
from .proposer import Proposer

CHUNK = 1024
"""States from which proposals are made at once."""

ReducedEnergy = Callable[[Float[Tensor, "batch atoms 3"]], Float[Tensor, " batch"]]
"""Positions in nm -> U / kT; infinite outside of a target's restriction."""


@dataclass(frozen=True)
class Acceptance:
    """One proposal from each of some states.

    Attributes:
        candidates: the proposals, in nm.
        reduced_energies: U / kT of the candidates.
        probability: min(1, r) of each, float64.
    """

    candidates: Float[Tensor, "states atoms 3"]
    reduced_energies: Float[Tensor, " states"]
    probability: Float[Tensor, " states"]

    @property
    def mean(self) -> float:
        """Mean acceptance."""
        return float(self.probability.mean())

    @property
    def error(self) -> float:
        """Standard error of the mean, for independent states; infinite for one state."""
        n = len(self.probability)
        return float(self.probability.std()) / math.sqrt(n) if n > 1 else math.inf


@torch.no_grad()
def expected_acceptance(
    proposer: Proposer,
    x: Float[Tensor, "states atoms 3"],
    reduced_energy: ReducedEnergy,
    generator: torch.Generator,
) -> Acceptance:
    """The acceptance of one proposal from each state, averaged over the decision: less noise than decisions have.

    From states of the target distribution it is the acceptance rate of a chain in equilibrium.

    Args:
        proposer: whose proposals are judged.
        x: in nm.
        reduced_energy: the target's.
        generator: of the proposals.
    """
    parts = []
    for current in x.split(CHUNK):
        proposal = proposer.propose(current, generator)
        before, after = reduced_energy(current).double(), reduced_energy(proposal.positions).double()
        log_r = before - after
        if proposal.log_ratio is not None:
            log_r = log_r + proposal.log_ratio.double()
        parts.append((proposal.positions, after, acceptance_probability(log_r)))
    return Acceptance(*(torch.cat(column) for column in zip(*parts, strict=True)))


def acceptance_probability(log_r: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """min(1, r) of Metropolis and Hastings; 0 where log r is not finite."""
    return torch.where(log_r.isfinite(), log_r, -torch.inf).clamp(max=0.0).exp()
