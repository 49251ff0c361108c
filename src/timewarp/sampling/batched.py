"""Metropolis-Hastings on an augmented target, with proposals in batches (Timewarp as published)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields

import torch
from torch import Tensor

from ..flows.proposer import SpeculativeProposer
from ..shapes import Int
from ..state import State
from .flow import FlowMove
from .kernel import Info, Outcome, Tuning
from .metropolis import Speculation, first_accepted
from .target import Target

MOST_PROPOSALS = 512
"""Largest batch that the warm-up chooses."""
LARGEST_BATCH = 100_000
"""Largest batch that is taken over from another run."""
FIRST_PROPOSALS = 8
"""Batch with which the warm-up starts."""
BATCH_SUCCESS = 0.9
"""A tuned batch holds an accepted proposal with this probability."""
MEMORY = 0.98
"""What the acceptance of one warm-up step counts in the next: that of the first, strained ones is forgotten."""
ROWS = 4096
"""Configurations that go through the network at once, at most."""


class BatchedMove(FlowMove):
    """``n_steps`` Metropolis-Hastings steps on ``exp(-U(x) / kT) N(v; 0, I)``, with v redrawn before each of them.

    A step is (Klein et al. 2023, section 4): the Gibbs update ``v ~ N(0, I)``; a candidate ``(x', v') ~ q(. | x)``;
    acceptance with

        log r = -(U(x') - U(x)) / kT + log N(v') - log N(v) + log q(x, v | x') - log q(x', v' | x).

    Since v is redrawn before it is used, a state holds x alone.

    Steps are made in batches: ``proposals`` candidates are drawn from one state, each with a v of its own, and the
    first accepted one ends the batch (:func:`~timewarp.sampling.metropolis.first_accepted`). Chains accept at different
    places and start their next batch from there, until each has made exactly ``n_steps`` steps. The number of steps
    never depends on what was accepted: if it did, or if one v served a whole batch, the chain would be biased. So the
    size of the batch decides how fast it is and nothing else.

    A larger batch shares the work on the condition, and fills a machine that few chains leave idle; it wastes the
    candidates behind the first accepted one. Warm-up chooses the size that holds an accepted proposal with probability
    0.9 at the acceptance p met there, ``ceil(ln(1 - 0.9) / ln(1 - p))``; :meth:`freeze` fixes it.

    Args:
        target: the distribution.
        proposer: of candidates with auxiliary variables, several from one state.
        name: the key of its outcomes.
        proposals: size of a batch; None to tune it in warm-up.
        n_steps: Metropolis-Hastings steps of one :meth:`step`; None for as many as there are proposals in a batch.
        most_proposals: largest batch to be tuned.
        rows: configurations that go through the network at once, at most.

    Raises:
        ValueError: a number is below 1.
    """

    proposer: SpeculativeProposer

    def __init__(
        self,
        target: Target,
        proposer: SpeculativeProposer,
        name: str | None = None,
        *,
        proposals: int | None = None,
        n_steps: int | None = None,
        most_proposals: int = MOST_PROPOSALS,
        rows: int = ROWS,
    ) -> None:
        super().__init__(target, proposer, name)
        for what, value in (
            ("proposals", proposals),
            ("n_steps", n_steps),
            ("most_proposals", most_proposals),
            ("rows", rows),
        ):
            if value is not None and value < 1:
                raise ValueError(f"{what} must be at least 1, got {value}")
        self.tuned = proposals is None
        self.most_proposals = most_proposals
        self.proposals = min(FIRST_PROPOSALS, most_proposals) if proposals is None else proposals
        self.rows = rows
        self._fixed_steps = n_steps
        self._adapting = self.tuned
        self._proposed = self._accepted = 0.0

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self.n_steps} steps in batches of {self.proposals})"

    @property
    def n_steps(self) -> int:
        """Metropolis-Hastings steps of one :meth:`step`."""
        return self.proposals if self._fixed_steps is None else self._fixed_steps

    @property
    def cost(self) -> float:  # type: ignore[override]
        """Of all its steps."""
        return self.n_steps * self.proposer.cost

    @torch.no_grad()
    def step(self, state: State, generator: torch.Generator) -> tuple[State, Info]:
        """``n_steps`` steps of every chain."""
        positions, energy = state.positions.clone(), state.energy.clone()
        left = torch.full((state.n_chains,), self.n_steps, device=positions.device)
        total: Outcome | None = None
        while len(active := left.nonzero()[:, 0]):
            n = min(self.proposals, int(left.max()))
            for chains in active.split(max(1, self.rows // n)):
                new, outcome = self.batch(State(positions[chains], energy[chains]), n, left[chains], generator)
                positions[chains], energy[chains] = new.positions, new.energy
                left[chains] -= outcome.proposed
                total = _add(total, outcome, chains, state.n_chains)
        assert total is not None
        return State(positions, energy), {self.name: total}

    def batch(
        self, state: State, n: int, most: Int[Tensor, " chains"], generator: torch.Generator
    ) -> tuple[State, Outcome]:
        """At most ``n`` (and ``most``) steps of each chain, up to the first that accepts."""
        candidates, log_ratio = self.proposer.speculate(state.positions, n, most, generator)
        centred = self.target.recentre(candidates.flatten(0, 1)).reshape(candidates.shape)
        return first_accepted(state, Speculation(centred, log_ratio, most), self.target, generator)

    # --- tuning ---------------------------------------------------------------------------------------------------

    def adapt(self, info: Mapping[str, Outcome], state: State | None = None) -> None:
        """Choose the size of a batch by the acceptance so far."""
        if self._adapting and self.name in info:
            outcome = info[self.name]
            self._proposed = MEMORY * self._proposed + float(outcome.proposed.sum())
            self._accepted = MEMORY * self._accepted + float(outcome.acceptance.sum())
            self.proposals = batch_size(self._accepted / self._proposed, self.most_proposals)

    def freeze(self) -> None:
        """Fix the size of a batch."""
        self._adapting = False

    @property
    def tuning(self) -> Tuning:
        """The size of a batch, where it is tuned."""
        return {self.name: {"proposals": float(self.proposals)}} if self.tuned else {}

    def retune(self, tuning: Mapping[str, Mapping[str, float]]) -> None:
        """Take over the size of a batch, where it is tuned.

        Raises:
            ValueError: it is not a whole number of 1 to 100,000.
        """
        if self.tuned and "proposals" in tuning.get(self.name, {}):
            proposals = tuning[self.name]["proposals"]
            if not (1 <= proposals <= LARGEST_BATCH and proposals == int(proposals)):
                raise ValueError(
                    f"the tuning of {self.name} needs proposals of 1 to {LARGEST_BATCH}, got {proposals!r}"
                )
            self.proposals = int(proposals)
            self._adapting = False


def batch_size(acceptance: float, most: int = MOST_PROPOSALS) -> int:
    """How many proposals hold an accepted one with probability 0.9, given the probability of each.

    >>> batch_size(0.02), batch_size(0.5), batch_size(1.0), batch_size(0.0)
    (114, 4, 1, 512)
    """
    if acceptance >= BATCH_SUCCESS:
        return 1
    needed = math.log1p(-BATCH_SUCCESS) / math.log1p(-acceptance) if acceptance > 0 else math.inf
    return math.ceil(min(needed, float(most)))


def _add(total: Outcome | None, part: Outcome, chains: Tensor, n_chains: int) -> Outcome:
    """Add outcomes of some chains to those of all."""
    summed = {}
    for field in fields(Outcome):
        values = getattr(part, field.name)
        start = values.new_zeros(n_chains) if total is None else getattr(total, field.name)
        summed[field.name] = start.index_add(0, chains, values)
    return Outcome(**summed)
