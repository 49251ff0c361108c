"""What takes the steps: AdamW, or Muon for the matrices within a network and AdamW for all the rest."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..shapes import Float
from .settings import TrainingSettings

BETAS = (0.9, 0.99)
EPSILON = 1e-8
MUON_MOMENTUM = 0.95
MUON_RATE = 3.0
"""Learning rate of the matrices over that of the rest; their steps have the size of AdamW's by :data:`MATCHING`."""
MATCHING = 0.2
"""Root mean square of a step of AdamW, over its learning rate (Liu et al. 2025)."""
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of an odd polynomial that, applied five times, takes singular values from (0, 1] to about 1."""
NARROWEST = 4
"""A matrix with fewer rows or columns is left to AdamW: there is little to orthogonalise."""


class Muon(torch.optim.Optimizer):
    """Momentum whose matrices are made orthogonal (Jordan et al. 2024), in a network of many small equal matrices.

    The step of a matrix is the nearest orthogonal one to its Nesterov momentum, so that rare directions of the gradient
    count as much as frequent ones. Matrices of one shape are worked on together. Other parameters take AdamW's step.

    Args:
        module: whose parameters are trained; matrices of layers count, embeddings do not.
        lr: learning rate.
        weight_decay: decoupled, of all parameters.
    """

    def __init__(self, module: nn.Module, lr: float, weight_decay: float) -> None:
        embeddings = {id(p) for m in module.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
        matrices: list[Tensor] = []
        rest: list[Tensor] = []
        for p in module.parameters():
            is_matrix = p.ndim == 2 and min(p.shape) >= NARROWEST and id(p) not in embeddings
            (matrices if is_matrix else rest).append(p)
        groups = [{"params": part, "muon": muon} for part, muon in ((matrices, True), (rest, False)) if part]
        super().__init__(groups, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Take one step."""
        assert closure is None
        for group in self.param_groups:
            present = [p for p in group["params"] if p.grad is not None]
            for p in present:
                state = self.state[p]
                if not state:
                    state["step"] = torch.zeros(())
                    state["exp_avg"] = torch.zeros_like(p)
                    if not group["muon"]:
                        state["exp_avg_sq"] = torch.zeros_like(p)
                state["step"] += 1
            if not present:
                continue
            rate = group["lr"] * (MUON_RATE if group["muon"] else 1.0)
            torch._foreach_mul_(present, 1 - rate * group["weight_decay"])
            (self._orthogonal if group["muon"] else self._adam)(present, rate)

    def _orthogonal(self, parameters: list[Tensor], rate: float) -> None:
        shapes: dict[torch.Size, list[Tensor]] = {}
        for p in parameters:
            shapes.setdefault(p.shape, []).append(p)
        for shape, alike in shapes.items():
            momenta = [self.state[p]["exp_avg"] for p in alike]
            gradients = [p.grad for p in alike if p.grad is not None]
            torch._foreach_lerp_(momenta, gradients, 1 - MUON_MOMENTUM)
            nesterov = torch.stack(gradients).lerp(torch.stack(momenta), MUON_MOMENTUM)
            steps = orthogonal(nesterov) * (MATCHING * math.sqrt(max(shape)))
            torch._foreach_add_(alike, list(steps.unbind()), alpha=-rate)

    def _adam(self, parameters: list[Tensor], rate: float) -> None:
        for p in parameters:
            state, gradient = self.state[p], p.grad
            assert gradient is not None
            count = float(state["step"])
            state["exp_avg"].lerp_(gradient, 1 - BETAS[0])
            state["exp_avg_sq"].mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
            spread = (state["exp_avg_sq"] / (1 - BETAS[1] ** count)).sqrt_().add_(EPSILON)
            p.addcdiv_(state["exp_avg"], spread, value=-rate / (1 - BETAS[0] ** count))


def orthogonal(matrices: Float[Tensor, "n rows columns"], iterations: int = 5) -> Float[Tensor, "n rows columns"]:
    """Nearly the orthogonal factor U V^T of each matrix U S V^T, by a Newton-Schulz iteration in bfloat16.

    Singular values come out between 0.7 and 1.2, which is near enough for a step of gradient descent.

    >>> x = orthogonal(torch.diag(torch.tensor([3.0, 1.0, 0.5, 2.0]))[None])
    >>> bool(((x.diagonal(dim1=-2, dim2=-1) - 1).abs() < 0.4).all())
    True
    """
    a, b, c = NEWTON_SCHULZ
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.transpose(-1, -2) if tall else matrices
    x = (x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)).bfloat16()
    for _ in range(iterations):
        square = x @ x.transpose(-1, -2)
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return (x.transpose(-1, -2) if tall else x).to(matrices.dtype)


def make_optimiser(module: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    """The optimiser that the settings name."""
    if settings.optimiser == "muon":
        return Muon(module, settings.learning_rate, settings.weight_decay)
    return torch.optim.AdamW(
        module.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, betas=BETAS
    )
