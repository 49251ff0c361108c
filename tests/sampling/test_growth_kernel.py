"""The moves of the transferable family: right ones, broken ones, and their balance with local moves."""

from __future__ import annotations

import math

import pytest
import torch
from analytic_targets import TEMPERATURE_K, ToyMolecule
from growth_cases import balanced, growth, growth_flow
from kernel_cases import CAUGHT, invariance_z, toy_case

from timewarp import native
from timewarp.flows.growth import Regrowth
from timewarp.geometry import measure_dihedrals, to_internal
from timewarp.sampling import Balanced, GrowthKernel, Target, TorsionMove
from timewarp.sampling.balance import best_shares
from timewarp.sampling.kernel import add_infos


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_regrowth_keeps_what_it_should(dtype, generator):
    toy = ToyMolecule()
    flow = growth_flow(toy, dtype)
    x = toy.draw(50, generator)
    before = to_internal(x, toy.tree)
    for kept in range(3):
        there, forward, backward = flow.regrow_positions(x, generator, Regrowth(flow.plan(), kept))
        changed = (to_internal(there, toy.tree) - before).abs() > 1e-7
        assert not changed[:, toy.lengths | toy.angles | toy.siblings].any()
        redrawn = [toy.soft[place] for place in flow.plan().order[kept:]]
        still = [toy.soft[place] for place in flow.plan().order[:kept]]
        assert changed[:, redrawn, 2].all()
        assert not changed[:, still, 2].any()
        way = Regrowth(flow.plan(), kept)
        tolerance = 1e-5 if dtype == torch.float32 else 1e-9
        torch.testing.assert_close(flow.log_prob_positions(there, way), forward, atol=tolerance, rtol=0)
        torch.testing.assert_close(flow.log_prob_positions(x, way), backward, atol=tolerance, rtol=0)


@pytest.mark.skipif(not native.available(), reason=native.why_not())
def test_compiled_features_give_the_density_of_torch(generator):
    toy = ToyMolecule()
    x = toy.draw(200, generator)
    compiled, plain = growth_flow(toy), growth_flow(toy, torch.float64)
    torch.testing.assert_close(compiled.log_prob_positions(x), plain.log_prob_positions(x), atol=2e-3, rtol=0)


class FlippedSign(GrowthKernel):
    def log_q_ratio(self, forward, here):
        return forward - here


class ForgetsTheWayBack(GrowthKernel):
    """Takes every state to be as likely to be drawn as any other."""

    def log_q_ratio(self, forward, here):
        return -self.plans[0].n_steps * math.log(2 * math.pi) - forward


class ForgetsWhatItAccepted(GrowthKernel):
    """Takes the density of a state for that of the state that it began the step with."""

    def __init__(self, target, density, name):
        super().__init__(target, density, name, draws=24)

    def density_now(self, outcome, forward, here):
        return here


class LooksBeforeItChooses(GrowthKernel):
    """Redraws all torsions where the first is near cis, and spares it elsewhere."""

    def __init__(self, target, density, name):
        super().__init__(target, density, name, draws=1)

    def redraw(self, x, way, generator):
        full, some = (self.density.regrow_positions(x, generator, Regrowth(way.plan, kept)) for kept in (0, 1))
        corners = torch.tensor([way.plan.steps[0].corners])
        all_of_them = measure_dihedrals(x, corners)[:, 0].cos() > 0
        there = torch.where(all_of_them[:, None, None], full[0], some[0])
        return there, *(torch.where(all_of_them, full[k], some[k]) for k in (1, 2))


BROKEN = [FlippedSign, ForgetsTheWayBack, ForgetsWhatItAccepted, LooksBeforeItChooses]


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_regrowths_are_caught(kind, generator):
    law, kernel = toy_case(growth("flow", kind=kind))
    z, _ = invariance_z(law, kernel, generator, steps=8)
    assert z > CAUGHT, f"{kind.__name__} went unnoticed: |z| is {z:.1f}"


@pytest.mark.parametrize("name", ["flow", "flow_suffix", "flow_subset"])
def test_a_step_makes_several_proposals(name, generator):
    toy = ToyMolecule()
    kernel = GrowthKernel(Target(toy, TEMPERATURE_K), growth_flow(toy), name, draws=3)
    state = kernel.init(toy.draw(40, generator))
    scored = []
    score = kernel.density_now

    def density_now(outcome, forward, here):
        scored.append(score(outcome, forward, here))
        return scored[-1]

    kernel.density_now = density_now
    way = kernel._choose(generator)
    kernel._choose = lambda generator: way
    new, info = kernel.step(state, generator)
    assert (info[name].proposed == 3).all()
    # The density that is carried along is that of where the chain is.
    torch.testing.assert_close(kernel.density.log_prob_positions(new.positions, way), scored[-1], atol=2e-5, rtol=0)


def test_refusals():
    toy = ToyMolecule()
    target = Target(toy, TEMPERATURE_K)
    with pytest.raises(ValueError, match="there are flow, flow_suffix"):
        GrowthKernel(target, growth_flow(toy), "flow_prefix")
    with pytest.raises(ValueError, match="at least one proposal, got 0"):
        GrowthKernel(target, growth_flow(toy), draws=0)
    with pytest.raises(ValueError, match="learned and local"):
        Balanced([], [TorsionMove(target, toy.tree)], toy.tree.torsions)
    kernel = balanced(toy, target)
    for wrong in ({"sweeps": 1.5}, {"sweeps": 0.0}, {"flow": 0.0}, {"flow_subset": float("nan")}):
        with pytest.raises(ValueError, match="the tuning of balance needs"):
            kernel.retune({"balance": {**kernel.tuning["balance"], **wrong}})


class Useless(GrowthKernel):
    """Proposes the state itself."""

    def __init__(self, target, density, name):
        super().__init__(target, density, name, draws=1)

    def redraw(self, x, way, generator):
        here = self.density.log_prob_positions(x, way)
        return x, here, here


@pytest.mark.parametrize("kind", [GrowthKernel, Useless])
def test_time_goes_to_the_moves_that_move(kind, generator):
    toy = ToyMolecule()
    target = Target(toy, TEMPERATURE_K)
    learned = kind(target, growth_flow(toy), "flow")
    kernel = Balanced([learned], [TorsionMove(target, toy.tree)], toy.tree.torsions)
    learned.cost = kernel.local.cost
    state = kernel.init(toy.draw(64, generator))
    kernel.begin_warmup(100)
    for _ in range(100):
        state, info = kernel.step(state, generator)
        kernel.adapt(info, state)
    kernel.freeze()
    share = learned.cost / kernel.cost
    if kind is Useless:
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
    other = Balanced([kind(target, growth_flow(toy), "flow")], [TorsionMove(target, toy.tree)], toy.tree.torsions)
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
