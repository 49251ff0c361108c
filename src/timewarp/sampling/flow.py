"""Metropolis-Hastings with a learned global proposal over internal coordinates (families B and C)."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from ..flows.density import InternalDensity
from ..flows.native import NativeFlow, with_engine
from ..flows.proposal import propose, redrawn_coordinates
from ..geometry import InternalTree, measure_dihedrals, to_internal, to_positions, wrap
from ..shapes import Bool, Float, Int
from ..state import State
from .kernel import Info, Kernel
from .metropolis import Proposal, metropolis
from .target import Target

JUMP_DEGREES = 60.0
"""An accepted move jumps if it changes a phi or psi by more than this."""


class FlowKernel(Kernel):
    """Redraw internal coordinates from a trained density, and accept or reject.

    :func:`timewarp.flows.proposal.propose` draws the candidate and derives the ratio; here it gets its positions, on
    the root atoms of the current ones, and is decided upon. Draws outside the chart are rejected, and counted as
    non-finite.

    Args:
        target: a target that is invariant to rigid motion.
        density: the trained density (``timewarp.flows``), or an analytic one.
        tree: the molecule's internal-coordinate tree.
        watched: integer (n, 4), torsions (phi, psi) whose jumps are counted.
        name: the key of its outcomes.
        engine: what computes the density; see :func:`timewarp.flows.native.with_engine`. The compiled kernels take the
            weights as they are now.

    Raises:
        ValueError: the target is not invariant to rigid motion, or the engine cannot compute this density.
    """

    cost = 90.0  # alanine dipeptide with the shipped network, compiled

    def __init__(
        self,
        target: Target,
        density: InternalDensity,
        tree: InternalTree,
        *,
        watched: Int[Tensor, "n 4"] | None = None,
        name: str = "flow",
        engine: str | None = None,
    ) -> None:
        if not target.invariant:
            raise ValueError("a proposal in internal coordinates needs a target that is invariant to rigid motion")
        super().__init__(target, name)
        self.density = with_engine(density, engine)
        self.tree = tree
        self.watched = torch.zeros(0, 4, dtype=torch.long) if watched is None else watched
        self.redrawn = redrawn_coordinates(density, tree)

    def __repr__(self) -> str:
        redrawn = f"{int(self.redrawn.sum())} coordinates redrawn"
        return f"FlowKernel({self.name!r}, family {self.density.family}, {redrawn}, {self.engine} engine)"

    @property
    def engine(self) -> str:
        """What computes the density: ``"native"`` or ``"torch"``."""
        return "native" if isinstance(self.density, NativeFlow) else "torch"

    @torch.no_grad()
    def step(self, state: State, generator: torch.Generator) -> tuple[State, Info]:
        """Propose once in every chain."""
        proposal = self.propose(state, generator)
        new, outcome = metropolis(state, proposal, self.target, generator)
        jumped = jumps(state.positions, proposal.positions, self.watched) & outcome.accepted.bool()
        return new, {self.name: replace(outcome, jumped=jumped.long())}

    def draw(self, state: State, generator: torch.Generator) -> Float[Tensor, "chains atoms 3"]:
        """One candidate per chain without the density's opinion of it."""
        return self.propose(state, generator).positions

    @torch.no_grad()
    def propose(self, state: State, generator: torch.Generator) -> Proposal:
        """One candidate per chain, with the log ratio of its densities."""
        if isinstance(self.density, NativeFlow):
            positions, log_q_ratio = self.density.propose(state.positions, generator)
            return Proposal(positions=positions, log_q_ratio=log_q_ratio)
        here = to_internal(state.positions, self.tree)
        there, log_q_ratio = propose(self.density, here, self.tree, generator)
        positions = to_positions(there, self.tree, frame=state.positions)
        return Proposal(positions=self.target.recentre(positions), log_q_ratio=log_q_ratio)


def jumps(
    before: Float[Tensor, "chains atoms 3"], after: Float[Tensor, "chains atoms 3"], torsions: Int[Tensor, "n 4"]
) -> Bool[Tensor, " chains"]:
    """Which pairs of configurations differ by more than 60 degrees in any of the torsions."""
    if len(torsions) == 0:
        return torch.zeros(before.shape[0], dtype=torch.bool, device=before.device)
    torsions = torsions.to(before.device)
    change = wrap(measure_dihedrals(after, torsions) - measure_dihedrals(before, torsions))
    return (change.abs() > math.radians(JUMP_DEGREES)).any(-1)
