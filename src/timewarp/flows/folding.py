"""A flow as the compiled kernels read it: everything that no configuration changes, folded into its weights.

A layer normalisation divides by the root mean square of a token less its mean. Subtracting the mean is linear, so it
goes into whatever *writes* to the token (then every token has mean zero); gain and bias go into what reads it. What the
chemistry decides (attention weights, embedded features) is computed here, once. All of it in double precision.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import native
from ..shapes import Float, Int
from .tokens import Block, TokenGraph, TokenNetwork


def fold_network(
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
    base = network.embed_inputs.bias + network.embed_features(graph.features) + constant @ constants.T
    return native.core().FlowNetwork(
        width=width,
        n_heads=blocks[0].attention.n_heads,
        epsilon=network.norm.eps,
        base=real(with_value(base.T).T),
        embed=real(with_value(inputs).T),
        from_context=real(with_value(context) if context.shape[1] else weight.new_zeros(0, width)),
        blocks=[_block(block, graph) for block in blocks],
        active=whole(active),
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
        block.attention(graph),
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


def whole(values: Tensor) -> np.ndarray:
    """Whole numbers as the extension module takes them."""
    return np.ascontiguousarray(values.numpy(), dtype=np.int32)


def real(values: Tensor) -> np.ndarray:
    """Real numbers as the extension module takes them."""
    return np.ascontiguousarray(values.numpy(), dtype=np.float64)
