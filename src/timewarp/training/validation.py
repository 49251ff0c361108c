"""How good a flow is on frames that it has not seen: its likelihood, and the acceptance it would have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..flows import InternalDensity
from ..flows.acceptance import ReducedEnergy, expected_acceptance
from ..geometry import to_positions
from ..shapes import Float

CHUNK = 1024


@dataclass(frozen=True)
class Score:
    """Figures of a validation.

    Attributes:
        loss: mean -log q of the held-out frames.
        acceptance: mean min(1, r) of one proposal from each held-out frame, or None without an energy.
        acceptance_error: standard error of that mean; 0 where it does not decide anything.
    """

    loss: float
    acceptance: float | None = None
    acceptance_error: float = 0.0

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Score:
        """The figures in a row of a training's history."""
        return cls(row["validation_loss"], row["validation_acceptance"], row.get("validation_acceptance_error") or 0.0)

    def is_better_than(self, other: Score | None) -> bool:
        """By acceptance where both know it and differ by more than the larger error, else by loss.

        A Cartesian flow's acceptance of 0.1 % rests on a handful of held-out states; its likelihood does not.

        >>> Score(2.0, 0.5).is_better_than(Score(1.0, 0.4)), Score(2.0, 0.5, 0.2).is_better_than(Score(1.0, 0.4))
        (True, False)
        >>> Score(1.0, 0.0).is_better_than(Score(2.0, 0.0))
        True
        """
        if other is None:
            return True
        mine, theirs = self.acceptance, other.acceptance
        error = max(self.acceptance_error, other.acceptance_error)
        if mine is not None and theirs is not None and abs(mine - theirs) > error:
            return mine > theirs
        return self.loss < other.loss


def _canonical_frame(internal: Tensor) -> Tensor:
    """Any three root atoms in general position fix the rigid motion; the energy does not see it."""
    frame = torch.zeros_like(internal)
    frame[..., 0] = torch.arange(internal.shape[-2], device=internal.device, dtype=internal.dtype)
    frame[..., 1] = frame[..., 0] ** 2 + 0.1 * frame[..., 0] ** 3
    return frame


def negative_log_likelihood(
    density: InternalDensity, internal: Float[Tensor, "batch atoms 3"], conditioning: Float[Tensor, "batch atoms 3"]
) -> Float[Tensor, " batch"]:
    """-log q of each frame given its condition (the same frame, or a noisy one)."""
    return -density.log_prob(internal, density.encode(conditioning))


@torch.no_grad()
def validate(
    flow: Any,
    internal: Float[Tensor, "frames atoms 3"],
    reduced_energy: ReducedEnergy | None,
    generator: torch.Generator,
) -> Score:
    """Score a flow on held-out frames."""
    total = 0.0
    for here in internal.split(CHUNK):
        total += float(negative_log_likelihood(flow, here, here).double().sum())
    acceptance = None
    if reduced_energy is not None:
        x = to_positions(internal, flow.atoms.tree, _canonical_frame(internal))
        proposer = flow.proposers(None, 1.0, engine="torch")["flow"]
        acceptance = expected_acceptance(proposer, x, reduced_energy, generator).mean
    return Score(total / len(internal), acceptance)
