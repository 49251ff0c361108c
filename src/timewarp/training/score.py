"""How good a network is on what it has not learnt from, and which of two is better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Score:
    """Figures of a validation.

    Attributes:
        loss: mean -log q of held-out frames.
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
        if other is None or not math.isfinite(other.loss):
            return math.isfinite(self.loss) or other is None
        if not math.isfinite(self.loss):
            return False
        mine, theirs = self.acceptance, other.acceptance
        error = max(self.acceptance_error, other.acceptance_error)
        if mine is not None and theirs is not None and abs(mine - theirs) > error:
            return mine > theirs
        return self.loss < other.loss
