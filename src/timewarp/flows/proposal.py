"""A candidate and its log-ratio: what Metropolis-Hastings needs to know of a density over internal coordinates."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..geometry import InternalTree, log_volume
from ..shapes import Bool, Float
from .density import InternalDensity, soft_coordinates


@torch.no_grad()
def propose(
    density: InternalDensity,
    internal: Float[Tensor, "batch atoms 3"],
    tree: InternalTree,
    generator: torch.Generator,
) -> tuple[Float[Tensor, "batch atoms 3"], Float[Tensor, " batch"]]:
    """Draw one candidate y' per state y, with log q(x | x') - log q(x' | x) in Cartesian measure (float64).

    Write x for positions, y for internal coordinates without the rigid motion, and V(y) = prod b^2 prod sin(theta), so
    that dx = (rigid motion) V(y) dy. The rigid motion is kept, and neither U nor the target sees it. A density q of y'
    with respect to dy' = prod db dtheta dphi is q / V(y') with respect to dx', so

        log q(x | x') - log q(x' | x) = [log q(y | y') - log V(y)] - [log q(y' | y) - log V(y')].

    The same formula serves family C, which redraws the soft torsions only: it keeps every bond length and angle, on
    which alone V depends, so that V cancels; the coordinates that it keeps are the same conditioning in both
    directions, and no density is needed for them. A density whose condition sees what it redraws is encoded twice.

    A draw outside the chart (b <= 0, theta outside (0, pi), a dihedral outside [-pi, pi]) would have other internal
    coordinates than those whose density was taken; its log ratio is NaN, which rejects it.
    """
    cast = internal.to(_dtype(density, internal))
    condition = density.encode(cast)
    drawn, log_q_there = density.sample(condition, 1, generator)
    # What is not redrawn is kept to the last bit, even where the density works in a lower precision.
    candidate = torch.where(redrawn_coordinates(density, tree).to(internal.device), drawn[0].to(internal), internal)
    back = condition if density.condition_is_invariant else density.encode(candidate.to(cast))
    log_q_here = density.log_prob(cast, back)
    here, there = (log_volume(y, tree).double() for y in (internal, candidate))
    log_q_ratio = (log_q_here.double() - here) - (log_q_there[0].double() - there)
    return candidate, torch.where(in_chart(candidate, tree), log_q_ratio, torch.nan)


def redrawn_coordinates(density: InternalDensity, tree: InternalTree) -> Bool[Tensor, "atoms 3"]:
    """Which internal coordinates a density of this family redraws."""
    return soft_coordinates(tree) if density.family == "C" else tree.defined


def in_chart(internal: Float[Tensor, "batch atoms 3"], tree: InternalTree) -> Bool[Tensor, " batch"]:
    """Whether b > 0, 0 < theta < pi and -pi <= dihedral <= pi for every defined coordinate; False for NaN."""
    defined = tree.defined.to(internal.device)
    length, angle, dihedral = internal.unbind(-1)
    good = torch.stack([length > 0, (angle > 0) & (angle < math.pi), dihedral.abs() <= math.pi + 1e-5], -1)
    return (good | ~defined).flatten(1).all(-1)


def _dtype(density: InternalDensity, internal: Tensor) -> torch.dtype:
    """The precision that a density computes in: its weights', or the coordinates' own for an analytic one."""
    if isinstance(density, nn.Module):
        for parameter in density.parameters():
            return parameter.dtype
    return internal.dtype
