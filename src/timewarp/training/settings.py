"""Settings of a training run: one dataclass, read from TOML and saved, resolved, beside the result."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ..flows.weights import FAMILIES

PRECISIONS = ("32-true", "bf16-mixed", "64-true")


@dataclass(frozen=True)
class TrainingSettings:
    """How to train a flow.

    Attributes:
        family: family of proposal (``docs/design.md`` section 4): C or B.
        flow: fields of the family's config.
        steps: optimiser steps in all.
        batch_size: frames per step.
        learning_rate: peak of the schedule.
        warmup_steps: steps over which the learning rate rises from 0; then it falls as a cosine.
        final_learning_rate: fraction of the peak at the end.
        weight_decay: AdamW's.
        gradient_clip: largest norm of the gradient.
        ema_decay: of the moving average of the weights, which is what is validated and shipped.
        stiff_noise: standard deviations of Gaussian noise added to the stiff coordinates that a network reads
            (family C only), against overfitting.
        validation_fraction: fraction of the frames held out, in contiguous blocks.
        validation_every: steps between validations, each of which writes a checkpoint.
        validation_frames: frames that a validation uses.
        stride: use every stride-th frame.
        seed: of initialisation, order of frames, noise and validation.
        precision: of Lightning Fabric.
    """

    family: str = "C"
    flow: dict[str, Any] = field(default_factory=dict)
    steps: int = 4000
    batch_size: int = 512
    learning_rate: float = 1e-3
    warmup_steps: int = 200
    final_learning_rate: float = 0.01
    weight_decay: float = 1e-4
    gradient_clip: float = 1.0
    ema_decay: float = 0.999
    stiff_noise: float = 0.0
    validation_fraction: float = 0.1
    validation_every: int = 250
    validation_frames: int = 4096
    stride: int = 1
    seed: int = 0
    precision: str = "32-true"

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise ValueError(
                f"unknown family of proposals {self.family!r}; the families are {', '.join(sorted(FAMILIES))}"
            )
        if self.precision not in PRECISIONS:
            raise ValueError(f"unknown precision {self.precision!r}; expected one of {', '.join(PRECISIONS)}")
        for name in ("steps", "batch_size", "validation_every", "validation_frames", "stride"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
        if not isinstance(self.seed, int) or isinstance(self.seed, bool) or not 0 <= self.seed < 2**32:
            raise ValueError(f"seed must be a whole number from 0 to {2**32 - 1}, got {self.seed!r}")
        for name in ("learning_rate", "gradient_clip"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ValueError(f"{name} must be a positive number, got {getattr(self, name)!r}")
        for name in ("weight_decay", "stiff_noise", "warmup_steps"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ValueError(f"{name} must be 0 or a positive number, got {getattr(self, name)!r}")
        for name, low, high in (
            ("ema_decay", 0.0, 1.0),
            ("validation_fraction", 0.0, 0.5),
            ("final_learning_rate", 0.0, 1.0),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} must lie between {low} and {high}, got {getattr(self, name)!r}")
        if self.validation_fraction == 0:
            raise ValueError("validation_fraction must be positive: without held-out frames no model can be chosen")

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> TrainingSettings:
        """Settings from a TOML table.

        Raises:
            ValueError: an unknown field, or a value of the wrong kind.
        """
        known = {f.name: f for f in fields(cls)}
        if unknown := sorted(set(table) - set(known)):
            raise ValueError(f"training has no setting {unknown[0]!r}; its settings are {', '.join(sorted(known))}")
        kinds: dict[str, Any] = {"int": int, "float": (int, float), "str": str, "dict[str, Any]": Mapping}
        for name, value in table.items():
            kind = str(known[name].type)
            if not isinstance(value, kinds[kind]) or isinstance(value, bool):
                raise ValueError(f"training setting {name} must be of type {kind}, got {value!r}")
        given: dict[str, Any] = {k: dict(v) if isinstance(v, Mapping) else v for k, v in table.items()}
        return cls(**given)

    def to_table(self) -> dict[str, Any]:
        """Plain data for TOML."""
        return asdict(self)

    def learning_rate_at(self, step: int) -> float:
        """Linear warm-up, then a cosine down to ``final_learning_rate`` of the peak (Loshchilov & Hutter 2017).

        >>> TrainingSettings(steps=100, warmup_steps=10, learning_rate=1.0).learning_rate_at(9)
        1.0
        """
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(self.steps - self.warmup_steps, 1)
        low = self.final_learning_rate
        return self.learning_rate * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0))))
