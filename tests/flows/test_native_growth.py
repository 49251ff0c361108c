"""The transferable family in the compiled kernels against torch in double precision."""

import copy

import pytest
import torch

from timewarp import native
from timewarp.energies import compile_system
from timewarp.flows.growth import GrowthConfig, GrowthFlow, Regrowth, random_order
from timewarp.flows.growth.compiled import NativeGrowthFlow
from timewarp.molecules import build_molecule
from timewarp.units import kT

pytestmark = pytest.mark.skipif(not native.available(), reason=native.why_not())

CONFIGS = {
    "as shipped": GrowthConfig(width=48, n_blocks=3, n_heads=4, expansion=2),
    "width beside the tiles": GrowthConfig(width=21, n_blocks=2, n_heads=3, expansion=1, harmonics=5),
    "no physics": GrowthConfig(width=16, n_blocks=1, n_heads=2, physics=False),
}


def score(compiled, x, way):
    """Log density of the torsions in x that a regrowth redraws."""
    return compiled.redraw(x, way, torch.Generator())[2]


class Case:
    def __init__(self, sequence, config, preset="amber14-obc2"):
        molecule = build_molecule(sequence, preset)
        self.atoms, parameters = molecule.atoms, compile_system(molecule.system)
        torch.manual_seed(3)
        flow = GrowthFlow(molecule.atoms, CONFIGS[config])
        with torch.no_grad():
            for parameter in flow.parameters():
                parameter += 0.1 * torch.randn(parameter.shape)
        self.single, self.double = flow, copy.deepcopy(flow).double()
        self.x = molecule.start_positions.repeat(37, 1, 1)
        g = torch.Generator().manual_seed(1)
        self.x = self.x + 0.003 * torch.randn(self.x.shape, generator=g, dtype=self.x.dtype)
        plan = flow.plan(parameters, kT(310.0))
        other = flow.plan(parameters, kT(310.0), random_order(molecule.atoms, g))
        self.whole = Regrowth(plan)
        self.ways = (
            self.whole,
            Regrowth(plan, plan.n_steps - 1),
            Regrowth(plan, plan.n_steps // 2),
            Regrowth(other, 1),
        )


@pytest.fixture(scope="module", params=[("RG", "as shipped"), ("Ace-P-Nme", "no physics")], ids=lambda p: p[0])
def case(request):
    return Case(*request.param)


@torch.no_grad()
@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("preset", ["amber14-obc2", "amber14-vacuum"])
def test_densities_are_those_of_torch(config, preset):
    case = Case("DK", config, preset)
    compiled = case.single.with_engine("native")
    assert isinstance(compiled, NativeGrowthFlow)
    for way in case.ways:
        expected = case.double.score(case.x, way)
        torch.testing.assert_close(score(compiled, case.x, way), expected, atol=2e-3, rtol=0)
        # Against torch in single precision the features are the same to the last digit.
        near = case.single.score(case.x, way)
        torch.testing.assert_close(score(compiled, case.x, way), near, atol=3e-5, rtol=0)


@torch.no_grad()
def test_draws_are_those_of_torch(case):
    compiled = case.single.with_engine("native")
    for way in case.ways:
        there, forward, backward = compiled.redraw(case.x, way, torch.Generator().manual_seed(2))
        expected, q_there, q_here = case.double.redraw(case.x, way, torch.Generator().manual_seed(2))
        # Where the density is small an angle is known less well, and all that hangs on it.
        assert (there - expected).abs().median() < 1e-5
        assert (forward - q_there).abs().median() < 2e-3
        torch.testing.assert_close(backward, q_here, atol=2e-3, rtol=0)


@torch.no_grad()
def test_log_q_of_a_draw_is_that_of_the_draw_scored_afterwards(case):
    compiled = case.single.with_engine("native")
    for way in case.ways:
        g = torch.Generator().manual_seed(4)
        there, forward, backward = compiled.redraw(case.x, way, g)
        torch.testing.assert_close(score(compiled, there, way), forward, atol=1e-4, rtol=0)
        torch.testing.assert_close(score(compiled, case.x, way), backward, atol=1e-9, rtol=0)
        g.manual_seed(4)
        again, log_q = compiled.redraw(case.x, way, g, score=False)[:2]
        assert torch.equal(again, there)
        torch.testing.assert_close(log_q, forward, atol=1e-9, rtol=0)


@torch.no_grad()
def test_a_chain_does_not_depend_on_the_others_or_on_threads(case, monkeypatch):
    compiled = case.single.with_engine("native")
    whole = score(compiled, case.x, case.whole)
    parts = torch.cat([score(compiled, part, case.whole) for part in case.x.split([1, 20, 16])])
    assert torch.equal(whole, parts)
    drawn = []
    for threads in (1, 3):
        monkeypatch.setattr(native, "_threads", threads)
        drawn.append(compiled.redraw(case.x, case.whole, torch.Generator().manual_seed(2)))
    assert all(torch.equal(a, b) for a, b in zip(*drawn, strict=True))
    assert score(compiled, case.x[:0], case.whole).shape == (0,)
    broken = case.x.clone()
    broken[5, 3] = float("nan")
    good = torch.arange(len(broken)) != 5
    assert torch.equal(score(compiled, broken, case.whole)[good], whole[good])
    there, forward, _ = compiled.redraw(broken, case.whole, torch.Generator().manual_seed(2))
    assert torch.equal(there[good], drawn[0][0][good])
    assert there[5].isnan().any() or not forward[5].isfinite()


@torch.no_grad()
def test_whole_turns_and_shifts_of_a_molecule_change_nothing(case):
    compiled = case.single.with_engine("native")
    rotation = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))[0]
    rotation = rotation * torch.linalg.det(rotation).sign()
    moved = case.x @ rotation.T + 1.5
    torch.testing.assert_close(
        score(compiled, moved, case.whole),
        score(compiled, case.x, case.whole),
        atol=1e-4,
        rtol=0,
    )


def test_positions_in_single_precision_and_bad_calls(case):
    compiled = case.single.with_engine("native")
    there, forward, _ = compiled.redraw(case.x.float(), case.whole, torch.Generator().manual_seed(2))
    assert there.dtype == torch.float32
    assert forward.dtype == torch.float64
    with pytest.raises(ValueError, match="fewer steps kept"):
        score(compiled, case.x, Regrowth(case.whole.plan, case.whole.plan.n_steps))
    with pytest.raises(ValueError, match=r"positions \(n, atoms, 3\)"):
        score(compiled, case.x[:, :-1], case.whole)
    with pytest.raises(ValueError, match=r"B, C, C2 in float32 on the cpu, got GrowthFlow in torch\.float64"):
        case.double.with_engine("native")
    assert case.double.with_engine() is case.double
    assert case.single.with_engine("torch") is case.single
    assert "NativeGrowthFlow(width" in repr(compiled)
