"""The compiled torsion flow against the torch one in double precision."""

import copy
from functools import cache

import pytest
import torch
from test_densities import randomised

from handmade import ALANINE_DIPEPTIDE, random_internal, random_positions
from timewarp import native
from timewarp.flows import InternalFlow, InternalFlowConfig, TorsionFlow, TorsionFlowConfig
from timewarp.flows.native import NativeTorsionFlow, with_engine
from timewarp.geometry import to_internal, wrap
from timewarp.molecules import build_molecule

if not native.available():
    pytest.skip(native.why_not(), allow_module_level=True)

CASES = {
    "as shipped": ("Ace-A-Nme", {}),
    "deeper": ("Ace-A-Nme", {"width": 16, "n_heads": 2, "n_blocks": 3, "context_blocks": 1, "n_couplings": 3}),
    "odd sizes": ("Ace-A-Nme", {"width": 15, "n_heads": 3, "n_blocks": 2, "bins": 5, "n_couplings": 5}),
    "one bin": ("Ace-A-Nme", {"width": 8, "n_heads": 1, "bins": 1, "context_blocks": 1}),
    "no context": ("Ace-A-Nme", {"width": 16, "n_heads": 4, "context_blocks": 0}),
    "two rings": ("WP", {"width": 24, "n_heads": 4, "n_couplings": 6}),
    "long": ("RGD", {"width": 20, "n_heads": 2, "n_blocks": 2, "n_couplings": 6}),
}


@cache
def atoms_of(name):
    return ALANINE_DIPEPTIDE if name == "Ace-A-Nme" else build_molecule(name, "amber14-obc2").atoms


@cache
def flows(case):
    """The compiled flow and the torch one in double precision, with random weights everywhere."""
    name, config = CASES[case]
    atoms = atoms_of(name)
    flow = TorsionFlow(atoms, TorsionFlowConfig(**config))
    flow.fit_standardiser(random_internal(atoms, 1000, seed=1))
    oracle = randomised(flow, scale=0.3)
    single = copy.deepcopy(oracle).float()
    return NativeTorsionFlow(single), single.double()


@pytest.fixture(params=CASES)
def case(request):
    return request.param


def current(flow, n=37, seed=2):
    return random_internal(flow.atoms, n, seed=seed, dtype=torch.float64)


@torch.no_grad()
def test_log_q_is_that_of_torch(instruction_set, case):
    compiled, oracle = flows(case)
    internal = current(oracle)
    expected = oracle.log_prob(internal, oracle.encode(internal))
    log_q = compiled.log_prob(internal, compiled.encode(internal))
    assert expected.std() > 0.1, "the test must see a density that is not uniform"
    torch.testing.assert_close(log_q, expected, atol=1e-4, rtol=0)


@torch.no_grad()
def test_draws_are_those_of_torch(instruction_set, case):
    compiled, oracle = flows(case)
    internal = current(oracle)
    drawn, log_q = compiled.sample(compiled.encode(internal), 2, torch.Generator().manual_seed(3))
    expected, expected_log_q = oracle.sample(oracle.encode(internal), 2, torch.Generator().manual_seed(3))
    assert drawn.shape == (2, 37, oracle.atoms.n_atoms, 3)
    # A random network is steep in places, and there a rounding error moves the draw: most lie closer by far.
    error = wrap(drawn - expected).abs().amax((-1, -2))
    assert error.median() < 1e-5
    assert error.max() < 1e-2
    assert (log_q - expected_log_q).abs().median() < 1e-4
    stiff = oracle.standardiser.stiff
    assert torch.equal(drawn[0][:, stiff], internal[:, stiff])


@torch.no_grad()
def test_a_draw_is_scored_as_it_was_drawn(instruction_set, case):
    compiled, oracle = flows(case)
    condition = compiled.encode(current(oracle))
    drawn, log_q = compiled.sample(condition, 3, torch.Generator().manual_seed(3))
    for k in range(3):
        torch.testing.assert_close(compiled.log_prob(drawn[k], condition), log_q[k], atol=1e-6, rtol=0)


def test_the_couplings_invert(case):
    compiled, oracle = flows(case)
    condition = compiled.encode(current(oracle))
    base = compiled._base(37, torch.Generator().manual_seed(4))
    torsions, there = compiled._transport(base, condition, sampling=True)
    back, here = compiled._transport(torsions, condition, sampling=False)
    assert wrap(back - base).abs().max() < 1e-7
    torch.testing.assert_close(there, here, atol=1e-6, rtol=0)
    assert (torsions.abs() <= torch.pi + 1e-12).all()


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_fused_proposal_is_its_parts(instruction_set, case, dtype):
    compiled, oracle = flows(case)
    atoms = oracle.atoms
    positions = random_positions(atoms, 21, seed=5, dtype=torch.float64).to(dtype)
    candidates, there, here = compiled.propose(positions, torch.Generator().manual_seed(6))
    assert candidates.dtype == dtype
    assert candidates.mean(1).abs().max() < 1e-6
    internal = to_internal(positions.double(), atoms.tree)
    drawn, log_q = compiled.sample(compiled.encode(internal), 1, torch.Generator().manual_seed(6))
    torch.testing.assert_close(here, compiled.log_prob(internal, compiled.encode(internal)), atol=1e-5, rtol=0)
    torch.testing.assert_close(there, log_q[0], atol=1e-3, rtol=0)
    reached = to_internal(candidates.double(), atoms.tree)
    tolerance = {torch.float32: 2e-5, torch.float64: 1e-11}[dtype]
    stiff = oracle.standardiser.stiff
    assert wrap(reached - drawn[0])[:, stiff].abs().max() < tolerance
    assert wrap(reached - drawn[0])[:, ~stiff].abs().max() < 1e-3


@torch.no_grad()
def test_company_and_threads_change_nothing(instruction_set):
    compiled, oracle = flows("as shipped")
    positions = random_positions(oracle.atoms, 150, seed=7)
    threads = torch.get_num_threads()
    try:
        results = []
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            results.append(compiled.propose(positions, torch.Generator().manual_seed(8)))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))
    internal = current(oracle, 70)
    together = compiled.log_prob(internal, compiled.encode(internal))
    for part in (slice(0, 1), slice(13, 40), slice(69, 70)):
        assert torch.equal(compiled.log_prob(internal[part], compiled.encode(internal[part])), together[part])


def test_a_broken_configuration_stays_alone():
    compiled, oracle = flows("as shipped")
    positions = random_positions(oracle.atoms, 20, seed=9)
    good = compiled.propose(positions, torch.Generator().manual_seed(8))
    positions[3] = torch.nan
    positions[4] = 0.0
    bad = compiled.propose(positions, torch.Generator().manual_seed(8))
    others = [k for k in range(20) if k not in (3, 4)]
    assert all(torch.equal(a[others], b[others]) for a, b in zip(good, bad, strict=True))
    assert bad[0][3].isnan().any()
    assert compiled.propose(positions[:0], torch.Generator())[0].shape == (0, oracle.atoms.n_atoms, 3)


def test_engines(monkeypatch):
    flow = TorsionFlow(ALANINE_DIPEPTIDE, TorsionFlowConfig(width=8, n_heads=1))
    assert isinstance(with_engine(flow), NativeTorsionFlow)
    assert "ACE-ALA-NME, 8 couplings, width 8" in repr(with_engine(flow))
    assert with_engine(flow, "torch") is flow
    double = copy.deepcopy(flow).double()
    assert with_engine(double) is double
    with pytest.raises(ValueError, match=r"float32 on the cpu, got TorsionFlow in torch.float64 on cpu"):
        with_engine(double, "native")
    with pytest.raises(ValueError, match="got InternalFlow"):
        with_engine(InternalFlow(ALANINE_DIPEPTIDE, InternalFlowConfig(width=8, n_heads=1)), "native")
    with pytest.raises(ValueError, match="no flow engine 'gpu'"):
        with_engine(flow, "gpu")
    monkeypatch.setattr(native, "_core", None)
    assert with_engine(flow) is flow
    with pytest.raises(RuntimeError):
        with_engine(flow, "native")
