"""Monotone rational-quadratic splines on an interval (identity beyond it) and on the circle.

Durkan, Bekasov, Murray & Papamakarios, *Neural Spline Flows*, NeurIPS 2019 (equations 4 to 8);
circular boundary: Rezende et al., *Normalizing Flows on Tori and Spheres*, ICML 2020.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..geometry import wrap
from ..shapes import Float

MINIMUM_BIN = 1e-3
"""Smallest width and height of a bin, as a fraction of the interval."""
MINIMUM_SLOPE = 1e-3
"""Smallest derivative at a knot."""
_UNIT_SLOPE = math.log(math.expm1(1 - MINIMUM_SLOPE))


class Spline(NamedTuple):
    """Knots of a batch of splines: positions on both axes (..., bins + 1) and the slopes there (..., bins + 1)."""

    x: Tensor
    y: Tensor
    slope: Tensor


def n_circular_parameters(bins: int) -> int:
    """Numbers that a circular spline takes: widths, heights, slopes, and the angle it turns by."""
    return 3 * bins + 1


def n_linear_parameters(bins: int) -> int:
    """Numbers that a linear spline takes: widths, heights, inner slopes."""
    return 3 * bins - 1


def circular_spline(
    angle: Float[Tensor, "*batch"], parameters: Float[Tensor, "*batch parameters"], *, inverse: bool = False
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """A diffeomorphism of the circle: a spline on [-pi, pi) with one slope at the seam, then a turn.

    Args:
        angle: in rad.
        parameters: unconstrained, ``n_circular_parameters(bins)`` of them; all zeros give the identity.
        inverse: apply the inverse map.

    Returns:
        The image in [-pi, pi), and ``log |d image / d angle|``.
    """
    shape, turn = parameters[..., :-1], math.pi * torch.tanh(parameters[..., -1])
    bins = shape.shape[-1] // 3
    widths, heights, slopes = shape.split(bins, dim=-1)
    spline = _knots(widths, heights, torch.cat([slopes, slopes[..., :1]], -1), math.pi)
    if inverse:
        value, log_slope = _inverse(wrap(angle - turn), spline)
        return wrap(value), log_slope
    value, log_slope = _forward(wrap(angle), spline)
    return wrap(value + turn), log_slope


def linear_spline(
    value: Float[Tensor, "*batch"],
    parameters: Float[Tensor, "*batch parameters"],
    *,
    bound: float,
    inverse: bool = False,
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """A diffeomorphism of the line: a spline on [-bound, bound], the identity beyond it, slope 1 where they meet.

    Args:
        value: any real numbers.
        parameters: unconstrained, ``n_linear_parameters(bins)`` of them; all zeros give the identity.
        bound: half the width of the interval.
        inverse: apply the inverse map.

    Returns:
        The image, and ``log |d image / d value|``.
    """
    bins = (parameters.shape[-1] + 1) // 3
    widths, heights, slopes = parameters.split([bins, bins, bins - 1], dim=-1)
    spline = _knots(widths, heights, F.pad(slopes, (1, 1)), bound)
    inside = value.abs() < bound
    clamped = torch.where(inside, value, torch.zeros_like(value))
    image, log_slope = (_inverse if inverse else _forward)(clamped, spline)
    return torch.where(inside, image, value), torch.where(inside, log_slope, torch.zeros_like(log_slope))


def _knots(widths: Tensor, heights: Tensor, slopes: Tensor, bound: float) -> Spline:
    return Spline(
        _cumulative(widths, bound), _cumulative(heights, bound), MINIMUM_SLOPE + F.softplus(slopes + _UNIT_SLOPE)
    )


def _cumulative(logits: Tensor, bound: float) -> Tensor:
    bins = logits.shape[-1]
    fraction = MINIMUM_BIN + (1 - MINIMUM_BIN * bins) * torch.softmax(logits, -1)
    edges = F.pad(torch.cumsum(fraction[..., :-1], -1), (1, 1), value=0.0)
    edges = 2 * bound * edges - bound
    # The last edge is exact, so that no point falls beyond it.
    return torch.cat([edges[..., :-1], torch.full_like(edges[..., :1], bound)], -1)


def _bin(value: Tensor, edges: Tensor) -> Tensor:
    return (value.unsqueeze(-1) >= edges[..., 1:-1]).sum(-1, keepdim=True)


def _at(table: Tensor, index: Tensor) -> Tensor:
    return table.gather(-1, index).squeeze(-1)


def _forward(value: Tensor, spline: Spline) -> tuple[Tensor, Tensor]:
    index = _bin(value, spline.x)
    x0, x1 = _at(spline.x, index), _at(spline.x, index + 1)
    y0, y1 = _at(spline.y, index), _at(spline.y, index + 1)
    d0, d1 = _at(spline.slope, index), _at(spline.slope, index + 1)
    width, height = x1 - x0, y1 - y0
    s = height / width
    t = (value - x0) / width
    u = t * (1 - t)
    denominator = s + (d0 + d1 - 2 * s) * u
    image = y0 + height * (s * t * t + d0 * u) / denominator
    return image, _log_slope(s, d0, d1, t, u, denominator)


def _inverse(image: Tensor, spline: Spline) -> tuple[Tensor, Tensor]:
    index = _bin(image, spline.y)
    x0, x1 = _at(spline.x, index), _at(spline.x, index + 1)
    y0, y1 = _at(spline.y, index), _at(spline.y, index + 1)
    d0, d1 = _at(spline.slope, index), _at(spline.slope, index + 1)
    width, height = x1 - x0, y1 - y0
    s = height / width
    rise = image - y0
    bend = d0 + d1 - 2 * s
    a = height * (s - d0) + rise * bend
    b = height * d0 - rise * bend
    c = -s * rise
    # The stable root of the quadratic (equation 29 of the paper's appendix).
    t = 2 * c / (-b - torch.sqrt((b * b - 4 * a * c).clamp_min(0.0)))
    u = t * (1 - t)
    return x0 + t * width, -_log_slope(s, d0, d1, t, u, s + bend * u)


def _log_slope(s: Tensor, d0: Tensor, d1: Tensor, t: Tensor, u: Tensor, denominator: Tensor) -> Tensor:
    slope = s * s * (d1 * t * t + 2 * s * u + d0 * (1 - t) * (1 - t)) / (denominator * denominator)
    return slope.log()


def standard_normal_log_prob(value: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Log density of N(0, 1), elementwise."""
    return -0.5 * (value * value + math.log(2 * math.pi))
