"""Dihedrals and signed volumes of many configurations, in the compiled kernels where these can: without gradients."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .. import native
from ..shapes import Float, Int
from .vectors import dihedrals, signed_volumes


def measure_dihedrals(
    positions: Float[Tensor, "*batch atoms 3"], quadruples: Int[Tensor, "n 4"]
) -> Float[Tensor, "*batch n"]:
    """As :func:`timewarp.geometry.dihedrals`, without gradients."""
    return _measure("dihedrals", dihedrals, positions, quadruples)


def measure_volumes(
    positions: Float[Tensor, "*batch atoms 3"], centres: Int[Tensor, "n 4"]
) -> Float[Tensor, "*batch n"]:
    """As :func:`timewarp.geometry.signed_volumes`, without gradients."""
    return _measure("signed_volumes", signed_volumes, positions, centres)


@torch.no_grad()
def _measure(name: str, plain: Callable[[Tensor, Tensor], Tensor], positions: Tensor, atoms: Tensor) -> Tensor:
    known = positions.device.type == "cpu" and positions.dtype in (torch.float32, torch.float64)
    if not (known and native.available()):
        return plain(positions, atoms)
    flat = positions.detach().reshape(-1, *positions.shape[-2:]).contiguous()
    out = torch.empty(len(flat), len(atoms), dtype=positions.dtype)
    if out.numel():
        getattr(native.core(), name)(flat, atoms.contiguous(), out)
    return out.reshape(*positions.shape[:-2], len(atoms))
