"""Piecewise-linear densities on the circle from logarithms on a uniform grid: exact density, exact draws."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..shapes import Float

FLOOR = 1e-3
"""Weight of a uniform density in the mixture, so that no state has a vanishing density."""


def grid(n: int, like: Tensor) -> Float[Tensor, " n"]:
    """Angles -pi + 2 pi g / n."""
    return -math.pi + 2 * math.pi * torch.arange(n, device=like.device, dtype=like.dtype) / n


def node_density(logits: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
    """Density (per rad) at the grid's angles, normalised so that the interpolation between them integrates to 1."""
    n = logits.shape[-1]
    return (1 - FLOOR) * torch.softmax(logits, -1) * (n / (2 * math.pi)) + FLOOR / (2 * math.pi)


def log_prob(logits: Float[Tensor, "*batch n"], angle: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Log density of angles in rad, of any period."""
    n = logits.shape[-1]
    density = node_density(logits)
    place = torch.remainder((angle + math.pi) * (n / (2 * math.pi)), n)
    left = place.floor()
    share = place - left
    index = left.long().clamp(0, n - 1)
    low = density.gather(-1, index[..., None])[..., 0]
    high = density.gather(-1, ((index + 1) % n)[..., None])[..., 0]
    return torch.log(low + share * (high - low))


def sample(logits: Float[Tensor, "*batch n"], uniform: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """The angle at which the distribution function is ``uniform`` (in [0, 1)): its exact inverse, in [-pi, pi)."""
    n = logits.shape[-1]
    density = node_density(logits.double())
    high = density.roll(-1, -1)
    spacing = 2 * math.pi / n
    total = ((density + high) * (0.5 * spacing)).cumsum(-1)
    target = uniform.double() * total[..., -1]
    index = torch.searchsorted(total, target[..., None], right=True).clamp(max=n - 1)
    before = torch.where(index > 0, total.gather(-1, (index - 1).clamp(min=0)), 0.0)[..., 0]
    low, up = (d.gather(-1, index)[..., 0] for d in (density, high))
    rest = ((target - before) / spacing).clamp(min=0.0)
    # low s + (up - low) s^2 / 2 = rest, solved without cancellation.
    share = 2 * rest / (low + torch.sqrt((low * low + 2 * (up - low) * rest).clamp(min=0.0)))
    angle = (index[..., 0] + share.clamp(0.0, 1.0)) * spacing - math.pi
    return torch.where(angle >= math.pi, angle - 2 * math.pi, angle).to(logits)


def resample(n: int, to: int) -> Float[Tensor, "n to"]:
    """Matrix of the Fourier interpolation from a grid of n angles to one of ``to``, both from -pi (float64)."""
    return _interpolate(n, torch.arange(to, dtype=torch.float64) * (2 * math.pi / to))


def resample_at(n: int, angles: Float[Tensor, " to"]) -> Float[Tensor, "n to"]:
    """Matrix of the Fourier interpolation from a grid of n angles from -pi to any angles (float64)."""
    return _interpolate(n, angles + math.pi)


def _interpolate(n: int, target: Tensor) -> Tensor:
    """To angles that count from the grid's first."""
    source = torch.arange(n, dtype=torch.float64) * (2 * math.pi / n)
    gap = target[None, :] - source[:, None]
    total = torch.ones_like(gap)
    for m in range(1, (n + 1) // 2):
        total = total + 2 * torch.cos(m * gap)
    if n % 2 == 0:
        total = total + torch.cos(n // 2 * gap)
    return total / n


def waves(angle: Float[Tensor, "*batch"], n: int) -> Float[Tensor, "*batch features"]:
    """Sines and cosines of the first ``n`` multiples of angles in rad: what a network reads of them."""
    multiples = angle.unsqueeze(-1) * torch.arange(1, n + 1, device=angle.device, dtype=angle.dtype)
    return torch.cat([multiples.sin(), multiples.cos()], -1)
