"""Family B: all internal coordinates of one molecule, q(soft torsions) q(stiff coordinates | soft torsions)."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ...settings import Settings, setting
from ...shapes import Bool, Float
from ...state import Atoms
from ..circular import waves
from ..folding import after_norm, fold_network, real, whole
from ..molecule import MoleculeFlow, NativeFlow
from ..registry import register
from ..splines import linear_spline, n_linear_parameters, standard_normal_log_prob
from ..tokens import N_ATOM_FEATURES, TokenGraph, TokenNetwork
from ..torsions.flow import HARMONICS, TorsionCouplings, TorsionFlowConfig, fold_flow

SPLINE_BOUND = 5.0
"""Splines act on standardised coordinates within this many standard deviations."""
LARGEST_LOG_SCALE = 2.0


@dataclass(frozen=True, kw_only=True)
class InternalFlowConfig(Settings):
    """Size of the flow over all internal coordinates."""

    torsion_couplings: int = setting(8, "circular couplings of the soft torsions", least=1)
    torsion_bins: int = setting(12, "bins of their splines", least=1)
    stiff_couplings: int = setting(
        6, "couplings among the stiff coordinates, after a first layer that sees the torsions only", least=0
    )
    stiff_bins: int = setting(6, "bins of their splines", least=1)
    width: int = setting(64, "size of a token", least=1)
    n_blocks: int = setting(2, "attention blocks in each conditioner over atoms", least=1)
    n_heads: int = setting(4, "attention heads", least=1)


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
        parameters = self.conditioner(inputs, graph).unflatten(-1, (3, self.n_parameters))[:, self.moves]
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


@register
class InternalFlow(MoleculeFlow):
    """Family B for one molecule: an independence proposal over all internal coordinates.

    Args:
        atoms: the molecule.
        config: the network's size.

    Raises:
        ValueError: the molecule has no rotatable bond, or an element that the network does not know.
    """

    kind: ClassVar[str] = "B"
    config_type: ClassVar[type] = InternalFlowConfig
    preference: ClassVar[int] = 2
    has_compiled_form: ClassVar[bool] = True
    couplings: nn.ModuleList

    def __init__(self, atoms: Atoms, config: InternalFlowConfig | None = None) -> None:
        super().__init__(atoms)
        self.redraws = atoms.tree.defined
        self.config = config = config or InternalFlowConfig()
        torsion_config = TorsionFlowConfig(
            n_couplings=config.torsion_couplings,
            bins=config.torsion_bins,
            width=config.width,
            n_blocks=1,
            n_heads=config.n_heads,
            context_blocks=0,
        )
        self.torsions = TorsionCouplings(torsion_config, 0)
        stiff = self.standardiser.stiff
        self.couplings = nn.ModuleList(
            StiffCoupling(config, moves, stiff) for moves in stiff_masks(atoms, stiff, config.stiff_couplings)
        )

    @torch.no_grad()
    def compiled(self) -> NativeFlow:
        """The same proposals in the compiled kernels, with the weights as they are now."""
        flow = copy.deepcopy(self).cpu().double()
        kernel = fold_flow(flow, flow.torsions, None)
        stiff = flow.standardiser.stiff
        couplings = [c for c in flow.couplings if isinstance(c, StiffCoupling)]
        kernel.add_stiff(
            cholesky=real(flow.standardiser.cholesky),
            couplings=[(_stiff_coupling(c, flow._atom_graph), whole(c.moves[stiff])) for c in couplings],
            bins=flow.config.stiff_bins,
        )
        return NativeFlow(self, kernel, self.standardiser.n_coordinates)

    def _torsion_features(self, torsions: Tensor) -> Tensor:
        features = torsions.new_zeros(len(torsions), self.atoms.n_atoms, 2 * HARMONICS)
        features[:, self._rotatable] = waves(torsions, HARMONICS)
        return features

    def encode(self, internal: Float[Tensor, "batch atoms 3"]) -> int:
        """An independence proposal needs to know only how many states there are."""
        return internal.shape[0]

    def sample(
        self, condition: int, n: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, "n batch atoms 3"], Float[Tensor, "n batch"]]:
        """Draw all internal coordinates, ``n`` times per state.

        A draw that leaves the chart (a dihedral offset beyond half a turn) holds NaN, which the sampler rejects.
        """
        total = n * condition
        torsions, log_q_torsions = self.torsions.sample(None, self._torsion_graph, total, generator)
        features = self._torsion_features(torsions)
        stiff = self.standardiser.stiff
        white = torsions.new_zeros(total, self.atoms.n_atoms, 3)
        noise = torch.randn(total, int(stiff.sum()), generator=generator, device=generator.device, dtype=torsions.dtype)
        white[:, stiff] = noise
        log_q = (
            log_q_torsions + standard_normal_log_prob(noise).sum(-1) - self.standardiser.cholesky.diagonal().log().sum()
        )
        for coupling in reversed(list(self.couplings)):
            white, log_slope = coupling(white, features, self._atom_graph, inverse=True)
            log_q = log_q - log_slope
        internal = self.standardiser.unwhiten(white)
        internal[:, self._rotatable, 2] = torsions
        return internal.reshape(n, condition, -1, 3), log_q.reshape(n, condition)

    def log_prob(self, internal: Float[Tensor, "batch atoms 3"], condition: int) -> Float[Tensor, " batch"]:
        """Log density of all internal coordinates."""
        torsions = internal[:, self._rotatable, 2]
        log_q = self.torsions.log_prob(torsions, None, self._torsion_graph)
        features = self._torsion_features(torsions)
        white, log_det = self.standardiser.whiten(internal)
        log_q = log_q + log_det
        for coupling in self.couplings:
            white, log_slope = coupling(white, features, self._atom_graph)
            log_q = log_q + log_slope
        return log_q + standard_normal_log_prob(white[:, self.standardiser.stiff]).sum(-1)


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
