"""Flows of one molecule in the compiled kernels: the same densities, some ten times faster, for sampling."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from .. import native
from ..shapes import Float
from ..state import Atoms
from .proposer import Proposal

if TYPE_CHECKING:
    from .molecule import MoleculeFlow


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

    engine = "native"
    cost = 90.0  # alanine dipeptide with the shipped network
    condition_is_invariant: ClassVar[bool] = True

    def __init__(self, flow: MoleculeFlow, kernel: Any) -> None:
        self.atoms: Atoms = flow.atoms
        self.config = flow.config
        self.redraws = flow.redraws
        self._kernel = kernel
        self._torsions = flow.atoms.tree.torsions[:, 0]
        self._n_noise = 0

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.atoms.residues}, width {self.config.width}, {native.instruction_set()})"

    def propose(self, x: Float[Tensor, "chains atoms 3"], generator: torch.Generator) -> Proposal:
        """A candidate for each configuration ``x`` (nm), in one pass; :class:`InternalProposer` has the formulas.

        Candidates are centred on the origin. The log ratio of a draw outside the chart is NaN.
        """
        n = len(x)
        candidates = torch.empty(x.shape, dtype=x.dtype)
        log_q_candidate, log_q_current = torch.empty(2, n, dtype=torch.float64)
        base, noise = self._base(n, generator)
        self._kernel.propose(x.contiguous(), base, noise, candidates, log_q_candidate, log_q_current, native.threads())
        return Proposal(candidates, log_q_current - log_q_candidate, is_centred=True)

    def _base(self, n: int, generator: torch.Generator) -> tuple[Float[Tensor, "n torsions"], Float[Tensor, "n noise"]]:
        """Uniform angles and normal numbers, drawn in the order of the torch flows."""
        uniform = torch.rand(n, len(self._torsions), generator=generator, dtype=torch.float64)
        noise = torch.randn(n, self._n_noise, generator=generator, dtype=torch.float64)
        return math.pi * (2 * uniform - 1), noise
