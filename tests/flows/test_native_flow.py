"""The compiled flows of families C and B against the torch ones in double precision."""

import copy
from functools import cache

import pytest
import torch
from test_densities import randomised

from handmade import ALANINE_DIPEPTIDE, random_internal, random_positions
from timewarp import native
from timewarp.flows import InternalFlow, InternalFlowConfig, InternalProposer, TorsionFlow, TorsionFlowConfig
from timewarp.flows.molecule import NativeFlow
from timewarp.geometry import log_volume, to_internal, wrap
from timewarp.molecules import build_molecule


def with_engine(flow, engine=None):
    return flow.proposers(None, 2.5, engine=engine)["flow"]


if not native.available():
    pytest.skip(native.why_not(), allow_module_level=True)

DEEP = {"width": 16, "n_heads": 2, "n_blocks": 3}
CASES = {
    "C, as shipped": ("Ace-A-Nme", TorsionFlowConfig()),
    "C, deeper": ("Ace-A-Nme", TorsionFlowConfig(**DEEP, context_blocks=1, n_couplings=3)),
    "C, odd sizes": ("Ace-A-Nme", TorsionFlowConfig(width=15, n_heads=3, n_blocks=2, bins=5, n_couplings=5)),
    "C, one bin": ("Ace-A-Nme", TorsionFlowConfig(width=8, n_heads=1, bins=1, context_blocks=1)),
    "C, no context": ("Ace-A-Nme", TorsionFlowConfig(width=16, n_heads=4, context_blocks=0)),
    "C, two rings": ("WP", TorsionFlowConfig(width=24, n_heads=4, n_couplings=6)),
    "C, long": ("RGD", TorsionFlowConfig(width=20, n_heads=2, n_blocks=2, n_couplings=6)),
    "B, as shipped": ("Ace-A-Nme", InternalFlowConfig(width=48, n_blocks=1)),
    "B, deeper": ("Ace-A-Nme", InternalFlowConfig(**DEEP, torsion_couplings=3, stiff_couplings=3)),
    "B, odd sizes": (
        "Ace-A-Nme",
        InternalFlowConfig(width=9, n_heads=3, torsion_bins=1, stiff_couplings=0, stiff_bins=1),
    ),
    "B, two rings": ("WP", InternalFlowConfig(width=24, n_heads=4, n_blocks=1, stiff_couplings=4, stiff_bins=5)),
}


@cache
def atoms_of(name):
    return ALANINE_DIPEPTIDE if name == "Ace-A-Nme" else build_molecule(name, "amber14-obc2").atoms


@cache
def flows(case):
    """The compiled flow and the torch one in double precision, with random weights everywhere."""
    name, config = CASES[case]
    atoms = atoms_of(name)
    torch.manual_seed(0)
    flow = (TorsionFlow if case[0] == "C" else InternalFlow)(atoms, config)
    flow.fit_standardiser(random_internal(atoms, 1000, seed=1))
    # Family B has many more coordinates, and where their scales are wild its draws leave the chart.
    single = randomised(flow, scale=0.3 if case[0] == "C" else 0.1).float()
    compiled = with_engine(single, "native")
    assert isinstance(compiled, NativeFlow)
    return compiled, copy.deepcopy(single).double()


@pytest.fixture(params=CASES)
def case(request):
    return request.param


def proposed(compiled, positions):
    proposal = compiled.propose(positions, torch.Generator().manual_seed(8))
    return proposal.positions, proposal.log_ratio


@torch.no_grad()
def test_the_ratio_is_that_of_both_densities_in_torch(instruction_set, case):
    compiled, oracle = flows(case)
    tree = oracle.atoms.tree
    x = random_positions(oracle.atoms, 37, seed=2, dtype=torch.float64)
    candidates, log_ratio = proposed(compiled, x)
    inside = ~log_ratio.isnan()
    assert inside.float().mean() > 0.4
    before, after = (to_internal(p, tree) for p in (x, candidates))
    log_q = [oracle.log_prob(y, oracle.encode(y)) - log_volume(y, tree) for y in (before, after)]
    assert log_q[0].std() > 0.1, "the test must see a density that is not uniform"
    torch.testing.assert_close(log_ratio[inside], (log_q[0] - log_q[1])[inside], atol=4e-4, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_whole_proposal_is_that_of_torch(instruction_set, case, dtype):
    compiled, oracle = flows(case)
    atoms = oracle.atoms
    positions = random_positions(atoms, 21, seed=5, dtype=torch.float64).to(dtype)
    proposal = compiled.propose(positions, torch.Generator().manual_seed(6))
    candidates, log_q_ratio = proposal.positions, proposal.log_ratio
    oracle_proposer = InternalProposer(oracle, atoms.tree)
    proposal = oracle_proposer.propose(positions.double(), torch.Generator().manual_seed(6))
    expected, expected_ratio = to_internal(proposal.positions, atoms.tree), proposal.log_ratio
    internal = to_internal(positions.double(), atoms.tree)
    inside = ~expected_ratio.isnan()
    assert torch.equal(log_q_ratio.isnan(), ~inside)
    assert inside.float().mean() > 0.4
    assert candidates.dtype == dtype
    assert candidates[inside].mean(1).abs().max() < 1e-6
    reached = wrap(to_internal(candidates.double(), atoms.tree) - expected)[inside]
    assert reached.abs().amax((-1, -2)).median() < 1e-4
    assert (log_q_ratio - expected_ratio)[inside].abs().median() < 2e-4
    if case[0] == "C":
        tolerance = {torch.float32: 2e-5, torch.float64: 1e-11}[dtype]
        kept = wrap(to_internal(candidates.double(), atoms.tree) - internal)[inside]
        assert kept[:, oracle.standardiser.stiff].abs().max() < tolerance


@torch.no_grad()
@pytest.mark.parametrize("case", ["C, as shipped", "B, as shipped"])
def test_company_and_threads_change_nothing(instruction_set, case):
    compiled, oracle = flows(case)
    positions = random_positions(oracle.atoms, 150, seed=7)
    try:
        results = []
        for n in (1, 2, 3):
            native.set_threads(n)
            results.append(proposed(compiled, positions))
    finally:
        native.set_threads(None)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("case", ["C, as shipped", "B, as shipped"])
def test_a_broken_configuration_stays_alone(case):
    compiled, oracle = flows(case)
    positions = random_positions(oracle.atoms, 20, seed=9)
    good = proposed(compiled, positions)
    positions[3] = torch.nan
    positions[4] = 0.0
    bad = proposed(compiled, positions)
    others = [k for k in range(20) if k not in (3, 4)]
    for a, b in zip(good, bad, strict=True):
        torch.testing.assert_close(a[others], b[others], rtol=0, atol=0, equal_nan=True)
    assert bad[0][3].isnan().any()
    assert compiled.propose(positions[:0], torch.Generator()).positions.shape == (0, oracle.atoms.n_atoms, 3)


@torch.no_grad()
def test_a_dihedral_that_winds_is_refused():
    compiled, oracle = flows("B, as shipped")
    wide = copy.deepcopy(oracle).float()
    wide.standardiser.cholesky *= 60
    compiled = with_engine(wide, "native")
    expected, _ = wide.double().sample(50, 1, torch.Generator().manual_seed(1))
    assert expected.isnan().any()
    proposal = compiled.propose(random_positions(oracle.atoms, 50), torch.Generator().manual_seed(1))
    assert proposal.log_ratio.isnan().all()


def test_engines(monkeypatch):
    flow = TorsionFlow(ALANINE_DIPEPTIDE, TorsionFlowConfig(width=8, n_heads=1))
    assert isinstance(with_engine(flow), NativeFlow)
    assert "ACE-ALA-NME, width 8" in repr(with_engine(flow))
    assert with_engine(flow, "torch").density is flow
    double = copy.deepcopy(flow).double()
    assert with_engine(double).density is double
    with pytest.raises(ValueError, match=r"float32 on the cpu, got TorsionFlow in torch.float64 on cpu"):
        with_engine(double, "native")
    with pytest.raises(ValueError, match="no flow engine 'gpu'"):
        with_engine(flow, "gpu")
    monkeypatch.setattr(native, "_core", None)
    assert with_engine(flow).density is flow
    with pytest.raises(RuntimeError):
        with_engine(flow, "native")
