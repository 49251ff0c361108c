"""Couplings of the standardised stiff coordinates, given the torsions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...shapes import Bool, Float
from ...state import Atoms
from ..splines import linear_spline, n_linear_parameters
from ..tokens import N_ATOM_FEATURES, TokenGraph, TokenNetwork
from ..torsions.couplings import HARMONICS

SPLINE_BOUND = 5.0
"""Splines act on standardised coordinates within this many standard deviations."""
LARGEST_LOG_SCALE = 2.0


@dataclass(frozen=True)
class InternalFlowConfig:
    """Size of the flow over all internal coordinates.

    Attributes:
        torsion_couplings: circular couplings of the soft torsions.
        torsion_bins: bins of their splines.
        stiff_couplings: couplings among the stiff coordinates, after a first layer that sees the torsions only.
        stiff_bins: bins of their splines.
        width: size of a token.
        n_blocks: attention blocks in each conditioner over atoms.
        n_heads: attention heads.
    """

    torsion_couplings: int = 8
    torsion_bins: int = 12
    stiff_couplings: int = 6
    stiff_bins: int = 6
    width: int = 64
    n_blocks: int = 2
    n_heads: int = 4

    def __post_init__(self) -> None:
        for name in ("torsion_couplings", "torsion_bins", "stiff_bins", "width", "n_blocks", "n_heads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.stiff_couplings < 0:
            raise ValueError(f"stiff_couplings must be 0 or more, got {self.stiff_couplings}")


class StiffCoupling(nn.Module):
    """Shift, scale and spline of some of the standardised stiff coordinates, given the others and the torsions."""

    moves: Tensor
    known: Tensor

    def __init__(
        self, config: InternalFlowConfig, moves: Bool[Tensor, "atoms 3"], stiff: Bool[Tensor, "atoms 3"]
    ) -> None:
        super().__init__()
        self.n_parameters = 2 + n_linear_parameters(config.stiff_bins)
        self.register_buffer("moves", moves, persistent=False)
        self.register_buffer("known", (stiff & ~moves).float(), persistent=False)
        self.conditioner = TokenNetwork(
            2 * HARMONICS + 6,
            N_ATOM_FEATURES,
            3 * self.n_parameters,
            width=config.width,
            n_blocks=config.n_blocks,
            n_heads=config.n_heads,
        )

    def _shift_scale_spline(self, value: Tensor, torsions: Tensor, graph: TokenGraph) -> tuple[Tensor, Tensor, Tensor]:
        known = self.known.expand_as(value)
        inputs = torch.cat([torsions, value * known, known], -1)
        parameters = self.conditioner(inputs[None], graph)[0].unflatten(-1, (3, self.n_parameters))[:, self.moves]
        shift, log_scale, spline = parameters.split([1, 1, self.n_parameters - 2], -1)
        return shift[..., 0], LARGEST_LOG_SCALE * torch.tanh(log_scale[..., 0] / LARGEST_LOG_SCALE), spline

    def forward(
        self,
        value: Float[Tensor, "batch atoms 3"],
        torsions: Float[Tensor, "batch atoms features"],
        graph: TokenGraph,
        *,
        inverse: bool = False,
    ) -> tuple[Float[Tensor, "batch atoms 3"], Float[Tensor, " batch"]]:
        """Towards N(0, 1) (or back, with ``inverse``), and the log-determinant of that map."""
        shift, log_scale, spline = self._shift_scale_spline(value, torsions, graph)
        moving = value[:, self.moves]
        if inverse:
            moved, log_slope = linear_spline(moving, spline, bound=SPLINE_BOUND, inverse=True)
            moved, log_slope = moved * log_scale.exp() + shift, log_slope + log_scale
        else:
            moved, log_slope = linear_spline((moving - shift) * (-log_scale).exp(), spline, bound=SPLINE_BOUND)
            log_slope = log_slope - log_scale
        image = value.clone()
        image[:, self.moves] = moved
        return image, log_slope.sum(-1)


def stiff_masks(atoms: Atoms, stiff: Bool[Tensor, "atoms 3"], n_couplings: int) -> list[Bool[Tensor, "atoms 3"]]:
    """Which coordinates each coupling moves: first all of them (given the torsions alone), then halves in turn.

    Halves are by kind of coordinate (angles against lengths and dihedrals) and by the place of the atom in the tree.
    """
    place = torch.zeros(atoms.n_atoms, dtype=torch.long)
    place[list(atoms.tree.order)] = torch.arange(atoms.n_atoms)
    kind = torch.tensor([0, 1, 0])[None, :].expand(atoms.n_atoms, 3)
    codes = [kind, (place[:, None] + torch.tensor([0, 1, 1])) % 2, (place[:, None] // 2 + torch.tensor([0, 0, 1])) % 2]
    masks = [stiff]
    for layer in range(n_couplings):
        masks.append(stiff & (codes[(layer // 2) % len(codes)] == layer % 2))
    return masks
