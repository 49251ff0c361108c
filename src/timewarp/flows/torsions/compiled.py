"""The torsion flow in the compiled kernels."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ... import native
from ...geometry import InternalTree
from ...shapes import Bool, Float, Int
from ..compiled import NativeFlow
from ..folding import after_norm, fold_network, real, whole
from ..tokens import TokenGraph, TokenNetwork
from .couplings import HARMONICS, StiffContext, TorsionCondition, TorsionCouplings, coupling_mask

if TYPE_CHECKING:
    from ..molecule import MoleculeFlow, Standardiser
    from .flow import TorsionFlow


class NativeTorsionFlow(NativeFlow):
    """Family C, the soft torsions given the stiff coordinates, as :class:`TorsionFlow`."""

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


@torch.no_grad()
def fold_torsion_flow(flow: TorsionFlow) -> Any:
    """The compiled form of a torsion flow, with its weights as they are now."""
    flow = copy.deepcopy(flow).cpu().double()
    context = None if flow.context is None else _context(flow.context, flow._atom_graph, flow.atoms.tree.torsions)
    return fold_flow(flow, flow.couplings, context)


def fold_flow(flow: MoleculeFlow, torsions: TorsionCouplings, context: Any) -> Any:
    """The compiled form of the torsion couplings of a flow, with the folded context network or None."""
    couplings = []
    for layer, conditioner in enumerate(torsions.conditioners):
        assert isinstance(conditioner, TokenNetwork)
        moves = coupling_mask(layer, flow._torsion_graph.is_token)[0]
        couplings.append(_coupling(conditioner, flow._torsion_graph, moves))
    tree = flow.atoms.tree
    return native.core().Flow(
        **_tree(tree, flow.standardiser),
        torsions=whole(tree.torsions),
        context=context,
        couplings=couplings,
        bins=torsions.config.bins,
    )


def _context(context: StiffContext, graph: TokenGraph, torsions: Int[Tensor, "torsions 4"]) -> Any:
    """The network over atoms, read out at the corners of torsions and joined."""
    network = context.network
    read, read_bias = after_norm(network.read_out, network.norm)
    parts = context.join.weight.unflatten(1, (4, -1))  # (width, corner, width)
    joined = torch.einsum("okm,mi->oki", parts, read).flatten(1)
    bias = context.join.bias + parts.sum(1) @ read_bias
    return fold_network(
        network,
        graph,
        constant=torch.zeros_like(graph.features[0, :, :0]),
        n_inputs=network.embed_inputs.in_features,
        active=torsions.unique(),
        read=(joined, bias),
    )


def _coupling(network: TokenNetwork, graph: TokenGraph, moves: Bool[Tensor, " torsions"]) -> Any:
    """A coupling's conditioner; its active tokens are those that move."""
    return fold_network(
        network,
        graph,
        constant=(~moves).to(graph.features)[:, None],
        n_inputs=2 * HARMONICS,
        active=moves.nonzero()[:, 0],
        read=after_norm(network.read_out, network.norm),
    )


def _tree(tree: InternalTree, standardiser: Standardiser) -> dict[str, np.ndarray]:
    third = tree.order[2]
    sibling = [-1 if first in (i, -1, third) else first for i, first in enumerate(tree.first_sibling)]
    places = standardiser.stiff.nonzero()
    return {
        "order": whole(torch.tensor(tree.order)),
        "references": whole(torch.tensor(tree.references)),
        "sibling": whole(torch.tensor(sibling)),
        "stiff": whole(torch.cat([places, standardiser.is_dihedral[:, None]], 1)),
        "standard": real(torch.stack([standardiser.mean, 1 / standardiser.scale], 1)),
    }
