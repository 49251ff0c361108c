"""Attention between atoms: what depends on the condition alone, and what each layer does with it.

Two halves behind one interface. The flow owns one *pair map*: from the conditioning positions, once per condition, to
a tensor that serves every layer and every sample. Each layer owns a *mixing*: it takes tokens and that tensor, and
returns the tokens with their mixture added.

==========  =======================================================  ==========================================
attention   once per condition                                       in each layer
==========  =======================================================  ==========================================
``kernel``  the weights, from distances between conditioning atoms   mixes the tokens with them; no query or key
``dense``   which pairs are atoms (and a bias by bonds between)      softmax of query times key
``local``   the same, within a radius                                the same
==========  =======================================================  ==========================================
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...shapes import Bool, Float, Int
from ..tokens import FARTHEST
from .products import Kept, linear, pack


def add_product(summand: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """``summand + left @ right`` of matrices; the sum keeps the summand's precision under autocast."""
    if torch.is_autocast_enabled(summand.device.type):
        return summand + left @ right
    return torch.addmm(summand, left, right)


class KernelWeights(nn.Module):
    """Kernel attention (Klein et al. 2023): w_ij = exp(-|x_i - x_j|^2 / l^2) / sum_j, one head per length scale.

    Args:
        length_scales_nm: l of each head.
        learn_length_scales: whether training may change them. One set serves all layers.
        bond_bias: learn a factor exp(b) per head for pairs that are 0, 1, 2, ... bonds apart.
    """

    def __init__(self, length_scales_nm: Sequence[float], *, learn_length_scales: bool, bond_bias: bool) -> None:
        super().__init__()
        self.n_heads = len(length_scales_nm)
        start = torch.tensor(length_scales_nm, dtype=torch.float32).log()
        if learn_length_scales:
            self.log_length_scales = nn.Parameter(start)
        else:
            self.register_buffer("log_length_scales", start, persistent=False)
        self.bond_bias = nn.Parameter(torch.zeros(FARTHEST + 1, self.n_heads)) if bond_bias else None

    def forward(
        self,
        positions: Float[Tensor, "batch atoms 3"],
        is_atom: Bool[Tensor, "batch atoms"],
        bonds: Int[Tensor, "batch atoms atoms"],
    ) -> Float[Tensor, "batch rows atoms"]:
        """Weights of the real atoms, rows in the order (atom i, head h): see :class:`KernelMixing`."""
        squared = (positions.unsqueeze(-2) - positions.unsqueeze(-3)).square().sum(-1)
        logits = -squared.unsqueeze(-2) * (-2 * self.log_length_scales).exp().unsqueeze(-1)
        if self.bond_bias is not None:
            logits = logits + self.bond_bias[bonds].transpose(-1, -2)
        # As a softmax: a padded atom far from all others must not give 0 / 0.
        return logits.masked_fill(~is_atom[:, None, None, :], -torch.inf).softmax(-1).flatten(1, 2)


class KernelMixing(nn.Module):
    """sum_h W_h X V_h P_h, added to the tokens X; W from :class:`KernelWeights`.

    Values V_h and output projection P_h have nothing between them, so they act as one matrix M_h = V_h P_h: tokens are
    mixed first, and one product with M follows. That is half of the multiply-adds of V and P in turn. The rows of W are
    ordered (atom, head), so that the mixed tokens lie as (atom, head x width) in memory, and nothing is copied.

    Args:
        width: size of a token, and of a value in each head.
        n_heads: number of heads.
        merged: learn M itself instead of V and P: the same functions, with half the parameters.
    """

    def __init__(self, width: int, n_heads: int, *, merged: bool) -> None:
        super().__init__()
        self.width, self.n_heads, self.merged = width, n_heads, merged
        if merged:
            self.mix = nn.Linear(n_heads * width, width, bias=False)
        else:
            self.values = nn.Linear(width, n_heads * width, bias=False)
            self.project = nn.Linear(n_heads * width, width, bias=False)
        self.kept = Kept()

    def matrix(self) -> Float[Tensor, "width inputs"]:
        """M^T, the heads side by side."""
        if self.merged:
            return self.mix.weight
        heads = (self.n_heads, self.width, self.width)
        values, project = self.values.weight.view(heads), self.project.weight.t().reshape(heads)
        return torch.bmm(project.transpose(1, 2), values).transpose(0, 1).reshape(self.width, -1)

    def forward(
        self, tokens: Float[Tensor, "rows atoms width"], weights: Float[Tensor, "rows mixed atoms"]
    ) -> Float[Tensor, "rows atoms width"]:
        """The tokens with their mixture added."""
        mixed = torch.bmm(weights.to(tokens.dtype), tokens).view(-1, self.n_heads * self.width)
        if torch.is_grad_enabled():
            return add_product(tokens.reshape(-1, self.width), mixed, self.matrix().t()).view(tokens.shape)
        matrix = (
            self.matrix() if self.training else self.kept.get(tuple(self.parameters()), lambda: pack(self.matrix()))
        )
        return linear(mixed, matrix).view(tokens.shape).add_(tokens)


class PairMask(nn.Module):
    """What softmax attention needs of the condition: -inf between atoms that do not see each other, else a bias.

    Args:
        n_heads: number of heads.
        radius_nm: how far an atom sees; None: everywhere.
        bond_bias: learn a bias per head for pairs that are 0, 1, 2, ... bonds apart.
    """

    def __init__(self, n_heads: int, *, radius_nm: float | None, bond_bias: bool) -> None:
        super().__init__()
        self.n_heads, self.radius_nm = n_heads, radius_nm
        self.bond_bias = nn.Parameter(torch.zeros(FARTHEST + 1, n_heads)) if bond_bias else None

    def forward(
        self,
        positions: Float[Tensor, "batch atoms 3"],
        is_atom: Bool[Tensor, "batch atoms"],
        bonds: Int[Tensor, "batch atoms atoms"],
    ) -> Float[Tensor, "batch heads atoms atoms"]:
        """Logits to add; an atom, padding too, always sees itself."""
        seen = is_atom[:, None, :].expand(bonds.shape)
        if self.radius_nm is not None:
            squared = (positions.unsqueeze(-2) - positions.unsqueeze(-3)).square().sum(-1)
            seen = seen & (squared < self.radius_nm**2)
        seen = seen | torch.eye(seen.shape[-1], dtype=torch.bool, device=seen.device)
        hidden = positions.new_zeros(()).masked_fill(~seen, -torch.inf)
        if self.bond_bias is None:
            return hidden[:, None].expand(-1, self.n_heads, -1, -1)
        return hidden[:, None] + self.bond_bias[bonds].permute(0, 3, 1, 2).to(positions.dtype)


class QueryKeyMixing(nn.Module):
    """Multi-head scaled dot-product attention (Vaswani et al. 2017) under a mask of :class:`PairMask`.

    Args:
        width: size of a token; a multiple of ``n_heads``.
        n_heads: number of heads.
    """

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.width, self.n_heads = width, n_heads
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.project = nn.Linear(width, width, bias=False)

    def forward(
        self, tokens: Float[Tensor, "rows atoms width"], mask: Float[Tensor, "rows heads atoms atoms"]
    ) -> Float[Tensor, "rows atoms width"]:
        """The tokens with what they attended to added."""
        query, key, value = self.query_key_value(tokens).unflatten(-1, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask.to(query.dtype))
        attended = attended.transpose(1, 2).reshape(-1, self.width)
        return add_product(tokens.reshape(-1, self.width), attended, self.project.weight.t()).view(tokens.shape)
