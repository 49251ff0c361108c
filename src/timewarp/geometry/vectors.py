"""Geometry of points in space, batched over any leading dimensions; lengths in nm, angles in rad."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..shapes import Bool, Float, Int

JUMP_RAD = math.radians(60.0)
"""A torsion that a move changes by more than this has jumped."""


def wrap(angle: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Map angles in rad to [-pi, pi).

    >>> wrap(torch.tensor([math.pi, 3.5])).tolist()
    [-3.1415..., -2.7831...]
    """
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi


def jumps(before: Float[Tensor, "*batch n"], after: Float[Tensor, "*batch n"]) -> Bool[Tensor, "*batch n"]:
    """Which angles, in rad, differ by a jump: by more than 60 degrees.

    >>> jumps(torch.tensor([3.0, 0.0]), torch.tensor([-3.0, 1.1])).tolist()
    [False, True]
    """
    return wrap(after - before).abs() > JUMP_RAD


def distances(positions: Float[Tensor, "*batch atoms 3"], pairs: Int[Tensor, "n 2"]) -> Float[Tensor, "*batch n"]:
    """Distances in nm between pairs of atoms."""
    return (positions[..., pairs[:, 0], :] - positions[..., pairs[:, 1], :]).norm(dim=-1)


def angles(positions: Float[Tensor, "*batch atoms 3"], triples: Int[Tensor, "n 3"]) -> Float[Tensor, "*batch n"]:
    """Angles i-j-k in rad, in [0, pi]; exact near 0 and pi, where an arc cosine is not."""
    first = positions[..., triples[:, 0], :] - positions[..., triples[:, 1], :]
    second = positions[..., triples[:, 2], :] - positions[..., triples[:, 1], :]
    return torch.atan2(torch.linalg.cross(first, second).norm(dim=-1), (first * second).sum(-1))


def dihedrals(positions: Float[Tensor, "*batch atoms 3"], quadruples: Int[Tensor, "n 4"]) -> Float[Tensor, "*batch n"]:
    """Dihedral angles i-j-k-l in rad, in [-pi, pi], with the IUPAC sign (cis is 0, clockwise positive)."""
    i, j, k, l = (positions[..., quadruples[:, column], :] for column in range(4))  # noqa: E741
    axis = k - j
    left, right = torch.linalg.cross(j - i, axis), torch.linalg.cross(axis, l - k)
    sine = (torch.linalg.cross(left, right) * axis).sum(-1) / axis.norm(dim=-1)
    return torch.atan2(sine, (left * right).sum(-1))


def signed_volumes(
    positions: Float[Tensor, "*batch atoms 3"], centres: Int[Tensor, "n 4"]
) -> Float[Tensor, "*batch n"]:
    """Signed volumes (nm^3) spanned at a centre by three of its neighbours; the sign is the chirality.

    Args:
        positions: in nm.
        centres: rows (centre, a, b, c); the value is (a - centre) . [(b - centre) x (c - centre)].
    """
    centre_, a, b, c = (positions[..., centres[:, column], :] for column in range(4))
    return ((a - centre_) * torch.linalg.cross(b - centre_, c - centre_)).sum(-1)


def centre(positions: Float[Tensor, "*batch atoms 3"]) -> Float[Tensor, "*batch atoms 3"]:
    """Move the unweighted centroid of each configuration to the origin."""
    return positions - positions.mean(dim=-2, keepdim=True)


def random_rotations(n: int, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Float[Tensor, "n 3 3"]:
    """Rotation matrices from the Haar measure, by uniform unit quaternions (Shoemake 1992)."""
    q = torch.randn(n, 4, generator=generator, dtype=dtype, device=generator.device)
    w, x, y, z = (q / q.norm(dim=-1, keepdim=True)).unbind(-1)
    rows = [
        torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)], -1),
        torch.stack([2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)], -1),
        torch.stack([2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)], -1),
    ]
    return torch.stack(rows, -2)


def superpose(
    positions: Float[Tensor, "*batch atoms 3"], reference: Float[Tensor, "atoms 3"]
) -> Float[Tensor, "*batch atoms 3"]:
    """Rotate and translate configurations onto a reference with least squared distance (Kabsch 1976)."""
    moved = centre(positions)
    return moved @ best_rotation(moved, centre(reference)) + reference.mean(dim=-2)


def best_rotation(
    moved: Float[Tensor, "*batch points 3"], target: Float[Tensor, "... points 3"]
) -> Float[Tensor, "*batch 3 3"]:
    """The rotation R, no mirror, for which ``moved @ R`` is nearest to ``target``; both are centred.

    Kabsch, Acta Cryst. A32, 922 (1976).

    >>> turned = torch.tensor([[0.0, 1.0, 0.0], [-2.0, 0.0, 0.0], [0.0, 0.0, 3.0]])
    >>> target = torch.diag(torch.tensor([1.0, 2.0, 3.0]))
    >>> torch.allclose(turned @ best_rotation(turned, target), target, atol=1e-6)
    True
    """
    u, _, vt = torch.linalg.svd(moved.transpose(-1, -2) @ target)
    flip = torch.ones_like(u[..., 0, :])
    flip[..., 2] = (torch.linalg.det(u) * torch.linalg.det(vt)).sign()
    return (u * flip.unsqueeze(-2)) @ vt
