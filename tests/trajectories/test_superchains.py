import pytest
import torch

from handmade import ALANINE_DIPEPTIDE as TOY
from timewarp.trajectories import RunFolder, Trajectory, superchain_labels, superchains_of_starts


@pytest.fixture
def store(tmp_path):
    def make(kind, config, n_chains, streams=1, stopped=()):
        config = {"timestep_fs": 2.0, **config} if kind == "md" else config
        folder = RunFolder.create(tmp_path / "run", kind=kind, name="toy", atoms=TOY, topology_pdb="", config=config)
        for stream in range(streams):
            frames = torch.randn(3, n_chains, TOY.n_atoms, 3)
            folder.append(stream, frames, torch.zeros(3, n_chains), torch.tensor([1, 2, 3]), {}, stopped=stopped)
        return folder

    return make


def test_a_chain_belongs_to_the_superchain_that_the_configuration_says(store):
    folder = store("chain", {"superchains": 3}, 8)
    assert folder.trajectory().superchains == (0, 1, 2, 0, 1, 2, 0, 1)


def test_each_chain_of_a_run_without_superchains_has_one_of_its_own(store):
    assert store("chain", {}, 5).trajectory().superchains == (0, 1, 2, 3, 4)


def test_replicas_of_one_start_share_a_label_and_there_are_about_eight(store):
    starts = ["built", "phi_1=60", "psi_1=10"]
    labels = store("md", {"starts": starts}, 24).trajectory().superchains
    assert len(set(labels)) == 9
    for a in range(24):
        for b in range(24):
            assert labels[a] != labels[b] or a % 3 == b % 3  # replica r took start r % 3


def test_replicas_in_streams_of_their_own_and_without_starts(store):
    folder = store("md", {}, 1, streams=10)
    assert folder.trajectory().superchains == (0, 1, 2, 3, 4, 5, 6, 7, 0, 1)
    assert folder.trajectory(streams=[9, 4]).superchains == (1, 4)


def test_stopped_chains_are_left_out(store):
    folder = store("md", {"starts": ["built"]}, 12, stopped=[1, 9])
    assert folder.trajectory().superchains == (0, 2, 3, 4, 5, 6, 7, 0, 2, 3)


def test_a_trajectory_wants_a_label_for_each_chain():
    def make(labels):
        x = torch.zeros(2, 3, TOY.n_atoms, 3)
        return Trajectory(TOY, x, torch.zeros(2, 3), torch.arange(3), 1.0, "step", "chain", "toy", labels)

    assert make(()).superchains == (0, 1)
    assert make((4, 4)).superchains == (4, 4)
    with pytest.raises(ValueError, match="one superchain for each of 2 chains, got 3"):
        make((0, 1, 2))


def test_labels_of_fewer_chains_than_superchains():
    assert superchain_labels(3, 8) == (0, 1, 2)
    assert superchains_of_starts(5) == 10
    with pytest.raises(ValueError, match="at least 1, got 0"):
        superchain_labels(3, 0)
