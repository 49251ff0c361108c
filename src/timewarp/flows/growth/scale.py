"""The scale on which a peptide bond's torsion is drawn: fine around 0 and 180 degrees, where its two wells are.

Both wells are some seven degrees wide, as wide as the spacing of the grid that serves all other torsions. So omega is
drawn as ``u``, with tan u = STRETCH tan omega: a map of the circle onto itself that keeps 0, 90, 180 and 270 degrees,
and whose slope is STRETCH at the wells and 1 / STRETCH at the barriers. A density in u is one in omega by its slope.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...shapes import Bool, Float
from ..circular import grid

STRETCH = 3.0
"""How much finer the grid is at the wells."""
ANYWHERE, NEAR_ZERO, NEAR_PI = 0, 1, 2
"""Which wells of a torsion may be entered."""
SHUT = -1e4
"""Logarithm of the density in a well that is shut; what is left is the floor of :mod:`..circular`, as everywhere."""


def to_scale(angle: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """The place u of an angle (both in rad).

    >>> float(to_scale(torch.tensor(torch.pi / 4)))  # tan u = 3
    1.2490...
    """
    return torch.atan2(STRETCH * angle.sin(), angle.cos())


def from_scale(place: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """The angle at a place: the inverse of :func:`to_scale`."""
    return torch.atan2(place.sin(), STRETCH * place.cos())


def log_slope(place: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Log of du / d omega: what is added to a log density in u for one in omega."""
    c, s = place.cos(), place.sin()
    return torch.log((STRETCH**2 * c * c + s * s) / STRETCH)


def angles_of(n: int, twisting: bool, like: Tensor) -> Float[Tensor, " n"]:
    """The angles at which a profile is evaluated."""
    places = grid(n, like)
    return from_scale(places) if twisting else places


def shut(n: int, wells: Sequence[int]) -> Bool[Tensor, "steps n"]:
    """Places of the grid that each step may not draw; the barriers are in neither well."""
    near = grid(n, torch.zeros(1, dtype=torch.float64)).cos()
    masks = {ANYWHERE: torch.zeros(n, dtype=torch.bool), NEAR_ZERO: near < 1e-9, NEAR_PI: near > -1e-9}
    return torch.stack([masks[well] for well in wells])


def own_well(n: int, place: Float[Tensor, "*batch"]) -> Bool[Tensor, "*batch n"]:
    """Places of the grid that are not in the well of each torsion now."""
    near = grid(n, place).cos()
    return near * torch.where(place.cos() > 0, 1.0, -1.0).to(place)[..., None] < 1e-6
