"""The three losses of Timewarp (Klein et al. 2023, section 5), all of them maximised, and their guards.

With the augmented target mu(x, v) ~ exp(-U(x) / kT) N(v; 0, I), a density q(x', v' | x) and its own draw (x', v'):

- likelihood   L_lik = mean log q(x(t + tau), v' | x(t)) of time-lagged pairs, v' ~ N(0, I);
- acceptance   L_acc = mean log r,  r = mu(x', v') q(x, v | x') / [mu(x, v) q(x', v' | x)];
- entropy      L_ent = -mean log q(x', v' | x).

L_acc is minus the Kullback-Leibler divergence of mu(x) q(x' | x) from its own time reversal: at most 0, and 0 where
every proposal is accepted, which the smallest of moves are too. The entropy stands against that.

Guards, since early proposals put atoms on top of each other:

1. What L_acc averages is ``-soften(-log r)``: beyond ``knee`` the penalty grows as the *logarithm* of the energy. It
   stays finite for every finite energy, and its gradient is a positive multiple of the energy's, so that descent still
   leads downhill. Near a repulsion U ~ r^-12 it is knee * 12 / r, where U's own explodes. (A clamp would have no
   gradient there, and with the wrong sign it would reward explosions.)
2. A proposal whose energy or density is not finite counts with the largest penalty there is, has no gradient, and is
   counted; a force that is not finite is dropped from the gradient.
3. A step whose gradient is still not finite is skipped and counted (:mod:`timewarp.training.loop`).

Energies and log ratios are summed in double precision, whatever the networks compute in.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from ..flows import Candidate, CartesianDensity
from ..shapes import Bool, Float, Int

MixedEnergy = Callable[[Float[Tensor, "batch atoms 3"], Int[Tensor, " batch"]], Float[Tensor, " batch"]]
"""Positions in nm, padded, and which molecule each row is -> U / kT."""


@runtime_checkable
class Reparametrised(CartesianDensity, Protocol):
    """A Cartesian density that says how it draws: as a function of standard normal latents."""

    def transform(
        self, latent_position: Tensor, latent_auxiliary: Tensor, condition: Any
    ) -> tuple[Candidate, Float[Tensor, "n batch"]]:
        """Candidates from latents (n, batch, atoms, 3), with their log density."""
        ...


@dataclass(frozen=True)
class Proposed:
    """One proposal per state, as Metropolis-Hastings sees it.

    Attributes:
        candidate: the proposals, with n = 1.
        log_q: log density of each.
        log_ratio: log r, float64; not meaningful where not ``finite``.
        finite: whether energy and densities are finite.
    """

    candidate: Candidate
    log_q: Float[Tensor, " batch"]
    log_ratio: Float[Tensor, " batch"]
    finite: Bool[Tensor, " batch"]


def soften(penalty: Tensor, knee: float) -> Tensor:
    """``penalty`` up to ``knee``, then ``knee (1 + ln(penalty / knee))``: continuous with its slope, ever rising.

    >>> soften(torch.tensor([-3.0, 10.0, 100.0]), 10.0)
    tensor([-3.0000, 10.0000, 33.0259])
    """
    above = penalty.clamp(min=knee) / knee
    return torch.where(penalty > knee, knee * (1 + above.log()), penalty)


def largest_penalty(knee: float) -> float:
    """What a proposal that is not finite counts: ``soften`` of the largest number there is (some 700 knees)."""
    return knee * (1 + math.log(sys.float_info.max / knee))


def log_likelihood(
    density: CartesianDensity,
    before: Float[Tensor, "batch atoms 3"],
    after: Float[Tensor, "batch atoms 3"],
    auxiliary_before: Float[Tensor, "batch atoms 3"],
    auxiliary_after: Float[Tensor, "batch atoms 3"],
    molecule: Int[Tensor, " batch"],
) -> Float[Tensor, " batch"]:
    """log q(x', v' | x) of pairs: what L_lik averages."""
    condition = encode(density, before, auxiliary_before, molecule)
    return density.log_prob(Candidate(after[None], auxiliary_after[None]), condition)[0]


def propose(
    density: Reparametrised,
    positions: Float[Tensor, "batch atoms 3"],
    auxiliary: Float[Tensor, "batch atoms 3"],
    molecule: Int[Tensor, " batch"],
    latents: Float[Tensor, "2 batch atoms 3"],
    energy: MixedEnergy | None,
) -> Proposed:
    """Draw one proposal per state, with the log ratio that Metropolis-Hastings would accept it by.

    Gradients reach the density's parameters through the draw, both densities and the energy.

    Args:
        density: q.
        positions: x in nm.
        auxiliary: v; zero where there is no atom.
        molecule: which molecule each row is.
        latents: standard normal, of positions and auxiliaries.
        energy: U / kT; None where only the draw is wanted (the log ratio is then NaN).
    """
    condition = encode(density, positions, auxiliary, molecule)
    candidate, log_q = density.transform(latents[:1], latents[1:], condition)
    log_q = log_q[0]
    x, v = candidate.positions[0], candidate.auxiliary[0]
    finite = log_q.isfinite() & (x.isfinite() & v.isfinite()).flatten(1).all(1)
    if energy is None:
        return Proposed(candidate, log_q, torch.full_like(log_q, torch.nan, dtype=torch.float64), finite)
    with torch.no_grad():
        energy_here = _evaluate(energy, positions, molecule)
    energy_there = _evaluate(energy, torch.where(_rows(finite), x, positions), molecule)
    finite = finite & energy_there.isfinite() & energy_here.isfinite()
    # A way back from nowhere would fill the gradient with NaN: such rows stay where they are.
    x, v = torch.where(_rows(finite), x, positions), torch.where(_rows(finite), v, auxiliary)
    log_q_back = density.log_prob(Candidate(positions[None], auxiliary[None]), encode(density, x, v, molecule))[0]
    finite = finite & log_q_back.isfinite()
    log_normal = 0.5 * (auxiliary.double().square() - v.double().square()).sum((-1, -2))
    log_ratio = energy_here - energy_there + log_normal + log_q_back.double() - log_q.double()
    return Proposed(candidate, log_q, log_ratio, finite)


def acceptance(proposed: Proposed, knee: float) -> Float[Tensor, " batch"]:
    """What L_acc averages: log r, softened where it is below ``-knee``, float64."""
    penalty = torch.where(proposed.finite, -proposed.log_ratio, 0.0)
    return -torch.where(proposed.finite, soften(penalty, knee), largest_penalty(knee))


def entropy(proposed: Proposed) -> Float[Tensor, " batch"]:
    """What L_ent averages: -log q of the density's own draws, float64; 0 where it is not finite."""
    return -torch.where(proposed.log_q.isfinite(), proposed.log_q, 0.0).double()


def encode(density: CartesianDensity, positions: Tensor, auxiliary: Tensor, molecule: Tensor) -> Any:
    """The condition of states, with their auxiliaries where the density reads them."""
    return density.encode(positions, auxiliary if density.uses_auxiliary else None, molecule)


def _evaluate(energy: MixedEnergy, positions: Tensor, molecule: Tensor) -> Float[Tensor, " batch"]:
    """The energy in double precision, outside autocast; forces that are not finite do not enter the gradient."""
    with torch.autocast(positions.device.type, enabled=False):
        x = positions.double()
        if x.requires_grad:
            x = x.clone()  # a tensor of its own for the hook, even if it was in double precision
            x.register_hook(_drop_nonfinite_rows)
        return energy(x, molecule).double()


def _drop_nonfinite_rows(gradient: Tensor) -> Tensor:
    return torch.where(_rows(gradient.isfinite().flatten(1).all(1)), gradient, 0.0)


def _rows(mask: Bool[Tensor, " batch"]) -> Bool[Tensor, "batch 1 1"]:
    return mask[:, None, None]
