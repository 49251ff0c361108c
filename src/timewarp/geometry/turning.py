"""Turning a part of a molecule about a bond."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .. import native
from ..shapes import Bool, Float, Int
from .graph import beyond, neighbours
from .internal import InternalTree


def beyond_bonds(tree: InternalTree, torsions: Sequence[int]) -> Bool[Tensor, "torsions atoms"]:
    """For each torsion (i, a, b, c), given by its atom i, those that turn with it: hanging on a, on b's far side."""
    edges = [(atom, onto) for atom, (onto, _, _) in enumerate(tree.references) if onto >= 0]
    adjacent = neighbours(tree.n_atoms, edges)
    turning = torch.zeros(len(torsions), tree.n_atoms, dtype=torch.bool)
    for row, first in enumerate(torsions):
        a, b, _ = tree.references[first]
        turning[row, list(beyond(adjacent, b, a) - {a})] = True
    return turning


def turn(
    positions: Float[Tensor, "chains atoms 3"],
    bonds: Int[Tensor, "chains 2"],
    turning: Bool[Tensor, "chains atoms"],
    angle: Float[Tensor, " chains"],
) -> Float[Tensor, "chains atoms 3"]:
    """Turn atoms about the axis of a bond (a, b), so that a dihedral i-a-b-c of a turning atom i grows by ``angle``.

    Args:
        positions: in nm.
        bonds: atoms (a, b) of each chain's bond.
        turning: which atoms turn.
        angle: in rad.
    """
    if positions.device.type == "cpu" and native.available() and not positions.requires_grad:
        turned = torch.empty_like(positions, memory_format=torch.contiguous_format)
        native.core().turn(
            positions.contiguous(), bonds.contiguous(), turning.contiguous(), angle.to(positions).contiguous(), turned
        )
        return turned
    chain = torch.arange(positions.shape[0], device=positions.device)
    origin = positions[chain, bonds[:, 0]][:, None]
    axis = origin - positions[chain, bonds[:, 1]][:, None]  # from b to a: then the IUPAC dihedral grows
    axis = axis / axis.norm(dim=-1, keepdim=True)
    arm = positions - origin
    cosine, sine = angle.cos()[:, None, None], angle.sin()[:, None, None]
    along = (arm * axis).sum(-1, keepdim=True)
    moved = arm * cosine + torch.linalg.cross(axis.expand_as(arm), arm) * sine + axis * along * (1 - cosine)
    return torch.where(turning[..., None], origin + moved, positions)
