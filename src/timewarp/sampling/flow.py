"""Metropolis-Hastings with a learned proposal."""

from __future__ import annotations

import torch
from torch import Tensor

from ..flows.proposer import Proposal, Proposer
from ..state import State
from .move import Move
from .target import Target


class FlowMove(Move):
    """Propose from a network, or from anything else with a ``propose``, and accept or reject.

    Args:
        target: the distribution; one that is invariant to rigid motion, if internal coordinates are redrawn.
        proposer: see :class:`timewarp.flows.Proposer`.
        name: the key of its outcomes.

    Raises:
        ValueError: the proposer redraws internal coordinates, and the target is not invariant to rigid motion.
    """

    name = "flow"

    def __init__(self, target: Target, proposer: Proposer, name: str | None = None) -> None:
        super().__init__(target, name)
        self.proposer = proposer
        self.redraws: Tensor | None = getattr(proposer, "redraws", None)
        self.engine = str(getattr(proposer, "engine", "torch"))
        if self.redraws is not None and not target.invariant:
            raise ValueError("a proposal in internal coordinates needs a target that is invariant to rigid motion")

    def __repr__(self) -> str:
        redrawn = "all" if self.redraws is None else int(self.redraws.sum())
        return f"{type(self).__name__}({self.name!r}, {redrawn} coordinates redrawn, {self.engine} engine)"

    @property
    def cost(self) -> float:  # type: ignore[override]
        """Of one proposal."""
        return float(getattr(self.proposer, "cost", 1.0))

    def propose(self, state: State, generator: torch.Generator) -> Proposal:
        """One candidate per chain, with the log ratio of its densities."""
        return self.proposer.propose(state.positions, generator)
