"""Metropolis-Hastings on the augmented target: batches change the speed and nothing else, and mistakes are caught."""

from __future__ import annotations

import math

import pytest
import torch
from analytic_targets import TEMPERATURE_K, TOY, Gaussian, ToyMolecule, worst_z
from cartesian_densities import (
    EXACT,
    ROUGH,
    FlippedRatio,
    Linear,
    LocalPerBatch,
    Lopsided,
    NoAuxiliaryDensity,
    SharedAuxiliary,
    StoredPerBatch,
    augmented_case,
    bond_case,
    lower_gaussian,
    network_case,
)
from kernel_cases import CAUGHT, LIMIT, TOY_MASSES, invariance_z

from timewarp.flows import AuxiliaryProposer, Candidate, CartesianDensity
from timewarp.sampling import (
    HMC,
    BatchedMove,
    ChainSettings,
    Cycle,
    Restriction,
    Speculation,
    Target,
    batch_size,
    first_accepted,
    run_chains,
)
from timewarp.state import State
from timewarp.trajectories import RunFolder

CHAINS = 8_000


# --- exactness ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("proposals", [1, 4, 16])
@pytest.mark.parametrize("local", [True, False], ids=["with hmc", "alone"])
@pytest.mark.parametrize("name", ["lopsided", *ROUGH])
def test_batches_are_exact(name, local, proposals, generator):
    law, kernel = augmented_case(name, proposals, local=local)
    z, info = invariance_z(law, kernel, generator, steps=3, chains=CHAINS if name == "lopsided" else 2000)
    assert z < LIMIT
    assert info["flow"].proposed.unique().tolist() == [48], "every chain makes the same number of steps"
    assert 0.02 < float(info["flow"].accepted.sum() / info["flow"].proposed.sum()) < 0.5, "the test must mean something"


@pytest.mark.parametrize(
    ("case", "proposals"),
    [
        ({"proposer": SharedAuxiliary}, 16),
        ({"proposer": SharedAuxiliary}, 4),
        ({"proposer": FlippedRatio}, 4),
        ({"proposer": NoAuxiliaryDensity}, 4),
        ({"cycle": LocalPerBatch}, 16),
        ({"cycle": StoredPerBatch}, 16),
    ],
    ids=lambda value: (
        "-".join(getattr(v, "__name__", str(v)) for v in value.values()) if isinstance(value, dict) else None
    ),
)
def test_broken_batches_are_caught(case, proposals, generator):
    law, kernel = augmented_case("lopsided", proposals, **case)
    z, _ = invariance_z(
        law, kernel, generator, steps=3, chains=2000 if case.get("proposer") is FlippedRatio else 2 * CHAINS
    )
    assert z > CAUGHT, f"went unnoticed: |z| is {z:.1f}"


@pytest.mark.parametrize("case", [{"proposer": SharedAuxiliary}, {"cycle": LocalPerBatch}])
def test_with_one_proposal_in_a_batch_these_mistakes_are_none(case, generator):
    """So that what is caught above is the batch, and not something else about the broken kernels."""
    law, kernel = augmented_case("lopsided", 1, 1, **case)
    z, _ = invariance_z(law, kernel, generator, steps=12, chains=CHAINS)
    assert z < LIMIT


def test_a_rough_density_finds_the_target_from_elsewhere(generator):
    law, kernel = augmented_case("lopsided", 4, n_steps=8)
    state = kernel.init(torch.ones(2000, 1, 3, dtype=torch.float64))
    for _ in range(30):
        state, _ = kernel.step(state, generator)
    assert worst_z(law.observe(state.positions), law.truth) < LIMIT


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("proposals", [1, 16])
def test_the_exact_ornstein_uhlenbeck_transition_is_always_accepted(name, proposals, generator):
    law = lower_gaussian()
    density = Linear.exact(EXACT[name], law.mean, law.factor)
    assert isinstance(density, CartesianDensity)
    kernel = BatchedMove(
        Target(law, TEMPERATURE_K, invariant=False), AuxiliaryProposer(density), proposals=proposals, n_steps=4
    )
    state = kernel.init(law.draw(300, generator))
    for _ in range(3):
        state, info = kernel.step(state, generator)
        assert float((4 - info["flow"].acceptance).abs().max()) < 1e-9
        assert info["flow"].accepted.tolist() == [4] * 300
    assert worst_z(law.observe(state.positions), law.truth) < LIMIT


class Shrinking:
    """Pulls atoms towards the centroid and shakes them; does not see where the molecule is."""

    uses_auxiliary = False
    PULL, WIDTH = 0.01, 0.006

    def encode(self, positions, auxiliary=None, molecule=None):
        return positions - self.PULL * (positions - positions.mean(-2, keepdim=True))

    def sample(self, condition, n, generator):
        noise = torch.randn(2, n, *condition.shape, generator=generator, dtype=condition.dtype)
        candidate = Candidate(condition + self.WIDTH * noise[0], noise[1])
        return candidate, self.log_prob(candidate, condition)

    def log_prob(self, candidate, condition):
        x = (candidate.positions - condition) / self.WIDTH
        return -0.5 * (x.square() + candidate.auxiliary.square()).sum((-1, -2))


def test_a_molecule_is_centred_without_harm(generator):
    toy = ToyMolecule()
    target = Target(toy, TEMPERATURE_K)
    flow = BatchedMove(target, AuxiliaryProposer(Shrinking()), proposals=4, n_steps=6)
    hmc = HMC(target, TOY_MASSES, n_steps=3, step_fs=25.0, adaptive=False)
    z, info = invariance_z(toy, Cycle([flow, hmc]), generator, chains=1000)
    assert z < LIMIT
    assert float(info["flow"].accepted.sum() / info["flow"].proposed.sum()) > 0.1
    state, _ = flow.step(flow.init(toy.draw(5, generator)), generator)
    assert float(state.positions.mean(1).abs().max()) < 1e-12


@pytest.mark.parametrize(
    "config",
    [{}, {"use_auxiliary": True, "frame": "laboratory", "rich_features": False}],
    ids=["ours", "conditioned on v"],
)
def test_the_cartesian_network_is_exact(config, generator):
    toy, kernel = network_case(**config)
    z, info = invariance_z(toy, kernel, generator, steps=4, chains=500)
    assert z < LIMIT
    assert 0.03 < float(info["flow"].accepted.sum() / info["flow"].proposed.sum()) < 0.5


def test_a_network_of_bond_vectors_is_exact(generator):
    toy, kernel = bond_case()
    z, info = invariance_z(toy, kernel, generator, steps=4, chains=500)
    assert z < LIMIT
    assert float(info["flow"].accepted.sum() / info["flow"].proposed.sum()) > 0.03


def test_a_network_in_single_precision_serves_chains_in_double(generator):
    toy, double = network_case()
    density = double.kernels[0].proposer.density.float()
    single = BatchedMove(double.target, AuxiliaryProposer(density), proposals=4, n_steps=6)
    state, info = single.step(single.init(toy.draw(100, generator)), generator)
    assert state.positions.dtype == state.energy.dtype == torch.float64
    torch.testing.assert_close(toy.energy(state.positions), state.energy)
    assert int(info["flow"].accepted.sum()) > 0
    assert single.cost > double.kernels[0].n_steps


def test_centring_before_the_way_back_would_be_caught(generator):
    class CentresFirst(Shrinking):
        PULL, WIDTH = 0.0, 0.006

        def sample(self, condition, n, generator):
            candidate, log_q = super().sample(condition, n, generator)
            moved = candidate.positions - candidate.positions.mean(-2, keepdim=True)
            return Candidate(moved, candidate.auxiliary), log_q

    toy = ToyMolecule()
    flow = BatchedMove(Target(toy, TEMPERATURE_K), AuxiliaryProposer(CentresFirst()), proposals=1)
    z, _ = invariance_z(toy, flow, generator, steps=50, chains=3000)
    assert z > CAUGHT


# --- the decision ---------------------------------------------------------------------------------------------------


def test_the_first_accepted_candidate_ends_the_batch(generator):
    """Against a plain loop over chains and candidates with the same uniform numbers."""
    law = Gaussian()
    target = Target(law, TEMPERATURE_K, invariant=False)
    n, chains = 5, 60
    x = law.draw(chains, generator)
    state = target.init(x)
    candidates = x + 0.7 * torch.randn(n, *x.shape, generator=generator, dtype=x.dtype)
    log_q_ratio = torch.randn(n, chains, generator=generator, dtype=torch.float64)
    log_q_ratio[torch.rand(n, chains, generator=generator) < 0.1] = torch.nan
    candidates[torch.rand(n, chains, generator=generator) < 0.05] = torch.inf
    most = torch.randint(0, n + 1, (chains,), generator=generator)
    uniform = torch.rand(n, chains, generator=generator.manual_seed(5), dtype=torch.float64)
    before = target.energy_evaluations
    new, outcome = first_accepted(
        state, Speculation(candidates, log_q_ratio, most), target, torch.Generator().manual_seed(5)
    )
    assert target.energy_evaluations - before == int(most.sum())
    for c in range(chains):
        made = nonfinite = 0
        here, summed, accepted = x[c], 0.0, False
        for b in range(int(most[c])):
            made += 1
            log_r = float(law.reduced(x[c][None]) - law.reduced(candidates[b, c][None]) + log_q_ratio[b, c])
            nonfinite += not math.isfinite(log_r)
            summed += min(1.0, math.exp(min(log_r, 0.0))) if math.isfinite(log_r) else 0.0
            if math.isfinite(log_r) and math.log1p(-float(uniform[b, c])) < log_r:
                here, accepted = candidates[b, c], True
                break
        got = {key: value[c].item() for key, value in outcome.tensors().items()}
        assert (got["proposed"], got["accepted"], got["nonfinite"]) == (made, accepted, nonfinite)
        assert got["acceptance"] == pytest.approx(summed)
        assert torch.equal(new.positions[c], here)
    torch.testing.assert_close(law.energy(new.positions), new.energy)
    assert 0 < int(outcome.accepted.sum()) < chains
    assert int(outcome.nonfinite.sum()) > 0


class Counting:
    """A potential that keeps what it was asked for."""

    def __init__(self, law):
        self.law, self.asked = law, []

    def energy(self, positions):
        self.asked.append(positions)
        return self.law.energy(positions)


def test_the_current_energy_is_never_evaluated_again(generator):
    law, cycle = augmented_case("lopsided", 4, n_steps=10, local=False)
    counting = Counting(law)
    kernel = cycle.kernels[0]
    kernel.target.potential = counting
    state = kernel.init(law.draw(50, generator))
    seen = {tuple(row) for row in state.positions.flatten(1).tolist()}
    counting.asked.clear()
    before = kernel.target.energy_evaluations
    new, info = kernel.step(state, generator)
    asked = torch.cat(counting.asked)
    assert not seen & {tuple(row) for row in asked.flatten(1).tolist()}
    assert len({tuple(row) for row in asked.flatten(1).tolist()}) == len(asked)
    evaluations = kernel.target.energy_evaluations - before
    assert evaluations == len(asked) > int(info["flow"].proposed.sum()) == 500
    torch.testing.assert_close(law.energy(new.positions), new.energy)


def test_one_proposal_at_a_time_evaluates_nothing_in_vain(generator):
    law, kernel = augmented_case("lopsided", 1, n_steps=10, local=False)
    state = kernel.init(law.draw(50, generator))
    before = kernel.target.energy_evaluations
    kernel.step(state, generator)
    assert kernel.target.energy_evaluations - before == 500


class Reckless(Shrinking):
    """Steps so wide that they flip the stereocentre now and then."""

    WIDTH = 0.08


def test_flipped_candidates_are_rejected_and_counted(generator):
    toy = ToyMolecule(achiral=True)
    start = toy.draw(400, generator)
    restriction = Restriction(start[0], TOY)
    start = start[~restriction.flipped(start)]
    toy.reduced_internal = lambda internal: torch.zeros(
        internal.shape[:-2], dtype=internal.dtype
    )  # nothing else rejects
    target = Target(toy, TEMPERATURE_K, restriction)
    kernel = BatchedMove(target, AuxiliaryProposer(Reckless()), proposals=4, n_steps=8)
    state, info = kernel.step(kernel.init(start), generator)
    assert int(info["flow"].flipped.sum()) > 50
    assert torch.equal(info["flow"].flipped, info["flow"].restricted)
    assert int(info["flow"].accepted.sum()) > 50
    assert not restriction.flipped(state.positions).any()


class SometimesNaN(Lopsided):
    """Cannot score candidates that come from far out along y."""

    def log_prob(self, candidate, condition):
        log_q = super().log_prob(candidate, condition)
        return torch.where(condition[..., 0, 1] > 0.8, torch.nan, log_q)


def test_candidates_without_a_density_are_rejected_and_counted(generator):
    law, cycle = augmented_case("lopsided", 4, local=False)
    kernel = BatchedMove(cycle.target, AuxiliaryProposer(SometimesNaN()), proposals=4, n_steps=8)
    start = law.draw(400, generator)
    start = start[start[:, 0, 1] < 0.8]
    state, info = kernel.step(kernel.init(start), generator)
    assert 20 < int(info["flow"].nonfinite.sum()) < int(info["flow"].proposed.sum())
    assert (state.positions[:, 0, 1] < 0.8).all()


def test_jumps_of_accepted_candidates_are_counted(generator):
    toy = ToyMolecule()
    target = Target(toy, TEMPERATURE_K)
    target.watched = TOY.tree.torsions
    for width, some in ((1e-4, False), (0.08, True)):
        density = Shrinking()
        density.WIDTH = width
        toy.reduced_internal = lambda internal: torch.zeros(internal.shape[:-2], dtype=internal.dtype)
        kernel = BatchedMove(target, AuxiliaryProposer(density), proposals=2, n_steps=4)
        _, info = kernel.step(kernel.init(toy.draw(100, generator)), generator)
        assert (int(info["flow"].jumped.sum()) > 0) == some
        assert (info["flow"].jumped <= info["flow"].accepted).all()


@pytest.mark.parametrize("rows", [1, 30])
def test_chunks_of_the_network_are_exact_too(rows, generator):
    law, cycle = augmented_case("lopsided", 4, local=False)
    kernel = BatchedMove(cycle.target, AuxiliaryProposer(Lopsided()), proposals=4, n_steps=6, rows=rows)
    z, info = invariance_z(law, kernel, generator, steps=2, chains=100)
    assert z < LIMIT
    assert info["flow"].proposed.unique().tolist() == [12]


def test_float32_states_stay_float32(generator):
    _, cycle = augmented_case("lopsided", 4, local=False)
    kernel = cycle.kernels[0]
    state, _ = kernel.step(kernel.init(torch.ones(5, 1, 3)), generator)
    assert state.positions.dtype == state.energy.dtype == torch.float32


# --- tuning ---------------------------------------------------------------------------------------------------------


def test_the_batch_is_tuned_in_warm_up_and_then_frozen(generator):
    law, cycle = augmented_case("lopsided", None, n_steps=None, local=False)
    kernel = cycle.kernels[0]
    state = cycle.init(law.draw(200, generator))
    for _ in range(20):
        state, info = cycle.step(state, generator)
        cycle.adapt(info, state)
    cycle.freeze()
    tuned = kernel.proposals
    assert 0.06 < 1 - 0.1 ** (1 / tuned) < 0.16  # the acceptance is 0.1
    assert cycle.tuning == {"flow": {"proposals": float(tuned)}}
    assert kernel.n_steps == tuned
    state, info = cycle.step(state, generator)
    cycle.adapt(info, state)
    assert kernel.proposals == tuned
    again = BatchedMove(kernel.target, kernel.proposer)
    again.retune(cycle.tuning)
    again.adapt(info, state)
    assert again.tuning == cycle.tuning


def test_the_size_of_a_batch_follows_from_the_acceptance():
    for p in (0.003, 0.02, 0.3, 0.89):
        size = batch_size(p, most=10_000)
        assert 1 - (1 - p) ** size >= 0.9 > 1 - (1 - p) ** (size - 1)
    assert batch_size(0.0, most=64) == batch_size(1e-9, most=64) == 64
    assert batch_size(1.0) == 1


def test_a_fixed_batch_is_not_tuned(generator):
    _, cycle = augmented_case("lopsided", 3, local=False)
    kernel = cycle.kernels[0]
    cycle.adapt({}, None)
    assert (kernel.proposals, cycle.tuning) == (3, {})
    kernel.retune({"flow": {"proposals": 9.0}})
    assert kernel.proposals == 3


def test_wrong_numbers_say_so():
    _, cycle = augmented_case("lopsided", 3, local=False)
    target, density, rng = cycle.target, Lopsided(), torch.Generator()
    for wrong, message in (
        (lambda: BatchedMove(target, AuxiliaryProposer(density), proposals=0), "proposals"),
        (lambda: BatchedMove(target, AuxiliaryProposer(density), n_steps=0), "n_steps"),
        (lambda: BatchedMove(target, AuxiliaryProposer(density), rows=0), "rows"),
        (lambda: BatchedMove(target, AuxiliaryProposer(density)).retune({"flow": {"proposals": 0.5}}), "proposals"),
        (lambda: BatchedMove(target, AuxiliaryProposer(density)).retune({"flow": {"proposals": 1e6}}), "proposals"),
        (
            lambda: cycle.kernels[0].step(State(torch.zeros(1, 1, 3), torch.tensor([torch.nan])), rng),
            "cannot be sampled",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            wrong()


# --- in a run folder ------------------------------------------------------------------------------------------------

SETTINGS = ChainSettings(n_chains=6, n_samples=6 * 12, thin=2, warmup=6, seed=3, frames_per_segment=5)


class Killed(Exception):
    pass


class Dying(Cycle):
    """Stops the process, so to say, at a given step."""

    def __init__(self, kernels, last_step=10**9):
        super().__init__(kernels)
        self.left = last_step

    def step(self, state, generator):
        self.left -= 1
        if self.left < 0:
            raise Killed
        return super().step(state, generator)


def sample(path, last_step=10**9):
    toy = ToyMolecule()
    target = Target(toy, TEMPERATURE_K)
    flow = BatchedMove(target, AuxiliaryProposer(Shrinking()), most_proposals=6, rows=20)
    hmc = HMC(target, TOY_MASSES, n_steps=2, step_fs=10.0)
    folder = RunFolder.create(path, kind="chain", name="toy", atoms=TOY, topology_pdb="END\n", config={"seed": 3})
    starts = lambda generator: toy.draw(SETTINGS.n_chains, generator).float()  # noqa: E731
    return run_chains(Dying([flow, hmc], last_step), starts, folder, SETTINGS, quiet=True), folder.trajectory()


@pytest.mark.parametrize("steps", [4, 15, 29])
def test_killed_anywhere_the_chain_is_the_same(steps, tmp_path):
    record, whole = sample(tmp_path / "whole")
    with pytest.raises(Killed):
        sample(tmp_path / "broken", steps)
    again, trajectory = sample(tmp_path / "broken")
    assert torch.equal(trajectory.positions, whole.positions)
    assert torch.equal(trajectory.energies, whole.energies)
    assert again.tuning == record.tuning
    assert record.tuning["flow"]["proposals"] > 1
    assert again.energy_evaluations == record.energy_evaluations
    for key, value in record.tally["flow"].tensors().items():
        assert torch.equal(value, again.tally["flow"].tensors()[key])
    assert record.tally["flow"].proposed.unique().tolist() == [24 * int(record.tuning["flow"]["proposals"])]
