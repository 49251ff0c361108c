"""An energy with analytic forces, as autograd sees it: differentiable once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Evaluate = Callable[[Tensor, bool], tuple[Tensor, Tensor | None]]
"""``evaluate(positions, with_forces)`` gives the energies and, if wanted, the forces."""


def differentiable_energy(positions: Tensor, evaluate: Evaluate) -> Tensor:
    """Energies whose gradient with respect to ``positions`` is minus the forces that ``evaluate`` gives.

    The forces are evaluated only where a gradient is wanted. A second derivative raises a RuntimeError.
    """
    return _Energy.apply(positions, evaluate)


class _Energy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, positions: Tensor, evaluate: Evaluate) -> Tensor:
        energy, forces = evaluate(positions, ctx.needs_input_grad[0])
        if forces is not None:
            ctx.save_for_backward(positions, forces)
        return energy

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor, None]:
        return _Gradient.apply(weight, *ctx.saved_tensors), None


class _Gradient(torch.autograd.Function):
    """Takes the positions as well, so that asking for the second derivative fails instead of giving zero."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, positions: Tensor, forces: Tensor) -> Tensor:
        return weight[..., None, None] * -forces

    @staticmethod
    def backward(ctx: Any, _: Tensor) -> Any:
        raise RuntimeError("the energy is differentiable once: its forces are analytic and carry no gradient")
