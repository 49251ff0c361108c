"""Flows in the compiled kernels: the same densities as the torch modules, some ten times faster, for sampling."""

from __future__ import annotations

import math
from typing import Any, ClassVar, overload

import torch
from torch import Tensor

from .. import native
from ..shapes import Float
from ..state import Atoms
from .density import InternalDensity
from .folding import fold_internal_flow, fold_torsion_flow
from .growth import GrowthFlow
from .growth.engine import NativeGrowthFlow
from .internal import InternalFlow
from .torsion import TorsionCondition, TorsionFlow


class NativeFlow:
    """What the compiled flows share: whole proposals, from positions to positions.

    The networks compute in single precision; angles, splines, internal coordinates and log densities are in double
    precision. Against the flow in double precision log q is right to some 1e-5, and the log q of a draw is that of the
    draw scored afterwards to 1e-6 or so. Chains do not see each other: results depend neither on the batch nor on the
    number of threads (:func:`timewarp.native.threads`).

    Args:
        flow: the flow; later changes of its weights are not seen.
        kernel: its compiled form.

    Raises:
        RuntimeError: the compiled kernels are not there.
    """

    family: ClassVar[str]
    condition_is_invariant: ClassVar[bool] = True

    def __init__(self, flow: TorsionFlow | InternalFlow, kernel: Any) -> None:
        self.atoms: Atoms = flow.atoms
        self.config = flow.config
        self._kernel = kernel
        self._torsions = flow.atoms.tree.torsions[:, 0]
        self._n_noise = 0

    def __repr__(self) -> str:
        size = f"width {self.config.width}"
        return f"{type(self).__name__}({self.atoms.residues}, family {self.family}, {size}, {native.instruction_set()})"

    def propose(
        self, positions: Float[Tensor, "batch atoms 3"], generator: torch.Generator
    ) -> tuple[Float[Tensor, "batch atoms 3"], Float[Tensor, " batch"]]:
        """A candidate for each configuration, in one pass; :func:`timewarp.flows.proposal.propose` has the formulas.

        Args:
            positions: in nm.
            generator: of the base's random numbers.

        Returns:
            Candidates centred on the origin, and log q(x | x') - log q(x' | x) in Cartesian measure (float64); NaN for
            a draw outside the chart.
        """
        n = len(positions)
        candidates = torch.empty(positions.shape, dtype=positions.dtype)
        there, here = torch.empty(2, n, dtype=torch.float64)
        base, noise = self._base(n, generator)
        self._kernel.propose(positions.contiguous(), base, noise, candidates, there, here, native.threads())
        return candidates, here - there

    def _base(self, n: int, generator: torch.Generator) -> tuple[Float[Tensor, "n torsions"], Float[Tensor, "n noise"]]:
        """Uniform angles and normal numbers, drawn in the order of the torch flows."""
        uniform = torch.rand(n, len(self._torsions), generator=generator, dtype=torch.float64)
        noise = torch.randn(n, self._n_noise, generator=generator, dtype=torch.float64)
        return math.pi * (2 * uniform - 1), noise


class NativeTorsionFlow(NativeFlow):
    """Family C, the soft torsions given the stiff coordinates, as :class:`timewarp.flows.TorsionFlow`."""

    family: ClassVar[str] = "C"
    config: Any

    def __init__(self, flow: TorsionFlow) -> None:
        super().__init__(flow, fold_torsion_flow(flow))

    def encode(self, internal: Float[Tensor, "batch atoms 3"]) -> TorsionCondition:
        """Read the stiff coordinates; the soft torsions in ``internal`` have no influence."""
        context = None
        if self.config.context_blocks:
            context = torch.empty(1, len(internal), len(self._torsions), self.config.width)
            self._kernel.encode(internal.contiguous(), context[0], native.threads())
        return TorsionCondition(internal, context)

    def sample(
        self, condition: TorsionCondition, n: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, "n batch atoms 3"], Float[Tensor, "n batch"]]:
        """Redraw all soft torsions, ``n`` times per condition; the stiff coordinates are copied."""
        batch = condition.internal.shape[0]
        torsions, log_q = self._transport(self._base(n * batch, generator)[0], condition, sampling=True)
        internal = condition.internal.repeat(n, 1, 1, 1)
        internal[:, :, self._torsions, 2] = torsions.reshape(n, batch, -1).to(internal)
        return internal, log_q.reshape(n, batch)

    def log_prob(
        self, internal: Float[Tensor, "batch atoms 3"], condition: TorsionCondition
    ) -> Float[Tensor, " batch"]:
        """Log density of the soft torsions in ``internal`` given the condition."""
        return self._transport(internal[:, self._torsions, 2].double(), condition, sampling=False)[1]

    def _transport(
        self, angles: Float[Tensor, "n torsions"], condition: TorsionCondition, *, sampling: bool
    ) -> tuple[Float[Tensor, "n torsions"], Float[Tensor, " n"]]:
        """Angles through all couplings, and the log density of the torsions."""
        angles = angles.clone(memory_format=torch.contiguous_format)
        log_q = torch.empty(len(angles), dtype=torch.float64)
        context = torch.empty(0, 1, 1)
        if condition.context is not None:
            context = condition.context[0].repeat(len(angles) // len(condition.context[0]), 1, 1)
        self._kernel.transport(context, angles, log_q, sampling, native.threads())
        return angles, log_q


class NativeInternalFlow(NativeFlow):
    """Family B, all internal coordinates, as :class:`timewarp.flows.InternalFlow`."""

    family: ClassVar[str] = "B"

    def __init__(self, flow: InternalFlow) -> None:
        super().__init__(flow, fold_internal_flow(flow))
        self._n_noise = flow.standardiser.n_coordinates

    def encode(self, internal: Float[Tensor, "batch atoms 3"]) -> int:
        """An independence proposal needs to know only how many states there are."""
        return internal.shape[0]

    def sample(
        self, condition: int, n: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, "n batch atoms 3"], Float[Tensor, "n batch"]]:
        """Draw all internal coordinates, ``n`` times per state; NaN in a draw that leaves the chart."""
        internal = torch.empty(n * condition, self.atoms.n_atoms, 3, dtype=torch.float64)
        log_q = torch.empty(n * condition, dtype=torch.float64)
        base, noise = self._base(n * condition, generator)
        self._kernel.transport_internal(base, noise, internal, log_q, native.threads())
        return internal.reshape(n, condition, -1, 3), log_q.reshape(n, condition)

    def log_prob(self, internal: Float[Tensor, "batch atoms 3"], condition: int) -> Float[Tensor, " batch"]:
        """Log density of all internal coordinates."""
        log_q = torch.empty(len(internal), dtype=torch.float64)
        none = torch.empty(0, 1, dtype=torch.float64)
        self._kernel.transport_internal(none, none, internal.double().contiguous(), log_q, native.threads())
        return log_q


ENGINES = ("auto", "native", "torch")
DEFAULT_ENGINE = "auto"


@overload
def with_engine(density: GrowthFlow, engine: str | None = None) -> GrowthFlow | NativeGrowthFlow: ...
@overload
def with_engine(density: InternalDensity, engine: str | None = None) -> InternalDensity: ...
def with_engine(
    density: InternalDensity | GrowthFlow, engine: str | None = None
) -> InternalDensity | GrowthFlow | NativeGrowthFlow:
    """A density as an engine computes it.

    Args:
        density: any density.
        engine: ``"native"``, the compiled kernels, which know families C, C2 and B in single precision on the CPU;
            ``"torch"``, the density as it is; ``"auto"`` (the default), the first where it is possible, or the second.

    Raises:
        ValueError: no such engine, or the kernels do not know this density.
        RuntimeError: the compiled kernels are asked for, and are not there.
    """
    engine = DEFAULT_ENGINE if engine is None else engine
    if engine not in ENGINES:
        raise ValueError(f"no flow engine {engine!r}; there are {', '.join(ENGINES)}")
    weight = next(density.parameters()) if isinstance(density, TorsionFlow | InternalFlow | GrowthFlow) else None
    known = weight is not None and weight.dtype == torch.float32 and weight.device.type == "cpu"
    if engine == "torch" or (engine == "auto" and not (known and native.available())):
        return density
    if not known:
        raise ValueError(
            f"the native flow engine computes families C, C2 and B in float32 on the cpu, got {type(density).__name__}"
            + ("" if weight is None else f" in {weight.dtype} on {weight.device}")
            + "; leave the engine to 'auto'"
        )
    if isinstance(density, GrowthFlow):
        return NativeGrowthFlow(density)
    if isinstance(density, InternalFlow):
        return NativeInternalFlow(density)
    assert isinstance(density, TorsionFlow)
    return NativeTorsionFlow(density)
