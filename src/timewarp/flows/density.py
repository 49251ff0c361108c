"""Densities over internal coordinates, and the proposer that is made of one."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from ..geometry import InternalTree, log_volume, to_internal, to_positions
from ..shapes import Bool, Float
from .proposer import Proposal

FORCES = 90.0
"""Cost of a proposal of alanine dipeptide with the shipped networks, compiled, in forces."""


@runtime_checkable
class InternalDensity(Protocol):
    """A conditional density over internal coordinates.

    It speaks in full tensors of internal coordinates, (batch, atoms, 3) with the bond length in nm, the angle and
    the dihedral in rad of each atom of ``atoms.tree``. Its log density is with respect to the product of
    db, dtheta and dphi of the coordinates that it redraws.

    Attributes:
        redraws: boolean (atoms, 3), which internal coordinates it redraws; the others it keeps.
        condition_is_invariant: a candidate leads to the same condition as the state that it was drawn from,
            so that one encoding serves both directions of a Metropolis-Hastings ratio.
    """

    redraws: Tensor
    condition_is_invariant: ClassVar[bool]

    def encode(self, internal: Float[Tensor, "batch atoms 3"]) -> Any:
        """All work that depends on the condition only; done once, however many samples follow."""
        ...

    def sample(
        self, condition: Any, n: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, "n batch atoms 3"], Float[Tensor, "n batch"]]:
        """Draw ``n`` candidates per condition, with their log densities."""
        ...

    def log_prob(self, internal: Float[Tensor, "batch atoms 3"], condition: Any) -> Float[Tensor, " batch"]:
        """Log density of the redrawn coordinates given the condition."""
        ...


def soft_coordinates(tree: InternalTree) -> Tensor:
    """Boolean (atoms, 3): the dihedrals of rotatable bonds."""
    soft = torch.zeros(tree.n_atoms, 3, dtype=torch.bool)
    soft[list(tree.rotatable), 2] = True
    return soft


def stiff_coordinates(tree: InternalTree) -> Tensor:
    """Boolean (atoms, 3): bond lengths, angles and dihedrals that only vibrate."""
    return tree.defined & ~soft_coordinates(tree)


class InternalProposer:
    """Proposes internal coordinates from a density of them, on the root atoms of the current positions.

    Write x for positions, y for internal coordinates without the rigid motion, and V(y) = prod b^2 prod sin(theta), so
    that dx = (rigid motion) V(y) dy. The rigid motion is kept, and neither U nor the target sees it. A density q of y'
    with respect to dy' = prod db dtheta dphi is q / V(y') with respect to dx', so

        log q(x | x') - log q(x' | x) = [log q(y | y') - log V(y)] - [log q(y' | y) - log V(y')].

    The same formula serves a density of the soft torsions alone: it keeps every bond length and angle, on which alone V
    depends, so that V cancels; the coordinates that it keeps are the same conditioning in both directions, and no
    density is needed for them. A density whose condition sees what it redraws is encoded twice.

    A draw outside the chart (b <= 0, theta outside (0, pi), a dihedral outside [-pi, pi]) would have other internal
    coordinates than those whose density was taken; its log ratio is NaN, which rejects it.

    Args:
        density: of the internal coordinates of ``tree``.
        tree: the molecule's.
        cost: of a proposal, in forces.
    """

    engine = "torch"

    def __init__(self, density: InternalDensity, tree: InternalTree, cost: float = FORCES) -> None:
        self.density, self.tree, self.cost = density, tree, cost
        self.redraws = density.redraws

    @torch.no_grad()
    def propose(self, x: Float[Tensor, "chains atoms 3"], generator: torch.Generator) -> Proposal:
        """A candidate for each configuration ``x`` (nm)."""
        density, internal = self.density, to_internal(x, self.tree)
        cast = internal.to(dtype_of(density, internal))
        condition = density.encode(cast)
        drawn, log_q_candidate = density.sample(condition, 1, generator)
        # What is not redrawn is kept to the last bit, even where the density works in a lower precision.
        candidate = torch.where(self.redraws.to(internal.device), drawn[0].to(internal), internal)
        back = condition if density.condition_is_invariant else density.encode(candidate.to(cast))
        log_q_current = density.log_prob(cast, back)
        volumes = [log_volume(y, self.tree).double() for y in (internal, candidate)]
        log_ratio = (log_q_current.double() - volumes[0]) - (log_q_candidate[0].double() - volumes[1])
        log_ratio = torch.where(in_chart(candidate, self.tree), log_ratio, torch.nan)
        return Proposal(to_positions(candidate, self.tree, frame=x), log_ratio)


def in_chart(internal: Float[Tensor, "batch atoms 3"], tree: InternalTree) -> Bool[Tensor, " batch"]:
    """Whether b > 0, 0 < theta < pi and -pi <= dihedral <= pi for every defined coordinate; False for NaN."""
    defined = tree.defined.to(internal.device)
    length, angle, dihedral = internal.unbind(-1)
    good = torch.stack([length > 0, (angle > 0) & (angle < math.pi), dihedral.abs() <= math.pi + 1e-5], -1)
    return (good | ~defined).flatten(1).all(-1)


def dtype_of(density: object, like: Tensor) -> torch.dtype:
    """The precision that a density computes in: that of its weights, or of ``like`` where it has none."""
    if isinstance(density, nn.Module):
        for parameter in density.parameters():
            return parameter.dtype
    return like.dtype
