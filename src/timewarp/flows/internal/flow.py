"""Family B: all internal coordinates of one molecule, q(soft torsions) q(stiff coordinates | soft torsions)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from ...shapes import Float
from ...state import Atoms
from ..molecule import MoleculeFlow
from ..registry import register
from ..splines import standard_normal_log_prob
from ..torsions.couplings import HARMONICS, TorsionCouplings, TorsionFlowConfig, angle_features
from .compiled import NativeInternalFlow
from .couplings import InternalFlowConfig, StiffCoupling, stiff_masks


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

    def compiled(self) -> NativeInternalFlow:
        """The same proposals in the compiled kernels, with the weights as they are now."""
        return NativeInternalFlow(self)

    def _torsion_features(self, torsions: Tensor) -> Tensor:
        features = torsions.new_zeros(len(torsions), self.atoms.n_atoms, 2 * HARMONICS)
        features[:, self._rotatable] = angle_features(torsions)
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
        torsions = torsions[0]
        features = self._torsion_features(torsions)
        stiff = self.standardiser.stiff
        white = torsions.new_zeros(total, self.atoms.n_atoms, 3)
        noise = torch.randn(total, int(stiff.sum()), generator=generator, device=generator.device, dtype=torsions.dtype)
        white[:, stiff] = noise
        log_q = (
            log_q_torsions[0]
            + standard_normal_log_prob(noise).sum(-1)
            - self.standardiser.cholesky.diagonal().log().sum()
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
        log_q = self.torsions.log_prob(torsions[None], None, self._torsion_graph)[0]
        features = self._torsion_features(torsions)
        white, log_det = self.standardiser.whiten(internal)
        log_q = log_q + log_det
        for coupling in self.couplings:
            white, log_slope = coupling(white, features, self._atom_graph)
            log_q = log_q + log_slope
        return log_q + standard_normal_log_prob(white[:, self.standardiser.stiff]).sum(-1)
