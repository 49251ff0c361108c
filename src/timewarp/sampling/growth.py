"""Metropolis-Hastings with the transferable family C2: all soft torsions redrawn, or some of them regrown."""

from __future__ import annotations

import torch
from torch import Tensor

from ..flows.growth import GrowthFlow, Regrowth, random_order
from ..flows.growth.engine import NativeGrowthFlow
from ..flows.native import with_engine
from ..flows.proposer import Proposal
from ..shapes import Float
from ..state import State
from .kernel import Info, Outcome, add_infos
from .move import Move
from .target import Target

FULL, SUFFIX, SUBSET = "flow", "flow_suffix", "flow_subset"
COST = {"native": (35.0, 31.0), "torch": (100.0, 300.0)}
"""Of scoring what is there and of drawing anew, by engine.

Of the shipped network on one core, 17 to 77 atoms (benchmarks/growth.py): both grow with the molecule about as a force
does.
"""
DRAWS = 2
"""Proposals for one scoring: half as many again in the same time, local moves included.

A state that lets go of few proposals has its due of them; where most are accepted, a second one changes little.
"""
N_ORDERS = 8
"""Random orders of growth that ``flow_subset`` chooses from."""


class GrowthKernel(Move):
    """Redraw torsions one after the other from a trained network, given all that stays.

    ``flow`` redraws all soft torsions. ``flow_suffix`` keeps those near the root: the place where the regrowth begins
    is drawn anew in each step, the same for all chains. ``flow_subset`` does the same in a random order of growth, so
    that what is redrawn may be one side chain or one end, given everything else. What is redrawn never depends on the
    state: each choice is a Metropolis-Hastings move that leaves the target invariant, and so does a choice among them
    that does not look. Stiff coordinates stay, so that the Jacobian cancels.

    What is redrawn does not depend on what it replaces: given the rest, candidates are independent, and the density of
    a state is that with which it was drawn. So a step makes ``draws`` proposals one after the other, each with its own
    decision, and scores only the state that it began with.

    Args:
        target: a target that is invariant to rigid motion.
        density: the trained network, with :meth:`timewarp.flows.growth.GrowthFlow.serve` done.
        name: ``flow``, ``flow_suffix`` or ``flow_subset``.
        seed: of the random orders.
        draws: proposals of a step.
        engine: what computes the density; see :func:`timewarp.flows.native.with_engine`. The compiled kernels take the
            weights as they are now.

    Raises:
        ValueError: the target is not invariant, the name is another, there is nothing to keep, or no proposal to make.
    """

    def __init__(
        self,
        target: Target,
        density: GrowthFlow,
        name: str = FULL,
        *,
        seed: int = 0,
        draws: int = DRAWS,
        engine: str | None = None,
    ) -> None:
        if not target.invariant:
            raise ValueError("a proposal in internal coordinates needs a target that is invariant to rigid motion")
        if name not in (FULL, SUFFIX, SUBSET):
            raise ValueError(f"no learned move {name!r}; there are {FULL}, {SUFFIX}, {SUBSET}")
        if draws < 1:
            raise ValueError(f"a step makes at least one proposal, got {draws}")
        super().__init__(target, name)
        self.draws = draws
        self.density: GrowthFlow | NativeGrowthFlow = with_engine(density, engine)
        self.plans = [density.plan()]
        if name == SUBSET:
            generator = torch.Generator().manual_seed(seed)
            orders = {random_order(density.atoms, generator) for _ in range(N_ORDERS)}
            self.plans = [density.plan(order) for order in sorted(orders)]
        n_steps = self.plans[0].n_steps
        if name != FULL and n_steps < 2:
            raise ValueError(f"{name} needs two soft torsions, this molecule has {n_steps}")
        scoring, drawing = COST[self.engine]
        self.cost = scoring + draws * drawing * (1.0 if name == FULL else 0.5)

    def __repr__(self) -> str:
        return f"GrowthKernel({self.name!r}, {self.plans[0].n_steps} torsions, {self.engine} engine)"

    @property
    def engine(self) -> str:
        """What computes the density: ``native`` or ``torch``."""
        return "native" if isinstance(self.density, NativeGrowthFlow) else "torch"

    def draw(self, state: State, generator: torch.Generator) -> Float[Tensor, "chains atoms 3"]:
        """One candidate per chain without the density's opinion of it."""
        return self.target.recentre(self.propose(state, generator).positions)

    @torch.no_grad()
    def step(self, state: State, generator: torch.Generator) -> tuple[State, Info]:
        """Propose ``draws`` times in every chain."""
        way = self._choose(generator)
        info: Info = {}
        x = state.positions
        there, forward, here = self.redraw(x, way, generator)
        for k in range(self.draws):
            if k:
                there, forward = self.density.sample_positions(x, generator, way)
            state, outcome = self.decide(state, Proposal(there, self.log_q_ratio(forward, here)), generator)
            here = self.density_now(outcome, forward, here)
            info = add_infos(info, {self.name: outcome})
        return state, info

    @torch.no_grad()
    def propose(self, state: State, generator: torch.Generator) -> Proposal:
        """One candidate per chain, with the log ratio of its densities."""
        there, forward, here = self.redraw(state.positions, self._choose(generator), generator)
        return Proposal(there, self.log_q_ratio(forward, here))

    def redraw(
        self, x: Float[Tensor, "chains atoms 3"], way: Regrowth, generator: torch.Generator
    ) -> tuple[Float[Tensor, "chains atoms 3"], Float[Tensor, " chains"], Float[Tensor, " chains"]]:
        """Candidates, their log density, and that of ``x``."""
        return self.density.regrow_positions(x, generator, way)

    def log_q_ratio(self, forward: Float[Tensor, " chains"], here: Float[Tensor, " chains"]) -> Tensor:
        """Of Metropolis and Hastings: log q(x | x') - log q(x' | x)."""
        return here - forward

    def density_now(self, outcome: Outcome, forward: Tensor, here: Tensor) -> Float[Tensor, " chains"]:
        """Log density of the states after a decision."""
        return torch.where(outcome.accepted.bool(), forward, here)

    def _choose(self, generator: torch.Generator) -> Regrowth:
        if self.name == FULL:
            return Regrowth(self.plans[0], 0)
        which = torch.randint(len(self.plans), (1,), generator=generator, device=generator.device)
        plan = self.plans[int(which)]
        kept = torch.randint(1, plan.n_steps, (1,), generator=generator, device=generator.device)
        return Regrowth(plan, int(kept))
