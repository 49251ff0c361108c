"""Rigid motions of pairs of configurations, for training the Cartesian flow."""

from __future__ import annotations

import torch
from torch import Tensor

from ..geometry import random_rotations
from ..shapes import Bool, Float


def rotate_together(generator: torch.Generator, *tensors: Float[Tensor, "batch atoms 3"]) -> tuple[Tensor, ...]:
    """Turn all tensors by the same uniformly random rotation in each row (positions, velocities: any vectors).

    >>> g = torch.Generator().manual_seed(0)
    >>> a, b = rotate_together(g, torch.eye(3)[None], torch.eye(3)[None])
    >>> torch.equal(a, b), torch.allclose(a.norm(dim=-1), torch.ones(1, 3))
    (True, True)
    """
    first = tensors[0]
    rotation = random_rotations(len(first), generator, dtype=first.dtype).to(first.device).transpose(-1, -2)
    return tuple(t @ rotation for t in tensors)


def superpose_pairs(
    before: Float[Tensor, "batch atoms 3"],
    after: Float[Tensor, "batch atoms 3"],
    is_atom: Bool[Tensor, "batch atoms"] | None = None,
) -> Float[Tensor, "batch atoms 3"]:
    """``after``, moved rigidly onto ``before`` with least squared distance (Kabsch 1976).

    Over a long lag a molecule drifts and tumbles, and a flow that is trained on raw pairs spends its capacity on that.
    The potential does not see rigid motion, so that nothing is lost. The density of superposed pairs is singular (they
    lie on a surface); :func:`jitter` gives it back a little width.
    """
    mask = torch.ones_like(before[..., :1]) if is_atom is None else is_atom.unsqueeze(-1).to(before.dtype)
    count = mask.sum(-2, keepdim=True)
    origin = (before * mask).sum(-2, keepdim=True) / count
    target = (before - origin) * mask
    moved = (after - (after * mask).sum(-2, keepdim=True) / count) * mask
    u, _, vt = torch.linalg.svd(moved.transpose(-1, -2) @ target)
    flip = torch.ones_like(u[..., 0, :])
    flip[..., 2] = (torch.linalg.det(u) * torch.linalg.det(vt)).sign()
    return (moved @ (u * flip.unsqueeze(-2)) @ vt + origin) * mask


def jitter(
    generator: torch.Generator,
    positions: Float[Tensor, "batch atoms 3"],
    is_atom: Bool[Tensor, "batch atoms"] | None = None,
    *,
    shift_nm: float,
    turn_rad: float,
) -> Float[Tensor, "batch atoms 3"]:
    """Shift configurations by N(0, shift^2) per axis, and turn them by a rotation vector of N(0, turn^2) per axis."""
    mask = torch.ones_like(positions[..., :1]) if is_atom is None else is_atom.unsqueeze(-1).to(positions.dtype)
    noise = torch.randn(2, len(positions), 3, generator=generator, device=generator.device, dtype=positions.dtype)
    noise = noise.to(positions.device)
    x, y, z = (turn_rad * noise[0]).unbind(-1)
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    centroid = (positions * mask).sum(-2, keepdim=True) / mask.sum(-2, keepdim=True)
    turned = (positions - centroid) @ torch.linalg.matrix_exp(skew).transpose(-1, -2)
    return (turned + centroid + shift_nm * noise[1].unsqueeze(-2)) * mask
