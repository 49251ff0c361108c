"""Candidates with auxiliary variables, and what a density over them offers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from ...shapes import Float, Int


@dataclass(frozen=True)
class Candidate:
    """Proposed states: ``n`` for each condition of a batch.

    Attributes:
        positions: x' in nm; equal to the condition's where there is no atom.
        auxiliary: v', dimensionless, whose target is N(0, I); zero where there is no atom.
    """

    positions: Float[Tensor, "n batch atoms 3"]
    auxiliary: Float[Tensor, "n batch atoms 3"]


@runtime_checkable
class CartesianDensity(Protocol):
    """A conditional density q(x', v' | x) over R^(6 atoms), or q(x', v' | x, v) where ``uses_auxiliary``.

    Its log density is with respect to dx' dv' (nm and dimensionless) of the real atoms. Gradients flow through
    :meth:`sample` (reparametrised) and :meth:`log_prob`.

    Attributes:
        uses_auxiliary: whether the condition's auxiliary variable is read.
    """

    uses_auxiliary: bool

    def encode(
        self,
        positions: Float[Tensor, "batch atoms 3"],
        auxiliary: Float[Tensor, "batch atoms 3"] | None = None,
        molecule: Int[Tensor, " batch"] | None = None,
    ) -> Any:
        """All work that depends on the condition only; done once, however many samples follow.

        Args:
            positions: x in nm.
            auxiliary: v, needed where ``uses_auxiliary``.
            molecule: which of the density's molecules each row is; None: the first.
        """
        ...

    def sample(self, condition: Any, n: int, generator: torch.Generator) -> tuple[Candidate, Float[Tensor, "n batch"]]:
        """Draw ``n`` candidates per condition, with their log densities."""
        ...

    def log_prob(self, candidate: Candidate, condition: Any) -> Float[Tensor, "n batch"]:
        """Log density of candidates given the condition."""
        ...
