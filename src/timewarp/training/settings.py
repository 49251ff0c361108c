"""Settings of a training run: one dataclass, read from TOML and saved, resolved, beside the result."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ..flows import KINDS, network_class
from ..settings import LARGEST_SEED, Settings, checked, setting
from .stages import Stage, parse_stages


def setting_of(trained_on: str, default: Any, help: str, **spec: Any) -> Any:
    """A setting of networks that learn from one thing alone (:attr:`timewarp.flows.Network.trained_on`)."""
    made = setting(default, help, **spec)
    return field(default=default, metadata={**made.metadata, "trained_on": trained_on})


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(Settings):
    """How to train a network. Each field's metadata say what it is, its bounds, and which networks have it."""

    family: str = setting("C", "kind of network, a key of timewarp.flows.KINDS")
    flow: dict[str, Any] = field(default_factory=dict)  # fields of the network's config
    steps: int = setting(4000, "optimiser steps in all, where there are no stages", least=1)
    batch_size: int = setting(512, "frames or pairs per step, shared by all devices", least=1)
    learning_rate: float = setting(1e-3, "peak of the schedule", above=0)
    warmup_steps: int = setting(200, "steps over which the learning rate rises from 0; then it falls", least=0)
    final_learning_rate: float = setting(0.01, "fraction of the peak at the end", least=0, most=1)
    weight_decay: float = setting(1e-4, "AdamW's", least=0)
    optimiser: str = setting(
        "adamw",
        "adamw, or muon: orthogonal steps for the matrices of the layers (Jordan et al. 2024), AdamW's for the rest",
        choices=("adamw", "muon"),
    )
    gradient_clip: float = setting(1.0, "largest norm of the gradient", above=0)
    ema_decay: float = setting(
        0.999, "of the moving average of the weights, which is validated and kept", least=0, most=1
    )
    stiff_noise: float = setting(
        0.0,
        "standard deviations of Gaussian noise added to the stiff coordinates that a network reads without redrawing "
        "them, against overfitting",
        least=0,
    )
    validation_fraction: float = setting(
        0.1, "fraction of the frames held out, in contiguous blocks", above=0, most=0.5
    )
    validation_every: int = setting(250, "steps between validations, each of which writes a checkpoint", least=1)
    validation_frames: int = setting(4096, "frames or pairs that a validation uses", least=1)
    stride: int = setting(1, "use every stride-th frame or pair", least=1)
    seed: int = setting(0, "of initialisation, order of frames, noise and validation", least=0, most=LARGEST_SEED)
    precision: str = setting(
        "32-true",
        "of Lightning Fabric: bf16-mixed computes the networks' products in bfloat16; energies and log ratios are "
        "summed in double precision whatever this is",
        choices=("32-true", "bf16-mixed", "64-true"),
    )
    patience: int = setting(0, "validations without a better one that end a stage early; 0: never", least=0)
    lag_ps: float = setting_of("pairs", 0.0, "time between the frames of a pair", unit="ps", least=0)
    align: str = setting_of(
        "pairs",
        "superpose",
        "what is taken out of the motion between the frames of a pair: superpose, drift and tumbling of the whole "
        "molecule; centre, drift; none, nothing",
        choices=("superpose", "centre", "none"),
    )
    relabel: bool = setting_of(
        "pairs",
        True,
        "rename the hydrogens of methyl groups, and other like atoms that one bond turns, so that they have turned as "
        "little as possible (timewarp.flows.cartesian.augmentation.Relabelling)",
    )
    jitter_nm: float = setting_of(
        "pairs",
        0.01,
        "a little drift given back to aligned pairs, per axis, so that their density has a width",
        least=0,
    )
    jitter_rad: float = setting_of("pairs", 0.05, "a little tumbling given back to superposed pairs", least=0)
    knee_kT: float = setting_of(
        "pairs", 100.0, "from here on a poor log ratio counts logarithmically (timewarp.training.losses)", above=0
    )
    orders: int = setting_of(
        "peptides", 3, "orders of growth that each peptide is learnt in, the usual one and random ones", least=1
    )
    energy_weight: float = setting_of(
        "peptides",
        0.0,
        "weight of the acceptance term (timewarp.training.growth_energy) beside the likelihood; 0: none",
        least=0,
    )
    energy_frames: int = setting_of(
        "peptides", 64, "frames per step from which draws are made for the acceptance term", least=1
    )
    # The schedule, one table per stage (Stage), in order; without any, ``steps`` steps of likelihood.
    stages: dict[str, Any] = field(default_factory=dict, metadata={"trained_on": "pairs"})

    def __post_init__(self) -> None:
        super().__post_init__()
        trained_on = network_class(self.family).trained_on
        for f in fields(self):
            owner = f.metadata.get("trained_on", trained_on)
            default = f.default_factory() if callable(f.default_factory) else f.default
            if owner != trained_on and getattr(self, f.name) != default:
                kinds = ", ".join(sorted(kind for kind, network in KINDS.items() if network.trained_on == owner))
                raise ValueError(f"{f.name} is a setting of family {kinds}, not of family {self.family}; leave it out")
        if trained_on == "pairs":
            self._check_pairs()

    def _check_pairs(self) -> None:
        if not self.lag_ps:
            raise ValueError(
                f"family {self.family} learns from pairs of frames: set lag_ps, the time between them, such as 500"
            )
        if self.align != "none" and not (self.jitter_nm and (self.jitter_rad or self.align == "centre")):
            raise ValueError(
                f"aligned pairs (align = {self.align!r}) have no width in the motion that is taken out, and so no "
                "density: set jitter_nm and, for superpose, jitter_rad above 0"
            )
        self.schedule()

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> TrainingSettings:
        """Settings from a TOML table.

        Raises:
            ValueError: an unknown field, or a value of the wrong kind.
        """
        known = {f.name: f for f in fields(cls)}
        if unknown := sorted(set(table) - set(known)):
            raise ValueError(f"training has no setting {unknown[0]!r}; its settings are {', '.join(sorted(known))}")
        if table.get("stages") and "steps" in table:
            raise ValueError("give either steps or stages, which have steps of their own, not both")
        for name in {"flow", "stages"} & set(table):
            if not isinstance(table[name], Mapping):
                raise ValueError(f"training setting {name} must be a table, got {table[name]!r}")
        return cls(**checked(cls, {k: dict(v) if isinstance(v, Mapping) else v for k, v in table.items()}))

    def to_table(self) -> dict[str, Any]:
        """Plain data for TOML."""
        return asdict(self)

    def schedule(self) -> tuple[Stage, ...]:
        """The stages, in order.

        >>> TrainingSettings(steps=10).schedule()
        (Stage(name='likelihood', steps=10, likelihood=1.0, acceptance=0.0, entropy=0.0, learning_rate=None),)
        """
        return parse_stages(self.stages) or (Stage("likelihood", self.steps, likelihood=1.0),)

    @property
    def total_steps(self) -> int:
        """Optimiser steps of all stages."""
        return sum(stage.steps for stage in self.schedule())

    def learning_rate_at(self, step: int, stage: Stage | None = None) -> float:
        """Linear warm-up, then a cosine down to ``final_learning_rate`` of the peak (Loshchilov & Hutter 2017).

        Args:
            step: of the stage.
            stage: whose steps and peak count; the first by default.

        >>> TrainingSettings(steps=100, warmup_steps=10, learning_rate=1.0).learning_rate_at(9)
        1.0
        """
        stage = stage or self.schedule()[0]
        peak = self.learning_rate if stage.learning_rate is None else stage.learning_rate
        if step < self.warmup_steps:
            return peak * (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(stage.steps - self.warmup_steps, 1)
        low = self.final_learning_rate
        return peak * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0))))
