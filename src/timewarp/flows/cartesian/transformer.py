"""The atom transformer: from three numbers on each atom to three numbers on each atom, given the condition."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...shapes import Float
from .products import Linear, linear

TOKENS_AT_ONCE = 352
"""On a CPU, so many tokens pass through the flow together: their activations then stay in the cache. Narrower networks
than the published ones, whose hidden layer is 2,048 wide, take more (:func:`tokens_at_once`)."""
PUBLISHED_WIDTH, MOST_TIMES = 2048, 8


def tokens_at_once(widest: int) -> int:
    """How many tokens pass together through a network whose widest layer has so many numbers.

    >>> tokens_at_once(2048), tokens_at_once(256)
    (352, 2816)
    """
    return TOKENS_AT_ONCE * min(MOST_TIMES, max(1, PUBLISHED_WIDTH // widest))


class _FeedForward(torch.autograd.Function):
    """x + W2 relu(W1 x + b1) + b2, in pieces of tokens, forwards and backwards.

    The wide hidden layer is where the time goes. In pieces that fit into the cache, the activation function and its
    derivative cost next to nothing beside the matrix products; over all tokens at once they wait for memory.
    """

    @staticmethod
    def forward(ctx, x, widen, widen_bias, narrow, narrow_bias):
        out, hidden = torch.empty_like(x), []
        for piece in pieces(x.shape[0], tokens_at_once(widen.shape[0])):
            hidden.append(linear(x[piece], widen, widen_bias, relu=True))
            torch.add(x[piece], linear(hidden[-1], narrow, narrow_bias), out=out[piece])
        ctx.save_for_backward(x, widen, narrow, *hidden)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        x, widen, narrow, *hidden = ctx.saved_tensors
        grad, grad_x = grad.contiguous(), torch.empty_like(x)
        # Long rows are what the product is fast with, so the first matrix's gradient is summed up transposed.
        grad_widen_t, grad_narrow = torch.zeros_like(narrow), torch.zeros_like(narrow)
        grad_bias = widen.new_zeros(widen.shape[0])
        for piece, active in zip(pieces(x.shape[0], tokens_at_once(widen.shape[0])), hidden, strict=True):
            upstream = grad[piece]
            grad_hidden = linear(upstream, narrow.t())
            torch.ops.aten.threshold_backward.grad_input(grad_hidden, active, 0, grad_input=grad_hidden)
            grad_narrow.addmm_(upstream.t(), active)
            grad_widen_t.addmm_(x[piece].t(), grad_hidden)
            grad_bias += grad_hidden.sum(0)
            torch.add(upstream, linear(grad_hidden, widen.t()), out=grad_x[piece])
        return grad_x, grad_widen_t.t(), grad_bias, grad_narrow, grad.sum(0)


def pieces(total: int, size: int) -> Iterator[slice]:
    """Slices of at most ``size`` that cover ``total``."""
    return (slice(start, min(start + size, total)) for start in range(0, total, size))


class Layer(nn.Module):
    """Attention, then a feed-forward network; each added to the tokens and followed by a LayerNorm.

    Args:
        mixing: adds attention to the tokens.
        width: size of a token.
        feed_forward: size of the feed-forward network's hidden layer.
    """

    def __init__(self, mixing: nn.Module, width: int, feed_forward: int) -> None:
        super().__init__()
        self.attention = mixing
        self.norm_attention = nn.LayerNorm(width)
        self.widen = Linear(width, feed_forward)
        self.narrow = Linear(feed_forward, width)
        self.norm_feed = nn.LayerNorm(width)

    def forward(self, tokens: Float[Tensor, "rows atoms width"], pairs: Tensor) -> Float[Tensor, "rows atoms width"]:
        """Mix tokens, then transform each."""
        tokens = self.norm_attention(self.attention(tokens, pairs))
        flat = tokens.flatten(0, 1)
        widen, narrow = self.widen, self.narrow
        if torch.is_grad_enabled() and not flat.is_cuda and not torch.is_autocast_enabled("cpu"):
            fed = _FeedForward.apply(flat, widen.weight, widen.bias, narrow.weight, narrow.bias)
        else:
            fed = flat + narrow(widen(flat, relu=True))
        return self.norm_feed(fed).view(tokens.shape)


class AtomTransformer(nn.Module):
    """Token MLP, transformer layers, token MLP; permutation equivariant. A coupling owns two: one for s, one for t.

    An atom's token is [z_i, c_i]: the variable that the coupling leaves alone, and what is known from the condition
    (position, chemistry). The condition's share of the first layer is computed once per condition.

    Args:
        n_condition: numbers in c_i.
        layers: the transformer layers.
        width: size of a token.
        mlp_hidden: size of the hidden layer of both MLPs.
        initial_scale: factor of the last matrix's random start; 0: the networks start as zero.
    """

    def __init__(
        self, n_condition: int, layers: list[Layer], width: int, mlp_hidden: int, initial_scale: float = 1.0
    ) -> None:
        super().__init__()
        self.embed = Linear(3 + n_condition, mlp_hidden)
        self.enter = Linear(mlp_hidden, width)
        self.layers = nn.ModuleList(layers)
        self.leave = Linear(width, mlp_hidden)
        self.read_out = Linear(mlp_hidden, 3)
        with torch.no_grad():
            self.read_out.weight.mul_(initial_scale)
            self.read_out.bias.zero_()

    def embed_condition(self, inputs: Float[Tensor, "batch atoms c"]) -> Float[Tensor, "batch atoms hidden"]:
        """The condition's share of the first layer."""
        return F.linear(inputs, self.embed.weight[:, 3:], self.embed.bias)

    def forward(
        self,
        value: Float[Tensor, "n batch atoms 3"],
        embedded: Float[Tensor, "batch atoms hidden"],
        pairs: Tensor,
    ) -> Float[Tensor, "n batch atoms 3"]:
        """Three numbers per atom.

        Args:
            value: the coupling's input, ``n`` for each condition.
            embedded: of :meth:`embed_condition`.
            pairs: what the attention made of the condition, (batch, ...).
        """
        n, batch, atoms, _ = value.shape
        hidden = F.silu(F.linear(value, self.embed.weight[:, :3]) + embedded)
        tokens = self.enter(hidden).view(n * batch, atoms, -1)
        pairs = pairs.expand(n, *pairs.shape).reshape(n * batch, *pairs.shape[1:])
        for layer in self.layers:
            tokens = layer(tokens, pairs)
        out = self.read_out(F.silu(self.leave(tokens)))
        return out.view(value.shape).to(value.dtype)
