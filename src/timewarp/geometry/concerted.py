"""A concerted rotation: a driving bond turns, the loop opens, and one of its closures is chosen by chance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import native
from ..shapes import Bool, Float, Int
from .closure import Closures, solve_closures
from .loops import Opened, Tables, closures_of, present_angles, segments_of
from .vectors import wrap

PRESENT = 1e-3
"""A closure within this of the angles (rad) of a configuration is that configuration, rounded to float32."""


@dataclass(frozen=True)
class Turned:
    """Loops that have been turned, and what their acceptance needs.

    Attributes:
        positions: in nm; unchanged where it was not possible.
        forward: log of the chance of the closure that was chosen.
        backward: log of the chance, on the way back, of the configuration that was left.
        log_volume: log |det B| of the configuration that was left, less that of the new one.
        possible: whether there was a closure, and the old configuration is found on the way back.
    """

    positions: Float[Tensor, "chains atoms 3"]
    forward: Float[Tensor, " chains"]
    backward: Float[Tensor, " chains"]
    log_volume: Float[Tensor, " chains"]
    possible: Bool[Tensor, " chains"]


@torch.no_grad()
def turn_loops(
    positions: Float[Tensor, "chains atoms 3"],
    tables: Tables,
    angle: Float[Tensor, " chains"],
    width: Float[Tensor, " chains"],
    uniform: Float[Tensor, " chains"],
) -> Turned:
    """Turn the driver of each window, and close the loop in a way that is drawn.

    The chance of a closure is in proportion to ``exp(-d^2 / (2 width^2))``, with the angles of the segments before and
    after in ``d^2 = sum_i 2 (1 - cos(tau_i - tau'_i))``; it is the same for the way back.

    Args:
        positions: in nm.
        tables: the window of each chain.
        angle: of the driver, in rad.
        width: in rad; infinite for closures that are all alike.
        uniform: numbers in [0, 1) that choose.
    """
    if positions.device.type != "cpu" or not native.available():
        return turn_plainly(positions, tables, angle, width, uniform)
    x = positions.contiguous()
    moved, terms = torch.empty_like(x), torch.empty(len(x), 3, dtype=torch.float64)
    possible = torch.empty(len(x), dtype=torch.bool)
    if len(x):
        numbers = (v.double().contiguous() for v in (angle, width, uniform))
        native.core().turn_loops(x, *tables.contiguous(), *numbers, PRESENT, moved, terms, possible, native.threads())
    return Turned(moved, terms[:, 0], terms[:, 1], terms[:, 2], possible)


@torch.no_grad()
def close_loops(
    positions: Float[Tensor, "chains atoms 3"],
    tables: Tables,
    angle: Float[Tensor, " chains"],
    tau: Float[Tensor, "chains 3"],
) -> Float[Tensor, "chains atoms 3"]:
    """Loops whose drivers turn by an angle (rad), closed at angles of their segments; see :func:`all_closures`."""
    if positions.device.type != "cpu" or not native.available():
        return Opened.by(positions, tables, angle).close(tau).to(positions)
    x = positions.contiguous()
    moved = torch.empty_like(x)
    if len(x):
        native.core().close_loops(x, *tables.contiguous(), angle.double().contiguous(), tau.contiguous(), moved)
    return moved


def all_closures(
    positions: Float[Tensor, "chains atoms 3"], tables: Tables, angle: Float[Tensor, " chains"]
) -> Closures:
    """The ways to close each loop when its driver has turned by an angle (rad)."""
    opened = Opened.by(positions, tables, angle)
    return solve_closures(segments_of(opened.points, opened.bend()))


def present_closure(
    positions: Float[Tensor, "chains atoms 3"], tables: Tables, closures: Closures
) -> tuple[Int[Tensor, " chains"], Bool[Tensor, " chains"]]:
    """Which of the closures without a turn each configuration is, and whether it is one."""
    opened = Opened(positions.double(), positions.double(), tables)
    return find_present(closures, present_angles(opened.points_before))


def find_present(
    closures: Closures, tau: Float[Tensor, "chains 3"]
) -> tuple[Int[Tensor, " chains"], Bool[Tensor, " chains"]]:
    """Which closure has some angles, and whether one has."""
    off = torch.where(closures.valid, wrap(closures.tau - tau[:, None]).abs().amax(-1), torch.inf)
    return off.argmin(-1), off.amin(-1) < PRESENT


def turn_plainly(positions: Tensor, tables: Tables, angle: Tensor, width: Tensor, uniform: Tensor) -> Turned:
    """As :func:`turn_loops`, in torch."""
    opened = Opened.by(positions, tables, angle)
    back, onwards = closures_of(opened)
    chain = torch.arange(len(positions), device=positions.device)
    tau = present_angles(opened.points_before)
    here, known = find_present(back, tau)
    forward = log_chances(onwards, tau, width)
    there = choose(forward, uniform)
    backward = log_chances(back, onwards.tau[chain, there], width)[chain, here]
    forward = forward[chain, there]
    log_volume = back.log_volume[chain, here] - onwards.log_volume[chain, there]
    possible = known & onwards.valid[chain, there]
    possible &= torch.isfinite(torch.stack([forward, backward, log_volume])).all(0)
    closed = opened.close(onwards.tau[chain, there])
    moved = torch.where(possible[:, None, None], closed.to(positions), positions)
    forward, backward, log_volume = (torch.where(possible, v, 0.0) for v in (forward, backward, log_volume))
    return Turned(moved, forward, backward, log_volume, possible)


def log_chances(
    closures: Closures, tau: Float[Tensor, "chains 3"], width: Float[Tensor, " chains"]
) -> Float[Tensor, "chains 16"]:
    """Log of the chance of each closure, given the angles of a configuration that is left or entered."""
    apart = (2 - 2 * (closures.tau - tau[:, None]).cos()).sum(-1)
    weight = torch.where(closures.valid, -apart / (2 * width[:, None] ** 2), -torch.inf)
    # Rings without any closure: no chances, and no NaN.
    return weight - weight.logsumexp(-1, keepdim=True).clamp(min=-1e300)


def choose(log_chances: Float[Tensor, "chains 16"], uniform: Float[Tensor, " chains"]) -> Int[Tensor, " chains"]:
    """One closure of each ring, by its chance; any where there is none."""
    cumulative = log_chances.exp().cumsum(-1)
    places = torch.arange(log_chances.shape[-1], device=log_chances.device)
    last = torch.where(torch.isfinite(log_chances), places, 0).amax(-1)  # where rounding leaves the sum below 1
    return torch.minimum((cumulative <= uniform[:, None]).sum(-1), last)


def scramble(
    positions: Float[Tensor, "chains atoms 3"], tables: Tables, generator: torch.Generator, n_turns: int
) -> Float[Tensor, "chains atoms 3"]:
    """Loops turned so many times, each time in a window, by an angle and to a closure that are drawn at random."""
    n, device = len(positions), positions.device
    for _ in range(n_turns):
        which = torch.randint(len(tables), (n,), generator=generator, device=device)
        angle, uniform = torch.rand(2, n, generator=generator, device=device, dtype=torch.float64)
        free = torch.full_like(angle, torch.inf)
        positions = turn_loops(positions, tables[which], math.pi * (2 * angle - 1), free, uniform).positions
    return positions
