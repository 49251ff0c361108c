"""Kernels in sequence and at random: what each leaves invariant, so does the whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

import torch

from ..state import State
from .kernel import Info, Kernel, Outcome, Tuning, add_infos
from .target import Target


class Cycle(Kernel):
    """Run kernels one after the other, in fixed order; one step of it is one MH step of the chain.

    Args:
        kernels: at least one, all of the same target. A kernel may occur twice.

    Raises:
        ValueError: there is no kernel, they have different targets, or one of them does not leave it invariant.
    """

    def __init__(self, kernels: Sequence[Kernel], name: str = "cycle") -> None:
        super().__init__(_common_target(kernels), name)
        self.kernels = tuple(kernels)

    def __repr__(self) -> str:
        runs = [(repr(kernel), len(list(run))) for kernel, run in groupby(self.kernels)]
        return f"Cycle([{', '.join(text if n == 1 else f'{n} x {text}' for text, n in runs)}])"

    @property
    def parts(self) -> tuple[Kernel, ...]:
        """The kernels, in order."""
        return self.kernels

    @property
    def cost(self) -> float:  # type: ignore[override]
        """Of all kernels together."""
        return sum(kernel.cost for kernel in self.kernels)

    def step(self, state: State, generator: torch.Generator) -> tuple[State, Info]:
        """One step of each kernel."""
        info: Info = {}
        for kernel in self.kernels:
            state, new = kernel.step(state, generator)
            info = add_infos(info, new)
        return state, info

    def begin_warmup(self, n_steps: int) -> None:
        """Let each kernel plan."""
        for kernel in _distinct(self.kernels):
            kernel.begin_warmup(n_steps)

    def adapt(self, info: Mapping[str, Outcome], state: State | None = None) -> None:
        """Let each kernel learn."""
        for kernel in _distinct(self.kernels):
            kernel.adapt(info, state)

    def freeze(self) -> None:
        """End the adaptation of each kernel."""
        for kernel in self.kernels:
            kernel.freeze()

    @property
    def tuning(self) -> Tuning:
        """Of all kernels, by name."""
        return {name: values for kernel in self.kernels for name, values in kernel.tuning.items()}

    def retune(self, tuning: Mapping[str, Mapping[str, float]]) -> None:
        """Pass tuned numbers on to each kernel."""
        for kernel in self.kernels:
            kernel.retune(tuning)


class Mixture(Cycle):
    """Run one kernel, drawn at random in each step: the same one in all chains, independently of their states.

    Args:
        kernels: at least one, all of the same target.
        weights: positive, in proportion to how often each is drawn.

    Raises:
        ValueError: weights are not positive, or not one per kernel.
    """

    def __init__(self, kernels: Sequence[Kernel], weights: Sequence[float], name: str = "mixture") -> None:
        super().__init__(kernels, name)
        if len(weights) != len(kernels) or not all(0 < w < float("inf") for w in weights):
            raise ValueError(f"a mixture of {len(kernels)} kernels needs as many positive weights, got {list(weights)}")
        self.weights = tuple(w / sum(weights) for w in weights)

    def __repr__(self) -> str:
        parts = ", ".join(f"{w:.3g} x {k!r}" for w, k in zip(self.weights, self.kernels, strict=True))
        return f"Mixture([{parts}])"

    @property
    def cost(self) -> float:  # type: ignore[override]
        """Of a step, on average."""
        return sum(w * kernel.cost for w, kernel in zip(self.weights, self.kernels, strict=True))

    def step(self, state: State, generator: torch.Generator) -> tuple[State, Info]:
        """One step of the kernel that is drawn."""
        weights = torch.tensor(self.weights, device=generator.device, dtype=torch.float64)
        chosen = int(torch.multinomial(weights, 1, generator=generator))
        return self.kernels[chosen].step(state, generator)


def _distinct(kernels: Sequence[Kernel]) -> list[Kernel]:
    return list({id(kernel): kernel for kernel in kernels}.values())


def _common_target(kernels: Sequence[Kernel]) -> Target:
    if not kernels:
        raise ValueError("at least one kernel is needed")
    if any(kernel.target is not kernels[0].target for kernel in kernels):
        raise ValueError("kernels of one chain must share one target, or the chain has no stationary distribution")
    if biased := [kernel for kernel in kernels if not kernel.exact]:
        raise ValueError(f"{biased[0]!r} does not leave the target invariant; it cannot be part of an exact chain")
    return kernels[0].target
