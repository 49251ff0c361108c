"""The proposals of the growth network: all soft torsions redrawn, or some of them regrown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...geometry import InternalTree
from ...shapes import Float
from ..proposer import Proposal
from .plan import GrowthPlan, Regrowth
from .scale import ANYWHERE
from .twist import Twists

if TYPE_CHECKING:
    from .compiled import NativeGrowthFlow
    from .flow import GrowthFlow

COST = {"native": (35.0, 31.0), "torch": (100.0, 300.0)}
"""Of scoring the current state and of drawing a candidate, by engine.

Of the shipped network on one core, 17 to 77 atoms (benchmarks/growth.py): both grow with the molecule about as a force
does.
"""


class RegrowthProposer:
    """Redraws soft torsions one after the other, given all that stays.

    All of them, or (``in_part``) those that come late in an order of growth: the order and the place where the regrowth
    begins are drawn anew for each proposal, the same for all chains. With random orders what is redrawn may be one side
    chain or one end, given everything else. What is redrawn never depends on the state: each choice is a
    Metropolis-Hastings move that leaves the target invariant, and so does a choice among them that does not look.
    Stiff coordinates stay, so that the Jacobian cancels. An :class:`~timewarp.flows.proposer.IndependentProposer`.

    Args:
        density: the network, or its compiled twin.
        tree: the molecule's internal-coordinate tree.
        plan: makes the tables of an order of growth; asked when they are needed.
        orders: of growth.
        in_part: whether torsions at the beginning of the order stay.
        torsions: atoms of the tree that carry the torsions which orders name; the rotatable ones by default.
        twists: peptide bonds that are drawn before them.

    Attributes:
        wells: which wells of a torsion may be entered (:mod:`.scale`), by the atom that carries it; all by default.
            It never depends on the state.
    """

    def __init__(
        self,
        density: GrowthFlow | NativeGrowthFlow,
        tree: InternalTree,
        plan: Callable[[tuple[int, ...]], GrowthPlan],
        orders: Sequence[tuple[int, ...]],
        *,
        in_part: bool = False,
        torsions: Sequence[int] | None = None,
        twists: Twists | None = None,
    ) -> None:
        self.density, self.plan, self.orders, self.in_part = density, plan, tuple(orders), in_part
        self.engine = density.engine
        self.torsions = tree.rotatable if torsions is None else tuple(torsions)
        self.twists = twists
        self.wells: Mapping[int, int] = {}
        self.redraws = torch.zeros(tree.n_atoms, 3, dtype=torch.bool)
        for order in orders:
            self.redraws[[self.torsions[k] for k in order[1 if in_part else 0 :]], 2] = True
        if twists is not None:
            self.redraws[list(twists.carriers), 2] = True
        share = 0.5 if in_part else 1.0
        steps = len(self.torsions) / max(len(tree.rotatable), 1)
        self.cost_of_scoring = COST[self.engine][0] * steps
        self.cost = self.cost_of_scoring + share * COST[self.engine][1] * steps

    def __repr__(self) -> str:
        return f"RegrowthProposer({len(self.orders[0])} torsions, {len(self.orders)} orders, {self.engine} engine)"

    def choose(self, generator: torch.Generator) -> Regrowth:
        """An order of growth, and how many of its torsions stay."""
        if not self.in_part:
            return self._regrowth(self.orders[0], 0)
        which = torch.randint(len(self.orders), (1,), generator=generator, device=generator.device)
        order = self.orders[int(which)]
        kept = torch.randint(1, len(order), (1,), generator=generator, device=generator.device)
        return self._regrowth(order, int(kept))

    def _regrowth(self, order: tuple[int, ...], kept: int) -> Regrowth:
        wells = tuple(self.wells.get(self.torsions[k], ANYWHERE) for k in order)
        carriers = () if self.twists is None else self.twists.carriers
        first = tuple(self.wells.get(i, ANYWHERE) for i in carriers)
        return Regrowth(self.plan(order), kept, wells if any(wells) else (), self.twists, first if any(first) else ())

    @torch.no_grad()
    def redraw(
        self, x: Float[Tensor, "chains atoms 3"], chosen: Regrowth, generator: torch.Generator, score: bool = True
    ) -> tuple[Float[Tensor, "chains atoms 3"], Float[Tensor, " chains"], Float[Tensor, " chains"] | None]:
        """Candidates, their log density, and that of ``x`` if it is asked for."""
        return self.density.redraw(x, chosen, generator, score)

    def propose(self, x: Float[Tensor, "chains atoms 3"], generator: torch.Generator) -> Proposal:
        """A candidate for each configuration ``x`` (nm)."""
        candidates, forward, backward = self.redraw(x, self.choose(generator), generator)
        assert backward is not None
        return Proposal(candidates, backward - forward)
