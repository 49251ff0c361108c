"""Family C: the soft torsions given the stiff coordinates, by circular spline couplings over torsion tokens."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from ...shapes import Float
from ...state import Atoms
from ..density import soft_coordinates
from ..molecule import MoleculeFlow
from ..registry import register
from .compiled import NativeTorsionFlow
from .couplings import StiffContext, TorsionCondition, TorsionCouplings, TorsionFlowConfig


@register
class TorsionFlow(MoleculeFlow):
    """Family C for one molecule: q(soft torsions | stiff coordinates).

    The Jacobian of internal coordinates depends on bond lengths and angles only, which are kept, so that it cancels
    from the Metropolis-Hastings ratio.

    Args:
        atoms: the molecule.
        config: the network's size.

    Raises:
        ValueError: the molecule has no rotatable bond, or an element that the network does not know.
    """

    kind: ClassVar[str] = "C"
    config_type: ClassVar[type] = TorsionFlowConfig
    preference: ClassVar[int] = 0
    has_compiled_form: ClassVar[bool] = True
    _corners: Tensor

    def __init__(self, atoms: Atoms, config: TorsionFlowConfig | None = None) -> None:
        super().__init__(atoms)
        self.redraws = soft_coordinates(atoms.tree)
        self.config = config or TorsionFlowConfig()
        self.context = StiffContext(self.config) if self.config.context_blocks else None
        self.couplings = TorsionCouplings(self.config, self.config.width if self.context else 0)
        self.register_buffer("_corners", atoms.tree.torsions[None], persistent=False)

    def compiled(self) -> NativeTorsionFlow:
        """The same proposals in the compiled kernels, with the weights as they are now."""
        return NativeTorsionFlow(self)

    def encode(self, internal: Float[Tensor, "batch atoms 3"]) -> TorsionCondition:
        """Read the stiff coordinates; the soft torsions in ``internal`` have no influence."""
        context = None
        if self.context is not None:
            scaled = self.standardiser.scaled(internal)
            context = self.context(scaled[None], self._corners, self._atom_graph)
        return TorsionCondition(internal, context)

    def sample(
        self, condition: TorsionCondition, n: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, "n batch atoms 3"], Float[Tensor, "n batch"]]:
        """Redraw all soft torsions, ``n`` times per condition; the stiff coordinates are copied."""
        batch = condition.internal.shape[0]
        context = condition.context if condition.context is None else condition.context.repeat(1, n, 1, 1)
        torsions, log_q = self.couplings.sample(context, self._torsion_graph, n * batch, generator)
        internal = condition.internal.repeat(n, 1, 1, 1)
        internal[:, :, self._rotatable, 2] = torsions[0].reshape(n, batch, -1).to(internal)
        return internal, log_q[0].reshape(n, batch)

    def log_prob(
        self, internal: Float[Tensor, "batch atoms 3"], condition: TorsionCondition
    ) -> Float[Tensor, " batch"]:
        """Log density of the soft torsions in ``internal`` given the condition."""
        torsions = internal[:, self._rotatable, 2]
        return self.couplings.log_prob(torsions[None], condition.context, self._torsion_graph)[0]
