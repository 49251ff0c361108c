"""The move that suits what a proposer can do."""

from __future__ import annotations

from ..flows.proposer import IndependentProposer, Proposer, SpeculativeProposer
from .batched import MOST_PROPOSALS, BatchedMove
from .flow import FlowMove
from .regrowth import DRAWS, RegrowthMove
from .target import Target


def learned_move(
    target: Target,
    proposer: Proposer,
    name: str = "flow",
    *,
    draws: int = DRAWS,
    proposals: int | None = None,
    n_steps: int | None = None,
    most_proposals: int = MOST_PROPOSALS,
) -> FlowMove:
    """The Metropolis-Hastings move of a proposer: :class:`FlowMove` for whatever has a ``propose``.

    A :class:`~timewarp.flows.SpeculativeProposer` makes a :class:`BatchedMove`, an
    :class:`~timewarp.flows.IndependentProposer` a :class:`RegrowthMove`.

    Args:
        target: the distribution.
        proposer: of a network (:meth:`timewarp.flows.Network.proposers`), or one's own.
        name: the key of its outcomes.
        draws: proposals of a step, for independent candidates.
        proposals: candidates of a batch, for speculative ones; None to tune the number in the warm-up.
        n_steps: Metropolis-Hastings steps of a step, for speculative candidates; None for ``proposals``.
        most_proposals: largest batch that the warm-up tunes to.

    Raises:
        ValueError: the target does not suit, or a batch was asked for of a proposer that draws one candidate at a time.
    """
    if isinstance(proposer, SpeculativeProposer):
        return BatchedMove(target, proposer, name, proposals=proposals, n_steps=n_steps, most_proposals=most_proposals)
    if proposals is not None or n_steps is not None:
        raise ValueError(f"{proposer!r} draws one candidate at a time; leave out proposals and n_steps")
    if isinstance(proposer, IndependentProposer):
        return RegrowthMove(target, proposer, name, draws=draws)
    return FlowMove(target, proposer, name)
