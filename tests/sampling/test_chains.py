"""Chains in a run folder: interrupted anywhere, they are the uninterrupted ones bit for bit."""

from __future__ import annotations

import pytest
import torch
from analytic_targets import TOY, ExactTorsions, RoughTorsions, ToyMolecule, flow_move, toy_target

from timewarp.sampling import (
    HMC,
    ChainSettings,
    Cycle,
    Restriction,
    TorsionMove,
    run_chains,
    summarise,
)
from timewarp.trajectories import RunFolder

SETTINGS = ChainSettings(n_chains=6, n_samples=6 * 12, thin=2, warmup=6, seed=3, frames_per_segment=5)
MASSES = torch.tensor(TOY.masses).double().clamp(min=8.0)
WATCHED = TOY.tree.torsions


def make_kernel(density=RoughTorsions, **hmc):
    toy = ToyMolecule()
    target = toy_target(toy)
    target.watched = WATCHED
    return Cycle(
        [
            flow_move(target, density(toy)),
            TorsionMove(target, toy.tree),
            HMC(target, MASSES, n_steps=2, step_fs=10.0, **hmc),
        ]
    )


def draw_starts(generator):
    return ToyMolecule().draw(SETTINGS.n_chains, generator).float()


def make_folder(path, kind="chain", **config):
    return RunFolder.create(path, kind=kind, name="toy", atoms=TOY, topology_pdb="END\n", config={"seed": 3, **config})


def sample(path, settings=SETTINGS, kernel=None, **kwargs):
    folder = make_folder(path)
    return run_chains(kernel or make_kernel(), draw_starts, folder, settings, quiet=True, **kwargs), folder


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    record, folder = sample(tmp_path_factory.mktemp("chains") / "whole")
    return record, folder.trajectory()


def assert_same(path, uninterrupted):
    record, whole = uninterrupted
    again, folder = sample(path)
    trajectory = folder.trajectory()
    assert torch.equal(trajectory.positions, whole.positions)
    assert torch.equal(trajectory.energies, whole.energies)
    assert torch.equal(trajectory.steps, whole.steps)
    assert again.tuning == record.tuning
    for name, outcome in record.tally.items():
        for key, value in outcome.tensors().items():
            assert torch.equal(value, again.tally[name].tensors()[key]), (name, key)
    for count in ("energy_evaluations", "force_evaluations", "warmup_energy_evaluations", "warmup_force_evaluations"):
        assert getattr(again, count) == getattr(record, count), count


class Killed(Exception):
    pass


class Dying(Cycle):
    """Stops the process, so to say, at a given step."""

    def __init__(self, kernels, last_step):
        super().__init__(kernels)
        self.left = last_step

    def step(self, state, generator):
        self.left -= 1
        if self.left < 0:
            raise Killed
        return super().step(state, generator)


@pytest.mark.parametrize("steps", [0, 4, 6, 15, 16, 24, 29])
def test_killed_anywhere_the_chain_is_the_same(steps, tmp_path, uninterrupted):
    with pytest.raises(Killed):
        sample(tmp_path / "run", kernel=Dying(make_kernel().kernels, steps))
    assert_same(tmp_path / "run", uninterrupted)


def test_killed_again_and_again_the_chain_is_the_same(tmp_path, uninterrupted):
    for steps in (3, 17, 9, 11):
        with pytest.raises(Killed):
            sample(tmp_path / "run", kernel=Dying(make_kernel().kernels, steps))
    assert_same(tmp_path / "run", uninterrupted)


def test_a_finished_run_is_extended_by_asking_for_more(tmp_path, uninterrupted):
    few = ChainSettings(**{**vars(SETTINGS), "n_samples": 6 * 4})
    sample(tmp_path / "run", few)
    assert_same(tmp_path / "run", uninterrupted)
    record, folder = sample(tmp_path / "run", few)  # asking for less changes nothing
    assert folder.n_frames(0) == 12
    assert int(record.tally["flow"].proposed.sum()) == 6 * 12 * 2


def test_segments_have_no_influence_on_the_chain(tmp_path, uninterrupted):
    sample(tmp_path / "run", ChainSettings(**{**vars(SETTINGS), "frames_per_segment": 3}))
    assert_same(tmp_path / "run", uninterrupted)


def test_other_seeds_give_other_chains(tmp_path, uninterrupted):
    _, folder = sample(tmp_path / "run", ChainSettings(**{**vars(SETTINGS), "seed": 4}))
    assert not torch.equal(folder.trajectory().positions, uninterrupted[1].positions)


def test_tuning_is_frozen_stored_and_replayed(tmp_path, uninterrupted):
    record, _ = uninterrupted
    assert record.tuning["hmc"]["step_fs"] != 10.0
    replayed, _ = sample(tmp_path / "run", tuning=record.tuning)
    assert replayed.tuning == record.tuning
    fixed = {"hmc": {"step_fs": 7.25}}
    replayed, _ = sample(tmp_path / "other", tuning=fixed)
    assert replayed.tuning == fixed
    replayed, _ = sample(tmp_path / "other", tuning=fixed)  # resumed
    assert replayed.tuning == fixed


def test_steps_count_cycles_and_thinning_counts_in_the_tally(uninterrupted):
    record, trajectory = uninterrupted
    assert trajectory.steps.tolist() == list(range(2, 26, 2))
    for outcome in record.tally.values():
        assert outcome.proposed.tolist() == [24] * 6


def test_a_checkpoint_of_other_kernels_is_refused(tmp_path):
    sample(tmp_path / "run")
    more = ChainSettings(**{**vars(SETTINGS), "n_samples": 6 * 20})
    toy = ToyMolecule()
    with pytest.raises(ValueError, match="these kernels have"):
        sample(tmp_path / "run", more, kernel=Cycle([TorsionMove(toy_target(toy), toy.tree)]))


def test_two_processes_cannot_write_one_run(tmp_path):
    folder = make_folder(tmp_path / "run")
    with folder.lock(), pytest.raises(FileExistsError, match="another process"):
        run_chains(make_kernel(), draw_starts, make_folder(tmp_path / "run"), SETTINGS, quiet=True)


def test_impossible_settings_say_so():
    for wrong in ({"n_chains": 0}, {"n_samples": 0}, {"thin": 0}, {"warmup": -1}, {"seed": -1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            ChainSettings(**wrong)


def test_summary_of_an_exact_flow(tmp_path):
    """Every flow move is accepted and is an independent draw of the torsions."""
    toy = ToyMolecule()
    record, folder = sample(tmp_path / "run", kernel=make_kernel(ExactTorsions))
    trajectory = folder.trajectory()
    summary = summarise(trajectory, record, Restriction(trajectory.positions[0, 0], toy.atoms))
    flow = summary["kernels"]["flow"]
    assert flow["acceptance"] == flow["accepted"] / flow["proposed"] > 0.999
    assert flow["acceptance_per_chain"] == pytest.approx([1.0] * 6, abs=0.05)
    assert summary["kernels"]["hmc"].keys() >= {"proposed", "accepted", "acceptance", "nonfinite"}
    assert summary["kernels"]["hmc"]["jumped"] <= summary["kernels"]["hmc"]["accepted"]
    assert summary["n_samples"] == 72
    assert summary["energy_evaluations"] == record.energy_evaluations > 6 * 3 * 24
    assert summary["tuning"] == record.tuning
