"""Every kernel leaves its target invariant and finds it from elsewhere; broken kernels are caught by the same test."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from analytic_targets import (
    TEMPERATURE_K,
    TOY,
    DoubleWell,
    ExactInternal,
    ExactTorsions,
    Gaussian,
    RoughTorsions,
    ToyMolecule,
    WideInternal,
    worst_chain_z,
    worst_z,
)

from handmade import ALANINE_DIPEPTIDE
from timewarp.flows.weights import build_flow
from timewarp.geometry import log_volume, to_internal, wrap
from timewarp.sampling import (
    Cycle,
    FlowKernel,
    HMCKernel,
    Kernel,
    Mixture,
    Outcome,
    Proposal,
    Target,
    TorsionKernel,
    metropolis,
    stiff_torsions,
)
from timewarp.sampling.kernel import add_infos
from timewarp.state import State

CHAINS = 3000
LIMIT = 4.8
"""Largest |z| of some sixty observables that a right kernel may show: one false alarm in about 10,000 runs."""
CAUGHT = 8.0
"""A broken kernel must show at least this |z|."""

TOY_MASSES = torch.tensor(TOY.masses, dtype=torch.float64).clamp(min=8.0)


class Autoregressive(Kernel):
    """Gaussian proposals x' ~ N(a x, s^2), not symmetric: needs its log_q_ratio."""

    A, S = 0.6, 0.9

    def step(self, state, generator):
        x = state.positions
        candidate = self.A * x + self.S * torch.randn(x.shape, generator=generator, dtype=x.dtype)
        forward = -0.5 * ((candidate - self.A * x) / self.S).square().sum((-1, -2))
        backward = -0.5 * ((x - self.A * candidate) / self.S).square().sum((-1, -2))
        new, outcome = metropolis(state, Proposal(candidate, backward - forward), self.target, generator)
        return new, {self.name: outcome}


def gaussian_case(kind):
    gaussian = Gaussian()
    target = Target(gaussian, TEMPERATURE_K, invariant=False)
    if kind is HMCKernel:
        return gaussian, HMCKernel(target, torch.tensor([1.0, 3.0]), n_steps=5, step_fs=400.0, adaptive=False)
    return gaussian, kind(target, "autoregressive")


def double_well_case(kind):
    well = DoubleWell()
    target = Target(well, TEMPERATURE_K, invariant=False)
    if kind is HMCKernel:
        return well, HMCKernel(target, torch.ones(1), n_steps=6, step_fs=200.0, adaptive=False)
    return well, kind(target, "autoregressive")


def toy_case(build):
    toy = ToyMolecule()
    target = Target(toy, TEMPERATURE_K)
    return toy, build(toy, target)


def toy_hmc(toy, target, **kwargs):
    return HMCKernel(target, TOY_MASSES, **{"n_steps": 3, "step_fs": 25.0, "adaptive": False, **kwargs})


def flow(density):
    return lambda toy, target: FlowKernel(target, density(toy), toy.tree)


def network(toy, family):
    """A real network with random weights: a poor proposal, and so a good test."""
    sizes = {"C": {"n_couplings": 2, "context_blocks": 1}, "B": {"torsion_couplings": 2, "stiff_couplings": 1}}
    built = build_flow(toy.atoms, family, {**sizes[family], "width": 16, "n_heads": 2})
    built.fit_standardiser(toy.draw_internal(2000, torch.Generator().manual_seed(5)).float())
    seeded = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter += 0.03 * torch.randn(parameter.shape, generator=seeded)
    return built


def toy_torsion(toy, target):
    return TorsionKernel(target, toy.tree)


def narrow_torsion(toy, target):
    return TorsionKernel(target, toy.tree, window_degrees=70)


def stiff_torsion(toy, target):
    """All three bonds turn a little, as peptide bonds do, and one of them freely."""
    tree = toy.tree
    bonds = replace(tree, rotatable=tree.rotatable[:1])
    return TorsionKernel(target, bonds, stiff=tree.rotatable[1:])


def toy_cycle(toy, target):
    return Cycle([flow(RoughTorsions)(toy, target), toy_torsion(toy, target), toy_hmc(toy, target)])


def toy_mixture(toy, target):
    return Mixture([flow(WideInternal)(toy, target), toy_torsion(toy, target), toy_hmc(toy, target)], [1, 2, 1])


CASES = {
    "autoregressive on a Gaussian": lambda: gaussian_case(Autoregressive),
    "hmc on a Gaussian": lambda: gaussian_case(HMCKernel),
    "autoregressive on a double well": lambda: double_well_case(Autoregressive),
    "hmc on a double well": lambda: double_well_case(HMCKernel),
    "flow C, exact": lambda: toy_case(flow(ExactTorsions)),
    "flow C, rough and conditioned on the torsions": lambda: toy_case(flow(RoughTorsions)),
    "flow B, exact": lambda: toy_case(flow(ExactInternal)),
    "flow B, rough": lambda: toy_case(flow(WideInternal)),
    "flow C, network": lambda: toy_case(flow(lambda toy: network(toy, "C"))),
    "flow B, network": lambda: toy_case(flow(lambda toy: network(toy, "B"))),
    "torsion": lambda: toy_case(toy_torsion),
    "torsion, narrow": lambda: toy_case(narrow_torsion),
    "torsion, stiff bonds": lambda: toy_case(stiff_torsion),
    "hmc on a molecule": lambda: toy_case(toy_hmc),
    "cycle": lambda: toy_case(toy_cycle),
    "mixture": lambda: toy_case(toy_mixture),
}


def invariance_z(law, kernel, generator, steps=6, chains=CHAINS):
    """Start in the target, run, and compare: the final states are independent draws of it if the kernel is right."""
    state = kernel.init(law.draw(chains, generator))
    info = {}
    for _ in range(steps):
        state, new = kernel.step(state, generator)
        info = add_infos(info, new)
    return worst_z(law.observe(state.positions), law.truth), info


@pytest.mark.parametrize("case", CASES)
def test_protocol_and_invariance(case, generator):
    law, kernel = CASES[case]()
    z, info = invariance_z(law, kernel, generator)
    assert z < LIMIT
    assert repr(kernel).startswith(type(kernel).__name__)
    for outcome in info.values():
        assert isinstance(outcome, Outcome)
        assert (outcome.accepted + outcome.nonfinite + outcome.restricted <= outcome.proposed).all()
        assert float(outcome.accepted.sum() / outcome.proposed.sum()) > 0.005, "the test must move to mean anything"
        # the acceptance probabilities and the decisions agree
        expected, got = float(outcome.acceptance.sum()), float(outcome.accepted.sum())
        assert abs(expected - got) < 5 * max(expected, 1.0) ** 0.5


@pytest.mark.parametrize("case", CASES)
def test_state_keeps_its_energy_and_steps_repeat(case, generator):
    law, kernel = CASES[case]()
    start = kernel.init(law.draw(16, generator))
    before = generator.get_state()
    state, _ = kernel.step(start, generator)
    torch.testing.assert_close(kernel.target.potential.energy(state.positions), state.energy)
    generator.set_state(before)
    again, _ = kernel.step(start, generator)
    assert torch.equal(state.positions, again.positions)


@pytest.mark.parametrize(
    ("case", "law", "start"),
    [
        ("hmc on a Gaussian", Gaussian, lambda n: torch.zeros(n, 2, 3, dtype=torch.float64)),
        ("autoregressive on a double well", DoubleWell, lambda n: torch.ones(n, 1, 3, dtype=torch.float64)),
        ("hmc on a double well", DoubleWell, lambda n: -torch.ones(n, 1, 3, dtype=torch.float64)),
    ],
)
def test_recovers_moments_from_one_start(case, law, start, generator):
    law, kernel = CASES[case]()
    state = kernel.init(start(300))
    series = []
    for step in range(250):
        state, _ = kernel.step(state, generator)
        if step >= 70:
            series.append(law.observe(state.positions))
    assert worst_chain_z(torch.stack(series), law.truth) < LIMIT


def test_cycle_recovers_the_molecule_from_one_start(generator):
    toy, kernel = toy_case(toy_cycle)
    state = kernel.init(toy.draw(1, generator).repeat(200, 1, 1))
    series = []
    for step in range(140):
        state, _ = kernel.step(state, generator)
        if step >= 80:
            series.append(toy.observe(state.positions))
    assert worst_chain_z(torch.stack(series), toy.truth) < LIMIT


@pytest.mark.parametrize("density", [ExactTorsions, ExactInternal])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_exact_density_is_always_accepted(density, dtype, generator):
    """The strongest test of the volume element: any wrong factor would move the ratio from 1."""
    toy = ToyMolecule()
    kernel = FlowKernel(Target(toy, TEMPERATURE_K), density(toy), toy.tree)
    state = kernel.init(toy.draw(500, generator).to(dtype))
    for _ in range(3):
        state, info = kernel.step(state, generator)
        tolerance = 1e-9 if dtype == torch.float64 else 1e-2
        assert float((1 - info["flow"].acceptance).abs().max()) < tolerance


class OrnsteinUhlenbeck(ExactInternal):
    """Sibling dihedrals by their exact Ornstein-Uhlenbeck transition, the rest by the Boltzmann distribution."""

    condition_is_invariant = False
    RHO = 0.9

    def _transition(self, internal, condition):
        toy = self.toy
        y, x = ((v[:, toy.siblings] * toy.sign - toy.SIBLING) / toy.SIBLING_SD for v in (internal, condition))
        moved = (y - self.RHO * x).square() / (1 - self.RHO**2)
        return 0.5 * (y.square() - moved).sum(-1)  # relative to the stationary density

    def sample(self, condition, n, generator):
        toy = self.toy
        drawn = toy.draw_internal(len(condition), generator)
        x = condition[:, toy.siblings] * toy.sign - toy.SIBLING
        noise = toy.SIBLING_SD * torch.randn(x.shape, generator=generator, dtype=x.dtype)
        drawn[:, toy.siblings] = toy.sign * (toy.SIBLING + self.RHO * x + (1 - self.RHO**2) ** 0.5 * noise)
        return drawn[None], self.log_prob(drawn, condition)[None]

    def log_prob(self, internal, condition):
        return super().log_prob(internal, condition) + self._transition(internal, condition)


def test_exact_ornstein_uhlenbeck_transition_is_always_accepted(generator):
    toy = ToyMolecule()
    kernel = FlowKernel(Target(toy, TEMPERATURE_K), OrnsteinUhlenbeck(toy), toy.tree)
    _, info = kernel.step(kernel.init(toy.draw(500, generator)), generator)
    assert float((1 - info["flow"].acceptance).max()) < 1e-9


# --- negative controls: each must be caught --------------------------------------------------------------------------


class FlippedSign(FlowKernel):
    def propose(self, state, generator):
        proposal = super().propose(state, generator)
        return replace(proposal, log_q_ratio=-proposal.log_q_ratio)


class NoVolumeElement(FlowKernel):
    def propose(self, state, generator):
        proposal = super().propose(state, generator)
        here, there = (
            log_volume(to_internal(x, self.tree), self.tree) for x in (state.positions, proposal.positions)
        )
        return replace(proposal, log_q_ratio=proposal.log_q_ratio + here - there)


class ForgetsTheWayBack(FlowKernel):
    """Takes both densities with the current state as the condition, though the condition sees what is redrawn."""

    def propose(self, state, generator):
        self.density.condition_is_invariant = True
        return super().propose(state, generator)


class AlteredAfterScoring(FlowKernel):
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


class NoAcceptStep(HMCKernel):
    def step(self, state, generator):
        momenta = self.draw_momenta(state, generator)
        step_ps = torch.full((state.n_chains, 1, 1), self.step_fs / 1000, dtype=torch.float64)
        x, _ = self.integrate(state.positions, momenta, step_ps)
        x = self.target.recentre(x)
        return State(x, self.target.energy(x)), {}


class LopsidedTurns(TorsionKernel):
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
    "sign of log_q_ratio flipped (C)": lambda: toy_case(lambda y, t: FlippedSign(t, RoughTorsions(y), y.tree)),
    "sign of log_q_ratio flipped (B)": lambda: toy_case(lambda y, t: FlippedSign(t, WideInternal(y), y.tree)),
    "volume element forgotten": lambda: toy_case(lambda y, t: NoVolumeElement(t, WideInternal(y), y.tree)),
    "reverse density with the wrong condition": lambda: toy_case(
        lambda y, t: ForgetsTheWayBack(t, RoughTorsions(y), y.tree)
    ),
    "condition left out of the score": lambda: toy_case(lambda y, t: FlowKernel(t, ForgetsItsCondition(y), y.tree)),
    "candidate altered after scoring": lambda: toy_case(lambda y, t: AlteredAfterScoring(t, WideInternal(y), y.tree)),
    "hmc without accept step": lambda: toy_case(
        lambda y, t: NoAcceptStep(t, TOY_MASSES, n_steps=4, step_fs=60.0, adaptive=False)
    ),
    "torsion turns kept when they please": lambda: toy_case(lambda y, t: LopsidedTurns(t, y.tree)),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_kernels_are_caught(case, generator):
    law, kernel = BROKEN[case]()
    z, _ = invariance_z(law, kernel, generator, steps=8)
    assert z > CAUGHT, f"{case} went unnoticed: |z| is {z:.1f}"


class NeverRefreshes(HMCKernel):
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
    gaussian, right = gaussian_case(HMCKernel)
    stuck = NeverRefreshes(right.target, torch.tensor([1.0, 3.0]), n_steps=5, step_fs=400.0, adaptive=False)
    state = stuck.init(gaussian.mean.reshape(1, 2, 3).repeat(300, 1, 1))
    series = []
    for step in range(200):
        state, _ = stuck.step(state, generator)
        if step >= 50:
            series.append(gaussian.observe(state.positions))
    assert worst_chain_z(torch.stack(series), gaussian.truth) > CAUGHT


# --- details ---------------------------------------------------------------------------------------------------------


def test_hmc_is_reversible_and_preserves_the_centre(generator):
    toy, kernel = toy_case(toy_hmc)
    state = kernel.init(toy.draw(8, generator))
    momenta = kernel.draw_momenta(state, generator)
    step_ps = torch.full((8, 1, 1), 0.02, dtype=torch.float64)
    x, p = kernel.integrate(state.positions, momenta, step_ps)
    back, q = kernel.integrate(x, -p, step_ps)
    torch.testing.assert_close(back, state.positions, atol=1e-9, rtol=0)
    torch.testing.assert_close(-q, momenta, atol=1e-6, rtol=0)
    assert float(momenta.sum(1).abs().max()) < 1e-9
    assert float((x - state.positions).abs().max()) > 1e-3


def test_hmc_adapts_to_its_target_acceptance_and_freezes(generator):
    toy, kernel = toy_case(lambda y, t: toy_hmc(y, t, adaptive=True, step_fs=12.0, target_acceptance=0.7))
    state = kernel.init(toy.draw(64, generator))
    for _ in range(60):
        state, info = kernel.step(state, generator)
        kernel.adapt(info)
    kernel.freeze()
    tuned = kernel.tuning["hmc"]["step_fs"]
    total = {}
    for _ in range(40):
        state, info = kernel.step(state, generator)
        kernel.adapt(info)
        total = add_infos(total, info)
    assert kernel.tuning["hmc"]["step_fs"] == tuned != 12.0
    assert abs(float(total["hmc"].accepted.sum() / total["hmc"].proposed.sum()) - 0.7) < 0.12
    other = toy_hmc(toy, kernel.target, adaptive=True)
    other.retune(kernel.tuning)
    other.adapt(info)
    assert other.tuning == kernel.tuning


def test_torsion_kernel_turns_one_torsion_and_nothing_else(generator):
    toy, kernel = toy_case(toy_torsion)
    state = kernel.init(toy.draw(200, generator))
    before = to_internal(state.positions, toy.tree)
    new, info = kernel.step(state, generator)
    changed = (to_internal(new.positions, toy.tree) - before).abs() > 1e-7
    assert not changed[:, toy.lengths | toy.angles | toy.siblings].any()
    assert torch.equal(changed[:, toy.soft, 2].sum(1), info["torsion"].accepted)


def test_stiff_bonds_turn_a_little_and_half_of_the_time(generator):
    toy, kernel = toy_case(stiff_torsion)
    state = kernel.init(toy.draw(2000, generator))
    before = to_internal(state.positions, toy.tree)[:, toy.soft, 2]
    new, _ = kernel.step(state, generator)
    change = wrap(to_internal(new.positions, toy.tree)[:, toy.soft, 2] - before).abs()
    assert math.radians(24) < float(change[:, 1:].max()) < math.radians(25.001)
    assert float(change[:, 0].max()) > math.radians(120)
    moved = (change > 1e-6).sum(0)
    assert (moved > 200).all()


def test_the_peptide_bonds_are_stiff_and_turn():
    names = ALANINE_DIPEPTIDE.names
    turning = stiff_torsions(ALANINE_DIPEPTIDE)
    bonds = {frozenset(names[i] for i in ALANINE_DIPEPTIDE.tree.references[row][:2]) for row in turning}
    assert bonds == {frozenset(("C", "N"))}
    assert len(turning) == 2


def test_a_mixture_draws_by_its_weights(generator):
    toy, kernel = toy_case(toy_mixture)
    state = kernel.init(toy.draw(1, generator))
    total = {}
    for _ in range(100):
        state, info = kernel.step(state, generator)
        assert len(info) == 1
        total = add_infos(total, info)
    assert abs(int(total["torsion"].proposed.sum()) - 50) < 25


def test_wrong_arguments_say_so():
    toy = ToyMolecule()
    target, other = Target(toy, TEMPERATURE_K), Target(toy, TEMPERATURE_K)
    for wrong, message in (
        (lambda: toy_hmc(toy, target, n_steps=0), "n_steps"),
        (lambda: toy_hmc(toy, target, step_fs=-1.0), "step_fs"),
        (lambda: toy_hmc(toy, target, target_acceptance=1.0), "target_acceptance"),
        (lambda: TorsionKernel(target, toy.tree, window_degrees=0.0), "window_degrees"),
        (lambda: Cycle([]), "at least one kernel"),
        (lambda: Cycle([toy_hmc(toy, target), toy_hmc(toy, other)]), "share one target"),
        (lambda: Mixture([toy_hmc(toy, target)], [0.0]), "positive weights"),
        (lambda: Target(toy, -5.0), "temperature"),
        (lambda: FlowKernel(Target(toy, 310.0, invariant=False), ExactTorsions(toy), toy.tree), "invariant"),
        (lambda: toy_hmc(toy, target).retune({"hmc": {"step_fs": float("nan")}}), "step_fs"),
    ):
        with pytest.raises(ValueError, match=message):
            wrong()
