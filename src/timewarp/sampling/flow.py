"""Metropolis-Hastings with a learned global proposal over internal coordinates (families B and C)."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from ..flows.density import InternalDensity
from ..geometry import InternalTree, dihedrals, log_volume, to_internal, to_positions, wrap
from ..shapes import Bool, Float, Int
from ..state import State
from .kernel import Info, Kernel
from .metropolis import Proposal, metropolis
from .target import Target

JUMP_DEGREES = 60.0
"""An accepted move jumps if it changes a phi or psi by more than this."""


class FlowKernel(Kernel):
    """Redraw internal coordinates from a trained density, and accept or reject.

    Write x for positions, y for internal coordinates without the rigid motion, and V(y) = prod b^2 prod sin(theta), so
    that dx = (rigid motion) V(y) dy. The rigid motion is kept (the candidate is placed on the root atoms of x), and
    neither U nor the target sees it. A density q of y' with respect to dy' = prod db dtheta dphi is q / V(y') with
    respect to dx', so

        log q(x | x') - log q(x' | x) = [log q(y | y') - log V(y)] - [log q(y' | y) - log V(y')].

    The same formula serves family C, which redraws the soft torsions only: it keeps every bond length and angle, on
    which alone V depends, so that V cancels; the coordinates that it keeps are the same conditioning in both
    directions, and no density is needed for them. A density whose condition sees what it redraws is encoded twice.

    A draw outside the chart (b <= 0, theta outside (0, pi), a dihedral outside [-pi, pi]) would have other internal
    coordinates than those whose density was taken; it is rejected, and counted as non-finite.

    Args:
        target: a target that is invariant to rigid motion.
        density: the trained density (``timewarp.flows``), or an analytic one.
        tree: the molecule's internal-coordinate tree.
        watched: integer (n, 4), torsions (phi, psi) whose jumps are counted.
        name: the key of its outcomes.

    Raises:
        ValueError: the target is not invariant to rigid motion.
    """

    def __init__(
        self,
        target: Target,
        density: InternalDensity,
        tree: InternalTree,
        *,
        watched: Int[Tensor, "n 4"] | None = None,
        name: str = "flow",
    ) -> None:
        if not target.invariant:
            raise ValueError("a proposal in internal coordinates needs a target that is invariant to rigid motion")
        super().__init__(target, name)
        self.density = density
        self.tree = tree
        self.watched = torch.zeros(0, 4, dtype=torch.long) if watched is None else watched
        soft = torch.zeros(tree.n_atoms, 3, dtype=torch.bool)
        soft[list(tree.rotatable), 2] = True
        self.redrawn = soft if density.family == "C" else tree.defined

    def __repr__(self) -> str:
        return f"FlowKernel({self.name!r}, family {self.density.family}, {int(self.redrawn.sum())} coordinates redrawn)"

    @torch.no_grad()
    def step(self, state: State, generator: torch.Generator) -> tuple[State, Info]:
        """Propose once in every chain."""
        proposal = self.propose(state, generator)
        new, outcome = metropolis(state, proposal, self.target, generator)
        jumped = jumps(state.positions, proposal.positions, self.watched) & outcome.accepted.bool()
        return new, {self.name: replace(outcome, jumped=jumped.long())}

    @torch.no_grad()
    def propose(self, state: State, generator: torch.Generator) -> Proposal:
        """One candidate per chain, with the log ratio of its densities."""
        here = to_internal(state.positions, self.tree)
        cast = self._cast(here)
        condition = self.density.encode(cast)
        drawn, log_q_there = self.density.sample(condition, 1, generator)
        # What is not redrawn is kept to the last bit, even where the density works in a lower precision.
        there = torch.where(self.redrawn.to(here.device), drawn[0].to(here), here)
        back = condition if self.density.condition_is_invariant else self.density.encode(there.to(cast))
        log_q_here = self.density.log_prob(cast, back)
        log_q_ratio = (log_q_here.double() - self._log_volume(here)) - (
            log_q_there[0].double() - self._log_volume(there)
        )
        inside = in_chart(there, self.tree)
        positions = to_positions(there, self.tree, frame=state.positions)
        return Proposal(
            positions=self.target.recentre(positions),
            log_q_ratio=torch.where(inside, log_q_ratio, torch.nan),
        )

    def _log_volume(self, internal: Tensor) -> Tensor:
        return log_volume(internal, self.tree).double()

    def _cast(self, internal: Tensor) -> Tensor:
        if isinstance(self.density, nn.Module):
            for parameter in self.density.parameters():
                return internal.to(parameter.dtype)
        return internal


def in_chart(internal: Float[Tensor, "chains atoms 3"], tree: InternalTree) -> Bool[Tensor, " chains"]:
    """Whether b > 0, 0 < theta < pi and -pi <= dihedral <= pi for every defined coordinate; False for NaN."""
    defined = tree.defined.to(internal.device)
    length, angle, dihedral = internal.unbind(-1)
    good = torch.stack([length > 0, (angle > 0) & (angle < math.pi), dihedral.abs() <= math.pi + 1e-5], -1)
    return (good | ~defined).flatten(1).all(-1)


def jumps(
    before: Float[Tensor, "chains atoms 3"], after: Float[Tensor, "chains atoms 3"], torsions: Int[Tensor, "n 4"]
) -> Bool[Tensor, " chains"]:
    """Which pairs of configurations differ by more than 60 degrees in any of the torsions."""
    if len(torsions) == 0:
        return torch.zeros(before.shape[0], dtype=torch.bool, device=before.device)
    torsions = torsions.to(before.device)
    change = wrap(dihedrals(after, torsions) - dihedrals(before, torsions))
    return (change.abs() > math.radians(JUMP_DEGREES)).any(-1)
