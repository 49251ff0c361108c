"""A Metropolis-Hastings move: it says what it proposes, and everything else is done for it."""

from __future__ import annotations

import torch

from ..flows.proposer import Proposal
from ..state import State
from .kernel import Info, Kernel, Outcome
from .metropolis import metropolis
from .target import Target


class Move(Kernel):
    """A kernel that proposes one candidate per chain and leaves the decision to Metropolis-Hastings.

    A subclass implements :meth:`propose`. The base centres the candidates (on a target that is invariant to rigid
    motion), accepts or rejects each, and counts proposals, acceptances, refusals and jumps. So a subclass is exact if
    its ``log_ratio`` is right, and if what it draws depends on the state and the generator alone.

    Args:
        target: the distribution: a ``timewarp.System``, or any :class:`Target`.
        name: the key of its outcomes; the class's ``name`` by default.

    Example:
        A symmetric move of one's own: every atom is displaced by a normal number.

        >>> import torch
        >>> from timewarp.sampling import Move, Proposal, Target
        >>> class Shake(Move):
        ...     name = "shake"
        ...     def propose(self, state, generator):
        ...         noise = torch.randn(state.positions.shape, generator=generator)
        ...         return Proposal(state.positions + 0.1 * noise)
        >>> class Spring:
        ...     def energy(self, positions):
        ...         return positions.square().sum((-1, -2))
        >>> shake = Shake(Target(Spring(), 300.0, invariant=False))
        >>> state, info = shake.step(shake.init(torch.zeros(5, 1, 3)), torch.Generator().manual_seed(0))
        >>> int(info["shake"].proposed.sum())
        5
    """

    name = "move"

    def __init__(self, target: Target, name: str | None = None) -> None:
        super().__init__(target, type(self).name if name is None else name)

    def propose(self, state: State, generator: torch.Generator) -> Proposal:
        """A candidate for each chain, with ``log q(x | x') - log q(x' | x)`` unless the proposal is symmetric."""
        raise NotImplementedError

    @torch.no_grad()
    def step(self, state: State, generator: torch.Generator) -> tuple[State, Info]:
        """One proposal of every chain, and the decision on it."""
        state, outcome = self.decide(state, self.propose(state, generator), generator)
        return state, {self.name: outcome}

    def decide(self, state: State, proposal: Proposal, generator: torch.Generator) -> tuple[State, Outcome]:
        """Accept or reject each chain's candidate; see :func:`~timewarp.sampling.metropolis.metropolis`."""
        return metropolis(state, proposal, self.target, generator)
