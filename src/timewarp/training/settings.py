"""Settings of a training run: one dataclass, read from TOML and saved, resolved, beside the result."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ..flows import KINDS, network_class
from .stages import Stage, parse_stages


def setting(default: Any, **metadata: Any) -> Any:
    """A field with what it may be: ``least``, ``above``, ``most`` or ``choices``; and perhaps ``trained_on``."""
    return field(default=default, metadata=metadata)


PAIRS, PEPTIDES = {"trained_on": "pairs"}, {"trained_on": "peptides"}


@dataclass(frozen=True)
class TrainingSettings:
    """How to train a network.

    Settings that only some kinds of network have say so in the metadata of their field (``trained_on``, as
    :attr:`timewarp.flows.Network.trained_on`); they are refused for others.

    Attributes:
        family: kind of network, a key of :data:`timewarp.flows.KINDS`.
        flow: fields of the network's config.
        steps: optimiser steps in all, where there are no ``stages``.
        batch_size: frames or pairs per step, shared by all devices.
        learning_rate: peak of the schedule.
        warmup_steps: steps over which the learning rate rises from 0; then it falls as a cosine.
        final_learning_rate: fraction of the peak at the end.
        weight_decay: AdamW's.
        gradient_clip: largest norm of the gradient.
        ema_decay: of the moving average of the weights, which is what is validated and shipped.
        stiff_noise: standard deviations of Gaussian noise added to the stiff coordinates that a network reads
            without redrawing them, against overfitting.
        validation_fraction: fraction of the frames held out, in contiguous blocks.
        validation_every: steps between validations, each of which writes a checkpoint.
        validation_frames: frames (pairs) that a validation uses.
        stride: use every stride-th frame (pair).
        seed: of initialisation, order of frames, noise and validation.
        precision: of Lightning Fabric: ``bf16-mixed`` computes the networks' products in bfloat16; energies and log
            ratios are summed in double precision whatever this is.
        patience: validations without a better one that end a stage early; 0: never.
        lag_ps: of pairs: time between the frames of a pair.
        align: of pairs: what is taken out of the motion between the frames of a pair: ``superpose``, drift and
            tumbling of the whole molecule; ``centre``, drift; ``none``, nothing.
        relabel: of pairs: rename the hydrogens of methyl groups, and other like atoms that one bond turns, so that they
            have turned as little as possible (:class:`timewarp.flows.cartesian.augmentation.Relabelling`).
        jitter_nm: of pairs: a little drift given back to aligned pairs, per axis, so that their density has a width.
        jitter_rad: of pairs: a little tumbling given back to superposed pairs.
        knee_kT: of pairs: from here on a poor log ratio counts logarithmically (:mod:`timewarp.training.losses`).
        orders: of peptides: orders of growth that each peptide is learnt in, the usual one and random ones.
        energy_weight: of peptides: weight of the acceptance term (:mod:`timewarp.training.growth_energy`) beside the
            likelihood; 0: none.
        energy_frames: of peptides: frames per step from which draws are made for that term.
        stages: of pairs: the schedule, one table per stage (:class:`timewarp.training.stages.Stage`), in order.
            Without any, ``steps`` steps of likelihood.
    """

    family: str = "C"
    flow: dict[str, Any] = field(default_factory=dict)
    steps: int = setting(4000, least=1)
    batch_size: int = setting(512, least=1)
    learning_rate: float = setting(1e-3, above=0)
    warmup_steps: int = setting(200, least=0)
    final_learning_rate: float = setting(0.01, least=0, most=1)
    weight_decay: float = setting(1e-4, least=0)
    gradient_clip: float = setting(1.0, above=0)
    ema_decay: float = setting(0.999, least=0, most=1)
    stiff_noise: float = setting(0.0, least=0)
    validation_fraction: float = setting(0.1, above=0, most=0.5)
    validation_every: int = setting(250, least=1)
    validation_frames: int = setting(4096, least=1)
    stride: int = setting(1, least=1)
    seed: int = setting(0, least=0, most=2**32 - 1)
    precision: str = setting("32-true", choices=("32-true", "bf16-mixed", "64-true"))
    patience: int = setting(0, least=0)
    lag_ps: float = setting(0.0, least=0, **PAIRS)
    align: str = setting("superpose", choices=("superpose", "centre", "none"), **PAIRS)
    relabel: bool = setting(True, **PAIRS)
    jitter_nm: float = setting(0.01, least=0, **PAIRS)
    jitter_rad: float = setting(0.05, least=0, **PAIRS)
    knee_kT: float = setting(100.0, above=0, **PAIRS)
    orders: int = setting(3, least=1, **PEPTIDES)
    energy_weight: float = setting(0.0, least=0, **PEPTIDES)
    energy_frames: int = setting(64, least=1, **PEPTIDES)
    stages: dict[str, Any] = field(default_factory=dict, metadata=PAIRS)

    def __post_init__(self) -> None:
        trained_on = network_class(self.family).trained_on
        for f in fields(self):
            check_setting(f.name, getattr(self, f.name), f.default, f.metadata)
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
        kinds: dict[str, Any] = {"int": int, "float": (int, float), "str": str, "bool": bool, "dict[str, Any]": Mapping}
        for name, value in table.items():
            kind = str(known[name].type)
            if not isinstance(value, kinds[kind]) or (isinstance(value, bool) and kind != "bool"):
                raise ValueError(f"training setting {name} must be of type {kind}, got {value!r}")
        given: dict[str, Any] = {k: dict(v) if isinstance(v, Mapping) else v for k, v in table.items()}
        return cls(**given)

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


def check_setting(name: str, value: Any, default: Any, metadata: Mapping[str, Any]) -> None:
    """Refuse a value that the metadata of its field (:func:`setting`) exclude.

    >>> check_setting("steps", 0, 4000, {"least": 1})
    Traceback (most recent call last):
    ValueError: steps must be a whole number of at least 1, got 0
    """
    choices = metadata.get("choices", (value,))
    if value not in choices:
        raise ValueError(f"unknown {name} {value!r}; expected one of {', '.join(choices)}")
    least, above, most = (metadata.get(key) for key in ("least", "above", "most"))
    if least is None and above is None:
        return
    number = isinstance(value, int if type(default) is int else int | float) and not isinstance(value, bool)
    if not (
        number
        and math.isfinite(value)
        and (value > above if least is None else value >= least)
        and (most is None or value <= most)
    ):
        what = "a whole number" if type(default) is int else "a number"
        low = f"above {above}" if least is None else f"of at least {least}"
        raise ValueError(f"{name} must be {what} {low}{'' if most is None else f' and at most {most}'}, got {value!r}")
