"""The Metropolis-Hastings decision; the only place in the package that accepts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .. import geometry
from ..flows.proposer import Proposal
from ..geometry import measure_dihedrals
from ..shapes import Bool, Float, Int
from ..state import State
from .kernel import Outcome
from .target import Target


@dataclass(frozen=True)
class Speculation:
    """Candidates for several steps of each chain, all drawn from its current state; see :func:`first_accepted`.

    Attributes:
        positions: the candidates x' of step 1, 2, ..., in nm.
        log_ratio: as in :class:`~timewarp.flows.Proposal`. Whatever a step draws besides the candidate must have been
            drawn afresh for each.
        most: how many of the steps each chain may make, from 0 to n; candidates of later ones are not looked at.
    """

    positions: Float[Tensor, "n chains atoms 3"]
    log_ratio: Float[Tensor, "n chains"]
    most: Int[Tensor, " chains"]

    @property
    def wanted(self) -> Bool[Tensor, "n chains"]:
        """Which candidates are looked at."""
        n = self.log_ratio.shape[0]
        return torch.arange(n, device=self.most.device)[:, None] < self.most


def metropolis(state: State, proposal: Proposal, target: Target, generator: torch.Generator) -> tuple[State, Outcome]:
    """Accept each chain's candidate with probability min(1, r), independently of the other chains.

    ``log r = -(U(x') - U(x)) / kT + log q(x | x') - log q(x' | x)`` (Hastings 1970), in float64. A candidate with a
    non-finite energy or log ratio is rejected and counted; so is one outside the target's restriction.

    The uniform number is ``1 - u`` with u in [0, 1) of 53 bits: its logarithm is never minus infinity, which would
    accept anything (float32 would do so once in 2^24 proposals).

    Args:
        state: the current state; its energy is never evaluated again.
        proposal: one candidate per chain; on a target that is invariant to rigid motion it is centred here.
        target: the distribution.
        generator: source of the uniform numbers, one per chain whatever happens.

    Raises:
        ValueError: the current energy of a chain is not finite: the chain was never in the target.
    """
    _check_current(state)
    uniform = torch.rand(state.n_chains, generator=generator, dtype=torch.float64, device=state.positions.device)
    candidates = proposal.positions if proposal.is_centred else target.recentre(proposal.positions)
    energy = target.energy(candidates) if proposal.energy is None else proposal.energy
    decided = _decide(state.energy, candidates, energy, proposal.log_ratio, target, uniform)
    accepted = decided.accepted
    new = State(
        positions=torch.where(accepted[:, None, None], candidates, state.positions),
        energy=torch.where(accepted, energy, state.energy),
    )
    outcome = Outcome(
        proposed=torch.ones_like(accepted, dtype=torch.long),
        accepted=accepted.long(),
        nonfinite=(~decided.finite).long(),
        restricted=decided.crossed.long(),
        flipped=decided.flipped.long(),
        jumped=(jumps(state.positions, candidates, target.watched) & accepted).long(),
        acceptance=decided.acceptance,
    )
    return new, outcome


def first_accepted(
    state: State, speculation: Speculation, target: Target, generator: torch.Generator
) -> tuple[State, Outcome]:
    """Several Metropolis-Hastings steps of each chain at once, up to and including the first one that accepts.

    As long as steps reject, the next one starts from the same state; so its candidate can be drawn and judged ahead
    of time. Each candidate is decided upon as in :func:`metropolis`, with a uniform number of its own. A chain has made
    its steps up to the first that accepts, and candidates behind it are dropped; without one, all ``most`` of them.
    That many steps one after the other would have done the same. The caller has to go on until every chain has made
    its steps: to stop all chains here would time what follows by their acceptance.

    Args:
        state: the current state; its energy is never evaluated again.
        speculation: candidates of each chain.
        target: the distribution; evaluates all candidates that are looked at, dropped ones included.
        generator: source of the uniform numbers, one per candidate whatever happens.

    Returns:
        The new state, and outcomes that count the steps made: ``proposed`` is their number.

    Raises:
        ValueError: the current energy of a chain is not finite: the chain was never in the target.
    """
    _check_current(state)
    n, chains = speculation.log_ratio.shape
    device = state.positions.device
    uniform = torch.rand(n, chains, generator=generator, dtype=torch.float64, device=device)
    wanted = speculation.wanted
    candidates = speculation.positions[wanted]
    energies = target.energy(candidates)
    now = state.energy.expand(n, chains)[wanted]
    decided = _decide(now, candidates, energies, speculation.log_ratio[wanted], target, uniform[wanted])

    def spread(rows: Tensor) -> Tensor:
        out = torch.zeros(n, chains, dtype=rows.dtype, device=device)
        out[wanted] = rows
        return out

    would = spread(decided.accepted)
    made = wanted & (would.cumsum(0) - would.long() == 0)
    accepted = would & made
    moved = accepted.any(0)
    which = accepted.long().argmax(0), torch.arange(chains, device=device)
    new = State(
        positions=torch.where(moved[:, None, None], speculation.positions[which], state.positions),
        energy=torch.where(moved, spread(energies)[which], state.energy),
    )
    outcome = Outcome(
        proposed=made.sum(0),
        accepted=moved.long(),
        nonfinite=(made & spread(~decided.finite)).sum(0),
        restricted=(made & spread(decided.crossed)).sum(0),
        flipped=(made & spread(decided.flipped)).sum(0),
        jumped=(jumps(state.positions, new.positions, target.watched) & moved).long(),
        acceptance=torch.where(made, spread(decided.acceptance), 0.0).sum(0),
    )
    return new, outcome


@dataclass(frozen=True)
class _Decisions:
    """What was decided on each of some candidates, and why."""

    finite: Bool[Tensor, " candidates"]
    flipped: Bool[Tensor, " candidates"]
    crossed: Bool[Tensor, " candidates"]
    acceptance: Float[Tensor, " candidates"]
    accepted: Bool[Tensor, " candidates"]


def _decide(
    now: Tensor, candidates: Tensor, energies: Tensor, log_q_ratio: Tensor | None, target: Target, uniform: Tensor
) -> _Decisions:
    log_ratio = target.reduced_energy(now - energies)
    if log_q_ratio is not None:
        log_ratio = log_ratio + log_q_ratio.double()
    finite = torch.isfinite(log_ratio) & torch.isfinite(energies)
    flipped = target.flipped(candidates) & finite
    crossed = flipped | (target.turned(candidates) & finite)
    possible = finite & ~crossed
    acceptance = torch.where(possible, log_ratio.clamp(max=0.0).exp(), 0.0)
    accepted = possible & (torch.log1p(-uniform) < log_ratio)
    return _Decisions(finite, flipped, crossed, acceptance, accepted)


def _check_current(state: State) -> None:
    if not torch.isfinite(state.energy).all():
        bad = int((~torch.isfinite(state.energy)).nonzero()[0])
        raise ValueError(f"the current energy of chain {bad} is {float(state.energy[bad])}; it cannot be sampled from")


def jumps(
    before: Float[Tensor, "chains atoms 3"], after: Float[Tensor, "chains atoms 3"], torsions: Int[Tensor, "n 4"]
) -> Bool[Tensor, " chains"]:
    """Which pairs of configurations differ by more than 60 degrees in any of the torsions."""
    if len(torsions) == 0:
        return torch.zeros(before.shape[0], dtype=torch.bool, device=before.device)
    # Both in one call: every step of every kernel is counted.
    angles = measure_dihedrals(torch.stack([before, after]), torsions.to(before.device))
    return geometry.jumps(angles[0], angles[1]).any(-1)
