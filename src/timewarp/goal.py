"""When a run has enough samples: every quantity that is judged agrees between starts and has its effective samples."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .analysis import diagnose, ess, find_conformations, rhat, torsion_angles
from .analysis.convergence import FEWEST_FRAMES, rhat_limit
from .observables import observe
from .settings.sampling import UNTIL
from .trajectories import RunFolder

FIRST_FRAMES = 40
"""Frames of each chain before the first look: too few to tell would look like success or failure by chance."""
GROWTH = 1.25
"""The next look is at so many times the frames of the one before: all looks together cost five times the last."""
SHARE = 0.05
"""Conformations that hold this share of the samples must have converged populations."""


@dataclass(frozen=True)
class Goal:
    """What a run must reach.

    Attributes:
        rhat: largest nested R-hat; where chance alone gives more for the effective sample size, that.
        ess: smallest effective sample size.
    """

    rhat: float = 1.01
    ess: float = 1000.0

    def __str__(self) -> str:
        return f"rhat={self.rhat:g},ess={self.ess:g}"


def parse_goal(text: str = UNTIL) -> Goal:
    """Read ``rhat=1.01,ess=1000``; either may be left out.

    Raises:
        ValueError: it cannot be understood, R-hat is not above 1, or the sample size below 100.

    >>> parse_goal("ess=400")
    Goal(rhat=1.01, ess=400.0)
    """
    given: dict[str, float] = {}
    for part in text.split(","):
        name, equals, value = part.strip().partition("=")
        try:
            number = float(value) if equals else math.nan
        except ValueError:
            number = math.nan
        least = {"rhat": 1.0, "ess": 99.0}.get(name)
        if least is None or name in given or not (math.isfinite(number) and number > least):
            raise ValueError(
                f"cannot understand {text!r}; write `until` as {UNTIL}: R-hat above 1, at least 100 effective samples"
            )
        given[name] = number
    return Goal(**given)


@dataclass(frozen=True)
class Lacking:
    """How far one quantity is.

    Attributes:
        name: of the quantity.
        rhat: its nested R-hat; NaN for one that never varied.
        ess: its effective sample size; NaN for one that never varied.
        factor: times the samples so far that it needs, by ``R-hat^2 - 1`` and ESS in proportion to the samples; 1 or
            less where it is met, infinity where nothing can be told.
    """

    name: str
    rhat: float
    ess: float
    factor: float

    def __str__(self) -> str:
        if math.isnan(self.rhat):
            return f"{self.name} (did not vary)"
        return f"{self.name} (R-hat {self.rhat:.4f}, ESS {self.ess:,.0f})"


@dataclass(frozen=True)
class Progressed:
    """How far a run is from its goal.

    Attributes:
        goal: the goal.
        samples: stored samples, over all chains.
        lacking: quantities that do not meet it, the farthest first.
        quantities: how many were looked at.
    """

    goal: Goal
    samples: int
    lacking: tuple[Lacking, ...]
    quantities: int

    @property
    def met(self) -> bool:
        """Whether every quantity meets the goal."""
        return not self.lacking

    @property
    def factor(self) -> float:
        """Times the samples so far that are needed, as far as can be told."""
        return max((row.factor for row in self.lacking), default=1.0)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "goal": str(self.goal),
            "met": self.met,
            "samples": self.samples,
            "quantities": self.quantities,
            "lacking": [asdict(row) for row in self.lacking],
        }


def progress_of(run: RunFolder, goal: Goal, observables: Sequence[str] = ()) -> Progressed:
    """How far a run is: every torsion, the energy, each phi > 0, conformations, and what else is asked for.

    Args:
        run: with eight frames of each chain at least.
        goal: what it must reach.
        observables: requests of :mod:`timewarp.observables.requests` that must converge too.

    Raises:
        ValueError: an observable cannot be understood.
    """
    trajectory = run.trajectory()
    angles = torsion_angles(trajectory)
    labels = trajectory.superchains
    found = diagnose(trajectory, angles)
    rows = {name: (found["rhat"][name], found["ess"][name]) for name in found["rhat"]}
    conformations = find_conformations(angles)
    if conformations is not None:
        for name, share in conformations.populations().items():
            if SHARE <= share < 1:
                inside = conformations.of(name).astype(np.float64)
                rows[f"conformation {name}"] = (rhat(inside, labels), ess(inside))
    if observables:
        rows |= {
            name: (row.rhat, row.ess) for name, row in observe(run, observables).items() if row.status != "constant"
        }
    lacking = [row for name, (r, n) in rows.items() if (row := _lacking(name, r, n, goal, labels)).factor > 1]
    lacking.sort(key=lambda row: -row.factor)
    return Progressed(goal, trajectory.n_chains * trajectory.n_frames, tuple(lacking), len(rows))


def _lacking(name: str, r: float, size: float, goal: Goal, labels: Sequence[int]) -> Lacking:
    if not (math.isfinite(r) and size > 0):
        return Lacking(name, r, size, math.inf)
    limit = rhat_limit(labels, max(size, goal.ess), goal.rhat)
    return Lacking(name, r, size, max(goal.ess / size, (r**2 - 1) / (limit**2 - 1)))


class Looking:
    """The length of a run that goes on until it meets its goal, or its time is over: asked after each segment.

    Looks are at fixed numbers of frames, so that a run that was stopped and begun again ends where it would have ended.

    Args:
        run: the folder.
        goal: what it must reach.
        observables: see :func:`progress_of`.
        minutes: limit of this process, from ``began`` on; None for none.
        began: of :func:`time.monotonic`.
        tell: called with each :class:`Progressed`.

    Attributes:
        last: the last look; None before the first.
    """

    def __init__(
        self,
        run: RunFolder,
        goal: Goal,
        observables: Sequence[str] = (),
        *,
        minutes: float | None = None,
        began: float | None = None,
        tell: Callable[[Progressed], None] = lambda progressed: None,
    ) -> None:
        self.run, self.goal, self.observables, self.tell = run, goal, tuple(observables), tell
        self.deadline = None if minutes is None else (time.monotonic() if began is None else began) + 60 * minutes
        self.last: Progressed | None = None

    def __call__(self, done: int) -> int:
        """Frames of each chain that are wanted now that there are ``done``; the same number ends the run."""
        look = FIRST_FRAMES
        while look < done:
            look = math.ceil(GROWTH * look)
        over = self.deadline is not None and time.monotonic() > self.deadline
        if done < look and not (over and done >= FEWEST_FRAMES):
            return look
        self.last = progress_of(self.run, self.goal, self.observables)
        self.tell(self.last)
        return done if self.last.met or over else math.ceil(GROWTH * look)
