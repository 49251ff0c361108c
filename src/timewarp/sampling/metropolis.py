"""The Metropolis-Hastings decision; the only place in the package that accepts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..shapes import Float
from ..state import State
from .kernel import Outcome
from .target import Target


@dataclass(frozen=True)
class Proposal:
    """Candidates and what their densities add to the acceptance ratio.

    Attributes:
        positions: the candidates x', in nm.
        log_q_ratio: ``log q(x | x') - log q(x' | x)``, densities with respect to Cartesian volume. For a kernel with
            auxiliary variables (momenta) the log ratio of their densities; 0 for a symmetric proposal.
        energy: U(x') in kJ/mol where the kernel has it already; otherwise it is evaluated here.
    """

    positions: Float[Tensor, "chains atoms 3"]
    log_q_ratio: Float[Tensor, " chains"]
    energy: Float[Tensor, " chains"] | None = None


def metropolis(state: State, proposal: Proposal, target: Target, generator: torch.Generator) -> tuple[State, Outcome]:
    """Accept each chain's candidate with probability min(1, r), independently of the other chains.

    ``log r = -(U(x') - U(x)) / kT + log q(x | x') - log q(x' | x)`` (Hastings 1970), in float64. A candidate with a
    non-finite energy or log ratio is rejected and counted; so is one outside the target's restriction.

    The uniform number is ``1 - u`` with u in [0, 1) of 53 bits: its logarithm is never minus infinity, which would
    accept anything (float32 would do so once in 2^24 proposals).

    Args:
        state: the current state; its energy is never evaluated again.
        proposal: one candidate per chain.
        target: the distribution.
        generator: source of the uniform numbers, one per chain whatever happens.

    Raises:
        ValueError: the current energy of a chain is not finite: the chain was never in the target.
    """
    if not torch.isfinite(state.energy).all():
        bad = int((~torch.isfinite(state.energy)).nonzero()[0])
        raise ValueError(f"the current energy of chain {bad} is {float(state.energy[bad])}; it cannot be sampled from")
    uniform = torch.rand(state.n_chains, generator=generator, dtype=torch.float64, device=state.positions.device)
    energy = target.energy(proposal.positions) if proposal.energy is None else proposal.energy
    log_ratio = target.reduced_energy(state.energy - energy) + proposal.log_q_ratio.double()
    finite = torch.isfinite(log_ratio) & torch.isfinite(energy)
    flipped = target.flipped(proposal.positions) & finite
    crossed = flipped | (target.turned(proposal.positions) & finite)
    possible = finite & ~crossed
    acceptance = torch.where(possible, log_ratio.clamp(max=0.0).exp(), 0.0)
    accepted = possible & (torch.log1p(-uniform) < log_ratio)
    new = State(
        positions=torch.where(accepted[:, None, None], proposal.positions, state.positions),
        energy=torch.where(accepted, energy, state.energy),
        auxiliary=state.auxiliary,
    )
    outcome = Outcome(
        proposed=torch.ones_like(accepted, dtype=torch.long),
        accepted=accepted.long(),
        nonfinite=(~finite).long(),
        restricted=crossed.long(),
        flipped=flipped.long(),
        jumped=torch.zeros_like(accepted, dtype=torch.long),
        acceptance=acceptance,
    )
    return new, outcome
