"""Molecules as graphs of tokens (one per atom or one per rotatable bond), and the network over them.

Attention here has queries and keys made from *chemistry* alone (features of the two tokens and their distance in the
bond graph), and values made from whatever the tokens carry. So its weights are computed once per molecule and serve
every configuration, as Timewarp's kernel attention does once per conditioning state, and its cost per configuration is
a small matrix product.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..shapes import Float, Int
from ..state import Atoms
from .chemistry import FARTHEST, N_CHEMISTRY, atom_chemistry, graph_distance


@dataclass(frozen=True)
class TokenGraph:
    """Static description of a molecule's tokens.

    Attributes:
        features: chemistry of each token.
        distance: bonds between each two tokens, capped at ``FARTHEST``.
    """

    features: Float[Tensor, "tokens features"]
    distance: Int[Tensor, "tokens tokens"]

    def apply(self, function: Callable[[Tensor], Tensor]) -> TokenGraph:
        """The same graph with ``function`` applied to each tensor (to move or convert it)."""
        return TokenGraph(function(self.features), function(self.distance))


def atom_graph(atoms: Atoms) -> TokenGraph:
    """One token per atom: element, degree, hydrogens, charge, ring, and its part in the internal-coordinate tree."""
    return TokenGraph(torch.cat([atom_chemistry(atoms), _tree_roles(atoms)], -1), graph_distance(atoms))


def torsion_graph(atoms: Atoms) -> TokenGraph:
    """One token per rotatable bond: the chemistry of the torsion's four atoms."""
    torsions = atoms.tree.torsions
    features = atom_chemistry(atoms)[torsions].flatten(1)
    axes = torsions[:, 1:3]
    between = graph_distance(atoms)[axes[:, None, :, None], axes[None, :, None, :]]  # (T, T, 2, 2)
    distance = (1 + between.flatten(2).amin(-1)).clamp(max=FARTHEST)
    distance.fill_diagonal_(0)
    return TokenGraph(features, distance)


N_ATOM_FEATURES = N_CHEMISTRY + 8


def _tree_roles(atoms: Atoms) -> Tensor:
    """Root atom (3), proper, rotatable, rank among its siblings (3)."""
    tree = atoms.tree
    roles = torch.zeros(atoms.n_atoms, 8)
    ranks: dict[int, int] = {}
    for place, atom in enumerate(tree.order):
        if place < 3:
            roles[atom, place] = 1
            continue
        sibling = tree.first_sibling[atom]
        rank = ranks.get(sibling, 0)
        ranks[sibling] = rank + 1
        roles[atom, 3] = atom in tree.proper
        roles[atom, 4] = atom in tree.rotatable
        roles[atom, 5 + min(rank, 2)] = 1
    return roles


class ChemicalAttention(nn.Module):
    """Attention weights between tokens from their chemistry and bond-graph distance, one map per head.

    w_ij = softmax_j(q(c_i) . k(c_j) + bias(distance_ij)).
    """

    def __init__(self, n_features: int, n_heads: int, head_size: int = 16) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.query = nn.Linear(n_features, n_heads * head_size)
        self.key = nn.Linear(n_features, n_heads * head_size)
        # Heads start from different ranges: from the token alone to all of the molecule.
        start = -torch.arange(FARTHEST + 1.0) * torch.logspace(1, -2, n_heads)[:, None]
        self.bias = nn.Parameter(start)

    def forward(self, graph: TokenGraph) -> Float[Tensor, "heads tokens tokens"]:
        """Weights of each head; rows sum to one."""
        heads = (self.n_heads, -1)
        query = self.query(graph.features).unflatten(-1, heads).transpose(0, 1)
        key = self.key(graph.features).unflatten(-1, heads).transpose(0, 1)
        logits = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        return torch.softmax(logits + self.bias[:, graph.distance], -1)


class Block(nn.Module):
    """Pre-norm residual block: chemical attention, then a feed-forward layer."""

    def __init__(self, width: int, n_features: int, n_heads: int, expansion: int = 2) -> None:
        super().__init__()
        self.attention = ChemicalAttention(n_features, n_heads)
        self.norm_attention = nn.LayerNorm(width)
        self.value = nn.Linear(width, width)
        self.project = nn.Linear(width, width)
        self.norm_feed = nn.LayerNorm(width)
        self.widen = nn.Linear(width, expansion * width)
        self.narrow = nn.Linear(expansion * width, width)

    def forward(
        self, tokens: Float[Tensor, "batch tokens width"], graph: TokenGraph
    ) -> Float[Tensor, "batch tokens width"]:
        """Mix tokens, then transform each."""
        mixed = _mix(self.attention(graph), self.value(self.norm_attention(tokens)))
        tokens = tokens + self.project(mixed)
        return tokens + self.narrow(F.silu(self.widen(self.norm_feed(tokens))))


def _mix(weights: Tensor, value: Tensor) -> Tensor:
    """Sum over tokens j of w[h, i, j] value[j, h, :], as one matrix product per head."""
    batch, tokens, width = value.shape
    heads = weights.shape[0]
    value = value.reshape(batch, tokens, heads, width // heads).permute(2, 1, 0, 3)
    mixed = weights @ value.reshape(heads, tokens, -1)
    mixed = mixed.reshape(heads, tokens, batch, width // heads).permute(2, 1, 0, 3)
    return mixed.reshape(batch, tokens, width)


class TokenNetwork(nn.Module):
    """From numbers on tokens to numbers on tokens: embed, blocks, read out.

    Args:
        n_inputs: numbers that each token carries in.
        n_features: chemical features of a token.
        n_outputs: numbers that each token carries out; the read-out starts at zero.
        width: size of a token inside.
        n_blocks: number of blocks.
        n_heads: attention heads per block; must divide ``width``.
    """

    def __init__(
        self, n_inputs: int, n_features: int, n_outputs: int, *, width: int, n_blocks: int, n_heads: int
    ) -> None:
        super().__init__()
        if width % n_heads:
            raise ValueError(f"the width of a token ({width}) must be a multiple of the number of heads ({n_heads})")
        self.embed_inputs = nn.Linear(n_inputs, width)
        self.embed_features = nn.Linear(n_features, width)
        self.blocks = nn.ModuleList(Block(width, n_features, n_heads) for _ in range(n_blocks))
        self.norm = nn.LayerNorm(width)
        self.read_out = nn.Linear(width, n_outputs)
        nn.init.zeros_(self.read_out.weight)
        nn.init.zeros_(self.read_out.bias)

    def forward(
        self, inputs: Float[Tensor, "batch tokens inputs"], graph: TokenGraph
    ) -> Float[Tensor, "batch tokens outputs"]:
        """Values out of values in."""
        tokens = self.embed_inputs(inputs) + self.embed_features(graph.features)
        for block in self.blocks:
            tokens = block(tokens, graph)
        return self.read_out(self.norm(tokens))
