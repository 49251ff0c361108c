"""Features of a growing molecule in the compiled kernel: the numbers of :mod:`.profiles` in single precision."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ... import native
from ...shapes import Float
from ...units import COULOMB_CONSTANT
from .circular import grid, resample
from .plan import GrowthPlan
from .profiles import ANGLES, COARSE, N_SPATIAL, Features, features

HIGHEST_PERIODICITY = 8


def growth_kernel(plan: GrowthPlan) -> Any:
    """The compiled form of a plan.

    Raises:
        RuntimeError: the compiled kernels are not there.
    """
    plan = plan.to("cpu", torch.float64)
    angle = torch.arange(HIGHEST_PERIODICITY + 1).double()[:, None] * grid(ANGLES, torch.zeros(1).double())
    s = plan.solvent
    none = torch.zeros(0)
    tables = (
        [none] * 7
        if s is None
        else [_flat(t) for t in (s.rho, s.scaled, s.radius, s.product, s.self_energy, s.surface, s.tanh)]
    )
    n_atoms = plan.site_weights.shape[1]
    kernel = native.core().GrowthKernel(
        n_atoms,
        s is not None,
        *tables,
        _flat(plan.site_weights),
        _flat(plan.site_charge),
        _flat(plan.site_heavy),
        plan.beyond.to(torch.uint8).flatten().contiguous(),
        _flat(angle.cos()),
        _flat(angle.sin()),
        _flat(resample(COARSE, ANGLES)),
        COULOMB_CONSTANT * plan.inverse_kT,
    )
    for step in plan.steps:
        kernel.add_step(
            torch.tensor(step.corners, dtype=torch.int32),
            *(t.to(torch.int32).flatten().contiguous() for t in (step.fragment, step.old)),
            *(_flat(t) for t in (step.lj12, step.lj6, step.charge)),
            *(t.to(torch.int32).flatten().contiguous() for t in (step.terms, step.periodicity)),
            *(_flat(t) for t in (step.phase, step.k, step.unplaced)),
        )
    return kernel


def features_of(plan: GrowthPlan, x: Float[Tensor, "batch atoms 3"]) -> Features:
    """Features of all steps in dimension 1: compiled on a CPU that has the kernel, by torch elsewhere."""
    if x.device.type != "cpu" or not native.available():
        return features(plan, x)
    n, steps = len(x), plan.n_steps
    angle = torch.empty(n, steps, dtype=torch.float64)
    profile, ahead = torch.empty(n, steps, ANGLES), torch.empty(n, steps, 2, COARSE)
    bends, spatial = torch.empty(n, steps, 2), torch.empty(n, steps, steps + 1, N_SPATIAL)
    growth_kernel(plan).features(x.contiguous(), angle, profile, ahead, bends, spatial, native.threads())
    return Features(angle, profile, ahead, bends, spatial)


def _flat(t: Tensor) -> Tensor:
    return t.float().flatten().contiguous()
