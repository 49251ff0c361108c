"""Flows of one molecule in the compiled kernels, some ten times faster than in torch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .. import native
from ..shapes import Float
from .density import FORCES
from .proposer import Proposal

if TYPE_CHECKING:
    from .molecule import MoleculeFlow


class NativeFlow:
    """Proposals of a flow of one molecule in the compiled kernels.

    The networks compute in single precision; angles, splines, internal coordinates and log densities are in double
    precision. Against the flow in double precision log q is right to some 1e-5, and the log q of a draw is that of the
    draw scored afterwards to 1e-6 or so. Chains do not see each other: results depend neither on the batch nor on the
    number of threads (:func:`timewarp.native.threads`).

    Args:
        flow: the flow; later changes of its weights are not seen.
        kernel: its compiled form.
        n_noise: normal numbers of a draw, beside a uniform angle for each soft torsion.
    """

    engine = "native"
    cost = FORCES

    def __init__(self, flow: MoleculeFlow, kernel: Any, n_noise: int = 0) -> None:
        self.atoms, self.config, self.redraws = flow.atoms, flow.config, flow.redraws
        self._kernel, self._n_noise = kernel, n_noise

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.atoms.residues}, width {self.config.width}, {native.instruction_set()})"

    def propose(self, x: Float[Tensor, "chains atoms 3"], generator: torch.Generator) -> Proposal:
        """A candidate for each configuration ``x`` (nm), in one pass; :class:`InternalProposer` has the formulas.

        Candidates are centred on the origin. The log ratio of a draw outside the chart is NaN. Random numbers are drawn
        in the order of the torch flows.
        """
        n = len(x)
        uniform = torch.rand(n, len(self.atoms.tree.rotatable), generator=generator, dtype=torch.float64)
        noise = torch.randn(n, self._n_noise, generator=generator, dtype=torch.float64)
        candidates = torch.empty(x.shape, dtype=x.dtype)
        log_q_candidate, log_q_current = torch.empty(2, n, dtype=torch.float64)
        base = math.pi * (2 * uniform - 1)
        self._kernel.propose(x.contiguous(), base, noise, candidates, log_q_candidate, log_q_current, native.threads())
        return Proposal(candidates, log_q_current - log_q_candidate, is_centred=True)
