"""How good a network is on what it has not learnt from, and which of two is better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FEWEST_ERRORS = 2.0
"""Acceptance times jump decides from so many of its standard errors on."""


@dataclass(frozen=True)
class Score:
    """Figures of a validation.

    Attributes:
        loss: mean -log q of held-out frames.
        acceptance: mean min(1, r) of one proposal from each held-out frame, or None without an energy.
        acceptance_error: standard error of that mean; 0 where it does not decide anything.
        jumping: mean of min(1, r) of the proposals that jump, over how many independent samples do: acceptance times
            jump. None where it is not known, or the molecules have no phi and psi.
        jumping_error: standard error of that mean.
    """

    loss: float
    acceptance: float | None = None
    acceptance_error: float = 0.0
    jumping: float | None = None
    jumping_error: float = 0.0

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Score:
        """The figures in a row of a training's history."""
        acceptance = row["validation_acceptance"], row.get("validation_acceptance_error") or 0.0
        jumping = row.get("validation_jumping"), row.get("validation_jumping_error") or 0.0
        return cls(row["validation_loss"], *acceptance, *jumping)

    def is_better_than(self, other: Score | None) -> bool:
        """By acceptance where both know it and differ by more than the larger error, else by loss.

        Where both know how often accepted proposals jump, the acceptance of those alone counts: by acceptance as such,
        a network that has learnt to stay in its well is the best. A Cartesian flow's acceptance of 0.1 % rests on a
        handful of held-out states; its likelihood does not. While a mean rests on a state or two, which is where its
        error is about as large as the mean itself, the likelihood decides.

        >>> Score(2.0, 0.5).is_better_than(Score(1.0, 0.4)), Score(2.0, 0.5, 0.2).is_better_than(Score(1.0, 0.4))
        (True, False)
        >>> Score(1.0, 0.0).is_better_than(Score(2.0, 0.0))
        True
        >>> Score(1.0, 0.15, jumping=0.01).is_better_than(Score(2.0, 0.04, jumping=0.02))
        False
        >>> Score(2.0, 1e-4, jumping=1e-4, jumping_error=1e-4).is_better_than(Score(1.0, 1e-9, jumping=1e-9))
        False
        """
        if other is None or not math.isfinite(other.loss):
            return math.isfinite(self.loss) or other is None
        if not math.isfinite(self.loss):
            return False
        mine, theirs, errors = self.jumping, other.jumping, (self.jumping_error, other.jumping_error)
        if mine is None or theirs is None:
            mine, theirs, errors = self.acceptance, other.acceptance, (self.acceptance_error, other.acceptance_error)
        elif max(mine, theirs) < FEWEST_ERRORS * max(errors):
            mine = theirs = None
        if mine is not None and theirs is not None and abs(mine - theirs) > max(errors):
            return mine > theirs
        return self.loss < other.loss
