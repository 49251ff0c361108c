"""Features of a growing molecule in the compiled kernel: the numbers of :mod:`.profiles` in single precision.

The geometry of each step is done in double precision and rounded once, so that what a step reads does not depend on
torsions that are drawn later, not even in the last digit: the density of a draw is the density that it is scored with.
"""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor

from ... import native
from ...energies.parameters import HIGHEST_PERIODICITY
from ...shapes import Float
from ...units import COULOMB_CONSTANT
from ..circular import grid
from .plan import GrowthPlan
from .profiles import ANGLES, COARSE, N_SPATIAL, Features, features, interpolation, outlook_at, step_features
from .scale import angles_of, log_slope

_kernels: weakref.WeakKeyDictionary[GrowthPlan, Any] = weakref.WeakKeyDictionary()


def growth_kernel(plan: GrowthPlan) -> Any:
    """The compiled form of a plan, made when it is first asked for.

    Raises:
        RuntimeError: the compiled kernels are not there.
    """
    kernel = _kernels.get(plan)
    if kernel is None:
        kernel = _kernels[plan] = _compile(plan.to("cpu", torch.float64))
    return kernel


def _compile(plan: GrowthPlan) -> Any:
    double = torch.zeros(1, dtype=torch.float64)
    multiples = torch.arange(HIGHEST_PERIODICITY + 1).double()[:, None]
    grids = [_grid_tables(multiples * angles_of(ANGLES, twisting, double), twisting) for twisting in (False, True)]
    s = plan.solvent
    none = torch.zeros(0)
    tables = [none] * 8
    if s is not None:
        numbers = (s.rho, s.scaled, s.outer, s.product, s.self_energy, s.surface, s.tanh)
        necks = none if s.necks is None else torch.stack([s.necks.best, 2 * s.necks.height, s.necks.reach], -1)
        tables = [_flat(t) for t in (*numbers, necks)]
    n_atoms = plan.site_weights.shape[1]
    kernel = native.core().GrowthKernel(
        n_atoms,
        s is not None,
        s is not None and s.linear,
        *tables,
        _flat(plan.site_weights),
        _flat(plan.site_charge),
        _flat(plan.site_heavy),
        plan.beyond.to(torch.uint8).flatten().contiguous(),
        *(torch.cat(tables) for tables in zip(*grids, strict=True)),
        _flat(log_slope(grid(ANGLES, double))),
        plan.centres[0].to(torch.int32).contiguous(),
        COULOMB_CONSTANT * plan.inverse_kT,
        _flat(plan.map_patches),
        plan.map_size,
    )
    for k, step in enumerate(plan.steps):
        kernel.add_step(
            torch.tensor(step.corners, dtype=torch.int32),
            *(t.to(torch.int32).flatten().contiguous() for t in (step.fragment, step.old, step.turning)),
            *(_flat(t) for t in (step.lj12, step.lj6, step.charge)),
            *(t.to(torch.int32).flatten().contiguous() for t in (step.terms, step.periodicity)),
            *(_flat(t) for t in (step.phase, step.k, step.unplaced)),
            *(t.to(torch.int32).flatten().contiguous() for t in (step.maps.turning, step.maps.fixed, step.maps.first)),
            plan.centres[k + 1].to(torch.int32).contiguous(),
            step.twisting,
        )
    return kernel


def _grid_tables(angle: Tensor, twisting: bool) -> tuple[Tensor, Tensor, Tensor]:
    return _flat(angle.cos()), _flat(angle.sin()), _flat(interpolation(twisting))


def features_of(plan: GrowthPlan, x: Float[Tensor, "batch atoms 3"], dtype: torch.dtype = torch.float32) -> Features:
    """Features of all steps in dimension 1: compiled for a single-precision network on a CPU, else by torch."""
    if compiled(x, dtype):
        return _compiled_features(plan, x, 0, plan.n_steps)
    return features(plan, x.double()).to(dtype, angle=torch.float64)


def features_at(
    plan: GrowthPlan, k: int, x: Float[Tensor, "batch atoms 3"], dtype: torch.dtype = torch.float32
) -> Features:
    """Features of step ``k``; torsions of step k and later may have any value in ``x``."""
    if compiled(x, dtype):
        return _compiled_features(plan, x, k, k + 1).at(0)
    x = x.double()
    return step_features(plan, k, x, outlook_at(plan, k, x)).to(dtype, angle=torch.float64)


def compiled(x: Tensor, dtype: torch.dtype = torch.float32) -> bool:
    """Whether features of these positions for a network in ``dtype`` come from the compiled kernel."""
    return x.device.type == "cpu" and dtype == torch.float32 and native.available()


def _compiled_features(plan: GrowthPlan, x: Tensor, first: int, last: int) -> Features:
    n, steps = len(x), last - first
    angle = torch.empty(n, steps, dtype=torch.float64)
    profile, ahead = torch.empty(n, steps, ANGLES), torch.empty(n, steps, 2, COARSE)
    bends, spatial = torch.empty(n, steps, 2), torch.empty(n, steps, plan.n_steps + 1, N_SPATIAL)
    kernel = growth_kernel(plan)
    kernel.features(x.contiguous(), first, last, angle, profile, ahead, bends, spatial, native.threads())
    return Features(angle, profile, ahead, bends, spatial)


def _flat(t: Tensor) -> Tensor:
    return t.float().flatten().contiguous()
