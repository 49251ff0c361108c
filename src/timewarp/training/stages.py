"""The schedule of a training: stages, each with weights of the three losses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Stage:
    """Part of a training, with its own objective.

    The objective, which is maximised, is ``likelihood * L_lik + acceptance * L_acc + entropy * L_ent``
    (:mod:`timewarp.training.losses`). A stage starts from the best weights so far, with an optimiser that remembers
    nothing; its learning rate warms up and falls again.

    Attributes:
        name: of the stage.
        steps: optimiser steps at most (early stopping may end it sooner).
        likelihood: weight of the log-likelihood of time-lagged pairs.
        acceptance: weight of the mean log ratio of Metropolis-Hastings.
        entropy: weight of the entropy of proposals.
        learning_rate: peak; None: the training's.
    """

    name: str
    steps: int
    likelihood: float = 0.0
    acceptance: float = 0.0
    entropy: float = 0.0
    learning_rate: float | None = None

    def __post_init__(self) -> None:
        where = f"stage {self.name!r}"
        if not isinstance(self.steps, int) or isinstance(self.steps, bool) or self.steps < 1:
            raise ValueError(f"{where}: steps must be a whole number of at least 1, got {self.steps!r}")
        for name in ("likelihood", "acceptance", "entropy"):
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not (number and math.isfinite(value) and value >= 0):
                raise ValueError(f"{where}: the weight {name} must be 0 or a positive number, got {value!r}")
        if not (self.likelihood or self.acceptance):
            raise ValueError(
                f"{where} has no optimum: it needs a positive weight of likelihood or acceptance, "
                "since the entropy alone grows without bound"
            )
        rate = self.learning_rate
        if rate is not None and (isinstance(rate, bool) or not (math.isfinite(rate) and rate > 0)):
            raise ValueError(f"{where}: learning_rate must be a positive number, got {rate!r}")

    @property
    def weights(self) -> tuple[float, float, float]:
        """Of likelihood, acceptance and entropy."""
        return float(self.likelihood), float(self.acceptance), float(self.entropy)

    @property
    def needs_energy(self) -> bool:
        """Whether the objective knows the target."""
        return self.acceptance > 0


def parse_stages(table: Mapping[str, Any]) -> tuple[Stage, ...]:
    """The stages of a ``[training.stages]`` table, in the order of the file.

    >>> parse_stages({"first": {"steps": 10, "likelihood": 1.0}})[0].weights
    (1.0, 0.0, 0.0)

    Raises:
        ValueError: a stage is not a table, lacks its steps, or has an unknown or impossible setting.
    """
    known = [f.name for f in fields(Stage) if f.name != "name"]
    stages = []
    for name, values in table.items():
        if not isinstance(values, Mapping):
            raise ValueError(f"stage {name!r} must be a table such as [training.stages.{name}], got {values!r}")
        if unknown := sorted(set(values) - set(known)):
            raise ValueError(f"stage {name!r} has no setting {unknown[0]!r}; its settings are {', '.join(known)}")
        if "steps" not in values:
            raise ValueError(f"stage {name!r} lacks its number of steps")
        stages.append(Stage(name, **values))
    return tuple(stages)
