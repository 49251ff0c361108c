"""Every kernel leaves its target invariant and finds it from elsewhere."""

from __future__ import annotations

import math

import pytest
import torch
from analytic_targets import (
    TEMPERATURE_K,
    DoubleWell,
    ExactInternal,
    ExactTorsions,
    Gaussian,
    ToyMolecule,
    flow_move,
    worst_chain_z,
)
from kernel_cases import (
    CASES,
    LIMIT,
    invariance_z,
    stiff_torsion,
    toy_case,
    toy_cycle,
    toy_hmc,
    toy_mixture,
    toy_torsion,
)

from handmade import ALANINE_DIPEPTIDE
from timewarp.geometry import to_internal, wrap
from timewarp.sampling import (
    Cycle,
    Mixture,
    Outcome,
    Target,
    TorsionMove,
    stiff_torsions,
)
from timewarp.sampling.kernel import add_infos


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
    kernel = flow_move(Target(toy, TEMPERATURE_K), density(toy))
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
    kernel = flow_move(Target(toy, TEMPERATURE_K), OrnsteinUhlenbeck(toy))
    _, info = kernel.step(kernel.init(toy.draw(500, generator)), generator)
    assert float((1 - info["flow"].acceptance).max()) < 1e-9


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
        (lambda: TorsionMove(target, toy.tree, window_degrees=0.0), "window_degrees"),
        (lambda: Cycle([]), "at least one kernel"),
        (lambda: Cycle([toy_hmc(toy, target), toy_hmc(toy, other)]), "share one target"),
        (lambda: Mixture([toy_hmc(toy, target)], [0.0]), "positive weights"),
        (lambda: Target(toy, -5.0), "temperature"),
        (lambda: flow_move(Target(toy, 310.0, invariant=False), ExactTorsions(toy)), "invariant"),
        (lambda: toy_hmc(toy, target).retune({"hmc": {"step_fs": float("nan")}}), "step_fs"),
    ):
        with pytest.raises(ValueError, match=message):
            wrong()
