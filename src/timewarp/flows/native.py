"""Family C in the compiled kernels: the same density as :class:`timewarp.flows.TorsionFlow`, some ten times faster."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from .. import native
from ..shapes import Float
from .density import InternalDensity
from .folding import fold_torsion_flow
from .torsion import TorsionCondition, TorsionFlow


class NativeTorsionFlow:
    """A trained torsion flow for sampling on the CPU, with the weights that it has now.

    The networks compute in single precision; angles, splines, internal coordinates and log densities are in double
    precision. Against the flow in double precision log q is right to about 1e-5, and the log q of a draw is that of the
    draw scored afterwards to 1e-6 or so. Chains do not see each other: results depend neither on the batch nor on the
    number of threads (:func:`timewarp.native.threads`).

    Args:
        flow: the flow; later changes of its weights are not seen.

    Raises:
        RuntimeError: the compiled kernels are not there.
    """

    family: ClassVar[str] = "C"
    condition_is_invariant: ClassVar[bool] = True

    def __init__(self, flow: TorsionFlow) -> None:
        self.atoms = flow.atoms
        self.config = flow.config
        self._kernel = fold_torsion_flow(flow)
        self._torsions = flow.atoms.tree.torsions[:, 0]

    def __repr__(self) -> str:
        sizes = f"{self.config.n_couplings} couplings, width {self.config.width}"
        return f"NativeTorsionFlow({self.atoms.residues}, {sizes}, {native.instruction_set()})"

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
        torsions, log_q = self._transport(self._base(n * batch, generator), condition, sampling=True)
        internal = condition.internal.repeat(n, 1, 1, 1)
        internal[:, :, self._torsions, 2] = torsions.reshape(n, batch, -1).to(internal)
        return internal, log_q.reshape(n, batch)

    def log_prob(
        self, internal: Float[Tensor, "batch atoms 3"], condition: TorsionCondition
    ) -> Float[Tensor, " batch"]:
        """Log density of the soft torsions in ``internal`` given the condition."""
        return self._transport(internal[:, self._torsions, 2].double(), condition, sampling=False)[1]

    def propose(
        self, positions: Float[Tensor, "batch atoms 3"], generator: torch.Generator
    ) -> tuple[Float[Tensor, "batch atoms 3"], Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """Redraw the soft torsions of each configuration, in one pass that reads its stiff coordinates once.

        Args:
            positions: in nm.
            generator: of the base's uniform numbers.

        Returns:
            Candidates centred on the origin, log q of each candidate's torsions, and log q of the current ones given
            the same stiff coordinates.
        """
        n = len(positions)
        candidates = torch.empty(positions.shape, dtype=positions.dtype)
        there, here = torch.empty(2, n, dtype=torch.float64)
        base = self._base(n, generator)
        self._kernel.propose(positions.contiguous(), base, candidates, there, here, native.threads())
        return candidates, there, here

    def _base(self, n: int, generator: torch.Generator) -> Float[Tensor, "n torsions"]:
        uniform = torch.rand(n, len(self._torsions), generator=generator, dtype=torch.float64)
        return math.pi * (2 * uniform - 1)

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


ENGINES = ("auto", "native", "torch")
DEFAULT_ENGINE = "auto"


def with_engine(density: InternalDensity, engine: str | None = None) -> InternalDensity:
    """A density as an engine computes it.

    Args:
        density: any density.
        engine: ``"native"``, the compiled kernels, which know a :class:`TorsionFlow` in single precision on the CPU;
            ``"torch"``, the density as it is; ``"auto"`` (the default), the first where it is possible, or the second.

    Raises:
        ValueError: no such engine, or the kernels do not know this density.
        RuntimeError: the compiled kernels are asked for, and are not there.
    """
    engine = DEFAULT_ENGINE if engine is None else engine
    if engine not in ENGINES:
        raise ValueError(f"no flow engine {engine!r}; there are {', '.join(ENGINES)}")
    weight = next(density.parameters()) if isinstance(density, TorsionFlow) else None
    known = weight is not None and weight.dtype == torch.float32 and weight.device.type == "cpu"
    if engine == "torch" or (engine == "auto" and not (known and native.available())):
        return density
    if not known:
        raise ValueError(
            f"the native flow engine computes family C in float32 on the cpu, got {type(density).__name__}"
            + ("" if weight is None else f" in {weight.dtype} on {weight.device}")
            + "; leave the engine to 'auto'"
        )
    assert isinstance(density, TorsionFlow)
    return NativeTorsionFlow(density)
