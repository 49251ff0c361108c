"""The transferable family in the compiled kernels: whole proposals, from positions to positions, for sampling."""

from __future__ import annotations

import copy
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ... import native
from ...shapes import Float
from ..folding import after_norm, centred, padded, real
from .compiled_features import growth_kernel
from .network import GrowthBlock, GrowthNetwork
from .plan import N_RELATION, GrowthPlan, Regrowth
from .profiles import ANGLES, COARSE, N_SPATIAL
from .twist import redraw_first

if TYPE_CHECKING:
    from .flow import GrowthFlow

N_CHANGING = 2 * ANGLES + 2 * COARSE + 2
"""Inputs of a step that come first; those that no configuration changes follow."""


class NativeGrowthFlow:
    """Draws and densities of a :class:`GrowthFlow` in single precision on the CPU, some five times faster than torch's.

    Geometry and densities on the circle are in double precision, the physics prior and the network in single. Drawing
    and scoring run through the same code on the same numbers, so that the log q of a draw is that of the draw scored
    afterwards but for the rounding of its positions. Chains do not see each other: results depend neither on the batch
    nor on the number of threads (:func:`timewarp.native.threads`).

    Args:
        flow: the flow; later changes of its weights are not seen.

    Raises:
        RuntimeError: the compiled kernels are not there.
    """

    engine = "native"

    def __init__(self, flow: GrowthFlow) -> None:
        self.atoms, self.config = flow.atoms, flow.config
        self._network = copy.deepcopy(flow.network).cpu().double()
        self._folded = fold_network(self._network)
        self._twist = copy.deepcopy(flow.network.twist).cpu() if flow.config.twists else None
        self._samplers: weakref.WeakKeyDictionary[GrowthPlan, Any] = weakref.WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(width {self.config.width}, {native.instruction_set()})"

    def redraw(
        self, x: Float[Tensor, "batch atoms 3"], chosen: Regrowth, generator: torch.Generator, score: bool = True
    ) -> tuple[Float[Tensor, "batch atoms 3"], Float[Tensor, " batch"], Float[Tensor, " batch"] | None]:
        """Candidates, their log density (with respect to d phi, float64), and that of ``x`` if it is asked for."""
        if chosen.twists is not None:
            assert self._twist is not None
            return redraw_first(self, self._twist, x, chosen, generator, score)
        x, plan, n = x.contiguous(), chosen.plan, len(x)
        sampler = self._sampler(plan)
        uniform = torch.rand(plan.n_steps - chosen.kept, n, generator=generator, dtype=torch.float64)
        candidates, forward = torch.empty_like(x), torch.empty(n, dtype=torch.float64)
        backward = torch.empty(n if score else 0, dtype=torch.float64)
        wells = torch.tensor(chosen.wells, dtype=torch.uint8)
        sampler.regrow(x, chosen.kept, wells, uniform, candidates, forward, backward, native.threads())
        return candidates, forward, backward if score else None

    def score(self, x: Float[Tensor, "batch atoms 3"], chosen: Regrowth) -> Float[Tensor, " batch"]:
        """Log density of the torsions in ``x`` that a regrowth redraws, peptide bonds that are drawn first left out."""
        x, nothing = x.contiguous(), torch.empty(0, dtype=torch.float64)
        backward = torch.empty(len(x), dtype=torch.float64)
        wells = torch.tensor(chosen.wells, dtype=torch.uint8)
        sampler, none = self._sampler(chosen.plan), nothing.reshape(0, 0)
        sampler.regrow(x, chosen.kept, wells, none, x[:0], nothing, backward, native.threads())
        return backward

    def _sampler(self, plan: GrowthPlan) -> Any:
        sampler = self._samplers.get(plan)
        if sampler is None:
            sampler = self._samplers[plan] = fold_plan(self._network, self._folded, plan)
        return sampler


@torch.no_grad()
def fold_network(network: GrowthNetwork) -> Any:
    """The compiled form of a network in double precision, normalisation folded as in :mod:`..folding`."""
    config = network.config
    read, read_bias = after_norm(network.read_out, network.norm)
    return native.core().GrowthNetwork(
        width=config.width,
        n_heads=config.n_heads,
        harmonics=config.harmonics,
        physics=config.physics,
        epsilon=network.norm.eps,
        embed=real(padded(centred(network.embed.weight[:, :N_CHANGING]))),
        read=real(padded(read)),
        read_bias=real(padded(read_bias)),
        waves=real(network.waves),
        blocks=[_block(block) for block in network.layers],
    )


def _block(block: GrowthBlock) -> tuple[np.ndarray, ...]:
    query, query_bias = after_norm(block.query, block.norm)
    known, known_bias = after_norm(block.known, block.norm)
    scale = (query.shape[0] // block.n_heads) ** -0.5
    fused = torch.cat([scale * query, known])
    fused_bias = torch.cat([scale * query_bias, known_bias + block.angle.bias])
    widen, widen_bias = after_norm(block.widen, block.norm_feed)
    spatial = block.bias.in_features - N_RELATION
    # Networks that are not told of handedness have no column for it: zeros.
    bias = F.pad(block.bias.weight[:, :spatial], (0, N_SPATIAL - spatial))
    where = block.where.weight.unflatten(1, (block.n_heads, -1))
    where = torch.cat([F.pad(where[..., :spatial], (0, N_SPATIAL - spatial)), where[..., spatial:]], -1).flatten(1)
    join = torch.cat([block.project.weight, where], 1)
    arrays = (
        padded(fused),
        padded(fused_bias),
        block.angle.weight,
        padded(bias),
        *(padded(centred(rows)) for rows in (join, block.project.bias)),
        *(padded(rows) for rows in (widen, widen_bias)),
        *(padded(centred(rows)) for rows in (block.narrow.weight, block.narrow.bias)),
    )
    return tuple(real(array) for array in arrays)


@torch.no_grad()
def fold_plan(network: GrowthNetwork, folded: Any, plan: GrowthPlan) -> Any:
    """A network on a molecule in one order of growth: what it makes of the chemistry is computed here, once."""
    kernel, plan = growth_kernel(plan), plan.to("cpu", torch.float64)
    static = plan.static[:, : network.config.n_static]
    constant = F.linear(static, network.embed.weight[:, N_CHANGING:], network.embed.bias)
    related = [F.linear(plan.relations, _relations(b.bias), b.bias.bias) for b in network.layers]
    return native.core().GrowthSampler(
        kernel,
        folded,
        real(padded(centred(constant.T)).T),
        real(torch.stack(network.site_memories(plan.sites))),
        real(torch.stack(related)),
        real(plan.relations),
    )


def _relations(bias: nn.Linear) -> Tensor:
    return bias.weight[:, -N_RELATION:]
