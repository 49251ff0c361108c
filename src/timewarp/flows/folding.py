"""A flow as the compiled kernels read it: everything that no configuration changes, folded into its weights.

A layer normalisation divides by the root mean square of a token less its mean. Subtracting the mean is linear, so it
goes into whatever *writes* to the token (then every token has mean zero); gain and bias go into what reads it. What the
chemistry decides (attention weights, embedded features) is computed here, once. All of it in double precision.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import native
from ..geometry import InternalTree
from ..shapes import Bool, Float, Int
from .density import MoleculeFlow, Standardiser
from .internal import InternalFlow, StiffCoupling
from .tokens import Block, TokenGraph, TokenNetwork
from .torsion import HARMONICS, StiffContext, TorsionCouplings, TorsionFlow, coupling_mask


@torch.no_grad()
def fold_torsion_flow(flow: TorsionFlow) -> Any:
    """The compiled form of a flow of family C, with its weights as they are now."""
    flow = copy.deepcopy(flow).cpu().double()
    context = None if flow.context is None else _context(flow.context, flow._atom_graph, flow.atoms.tree.torsions)
    return _flow(flow, flow.couplings, context)


@torch.no_grad()
def fold_internal_flow(flow: InternalFlow) -> Any:
    """The compiled form of a flow of family B, with its weights as they are now."""
    flow = copy.deepcopy(flow).cpu().double()
    folded = _flow(flow, flow.torsions, None)
    stiff = flow.standardiser.stiff
    couplings = [c for c in flow.couplings if isinstance(c, StiffCoupling)]
    folded.add_stiff(
        cholesky=real(flow.standardiser.cholesky),
        couplings=[(_stiff_coupling(c, flow._atom_graph), _int(c.moves[stiff])) for c in couplings],
        bins=flow.config.stiff_bins,
    )
    return folded


def _flow(flow: MoleculeFlow, torsions: TorsionCouplings, context: Any) -> Any:
    couplings = []
    for layer, conditioner in enumerate(torsions.conditioners):
        assert isinstance(conditioner, TokenNetwork)
        moves = coupling_mask(layer, flow._torsion_graph.is_token)[0]
        couplings.append(_coupling(conditioner, flow._torsion_graph, moves))
    tree = flow.atoms.tree
    return native.core().Flow(
        **_tree(tree, flow.standardiser),
        torsions=_int(tree.torsions),
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
    return _network(
        network,
        graph,
        constant=torch.zeros_like(graph.features[0, :, :0]),
        n_inputs=network.embed_inputs.in_features,
        active=torsions.unique(),
        read=(joined, bias),
    )


def _coupling(network: TokenNetwork, graph: TokenGraph, moves: Bool[Tensor, " torsions"]) -> Any:
    """A coupling's conditioner; its active tokens are those that move."""
    return _network(
        network,
        graph,
        constant=(~moves).to(graph.features)[:, None],
        n_inputs=2 * HARMONICS,
        active=moves.nonzero()[:, 0],
        read=after_norm(network.read_out, network.norm),
    )


def _stiff_coupling(coupling: StiffCoupling, graph: TokenGraph) -> Any:
    """A conditioner over atoms; its active tokens are those of which a coordinate moves."""
    network = coupling.conditioner
    return _network(
        network,
        graph,
        constant=coupling.known,
        n_inputs=2 * HARMONICS + 3,
        active=coupling.moves.any(-1).nonzero()[:, 0],
        read=after_norm(network.read_out, network.norm),
    )


def _network(
    network: TokenNetwork,
    graph: TokenGraph,
    *,
    constant: Float[Tensor, "tokens constants"],
    n_inputs: int,
    active: Int[Tensor, " active"],
    read: tuple[Tensor, Tensor],
) -> Any:
    """A token network whose inputs are ``n_inputs`` numbers, then constants of each token, then perhaps a context."""
    width = network.read_out.in_features
    blocks = [block for block in network.blocks if isinstance(block, Block)]
    first_value, _ = after_norm(blocks[0].value, blocks[0].norm_attention)

    def with_value(columns: Tensor) -> Tensor:
        """What columns of the embedding add to a token, and to its first value before the division: padded rows."""
        centred = columns - columns.mean(0)
        return torch.cat([padded(centred), padded(first_value @ centred)])

    weight = network.embed_inputs.weight
    inputs, constants, context = weight.split(
        [n_inputs, constant.shape[1], weight.shape[1] - n_inputs - constant.shape[1]], dim=1
    )
    base = network.embed_inputs.bias + network.embed_features(graph.features[0]) + constant @ constants.T
    return native.core().FlowNetwork(
        width=width,
        n_heads=blocks[0].attention.n_heads,
        epsilon=network.norm.eps,
        base=real(with_value(base.T).T),
        embed=real(with_value(inputs).T),
        from_context=real(with_value(context) if context.shape[1] else weight.new_zeros(0, width)),
        blocks=[_block(block, graph) for block in blocks],
        active=_int(active),
        read=real(padded(read[0])),
        read_bias=real(padded(read[1])),
    )


def _block(block: Block, graph: TokenGraph) -> tuple[np.ndarray, ...]:
    # Attention weights sum to one, so that the values' bias comes through unchanged.
    value, value_bias = after_norm(block.value, block.norm_attention)
    project, project_bias = block.project.weight, block.project.bias + block.project.weight @ value_bias
    widen, widen_bias = after_norm(block.widen, block.norm_feed)
    narrow, narrow_bias = block.narrow.weight, block.narrow.bias
    arrays = (
        block.attention(graph)[0],
        padded(value),
        *(padded(centred(t)) for t in (project, project_bias)),
        *(padded(t) for t in (widen, widen_bias)),
        *(padded(centred(t)) for t in (narrow, narrow_bias)),
    )
    return tuple(real(array) for array in arrays)


def after_norm(linear: nn.Linear, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
    """Weight and bias of a linear layer that reads a normalised token, for one that has only been divided."""
    return linear.weight * norm.weight, linear.bias + linear.weight @ norm.bias


def centred(rows: Tensor) -> Tensor:
    """Rows of a layer that writes to a token, less their mean."""
    return rows - rows.mean(0)


def padded(rows: Tensor) -> Tensor:
    """With rows of zeros up to a multiple of the kernels' tile."""
    extra = -rows.shape[0] % native.core().TILE
    return F.pad(rows, (0, 0) * (rows.dim() - 1) + (0, extra))


def _tree(tree: InternalTree, standardiser: Standardiser) -> dict[str, np.ndarray]:
    third = tree.order[2]
    sibling = [-1 if first in (i, -1, third) else first for i, first in enumerate(tree.first_sibling)]
    places = standardiser.stiff.nonzero()
    return {
        "order": _int(torch.tensor(tree.order)),
        "references": _int(torch.tensor(tree.references)),
        "sibling": _int(torch.tensor(sibling)),
        "stiff": _int(torch.cat([places, standardiser.is_dihedral[:, None]], 1)),
        "standard": real(torch.stack([standardiser.mean, 1 / standardiser.scale], 1)),
    }


def _int(values: Tensor) -> np.ndarray:
    return np.ascontiguousarray(values.numpy(), dtype=np.int32)


def real(values: Tensor) -> np.ndarray:
    """As the extension module takes it."""
    return np.ascontiguousarray(values.numpy(), dtype=np.float64)
