"""The contract of whatever proposes, for every proposer of every kind of network, and for one's own."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from test_densities import randomised

from timewarp import native
from timewarp.energies import compile_system
from timewarp.flows import (
    KINDS,
    AuxiliaryProposer,
    IndependentProposer,
    InternalProposer,
    Network,
    Proposal,
    Proposer,
    SpeculativeProposer,
    build_network,
    network_class,
    register,
)
from timewarp.flows.acceptance import acceptance_probability, expected_acceptance
from timewarp.flows.cartesian import Candidate
from timewarp.flows.density import dtype_of
from timewarp.geometry import log_volume, to_internal, wrap
from timewarp.molecules import build_molecule
from timewarp.sampling import BatchedMove, FlowMove, RegrowthMove, Target, learned_move

SIZES = {
    "A": {"n_couplings": 2, "n_layers": 1, "width": 8, "feed_forward": 8, "mlp_hidden": 8, "embedding": 4},
    "B": {"torsion_couplings": 2, "stiff_couplings": 1, "width": 16, "n_heads": 2},
    "C": {"n_couplings": 2, "context_blocks": 1, "width": 16, "n_heads": 2},
    "C2": {"width": 16, "n_blocks": 1, "n_heads": 2},
}
ENGINES = {"A": ("torch",), "B": ("torch", "native"), "C": ("torch", "native"), "C2": ("torch", "native")}
KT = 2.577


@cache
def molecule():
    return build_molecule("Ace-A-Nme")


def configurations(n: int, seed: int = 1) -> torch.Tensor:
    noise = torch.randn(n, molecule().atoms.n_atoms, 3, generator=torch.Generator().manual_seed(seed))
    return molecule().start_positions.float() + 0.003 * noise


@cache
def network(kind: str) -> Network:
    torch.manual_seed(0)
    built = build_network(molecule().atoms, kind, SIZES[kind])
    if kind in "BC":
        built.fit_standardiser(to_internal(configurations(2000), built.atoms.tree))
    return built if kind == "A" else randomised(built, scale=0.1).float()


@cache
def proposers(kind: str, engine: str) -> dict[str, Proposer]:
    return network(kind).proposers(compile_system(molecule().system), KT, engine=engine)


NAMES = dict.fromkeys(SIZES, ("flow",)) | {"C2": ("flow", "flow_suffix", "flow_subset")}
CASES = [(kind, engine, name) for kind in SIZES for engine in ENGINES[kind] for name in NAMES[kind]]


@pytest.fixture(params=CASES, ids="-".join)
def case(request):
    kind, engine, name = request.param
    if engine == "native" and not native.available():
        pytest.skip(native.why_not())
    return proposers(kind, engine)[name]


def test_every_registered_kind_is_tested():
    assert set(SIZES) == set(KINDS)
    for kind, names in NAMES.items():
        assert tuple(proposers(kind, "torch")) == names
        assert network_class(kind).kind == kind


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_proposal_has_the_shape_and_the_type_of_the_states(case, dtype, generator):
    x = configurations(40).to(dtype)
    before = generator.get_state()
    proposal = case.propose(x, generator)
    assert isinstance(proposal, Proposal)
    assert (proposal.positions.shape, proposal.positions.dtype) == (x.shape, dtype)
    assert proposal.positions.device == x.device
    assert proposal.log_ratio.shape == (40,)
    assert proposal.log_ratio.dtype == torch.float64
    assert not proposal.positions.requires_grad
    assert proposal.log_ratio.isfinite().float().mean() > 0.9
    generator.set_state(before)
    again = case.propose(x, generator)
    assert torch.equal(again.positions, proposal.positions)
    torch.testing.assert_close(again.log_ratio, proposal.log_ratio, rtol=0, atol=0, equal_nan=True)


def test_what_is_not_redrawn_stays(case, generator):
    if case.redraws is None:
        pytest.skip("all Cartesian coordinates are redrawn")
    tree = molecule().atoms.tree
    x = configurations(60).double()
    changed = torch.zeros_like(case.redraws)
    for _ in range(30):
        proposal = case.propose(x, generator)
        good = proposal.log_ratio.isfinite()
        moved = wrap(to_internal(proposal.positions, tree) - to_internal(x, tree))[good].abs()
        changed |= (moved > 1e-5).any(0)
    assert torch.equal(changed, case.redraws & tree.defined)


def test_the_ratio_is_that_of_the_densities(case, generator):
    """Both densities by the torch network of the family, in double precision."""
    x = configurations(50).double()
    if isinstance(case, SpeculativeProposer):
        density = case.density

        class Recording(AuxiliaryProposer):
            def draw(self, x, v, generator):
                self.v, (drawn, log_q) = v, super().draw(x, v, generator)
                self.drawn = drawn
                return drawn, log_q

        recording = Recording(density)
        proposal = recording.propose(x, generator)
        assert torch.equal(proposal.positions, recording.drawn.positions[0].double())
        low = x.to(dtype_of(density, x))
        with torch.no_grad():
            forward = density.log_prob(recording.drawn, density.encode(low))[0]
            back = density.encode(recording.drawn.positions[0])
            backward = density.log_prob(Candidate(low[None], recording.v), back)[0]
        normal = 0.5 * (recording.v.double().square() - recording.drawn.auxiliary.double().square()).sum((-1, -2))[0]
        expected = backward.double() - forward.double() + normal
        torch.testing.assert_close(proposal.log_ratio, expected, atol=2e-2, rtol=1e-4)
        return
    if isinstance(case, IndependentProposer):
        chosen = case.choose(generator)
        candidates, forward, backward = case.redraw(x, chosen, generator)
        for log_q, positions in ((forward, candidates), (backward, x)):
            expected = proposers("C2", "torch")["flow"].density.score(positions, chosen)
            torch.testing.assert_close(log_q, expected.detach(), atol=5e-3, rtol=0)
        return
    kind = "B" if case.redraws.sum() > 10 else "C"
    density, tree = network(kind), molecule().atoms.tree
    proposal = case.propose(x, generator)
    good = proposal.log_ratio.isfinite()
    total = torch.zeros(50, dtype=torch.float64)
    with torch.no_grad():
        for sign, positions in ((1, x), (-1, proposal.positions)):
            internal = to_internal(positions, tree)
            log_q = density.log_prob(internal.float(), density.encode(internal.float())).double()
            total += sign * (log_q - log_volume(internal, tree))
    torch.testing.assert_close(proposal.log_ratio[good], total[good], atol=2e-2, rtol=1e-3)


def test_the_move_follows_from_what_the_proposer_can_do(case, generator):
    target = Target(lambda x: x.square().sum((-1, -2)), 310.0, atoms=molecule().atoms)
    move = learned_move(target, case)
    expected = {SpeculativeProposer: BatchedMove, IndependentProposer: RegrowthMove}
    kinds = [kind for protocol, kind in expected.items() if isinstance(case, protocol)] or [FlowMove]
    assert [type(move)] == kinds
    assert (move.engine, move.redraws is case.redraws) == (case.engine, True)
    assert move.cost > 0
    _, info = move.step(move.init(configurations(8)), generator)
    assert (info["flow"].proposed > 0).all()
    if not isinstance(case, SpeculativeProposer):
        with pytest.raises(ValueError, match="one candidate at a time"):
            learned_move(target, case, proposals=4)


class Shake:
    """A proposer of one's own: it has a ``propose`` and nothing else."""

    def propose(self, x, generator):
        return Proposal(x + 0.1 * torch.randn(x.shape, generator=generator, dtype=x.dtype))


def test_a_proposer_of_ones_own_needs_nothing_but_propose(generator):
    assert isinstance(Shake(), Proposer)
    target = Target(lambda x: x.square().sum((-1, -2)), 310.0, invariant=False)
    move = learned_move(target, Shake(), "shake")
    assert (type(move), move.cost, move.engine, move.redraws) == (FlowMove, 1.0, "torch", None)
    assert repr(move) == "FlowMove('shake', all coordinates redrawn, torch engine)"
    x = (target.kT / 2) ** 0.5 * torch.randn(500, 3, 3, generator=generator, dtype=torch.float64)
    _, info = move.step(move.init(x), generator)
    found = expected_acceptance(Shake(), x, lambda p: p.square().sum((-1, -2)) / target.kT, generator)
    assert abs(found.mean - float(info["shake"].accepted.double().mean())) < 0.1
    assert 0 < found.error < 0.03


def test_acceptance_of_numbers_that_are_none_is_zero():
    log_r = torch.tensor([0.5, -1.0, torch.nan, torch.inf, -torch.inf], dtype=torch.float64)
    found = acceptance_probability(log_r)
    torch.testing.assert_close(found, torch.tensor([1.0, 0.36787944, 0.0, 0.0, 0.0], dtype=torch.float64))


def test_proposals_in_internal_coordinates_need_an_invariant_target():
    target = Target(lambda x: x.square().sum((-1, -2)), 310.0, invariant=False)
    for kind in ("B", "C", "C2"):
        with pytest.raises(ValueError, match="invariant to rigid motion"):
            learned_move(target, proposers(kind, "torch")["flow"])


def test_what_a_network_cannot_do_says_so():
    with pytest.raises(ValueError, match=r"computes families B, C, C2 in float32 on the cpu, got CartesianFlow"):
        network("A").proposers(None, KT, engine="native")
    with pytest.raises(ValueError, match="no flow engine 'gpu'"):
        network("C").proposers(None, KT, engine="gpu")
    with pytest.raises(ValueError, match="needs the parameters of the molecule's energy"):
        network("C2").proposers(None, KT)


def test_a_kind_belongs_to_one_class():
    class Mine(Network):
        kind = "C"

    with pytest.raises(ValueError, match=r"the kind 'C' is TorsionFlow's; give .*Mine another"):
        register(Mine)
    with pytest.raises(ValueError, match="unknown family of proposals 'Z'; the families are A, B, C, C2"):
        network_class("Z")
    with pytest.raises(ValueError, match="family C has no setting 'depth'; its settings are bins, "):
        build_network(molecule().atoms, "C", {"depth": 3})
    assert InternalProposer.engine == "torch"
