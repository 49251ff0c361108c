"""Metropolis-Hastings with a learned global proposal over internal coordinates (families B and C)."""

from __future__ import annotations

import torch
from torch import Tensor

from ..flows.density import InternalDensity
from ..flows.native import NativeFlow, with_engine
from ..flows.proposal import propose, redrawn_coordinates
from ..flows.proposer import Proposal
from ..geometry import InternalTree, to_internal, to_positions
from ..shapes import Float
from ..state import State
from .move import Move
from .target import Target


class FlowKernel(Move):
    """Redraw internal coordinates from a trained density, and accept or reject.

    :func:`timewarp.flows.proposal.propose` draws the candidate and derives the ratio; here it gets its positions, on
    the root atoms of the current ones, and is decided upon. Draws outside the chart are rejected, and counted as
    non-finite.

    Args:
        target: a target that is invariant to rigid motion.
        density: the trained density (``timewarp.flows``), or an analytic one.
        tree: the molecule's internal-coordinate tree.
        name: the key of its outcomes.
        engine: what computes the density; see :func:`timewarp.flows.native.with_engine`. The compiled kernels take the
            weights as they are now.

    Raises:
        ValueError: the target is not invariant to rigid motion, or the engine cannot compute this density.
    """

    name = "flow"
    cost = 90.0  # alanine dipeptide with the shipped network, compiled

    def __init__(
        self,
        target: Target,
        density: InternalDensity,
        tree: InternalTree,
        *,
        name: str | None = None,
        engine: str | None = None,
    ) -> None:
        if not target.invariant:
            raise ValueError("a proposal in internal coordinates needs a target that is invariant to rigid motion")
        super().__init__(target, name)
        self.density = with_engine(density, engine)
        self.tree = tree
        self.redrawn = redrawn_coordinates(density, tree)

    def __repr__(self) -> str:
        redrawn = f"{int(self.redrawn.sum())} coordinates redrawn"
        return f"FlowKernel({self.name!r}, family {self.density.family}, {redrawn}, {self.engine} engine)"

    @property
    def engine(self) -> str:
        """What computes the density: ``"native"`` or ``"torch"``."""
        return "native" if isinstance(self.density, NativeFlow) else "torch"

    def draw(self, state: State, generator: torch.Generator) -> Float[Tensor, "chains atoms 3"]:
        """One candidate per chain without the density's opinion of it."""
        return self.target.recentre(self.propose(state, generator).positions)

    @torch.no_grad()
    def propose(self, state: State, generator: torch.Generator) -> Proposal:
        """One candidate per chain, with the log ratio of its densities."""
        if isinstance(self.density, NativeFlow):
            positions, log_q_ratio = self.density.propose(state.positions, generator)
            return Proposal(positions, log_q_ratio, is_centred=True)
        here = to_internal(state.positions, self.tree)
        there, log_q_ratio = propose(self.density, here, self.tree, generator)
        positions = to_positions(there, self.tree, frame=state.positions)
        return Proposal(positions, log_q_ratio)
