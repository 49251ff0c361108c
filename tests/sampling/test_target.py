"""The restricted target, the one place that accepts, and what they refuse."""

from __future__ import annotations

import math

import pytest
import torch
from analytic_targets import TEMPERATURE_K, TOY, EitherHand, Gaussian, ToyMolecule, flow_move, worst_z

from handmade import ALANINE_DIPEPTIDE, random_positions
from timewarp.geometry import dihedrals, turn
from timewarp.sampling import HMC, Proposal, PuckerMove, Restriction, Target, TorsionMove, metropolis
from timewarp.sampling.kernel import add_infos
from timewarp.state import State


def turn_peptide_bond(positions, row, angle):
    """Everything behind C-N of a peptide bond turns."""
    _, carbon, nitrogen, _ = ALANINE_DIPEPTIDE.peptide_bonds[row].tolist()
    behind = torch.tensor([i >= nitrogen and i != nitrogen for i in range(ALANINE_DIPEPTIDE.n_atoms)])
    n = len(positions)
    bond = torch.tensor([nitrogen, carbon]).expand(n, 2)
    return turn(positions, bond, behind.expand(n, -1), torch.full((n,), angle))


def test_restriction_sees_every_crossing():
    x = random_positions(ALANINE_DIPEPTIDE, 12, seed=3)
    for reference in x[:4]:
        restriction = Restriction(reference, ALANINE_DIPEPTIDE)
        moved = x[:1] * 0 + reference + torch.tensor([0.3, -0.2, 5.0])
        assert not restriction.flipped(moved).any()
        assert not restriction.turned(moved).any()
        mirrored = moved * torch.tensor([1.0, 1.0, -1.0])
        assert restriction.flipped(mirrored).all()
        for row in range(2):
            other = turn_peptide_bond(moved, row, math.pi)
            assert restriction.turned(other).all()
            assert not restriction.flipped(other).any()


def test_restriction_keeps_cis_where_it_starts_cis():
    trans = random_positions(ALANINE_DIPEPTIDE, 1, seed=3)
    for row in range(2):
        if dihedrals(trans, ALANINE_DIPEPTIDE.peptide_bonds)[0, row].abs() < math.pi / 2:
            trans = turn_peptide_bond(trans, row, math.pi)
    cis = turn_peptide_bond(trans, 1, math.pi)
    omega = dihedrals(torch.cat([trans, cis]), ALANINE_DIPEPTIDE.peptide_bonds[1:])[:, 0].abs()
    assert omega[0] > math.pi / 2 > omega[1]
    restriction = Restriction(cis[0], ALANINE_DIPEPTIDE)
    assert "1 cis" in repr(restriction)
    assert restriction.turned(trans).all()
    assert not restriction.turned(cis).any()


def test_restriction_refuses_a_bad_reference():
    x = random_positions(ALANINE_DIPEPTIDE, 1)[0]
    with pytest.raises(ValueError, match="not finite"):
        Restriction(x * torch.nan, ALANINE_DIPEPTIDE)
    with pytest.raises(ValueError, match="flat in the reference"):
        Restriction(x * torch.tensor([1.0, 1.0, 0.0]), ALANINE_DIPEPTIDE)
    with pytest.raises(ValueError, match="22"):
        Restriction(x[:5], ALANINE_DIPEPTIDE)


class BrokenRestriction(Restriction):
    def flipped(self, positions):
        return torch.zeros(positions.shape[:-2], dtype=torch.bool)


def restricted_toy(kind, generator):
    """The achiral toy, restricted to one hand; starts drawn from the restricted distribution by rejection."""
    toy = ToyMolecule(achiral=True)
    draws = toy.draw(6000, generator)
    hand = Restriction(draws[0], TOY)
    inside = draws[~hand.flipped(draws)]
    restriction = kind(draws[0], TOY)
    return toy, Target(toy, TEMPERATURE_K, restriction), hand, inside


def test_chains_stay_in_the_restriction_and_sample_it_exactly(generator):
    toy, target, hand, inside = restricted_toy(Restriction, generator)
    start, truth = inside[:1000], inside[1000:]
    kernel = flow_move(target, EitherHand(toy))
    state, total = kernel.init(start), {}
    for _ in range(4):
        state, info = kernel.step(state, generator)
        total = add_infos(total, info)
    flow = total["flow"]
    assert not hand.flipped(state.positions).any()
    assert 0.3 < float(flow.restricted.sum() / flow.proposed.sum()) < 0.7
    assert torch.equal(flow.restricted, flow.flipped)
    # exact but for the restriction: whatever does not cross is accepted
    assert torch.equal(flow.accepted + flow.restricted, flow.proposed)
    both = toy.observe(state.positions), toy.observe(truth)
    error = (both[0].var(0) / len(both[0]) + both[1].var(0) / len(both[1])).sqrt()
    assert float(((both[0].mean(0) - both[1].mean(0)).abs() / error).max()) < 4.8


def test_a_broken_restriction_is_caught(generator):
    toy, target, hand, inside = restricted_toy(BrokenRestriction, generator)
    kernel = flow_move(target, EitherHand(toy))
    state, _ = kernel.step(kernel.init(inside[:500]), generator)
    assert int(hand.flipped(state.positions).sum()) > 100


def test_hmc_keeps_the_restriction_too(generator):
    _, target, hand, inside = restricted_toy(Restriction, generator)
    masses = torch.tensor(TOY.masses, dtype=torch.float64).clamp(min=8.0)
    kernel = HMC(target, masses, n_steps=4, step_fs=40.0, adaptive=False)
    state, total = kernel.init(inside[:800]), {}
    for _ in range(15):
        state, info = kernel.step(state, generator)
        total = add_infos(total, info)
    assert not hand.flipped(state.positions).any()
    assert int(total["hmc"].flipped.sum()) > 0, "no proposal crossed, so nothing was tested"


# --- metropolis ------------------------------------------------------------------------------------------------------


def state_and_target(n, generator):
    gaussian = Gaussian()
    target = Target(gaussian, TEMPERATURE_K, invariant=False)
    return target.init(gaussian.draw(n, generator)), target


@pytest.mark.parametrize("ratio", [math.nan, math.inf, -math.inf])
def test_a_log_ratio_that_is_not_finite_is_rejected_and_counted(ratio, generator):
    state, target = state_and_target(10, generator)
    log_q_ratio = torch.zeros(10).double()
    log_q_ratio[:4] = ratio
    new, outcome = metropolis(state, Proposal(state.positions, log_q_ratio), target, generator)
    assert outcome.nonfinite.tolist() == [1] * 4 + [0] * 6
    assert outcome.accepted.tolist() == [0] * 4 + [1] * 6
    assert torch.isfinite(new.energy).all()


@pytest.mark.parametrize("where", [math.nan, math.inf])
def test_a_candidate_without_a_finite_energy_is_rejected_and_counted(where, generator):
    state, target = state_and_target(3, generator)
    candidate = state.positions.clone()
    candidate[1] = where
    new, outcome = metropolis(state, Proposal(candidate, torch.zeros(3)), target, generator)
    assert outcome.nonfinite.tolist() == [0, 1, 0]
    assert torch.equal(new.positions, state.positions)


def test_a_current_energy_that_is_not_finite_is_an_error(generator):
    state, target = state_and_target(3, generator)
    broken = State(state.positions, state.energy.clone().fill_(torch.inf))
    with pytest.raises(ValueError, match="current energy of chain 0"):
        metropolis(broken, Proposal(state.positions, torch.zeros(3)), target, generator)
    with pytest.raises(ValueError, match="chain 1 starts at energy"):
        target.init(torch.stack([state.positions[0], state.positions[0] * torch.nan]))


def test_acceptance_follows_the_ratio(generator):
    """With a fixed log ratio of -1 and no change in energy, a fraction 1/e is accepted."""
    state, target = state_and_target(20_000, generator)
    _, outcome = metropolis(state, Proposal(state.positions, torch.full((20_000,), -1.0)), target, generator)
    z = worst_z(outcome.accepted[:, None].double(), torch.tensor([math.exp(-1)]).double())
    assert z < 4.5
    torch.testing.assert_close(outcome.acceptance.mean().item(), math.exp(-1))


def test_the_current_energy_is_never_recomputed_and_all_others_are_counted(generator):
    state, target = state_and_target(7, generator)
    kernel = HMC(target, torch.ones(2), n_steps=3, step_fs=50.0, adaptive=False)
    before = (target.energy_evaluations, target.force_evaluations)
    assert before == (7, 0)
    kernel.step(state, generator)
    assert (target.energy_evaluations, target.force_evaluations) == (7 + 7, 3 * 7)


def test_an_invariant_target_stays_centred(generator):
    toy = ToyMolecule()
    target = Target(toy, TEMPERATURE_K)
    kernel = HMC(target, torch.tensor(TOY.masses).double(), step_fs=5.0, adaptive=False)
    state = kernel.init(toy.draw(5, generator) + 100.0)
    for _ in range(5):
        state, _ = kernel.step(state, generator)
        assert float(state.positions.mean(1).abs().max()) < 1e-9


def test_an_energy_alone_is_enough():
    """Forces that are not given are derived from the energy; a plain function will do."""

    class Spring:
        def energy(self, positions):
            return 2.0 * positions.square().sum((-1, -2))

    x = torch.randn(4, 3, 3, dtype=torch.float64)
    for potential in (Spring(), Spring().energy):
        target = Target(potential, TEMPERATURE_K, invariant=False)
        energy, forces = target.energy_and_forces(x)
        assert torch.allclose(energy, target.energy(x))
        assert torch.allclose(forces, -4.0 * x)
        assert not energy.requires_grad
        assert not forces.requires_grad
        assert (target.energy_evaluations, target.force_evaluations) == (4, 4)


def test_kernels_of_a_target_without_atoms_say_what_they_need():
    target = Target(lambda x: x.square().sum((-1, -2)), TEMPERATURE_K)
    for make, needed in ((HMC, "masses"), (TorsionMove, "tree"), (PuckerMove, "molecule")):
        with pytest.raises(ValueError, match=needed):
            make(target)
