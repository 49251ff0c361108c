"""Metropolis-Hastings with independent redraws: several proposals for one scoring of the current state."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..flows.proposer import IndependentProposer, Proposal
from ..shapes import Float
from ..state import State
from .flow import FlowMove
from .kernel import Info, Outcome, add_infos
from .target import Target

DRAWS = 2
"""Proposals for one scoring: half as many again in the same time, local moves included.

Where few proposals are accepted, the second one is as good as the first; where most are, it changes little.
"""


class RegrowthMove(FlowMove):
    """Redraw some coordinates given all that stays, ``draws`` times in a step.

    What is redrawn does not depend on what it replaces: given the rest, candidates are independent, and the density of
    a state is that with which it was drawn. So a step makes ``draws`` proposals one after the other, each with its own
    decision, and scores only the state that it began with.

    Args:
        target: a target that is invariant to rigid motion.
        proposer: of independent candidates.
        name: the key of its outcomes.
        draws: proposals of a step.

    Raises:
        ValueError: the target is not invariant, or no proposal is to be made.
    """

    proposer: IndependentProposer

    def __init__(
        self, target: Target, proposer: IndependentProposer, name: str | None = None, *, draws: int = DRAWS
    ) -> None:
        super().__init__(target, proposer, name)
        if draws < 1:
            raise ValueError(f"a step makes at least one proposal, got {draws}")
        self.draws = draws

    @property
    def cost(self) -> float:  # type: ignore[override]
        """Of one scoring and all proposals."""
        proposer = self.proposer
        return proposer.cost_of_scoring + self.draws * (proposer.cost - proposer.cost_of_scoring)

    @torch.no_grad()
    def step(self, state: State, generator: torch.Generator) -> tuple[State, Info]:
        """Propose ``draws`` times in every chain."""
        chosen = self.proposer.choose(generator)
        info: Info = {}
        x = state.positions
        current: Any = None
        for k in range(self.draws):
            candidates, forward, scored = self.proposer.redraw(x, chosen, generator, score=k == 0)
            current = scored if k == 0 else current
            state, outcome = self.decide(state, Proposal(candidates, self.log_ratio(forward, current)), generator)
            current = self.density_after(outcome, forward, current)
            info = add_infos(info, {self.name: outcome})
        return state, info

    def log_ratio(self, forward: Float[Tensor, " chains"], current: Float[Tensor, " chains"]) -> Tensor:
        """log q(x | x') - log q(x' | x), from the log densities of the candidates and of the current states."""
        return current - forward

    def density_after(self, outcome: Outcome, forward: Tensor, current: Tensor) -> Float[Tensor, " chains"]:
        """Log density of the states after a decision."""
        return torch.where(outcome.accepted.bool(), forward, current)
