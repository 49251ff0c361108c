"""Correction maps: periodic bicubic interpolation on two torsions, as OpenMM and CHARMM do it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..shapes import Float

# Cubic Hermite basis on [0, 1]: rows are the powers 1, x, x^2, x^3; columns f(0), f(1), f'(0), f'(1).
_HERMITE = ((1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (-3.0, 3.0, -2.0, -1.0), (2.0, -2.0, 1.0, 1.0))


def bicubic_coefficients(grids: Float[Tensor, "maps grid grid"]) -> Float[Tensor, "maps grid grid 4 4"]:
    """Coefficients c[m, i, j, p, q] of sum_pq c x^p y^q on the patch (i, j), x and y in [0, 1).

    Node derivatives are those of the periodic cubic spline along each axis (Mackerell, Feig and Brooks 2004,
    equation 4; OpenMM's ``CMAPTorsionForceImpl::calcMapDerivatives``).
    """
    size = grids.shape[-1]
    along_first = _spline_slopes(grids.transpose(1, 2)).transpose(1, 2)
    along_second = _spline_slopes(grids)
    crossed = _spline_slopes(along_second.transpose(1, 2)).transpose(1, 2)
    step = 2 * math.pi / size
    # Per patch, a 4 x 4 block: rows f(0), f(1), f'(0), f'(1) in the first angle, columns the same in the second.
    top = torch.stack([_corners(grids), _corners(along_second * step)], dim=-2)
    bottom = torch.stack([_corners(along_first * step), _corners(crossed * step**2)], dim=-2)
    block = torch.cat([top.flatten(-2), bottom.flatten(-2)], dim=-2)
    basis = grids.new_tensor(_HERMITE)
    return basis @ block @ basis.T


def _corners(values: Tensor) -> Tensor:
    """(maps, grid, grid, 2, 2): the values at a patch's four corners."""
    following = values.roll(-1, 1)
    return torch.stack(
        [torch.stack([values, values.roll(-1, 2)], -1), torch.stack([following, following.roll(-1, 2)], -1)], -2
    )


def _spline_slopes(values: Float[Tensor, "maps rows grid"]) -> Float[Tensor, "maps rows grid"]:
    """Slopes at the nodes of the periodic cubic spline along the last axis, per radian."""
    size = values.shape[-1]
    eye = torch.eye(size, dtype=values.dtype, device=values.device)
    matrix = 4 * eye + eye.roll(1, 0) + eye.roll(-1, 0)
    right = 3 * (values.roll(-1, -1) - values.roll(1, -1)) * (size / (2 * math.pi))
    return torch.linalg.solve(matrix, right.transpose(-1, -2)).transpose(-1, -2)


def interpolate(
    coefficients: Float[Tensor, "patches 16"],
    first_patch: Tensor,
    size: int,
    first: Float[Tensor, "terms batch"],
    second: Float[Tensor, "terms batch"],
) -> tuple[Float[Tensor, "terms batch"], Float[Tensor, "terms batch"], Float[Tensor, "terms batch"]]:
    """Energies and their derivatives with respect to both angles.

    Args:
        coefficients: flattened from :func:`bicubic_coefficients`.
        first_patch: (terms, 1), the row of each term's map.
        size: grid points along one angle.
        first: first angle in rad, in [-pi, pi].
        second: likewise.
    """
    i, x = _patch(first, size)
    j, y = _patch(second, size)
    c = coefficients.index_select(0, (first_patch + i * size + j).flatten())
    c = c.view(*i.shape, 4, 4).permute(2, 3, 0, 1)
    rows = ((c[:, 3] * y + c[:, 2]) * y + c[:, 1]) * y + c[:, 0]
    slopes = (3 * c[:, 3] * y + 2 * c[:, 2]) * y + c[:, 1]
    energy = ((rows[3] * x + rows[2]) * x + rows[1]) * x + rows[0]
    per_radian = size / (2 * math.pi)
    d_first = ((3 * rows[3] * x + 2 * rows[2]) * x + rows[1]) * per_radian
    d_second = (((slopes[3] * x + slopes[2]) * x + slopes[1]) * x + slopes[0]) * per_radian
    return energy, d_first, d_second


def _patch(angle: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Index of the patch and the position inside it; an angle that is not a number gives patch 0 and stays one."""
    position = torch.remainder(angle, 2 * math.pi) * (size / (2 * math.pi))
    index = torch.nan_to_num(position).long().clamp_(0, size - 1)
    return index, position - index
