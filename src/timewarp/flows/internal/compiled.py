"""The flow over all internal coordinates in the compiled kernels."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ... import native
from ...shapes import Float
from ..compiled import NativeFlow
from ..folding import after_norm, fold_network, real, whole
from ..tokens import TokenGraph
from ..torsions.compiled import fold_flow
from ..torsions.couplings import HARMONICS
from .couplings import StiffCoupling

if TYPE_CHECKING:
    from .flow import InternalFlow


class NativeInternalFlow(NativeFlow):
    """Family B, all internal coordinates, as :class:`InternalFlow`."""

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


@torch.no_grad()
def fold_internal_flow(flow: InternalFlow) -> Any:
    """The compiled form of a flow over internal coordinates, with its weights as they are now."""
    flow = copy.deepcopy(flow).cpu().double()
    folded = fold_flow(flow, flow.torsions, None)
    stiff = flow.standardiser.stiff
    couplings = [c for c in flow.couplings if isinstance(c, StiffCoupling)]
    folded.add_stiff(
        cholesky=real(flow.standardiser.cholesky),
        couplings=[(_stiff_coupling(c, flow._atom_graph), whole(c.moves[stiff])) for c in couplings],
        bins=flow.config.stiff_bins,
    )
    return folded


def _stiff_coupling(coupling: StiffCoupling, graph: TokenGraph) -> Any:
    """A conditioner over atoms; its active tokens are those of which a coordinate moves."""
    network = coupling.conditioner
    return fold_network(
        network,
        graph,
        constant=coupling.known,
        n_inputs=2 * HARMONICS + 3,
        active=coupling.moves.any(-1).nonzero()[:, 0],
        read=after_norm(network.read_out, network.norm),
    )
