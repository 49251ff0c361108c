"""Metropolis-Hastings on the augmented target, with proposals in batches (family A: Timewarp as published)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields

import torch
from torch import Tensor, nn

from ..flows.conditional import Candidate, CartesianDensity
from ..shapes import Float, Int
from ..state import State
from .kernel import Info, Kernel, Outcome, Tuning
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


class AugmentedKernel(Kernel):
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

    The density is one of displacements: on a target that is invariant to rigid motion it must not see where the
    molecule is, since accepted states are centred.

    Args:
        target: the distribution.
        density: the trained density (``timewarp.flows``), or an analytic one.
        proposals: size of a batch; None to tune it in warm-up.
        n_steps: Metropolis-Hastings steps of one :meth:`step`; None for as many as there are proposals in a batch.
        most_proposals: largest batch to be tuned.
        rows: configurations that go through the network at once, at most.
        name: the key of its outcomes.

    Raises:
        ValueError: a number is below 1.
    """

    def __init__(
        self,
        target: Target,
        density: CartesianDensity,
        *,
        proposals: int | None = None,
        n_steps: int | None = None,
        most_proposals: int = MOST_PROPOSALS,
        rows: int = ROWS,
        name: str = "flow",
    ) -> None:
        super().__init__(target, name)
        for what, value in (
            ("proposals", proposals),
            ("n_steps", n_steps),
            ("most_proposals", most_proposals),
            ("rows", rows),
        ):
            if value is not None and value < 1:
                raise ValueError(f"{what} must be at least 1, got {value}")
        self.density = density
        self.tuned = proposals is None
        self.most_proposals = most_proposals
        self.proposals = min(FIRST_PROPOSALS, most_proposals) if proposals is None else proposals
        self.rows = rows
        self._fixed_steps = n_steps
        self._adapting = self.tuned
        self._proposed = self._accepted = 0.0

    def __repr__(self) -> str:
        return f"AugmentedKernel({self.name!r}, {self.n_steps} steps in batches of {self.proposals})"

    @property
    def engine(self) -> str:
        """What computes the density: ``"native"`` or ``"torch"``."""
        return str(getattr(self.density, "engine", "torch"))

    @property
    def n_steps(self) -> int:
        """Metropolis-Hastings steps of one :meth:`step`."""
        return self.proposals if self._fixed_steps is None else self._fixed_steps

    @property
    def cost(self) -> float:  # type: ignore[override]
        """Rough computing time in force evaluations: the network's matrix products, there and back."""
        n_weights = sum(p.numel() for p in self.density.parameters()) if isinstance(self.density, nn.Module) else 0
        return self.n_steps * max(1.0, n_weights * 5e-4)

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
        speculation = self.propose(state, n, most, generator)
        return first_accepted(state, speculation, self.target, generator)

    def propose(self, state: State, n: int, most: Int[Tensor, " chains"], generator: torch.Generator) -> Speculation:
        """``n`` candidates per chain with the log ratios of their densities, those of the auxiliaries included.

        The way back is worked out for the first ``most`` candidates only; the others have a ratio of NaN.
        """
        x = state.positions.to(self._dtype(state.positions))
        v = self.draw_auxiliaries(n, x, generator)
        wanted = torch.arange(n, device=x.device)[:, None] < most
        there, log_q_there = self._draw(x, v, generator)
        heard = self.density.uses_auxiliary
        back = self.density.encode(there.positions[wanted], there.auxiliary[wanted] if heard else None)
        here = Candidate(x.expand_as(v)[wanted][None], v[wanted][None])
        log_q_here = self.density.log_prob(here, back)[0]
        log_normal = 0.5 * (v.double().square() - there.auxiliary.double().square()).sum((-1, -2))
        log_ratio = torch.full(log_normal.shape, torch.nan, dtype=torch.float64, device=x.device)
        log_ratio[wanted] = log_q_here.double() - log_q_there[wanted].double() + log_normal[wanted]
        positions = self.target.recentre(there.positions.to(state.positions).flatten(0, 1)).reshape(v.shape)
        return Speculation(positions, log_ratio, most)

    @torch.no_grad()
    def draw(self, state: State, generator: torch.Generator) -> Float[Tensor, "chains atoms 3"]:
        """One candidate per chain without the density's opinion of it."""
        x = state.positions.to(self._dtype(state.positions))
        there, _ = self._draw(x, self.draw_auxiliaries(1, x, generator), generator)
        return self.target.recentre(there.positions[0].to(state.positions))

    def draw_auxiliaries(
        self, n: int, positions: Float[Tensor, "chains atoms 3"], generator: torch.Generator
    ) -> Float[Tensor, "n chains atoms 3"]:
        """The Gibbs updates of ``n`` steps: standard normal, and never one for two steps."""
        return torch.randn(n, *positions.shape, generator=generator, dtype=positions.dtype, device=positions.device)

    def _draw(self, x: Tensor, v: Tensor, generator: torch.Generator) -> tuple[Candidate, Tensor]:
        """One candidate for each v (n, chains), with its log density; a condition of x alone is encoded once."""
        if not self.density.uses_auxiliary:
            return self.density.sample(self.density.encode(x), len(v), generator)
        condition = self.density.encode(x.expand_as(v).flatten(0, 1), v.flatten(0, 1))
        there, log_q = self.density.sample(condition, 1, generator)
        return Candidate(there.positions.reshape(v.shape), there.auxiliary.reshape(v.shape)), log_q.reshape(v.shape[:2])

    def _dtype(self, positions: Tensor) -> torch.dtype:
        if isinstance(self.density, nn.Module):
            for parameter in self.density.parameters():
                return parameter.dtype
        return positions.dtype

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
