"""What a density of family A offers: proposals of all Cartesian coordinates together with an auxiliary variable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from ..shapes import Float, Int


@dataclass(frozen=True)
class Candidate:
    """Proposals, n for each of some conditions.

    Attributes:
        positions: x' itself (not the displacement), in nm.
        auxiliary: v', dimensionless; standard normal under the target.
    """

    positions: Float[Tensor, "n batch atoms 3"]
    auxiliary: Float[Tensor, "n batch atoms 3"]


@runtime_checkable
class CartesianDensity(Protocol):
    """A conditional density q(x', v' | x), or q(x', v' | x, v), with respect to dx' dv'.

    Attributes:
        family: ``A``.
        uses_auxiliary: whether the condition's auxiliary v is read.
    """

    family: ClassVar[str]
    uses_auxiliary: bool

    def encode(
        self,
        positions: Float[Tensor, "batch atoms 3"],
        auxiliary: Float[Tensor, "batch atoms 3"] | None = None,
        molecule: Int[Tensor, " batch"] | None = None,
    ) -> Any:
        """All work that depends on the condition only; done once, however many samples follow."""
        ...

    def sample(self, condition: Any, n: int, generator: torch.Generator) -> tuple[Candidate, Float[Tensor, "n batch"]]:
        """Draw ``n`` candidates per condition, with their log densities."""
        ...

    def log_prob(self, candidate: Candidate, condition: Any) -> Float[Tensor, "n batch"]:
        """Log density of candidates given the condition."""
        ...
