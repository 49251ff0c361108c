"""What every kernel offers, and what a step reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import ClassVar

import torch
from torch import Tensor

from ..shapes import Float, Int
from ..state import State
from .target import Target

Tuning = dict[str, dict[str, float]]
"""Tuned numbers of each kernel by name, such as ``{"hmc": {"step_fs": 1.9}}``."""


@dataclass(frozen=True)
class Outcome:
    """What one or more steps of one kernel did, per chain; outcomes add up.

    Attributes:
        proposed: proposals made.
        accepted: those that became the state.
        nonfinite: rejected because the energy or the log ratio was not a finite number.
        restricted: rejected because they cross the target's restriction (finite ones).
        flipped: those of ``restricted`` that have another chirality.
        jumped: accepted ones that changed a watched torsion by more than 60 degrees (0 where none is watched).
        acceptance: sum over proposals of the acceptance probability min(1, r).
    """

    proposed: Int[Tensor, " chains"]
    accepted: Int[Tensor, " chains"]
    nonfinite: Int[Tensor, " chains"]
    restricted: Int[Tensor, " chains"]
    flipped: Int[Tensor, " chains"]
    jumped: Int[Tensor, " chains"]
    acceptance: Float[Tensor, " chains"]

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Outcome)))

    def tensors(self) -> dict[str, Tensor]:
        """Field by field, for a checkpoint."""
        return {f.name: getattr(self, f.name) for f in fields(Outcome)}


Info = dict[str, Outcome]
"""Outcomes by kernel name."""


def add_infos(first: Mapping[str, Outcome], second: Mapping[str, Outcome]) -> Info:
    """Sum outcomes name by name."""
    total = dict(first)
    for name, outcome in second.items():
        total[name] = total[name] + outcome if name in total else outcome
    return total


class Kernel:
    """A Markov kernel that leaves a target invariant; moves all chains at once.

    Subclasses implement :meth:`step`. A kernel that adapts does so in :meth:`adapt` alone, which is called during
    warm-up only; :meth:`freeze` ends it. Given the state and the generator, a step depends on nothing else but
    :attr:`tuning`.

    Args:
        target: the distribution.
        name: the key of its outcomes.
    """

    cost: float = 1.0
    """Rough computing time of one step of one chain, in force evaluations of its molecule."""

    exact: ClassVar[bool] = True
    """Whether it leaves the target invariant. One that does not can only make a run that is marked as biased."""

    def __init__(self, target: Target, name: str) -> None:
        self.target = target
        self.name = name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    @property
    def parts(self) -> tuple[Kernel, ...]:
        """The kernels that it is made of, in order; of a single kernel, itself."""
        return (self,)

    def init(self, positions: Float[Tensor, "chains atoms 3"]) -> State:
        """The state of chains that start at ``positions`` (nm); see :meth:`Target.init`."""
        return self.target.init(positions)

    def step(self, state: State, generator: torch.Generator) -> tuple[State, Info]:
        """One step of every chain: the new state, and what happened, by kernel name."""
        raise NotImplementedError

    def begin_warmup(self, n_steps: int) -> None:
        """Plan the adaptation for a warm-up of this many steps; most kernels have nothing to plan."""

    def adapt(self, info: Mapping[str, Outcome], state: State | None = None) -> None:
        """Learn from a warm-up step and the state that it led to; most kernels have nothing to learn."""

    def freeze(self) -> None:
        """End the adaptation: from here on the kernel does not change."""

    @property
    def tuning(self) -> Tuning:
        """What :meth:`adapt` has set, by kernel name."""
        return {}

    def retune(self, tuning: Mapping[str, Mapping[str, float]]) -> None:
        """Take over tuned numbers (of another run), and stop adapting where they are given."""
