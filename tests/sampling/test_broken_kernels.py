"""Negative controls: broken kernels, each caught by the test that right ones pass."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from analytic_targets import (
    ExactTorsions,
    RoughTorsions,
    WideInternal,
    flow_move,
    worst_chain_z,
)
from kernel_cases import (
    CAUGHT,
    TOY_MASSES,
    gaussian_case,
    invariance_z,
    toy_case,
)
from ring_cases import FAR, HOP, ForgetsTheJacobian, ForgetsTheNumber, InvertsTheJacobian, ring_case

from timewarp.geometry import log_volume, to_internal
from timewarp.sampling import (
    HMC,
    FlowMove,
    TorsionMove,
)
from timewarp.state import State


class FlippedSign(FlowMove):
    def propose(self, state, generator):
        proposal = super().propose(state, generator)
        return replace(proposal, log_ratio=-proposal.log_ratio)


class NoVolumeElement(FlowMove):
    def propose(self, state, generator):
        proposal = super().propose(state, generator)
        tree = self.proposer.tree
        here, there = (log_volume(to_internal(x, tree), tree) for x in (state.positions, proposal.positions))
        return replace(proposal, log_ratio=proposal.log_ratio + here - there)


class ForgetsTheWayBack(FlowMove):
    """Takes both densities with the current state as the condition, though the condition sees what is redrawn."""

    def propose(self, state, generator):
        self.proposer.density.condition_is_invariant = True
        return super().propose(state, generator)


class AlteredAfterScoring(FlowMove):
    """Moves the candidate after its density was taken, as if a local kernel relaxed it before the decision."""

    def propose(self, state, generator):
        proposal = super().propose(state, generator)
        _, forces = self.target.energy_and_forces(proposal.positions)
        return replace(proposal, positions=proposal.positions + 4e-6 * forces)


class ForgetsItsCondition(ExactTorsions):
    """Draws torsions given the stiff coordinates, but scores them as if it had not seen these."""

    def log_prob(self, internal, condition):
        phi = internal[:, self.toy.soft, 2]
        return (self.log_norm - self.toy.torsion_energy(phi)).sum(-1)


class NoAcceptStep(HMC):
    def step(self, state, generator):
        momenta = self.draw_momenta(state, generator)
        step_ps = torch.full((state.n_chains, 1, 1), self.step_fs / 1000, dtype=torch.float64)
        x, _ = self.integrate(state.positions, momenta, step_ps)
        x = self.target.recentre(x)
        return State(x, self.target.energy(x)), {}


class LopsidedTurns(TorsionMove):
    """Turns further one way than the other, and calls it symmetric."""

    def step(self, state, generator):
        turned, info = super().step(state, generator)
        other, _ = super().step(turned, generator)
        better = other.energy < turned.energy
        return State(
            torch.where(better[:, None, None], other.positions, turned.positions),
            torch.where(better, other.energy, turned.energy),
        ), info


BROKEN = {
    "sign of log_ratio flipped (C)": lambda: toy_case(lambda y, t: flow_move(t, RoughTorsions(y), FlippedSign)),
    "sign of log_ratio flipped (B)": lambda: toy_case(lambda y, t: flow_move(t, WideInternal(y), FlippedSign)),
    "volume element forgotten": lambda: toy_case(lambda y, t: flow_move(t, WideInternal(y), NoVolumeElement)),
    "reverse density with the wrong condition": lambda: toy_case(
        lambda y, t: flow_move(t, RoughTorsions(y), ForgetsTheWayBack)
    ),
    "condition left out of the score": lambda: toy_case(lambda y, t: flow_move(t, ForgetsItsCondition(y))),
    "candidate altered after scoring": lambda: toy_case(
        lambda y, t: flow_move(t, WideInternal(y), AlteredAfterScoring)
    ),
    "hmc without accept step": lambda: toy_case(
        lambda y, t: NoAcceptStep(t, TOY_MASSES, n_steps=4, step_fs=60.0, adaptive=False)
    ),
    "Jacobian of a ring forgotten": lambda: ring_case(ForgetsTheJacobian),
    "Jacobian of a ring upside down": lambda: ring_case(InvertsTheJacobian),
    "number of closures forgotten": lambda: ring_case(ForgetsTheNumber, window=2, **FAR),
    "weights of other closures forgotten": lambda: ring_case(ForgetsTheNumber, **HOP),
    "torsion turns kept when they please": lambda: toy_case(lambda y, t: LopsidedTurns(t, y.tree)),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_kernels_are_caught(case, generator):
    law, kernel = BROKEN[case]()
    z, _ = invariance_z(law, kernel, generator, steps=8)
    assert z > CAUGHT, f"{case} went unnoticed: |z| is {z:.1f}"


class NeverRefreshes(HMC):
    """Draws momenta once and then carries them on, as if HMC were dynamics: each chain stays near its first energy."""

    momenta = None

    def draw_momenta(self, state, generator):
        if self.momenta is None:
            self.momenta = super().draw_momenta(state, generator)
        return self.momenta

    def step(self, state, generator):
        new, info = super().step(state, generator)
        accepted = info[self.name].accepted.bool()[:, None, None]
        self.momenta = torch.where(accepted, self.last, -self.momenta)
        return new, info

    def integrate(self, positions, momenta, step_ps):
        positions, self.last = super().integrate(positions, momenta, step_ps)
        return positions, self.last


def test_hmc_without_fresh_momenta_is_caught(generator):
    gaussian, right = gaussian_case(HMC)
    stuck = NeverRefreshes(right.target, torch.tensor([1.0, 3.0]), n_steps=5, step_fs=400.0, adaptive=False)
    state = stuck.init(gaussian.mean.reshape(1, 2, 3).repeat(300, 1, 1))
    series = []
    for step in range(200):
        state, _ = stuck.step(state, generator)
        if step >= 50:
            series.append(gaussian.observe(state.positions))
    assert worst_chain_z(torch.stack(series), gaussian.truth) > CAUGHT
