"""Correction maps along a torsion of the growth: the other torsion of a map is placed, and its angle known."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...energies import Parameters
from ...energies.cmap import bicubic_coefficients, interpolate
from ...shapes import Float


@dataclass(frozen=True, eq=False)
class StepMaps:
    """Maps that a step completes.

    Attributes:
        turning, fixed: (maps, 4), atoms of the torsion that turns with the step, and of the other one.
        first: (maps, 1), first row of each map's patches.
    """

    turning: Tensor
    fixed: Tensor
    first: Tensor


def map_patches(p: Parameters, kT: float) -> Float[Tensor, "patches 16"]:
    """Bicubic coefficients of all maps in kT, then of the maps with their two torsions exchanged."""
    if not len(p.cmap_atoms):
        return torch.zeros(0, 16, dtype=torch.float64)
    both = torch.cat([p.cmap_grids, p.cmap_grids.transpose(1, 2)])
    return bicubic_coefficients(both).reshape(-1, 16) / kT


def step_maps(p: Parameters, k: int, axis: tuple[int, int], turning: Tensor, time: Tensor) -> StepMaps:
    """Of step ``k`` about the bond ``axis``; ``turning`` atoms turn with it, and ``time`` is when each is placed."""
    torsions = p.cmap_atoms.reshape(-1, 2, 4)
    changes = turns_with(torsions, axis, turning)
    complete = time[p.cmap_atoms].amax(1) <= k + 1 if len(torsions) else torch.zeros(0, dtype=torch.bool)
    chosen = complete & (changes.sum(1) == 1)
    which, swapped = p.cmap_map[chosen], changes[chosen, 1]
    ordered = torch.where(swapped[:, None, None], torsions[chosen].flip(1), torsions[chosen])
    first = (which + len(p.cmap_grids) * swapped) * p.cmap_grids.shape[-1] ** 2
    return StepMaps(ordered[:, 0], ordered[:, 1], first[:, None])


def turns_with(torsions: Tensor, axis: tuple[int, int], turning: Tensor) -> Tensor:
    """Whether each (..., 4) is about the bond ``axis`` with one end on either side.

    An improper about the same bond has both ends on one side and does not change; it must not be counted.
    """
    about = (torsions[..., 1:3].sort(-1).values == torch.tensor(sorted(axis))).all(-1)
    outer = torsions[..., [0, 3]]
    on_axis = (outer == axis[0]) | (outer == axis[1])
    return about & (turning[outer].sum(-1) == 1) & ~on_axis.any(-1)


def dihedrals(x: Float[Tensor, "batch atoms 3"], atoms: Tensor) -> Float[Tensor, "batch terms"]:
    """Angles of rows of four atoms, in rad, with the IUPAC sign."""
    p, q, r, s = (x[:, atoms[:, k]] for k in range(4))
    b1, b2, b3 = q - p, r - q, s - r
    n1, n2 = torch.linalg.cross(b1, b2), torch.linalg.cross(b2, b3)
    sine = (b2.norm(dim=-1, keepdim=True) * b1 * n2).sum(-1)
    return torch.atan2(sine, (n1 * n2).sum(-1))


def map_energy(
    patches: Tensor,
    size: int,
    maps: StepMaps,
    x: Float[Tensor, "batch atoms 3"],
    now: Float[Tensor, " batch"],
    angles: Float[Tensor, "batch angles"],
) -> Float[Tensor, "batch angles"]:
    """Energy in kT of a step's maps, of ``size`` points a side, for each angle of the torsion, which is at ``now``."""
    offset = dihedrals(x, maps.turning) - now[:, None]
    turning = (offset[..., None] + angles[:, None]).transpose(0, 1).flatten(1)
    fixed = dihedrals(x, maps.fixed)[..., None].expand(-1, -1, angles.shape[1]).transpose(0, 1).flatten(1)
    energy, _, _ = interpolate(patches, maps.first, size, turning, fixed)
    return energy.sum(0).view(angles.shape)
