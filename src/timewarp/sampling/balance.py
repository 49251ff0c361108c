"""Learned moves and local moves in one kernel: how often each is made is tuned in warm-up, then frozen."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..geometry import dihedrals, jumps
from ..shapes import Float, Int
from ..state import State
from .cycle import Cycle, Mixture
from .hmc import HMC
from .kernel import Info, Kernel, Outcome, Tuning, add_infos

MEASURED_FROM, MEASURED_TO = 0.1, 0.4
"""The part of the warm-up in which moves are measured; after it, trajectory lengths are tried."""
FEWEST_STEPS = 12
"""Fewer measured steps than this leave the balance as it is."""
RAREST_JUMP = 0.02
"""Torsions of which fewer independent pairs than this differ by a jump have one state, and nothing to be moved to."""
PARTS = 10
"""Shares of the computing time are multiples of 1 / PARTS."""
MOST_SWEEPS = 64


class Balanced(Cycle):
    """In each step one learned move, drawn at random, and then a number of sweeps of local moves.

    The draw looks at no state and is the same for all chains, so that each step leaves the target invariant whatever
    the weights and the number of sweeps, which are fixed when the warm-up ends.

    The warm-up measures how often each learned move and one sweep change each torsion by more than 60 degrees, divided
    by that frequency between independent states (of different chains), and by what the move costs. The shares of the
    computing time are those with which the most seldom changed torsion changes most often; learned moves and sweeps
    each keep a tenth at least, because jumps do not tell all. Costs are counted, not timed, so that the same seed
    tunes alike.

    Args:
        learned: kernels of which one is drawn, different ones.
        local: kernels of one sweep, in order.
        torsions: integer (n, 4), what is watched.

    Raises:
        ValueError: there are no kernels of one kind, or they cannot be joined (see :class:`Cycle`).
    """

    def __init__(
        self, learned: Sequence[Kernel], local: Sequence[Kernel], torsions: Int[Tensor, "n 4"], name: str = "balance"
    ) -> None:
        if not learned or not local:
            raise ValueError(f"a balance needs learned and local kernels, got {len(learned)} and {len(local)}")
        super().__init__([*learned, *local], name)
        self.learned, self.local = Mixture(learned, [1.0] * len(learned), "learned"), Cycle(local, "local")
        self.torsions = torsions
        self.sweeps = 1
        self._adaptive = True
        self._measured: range = range(0)
        self._step = 0
        self._jumps = torch.zeros(len(learned) + 1, len(torsions), dtype=torch.float64)
        self._tried = [0] * (len(learned) + 1)
        self._independent = torch.zeros(len(torsions), dtype=torch.float64)

    def __repr__(self) -> str:
        return f"Balanced({self.learned!r}, then {self.sweeps} x {self.local!r})"

    @property
    def cost(self) -> float:  # type: ignore[override]
        """Of one step."""
        return self.learned.cost + self.sweeps * self.local.cost

    def step(self, state: State, generator: torch.Generator) -> tuple[State, Info]:
        """One learned move and the sweeps."""
        before = self._angles(state) if self._step in self._measured else None
        state, info = self.learned.step(state, generator)
        if before is not None:
            (chosen,) = (n for n, kernel in enumerate(self.learned.kernels) if kernel.name in info)
            before = self._count(chosen, before, state)
        for _ in range(self.sweeps):
            state, new = self.local.step(state, generator)
            info = add_infos(info, new)
        if before is not None:
            after = self._count(-1, before, state)
            self._independent += jumps(after, after.roll(1, 0)).double().mean(0)
        return state, info

    def begin_warmup(self, n_steps: int) -> None:
        """Plan when moves are measured."""
        super().begin_warmup(n_steps)
        measured = range(int(MEASURED_FROM * n_steps), int(MEASURED_TO * n_steps))
        if self._adaptive and len(measured) >= FEWEST_STEPS and len(self.torsions):
            self._measured = measured

    def adapt(self, info: Mapping[str, Outcome], state: State | None = None) -> None:
        """Let each kernel learn, and balance them when enough has been seen."""
        super().adapt(info, state)
        self._step += 1
        if self._measured and self._step == self._measured.stop and all(self._tried):
            self._balance()

    def freeze(self) -> None:
        """End the adaptation."""
        super().freeze()
        self._adaptive, self._measured = False, range(0)

    @property
    def tuning(self) -> Tuning:
        """Weights of the learned moves and the number of sweeps, and what the kernels tune."""
        weights = {k.name: weight for k, weight in zip(self.learned.kernels, self.learned.weights, strict=True)}
        return {**super().tuning, self.name: {"sweeps": float(self.sweeps), **weights}}

    def retune(self, tuning: Mapping[str, Mapping[str, float]]) -> None:
        """Take over weights and the number of sweeps, and what the kernels tune.

        Raises:
            ValueError: a weight is not positive, or the number of sweeps is not a whole one from 1 on.
        """
        super().retune(tuning)
        given = tuning.get(self.name)
        if given is None:
            return
        names = [kernel.name for kernel in self.learned.kernels]
        weights, sweeps = [given.get(name, 0.0) for name in names], given.get("sweeps", 0.0)
        if not all(0 < w < float("inf") for w in weights):
            raise ValueError(f"the tuning of {self.name} needs a positive weight of each of {', '.join(names)}")
        if not (1 <= sweeps <= MOST_SWEEPS and sweeps == int(sweeps)):
            raise ValueError(f"the tuning of {self.name} needs sweeps of 1 to {MOST_SWEEPS}, got {sweeps!r}")
        self.learned.weights, self.sweeps = tuple(weights), int(sweeps)
        self._adaptive, self._measured = False, range(0)

    def _angles(self, state: State) -> Float[Tensor, "chains n"]:
        return dihedrals(state.positions, self.torsions.to(state.positions.device)).double().cpu()

    def _count(self, which: int, before: Tensor, state: State) -> Tensor:
        after = self._angles(state)
        self._jumps[which] += jumps(before, after).double().mean(0)
        self._tried[which] += 1
        return after

    def _balance(self) -> None:
        cost = torch.tensor([*(k.cost for k in self.learned.kernels), self.local.cost], dtype=torch.float64)
        tried = torch.tensor(self._tried, dtype=torch.float64)
        independent = self._independent / tried[-1]
        moving = independent > RAREST_JUMP
        if not moving.any():
            return
        rate = (self._jumps / tried[:, None] / cost[:, None])[:, moving] / independent[moving]
        shares = best_shares(rate)
        calls = shares / cost
        self.learned.weights = tuple((calls[:-1] / calls[:-1].sum()).tolist())
        self.sweeps = max(1, min(MOST_SWEEPS, round(float(calls[-1] / calls[:-1].sum()))))
        for kernel in self.local.kernels:
            if isinstance(kernel, HMC) and kernel.trial is not None:
                kernel.trial.overhead = self.cost / self.sweeps - kernel.n_steps


def best_shares(rate: Float[Tensor, "kinds torsions"]) -> Float[Tensor, " kinds"]:
    """Shares of the time (the last kind's are the sweeps') whose slowest torsion is the fastest; 0.01 where none.

    Among equals the most even ones.

    >>> best_shares(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    tensor([0.5000, 0.5000], dtype=torch.float64)
    """
    kinds = len(rate)
    grid = [
        torch.tensor([*parts, PARTS - sum(parts)], dtype=torch.float64) / PARTS
        for parts in itertools.product(range(PARTS), repeat=kinds - 1)
        if 1 <= sum(parts) <= PARTS - 1
    ]
    shares = torch.stack(grid)
    slowest = (shares @ rate.double()).amin(1)
    good = slowest >= 0.98 * slowest.max()
    even = shares.square().sum(1)
    chosen = shares[int(torch.where(good, even, torch.inf).argmin())]
    return chosen.clamp(min=0.01)
