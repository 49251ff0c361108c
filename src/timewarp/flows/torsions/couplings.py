"""Circular spline couplings over torsion tokens, and the network that reads the stiff coordinates for them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...shapes import Bool, Float
from ..chemistry import N_TORSION_FEATURES
from ..splines import circular_spline, n_circular_parameters
from ..tokens import N_ATOM_FEATURES, TokenGraph, TokenNetwork

HARMONICS = 3
"""An angle enters a network as the sines and cosines of its first multiples."""


@dataclass(frozen=True)
class TorsionFlowConfig:
    """Size of the torsion flow.

    Attributes:
        n_couplings: coupling layers.
        bins: bins of each circular spline.
        width: size of a token.
        n_blocks: attention blocks in each coupling's conditioner.
        n_heads: attention heads.
        context_blocks: attention blocks over the atoms, which see the stiff coordinates; 0 leaves these unseen.
    """

    n_couplings: int = 8
    bins: int = 12
    width: int = 64
    n_blocks: int = 1
    n_heads: int = 4
    context_blocks: int = 2

    def __post_init__(self) -> None:
        for name in ("n_couplings", "bins", "width", "n_blocks", "n_heads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.context_blocks < 0:
            raise ValueError(f"context_blocks must be 0 or more, got {self.context_blocks}")


def angle_features(angle: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch features"]:
    """Sines and cosines of the first ``HARMONICS`` multiples of angles in rad."""
    multiples = angle.unsqueeze(-1) * torch.arange(1, HARMONICS + 1, device=angle.device, dtype=angle.dtype)
    return torch.cat([multiples.sin(), multiples.cos()], -1)


def coupling_mask(layer: int, is_token: Bool[Tensor, "molecules tokens"]) -> Bool[Tensor, "molecules tokens"]:
    """Which tokens a coupling layer transforms: those whose index has a given bit, then those that lack it.

    The bit moves on every two layers, so that any two tokens are parted by some layer.

    >>> coupling_mask(0, torch.ones(1, 3, dtype=torch.bool)).tolist()
    [[True, False, True]]
    """
    index = torch.arange(is_token.shape[1], device=is_token.device)
    bits = torch.tensor([max(1, math.ceil(math.log2(max(int(n), 2)))) for n in is_token.sum(-1)], device=index.device)
    bit = (index[None, :] >> ((layer // 2) % bits)[:, None]) & 1
    return (bit == layer % 2) & is_token


class TorsionCouplings(nn.Module):
    """Circular spline couplings over torsion tokens of one or more (padded) molecules, from a uniform base."""

    def __init__(self, config: TorsionFlowConfig, n_context: int) -> None:
        super().__init__()
        self.config = config
        self.conditioners = nn.ModuleList(
            TokenNetwork(
                2 * HARMONICS + 1 + n_context,
                N_TORSION_FEATURES,
                n_circular_parameters(config.bins),
                width=config.width,
                n_blocks=config.n_blocks,
                n_heads=config.n_heads,
            )
            for _ in range(config.n_couplings)
        )

    def _couple(
        self, layer: int, angle: Tensor, context: Tensor | None, graph: TokenGraph, inverse: bool
    ) -> tuple[Tensor, Tensor]:
        moves = coupling_mask(layer, graph.is_token)[:, None, :]
        known = (~moves & graph.is_token[:, None, :]).to(angle)
        inputs = [angle_features(angle) * known[..., None], known.expand_as(angle)[..., None]]
        if context is not None:
            inputs.append(context)
        parameters = self.conditioners[layer](torch.cat(inputs, -1), graph)
        image, log_slope = circular_spline(angle, parameters, inverse=inverse)
        return torch.where(moves, image, angle), (log_slope * moves).sum(-1)

    def log_prob(
        self,
        angle: Float[Tensor, "molecules batch tokens"],
        context: Float[Tensor, "molecules batch tokens width"] | None,
        graph: TokenGraph,
    ) -> Float[Tensor, "molecules batch"]:
        """Log density of the torsions, with respect to d phi."""
        total = -math.log(2 * math.pi) * graph.is_token.sum(-1).to(angle)[:, None]
        for layer in range(self.config.n_couplings):
            angle, log_slope = self._couple(layer, angle, context, graph, inverse=False)
            total = total + log_slope
        return total

    def sample(
        self,
        context: Float[Tensor, "molecules batch tokens width"] | None,
        graph: TokenGraph,
        n_samples: int,
        generator: torch.Generator,
    ) -> tuple[Float[Tensor, "molecules batch tokens"], Float[Tensor, "molecules batch"]]:
        """Torsions and their log density, ``n_samples`` per molecule (the context's batch, if any)."""
        molecules, tokens = graph.is_token.shape
        uniform = torch.rand(
            molecules, n_samples, tokens, generator=generator, device=generator.device, dtype=graph.features.dtype
        )
        angle = math.pi * (2 * uniform - 1)
        total = -math.log(2 * math.pi) * graph.is_token.sum(-1).to(angle)[:, None].expand(-1, n_samples)
        for layer in reversed(range(self.config.n_couplings)):
            angle, log_slope = self._couple(layer, angle, context, graph, inverse=True)
            total = total - log_slope
        return angle, total


class StiffContext(nn.Module):
    """Reads the stiff coordinates on atom tokens; gives each torsion token what its surroundings look like."""

    def __init__(self, config: TorsionFlowConfig) -> None:
        super().__init__()
        self.network = TokenNetwork(
            3,
            N_ATOM_FEATURES,
            config.width,
            width=config.width,
            n_blocks=config.context_blocks,
            n_heads=config.n_heads,
        )
        # The read-out must not start at zero here: the couplings' own does, and two in a row would never learn.
        nn.init.xavier_uniform_(self.network.read_out.weight)
        self.join = nn.Linear(4 * config.width, config.width)

    def forward(
        self,
        scaled: Float[Tensor, "molecules batch atoms 3"],
        torsions: Tensor,
        graph: TokenGraph,
    ) -> Float[Tensor, "molecules batch tokens width"]:
        """Context of each torsion token.

        Args:
            scaled: standardised stiff coordinates, zero elsewhere.
            torsions: integer (molecules, tokens, 4), the atoms of each torsion (any atom for padding).
            graph: the atom tokens.
        """
        atoms = self.network(scaled, graph)
        molecules, batch, _, width = atoms.shape
        index = torsions.flatten(1)[:, None, :, None].expand(molecules, batch, -1, width)
        corners = atoms.gather(2, index).unflatten(2, torsions.shape[1:])
        return self.join(corners.flatten(3))


@dataclass(frozen=True)
class TorsionCondition:
    """An encoded condition: the stiff coordinates themselves, and what the network made of them."""

    internal: Float[Tensor, "batch atoms 3"]
    context: Float[Tensor, "1 batch tokens width"] | None
