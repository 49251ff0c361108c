"""The moves of the transferable family: right ones, broken ones, and their balance with local moves."""

from __future__ import annotations

import functools
import math

import pytest
import torch
from analytic_targets import TEMPERATURE_K, TOY, ToyMolecule
from growth_cases import balanced, growth, growth_flow, made_up_parameters, regrowths
from kernel_cases import CAUGHT, free_torsion, invariance_z, toy_case

from timewarp import native
from timewarp.flows import Proposal
from timewarp.flows.growth import Regrowth, RegrowthProposer
from timewarp.flows.growth.scale import NEAR_PI, NEAR_ZERO
from timewarp.geometry import measure_dihedrals, to_internal
from timewarp.sampling import Balanced, RegrowthMove, Target, TorsionMove, learned_move
from timewarp.sampling.balance import best_shares
from timewarp.sampling.kernel import add_infos
from timewarp.units import kT


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_regrowth_keeps_what_it_should(dtype, generator):
    toy = ToyMolecule()
    flow = growth_flow(toy, dtype)
    plan = flow.plan(made_up_parameters(toy), kT(TEMPERATURE_K))
    x = toy.draw(50, generator)
    before = to_internal(x, toy.tree)
    for kept in range(3):
        there, forward, backward = flow.redraw(x, Regrowth(plan, kept), generator)
        changed = (to_internal(there, toy.tree) - before).abs() > 1e-7
        assert not changed[:, toy.lengths | toy.angles | toy.siblings].any()
        redrawn = [toy.soft[place] for place in plan.order[kept:]]
        still = [toy.soft[place] for place in plan.order[:kept]]
        assert changed[:, redrawn, 2].all()
        assert not changed[:, still, 2].any()
        way = Regrowth(plan, kept)
        tolerance = 1e-5 if dtype == torch.float32 else 1e-9
        torch.testing.assert_close(flow.score(there, way), forward, atol=tolerance, rtol=0)
        torch.testing.assert_close(flow.score(x, way), backward, atol=tolerance, rtol=0)


@pytest.mark.skipif(not native.available(), reason=native.why_not())
def test_compiled_features_give_the_density_of_torch(generator):
    toy = ToyMolecule()
    x = toy.draw(200, generator)
    compiled, plain = growth_flow(toy), growth_flow(toy, torch.float64)
    way = Regrowth(plain.plan(made_up_parameters(toy), kT(TEMPERATURE_K)))
    torch.testing.assert_close(compiled.score(x, way), plain.score(x, way), atol=2e-3, rtol=0)


class FlippedSign(RegrowthMove):
    def log_ratio(self, forward, current):
        return forward - current


class ForgetsTheWayBack(RegrowthMove):
    """Takes every state to be as likely to be drawn as any other."""

    def log_ratio(self, forward, current):
        return -len(self.proposer.orders[0]) * math.log(2 * math.pi) - forward


class ForgetsWhatItAccepted(RegrowthMove):
    """Takes the density of a state for that of the state that it began the step with."""

    def __init__(self, target, proposer, name):
        super().__init__(target, proposer, name, draws=24)

    def density_after(self, outcome, forward, current):
        return current


class LookingProposer(RegrowthProposer):
    """Redraws all torsions where the first is near cis, and spares it elsewhere."""

    def redraw(self, x, chosen, generator, score=True):
        score = super().redraw
        full, some = (score(x, Regrowth(chosen.plan, kept), generator) for kept in (0, 1))
        corners = torch.tensor([chosen.plan.steps[0].corners])
        all_of_them = measure_dihedrals(x, corners)[:, 0].cos() > 0
        candidates = torch.where(all_of_them[:, None, None], full[0], some[0])
        return candidates, *(torch.where(all_of_them, full[k], some[k]) for k in (1, 2))


class LooksBeforeItChooses(RegrowthMove):
    def __init__(self, target, proposer, name):
        proposer.__class__ = LookingProposer
        super().__init__(target, proposer, name, draws=1)


def test_a_scale_without_its_slope_is_caught(generator, monkeypatch):
    """Log densities on the scale of peptide bonds taken for those of the angle."""
    law, kernel = toy_case(growth("flow", torch.float64, omega=True), achiral=True)
    monkeypatch.setattr("timewarp.flows.growth.flow.log_slope", torch.zeros_like)
    z, _ = invariance_z(law, kernel, generator, steps=2)
    assert z > CAUGHT, f"it went unnoticed: |z| is {z:.1f}"


def test_a_peptide_bond_without_its_density_is_caught(generator, monkeypatch):
    law, kernel = toy_case(growth("flow", twists=True), achiral=True)
    monkeypatch.setattr("timewarp.flows.growth.twist.log_density", lambda _, place: torch.zeros(len(place)).double())
    z, _ = invariance_z(law, kernel, generator, steps=8)
    assert z > CAUGHT, f"it went unnoticed: |z| is {z:.1f}"


class WellOfTheState(RegrowthMove):
    """Shuts the well that most states are not in: a choice that looks at the states, and scores as if it had not."""

    def step(self, state, generator):
        place = self.proposer.torsions[1]
        row = torch.tensor([(place, *TOY.tree.references[place])])
        near = measure_dihedrals(state.positions, row).cos() > 0
        self.proposer.wells = {place: NEAR_ZERO if near.double().mean() > 0.5 else NEAR_PI}
        new, info = super().step(state, generator)
        self.proposer.wells = {}
        return new, info

    def log_ratio(self, forward, current):
        return torch.zeros_like(current)


class FlipsOneWay(TorsionMove):
    """Turns a free bond by half a turn where it is cis, and never where it is trans."""

    def propose(self, state, generator):
        proposal = super().propose(state, generator)
        rows = torch.tensor([(i, *TOY.tree.references[i]) for i in TOY.tree.rotatable[1:]])
        before, after = (measure_dihedrals(x, rows) for x in (state.positions, proposal.positions))
        wrong = ((before.cos() < 0) & ((after - before).cos() < -0.5)).any(1)
        return Proposal(torch.where(wrong[:, None, None], state.positions, proposal.positions), proposal.log_ratio)


@pytest.mark.parametrize("kind", [WellOfTheState, FlipsOneWay])
def test_wrong_ways_from_well_to_well_are_caught(kind, generator):
    build = growth("flow", kind=kind, omega=True)
    if kind is FlipsOneWay:
        build = functools.partial(free_torsion, kind=kind)
    law, kernel = toy_case(build)
    z, _ = invariance_z(law, kernel, generator, steps=20)
    assert z > CAUGHT, f"{kind.__name__} went unnoticed: |z| is {z:.1f}"


BROKEN = [FlippedSign, ForgetsTheWayBack, ForgetsWhatItAccepted, LooksBeforeItChooses]


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_regrowths_are_caught(kind, generator):
    law, kernel = toy_case(growth("flow", kind=kind))
    z, _ = invariance_z(law, kernel, generator, steps=8)
    assert z > CAUGHT, f"{kind.__name__} went unnoticed: |z| is {z:.1f}"


@pytest.mark.parametrize("name", ["flow", "flow_suffix", "flow_subset"])
def test_a_step_makes_several_proposals(name, generator):
    toy = ToyMolecule()
    kernel = RegrowthMove(Target(toy, TEMPERATURE_K), regrowths(toy)[name], name, draws=3)
    state = kernel.init(toy.draw(40, generator))
    scored = []
    score = kernel.density_after

    def density_after(outcome, forward, current):
        scored.append(score(outcome, forward, current))
        return scored[-1]

    kernel.density_after = density_after
    chosen = kernel.proposer.choose(generator)
    kernel.proposer.choose = lambda generator: chosen
    new, info = kernel.step(state, generator)
    assert (info[name].proposed == 3).all()
    # The density that is carried along is that of where the chain is.
    density = kernel.proposer.density
    log_q = density.redraw(new.positions, chosen, generator)[2]
    torch.testing.assert_close(log_q, scored[-1], atol=2e-5, rtol=0)


def test_refusals():
    toy = ToyMolecule()
    target = Target(toy, TEMPERATURE_K)
    with pytest.raises(ValueError, match="at least one proposal, got 0"):
        RegrowthMove(target, regrowths(toy)["flow"], draws=0)
    with pytest.raises(ValueError, match="learned and local"):
        Balanced([], [TorsionMove(target, toy.tree)], toy.tree.torsions)
    kernel = balanced(toy, target)
    for wrong in ({"sweeps": 1.5}, {"sweeps": 0.0}, {"flow": 0.0}, {"flow_subset": float("nan")}):
        with pytest.raises(ValueError, match="the tuning of balance needs"):
            kernel.retune({"balance": {**kernel.tuning["balance"], **wrong}})


class Still:
    """Proposes the state itself."""

    cost, cost_of_scoring = 2.0, 1.0

    def choose(self, generator):
        return None

    def redraw(self, x, chosen, generator, score=True):
        return x, torch.zeros(len(x)), torch.zeros(len(x))

    def propose(self, x, generator):
        return Proposal(x)


@pytest.mark.parametrize("useless", [False, True])
def test_time_goes_to_the_moves_that_move(useless, generator):
    toy = ToyMolecule()
    target = Target(toy, TEMPERATURE_K)
    proposer = Still() if useless else regrowths(toy)["flow"]
    learned = learned_move(target, proposer, draws=1)
    assert isinstance(learned, RegrowthMove)
    kernel = Balanced([learned], [TorsionMove(target, toy.tree)], toy.tree.torsions)
    proposer.cost, proposer.cost_of_scoring = kernel.local.cost, 0.0
    state = kernel.init(toy.draw(64, generator))
    kernel.begin_warmup(100)
    for _ in range(100):
        state, info = kernel.step(state, generator)
        kernel.adapt(info, state)
    kernel.freeze()
    share = learned.cost / kernel.cost
    if useless:
        assert 0.05 < share < 0.15
    else:
        assert share > 0.3
    frozen, total = kernel.tuning, {}
    for _ in range(10):
        state, info = kernel.step(state, generator)
        kernel.adapt(info, state)
        total = add_infos(total, info)
    assert kernel.tuning == frozen
    learned_steps = int(total["flow"].proposed.sum()) // learned.draws
    assert int(total["torsion"].proposed.sum()) == kernel.sweeps * learned_steps
    other = Balanced([learned_move(target, proposer, draws=1)], [TorsionMove(target, toy.tree)], toy.tree.torsions)
    other.retune(frozen)
    other.begin_warmup(100)
    for _ in range(50):  # a tuning that is replayed is not tuned again
        state, info = other.step(state, generator)
        other.adapt(info, state)
    assert other.tuning == frozen


def test_shares_serve_the_torsion_that_is_changed_most_seldom():
    torch.testing.assert_close(best_shares(torch.tensor([[1.0, 1.0], [0.0, 0.0]])), torch.tensor([0.9, 0.1]).double())
    # Only the first kind changes the second torsion, and the last kind is the best at the first one.
    shares = best_shares(torch.tensor([[0.1, 0.3], [0.0, 0.0], [3.0, 0.0]]))
    assert shares[0] > 0.85
    assert shares[1] == 0.01
