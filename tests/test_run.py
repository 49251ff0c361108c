"""A run in a notebook: the same numbers as the folder's, and objects that other libraries read."""

import arviz
import mdtraj
import numpy as np
import pytest

import timewarp
from timewarp.analysis import torsion_angles
from timewarp.commands import main
from timewarp.trajectories import RunFolder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("notebook") / "run"
    argv = ["sample", "AS", "--no-flow", "--samples", "240", "--chains", "12", "--warmup", "20", "--quiet"]
    assert main([*argv, "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def run(folder):
    return timewarp.open(folder)


def test_arrays_are_those_of_the_folder(run, folder):
    trajectory = RunFolder.open(folder).trajectory()
    assert run.positions.shape == (12, 20, run.atoms.n_atoms, 3)
    assert np.array_equal(run.positions, trajectory.positions.numpy())
    assert np.array_equal(run.energies, trajectory.energies.numpy())
    assert set(run.torsions) == {"psi_1", "omega_1", "phi_2", "chi1_2"}
    assert np.array_equal(run.torsions["psi_1"], torsion_angles(trajectory)["psi_1"])
    part = timewarp.open(folder, discard=4, stride=4)
    assert np.array_equal(part.energies, run.energies[:, 4::4])
    assert run.diagnose()["ess"].keys() == {*run.torsions, "energy", "phi_2 > 0"}
    assert run.summary["kernels"].keys() == {"torsion", "hmc"}


def test_it_says_what_it_is(run, folder):
    assert repr(run) == f"Run('{folder}': AS, chains of exact samples, 20 stored frames per chain)"
    page = run._repr_html_()
    for must in ("<th>molecule</th><td>AS</td>", "<td>12 x 20</td>", "amber14-obc2", "hmc, accepted"):
        assert must in page
    assert run.verdict().level in ("caution", "reject")  # so short a chain has not converged


def test_mdtraj_reads_the_same_torsions(run):
    frames = run.to_mdtraj()
    assert (frames.n_frames, frames.n_atoms) == (240, run.atoms.n_atoms)
    _, psi = mdtraj.compute_psi(frames)
    np.testing.assert_allclose(psi[:, 0], run.torsions["psi_1"].ravel(), atol=1e-4)
    third = run.to_mdtraj(chain=3)
    np.testing.assert_array_equal(third.xyz, run.positions[3])
    assert third.time[-1] == run.trajectory.times[-1]
    with pytest.raises(IndexError, match="has chains 0 to 11, got 12"):
        run.to_mdtraj(chain=12)


def test_arviz_reads_chains_and_draws(run):
    data = run.to_arviz()
    assert dict(data.posterior.sizes) == {"chain": 12, "draw": 20}
    np.testing.assert_array_equal(data.posterior["energy"].values, run.energies)
    ess = float(arviz.ess(data.posterior["sin phi_2"].values))
    assert 0 < ess < 1000


def test_figures(run, tmp_path):
    maps = run.ramachandran()
    assert len(maps.axes) >= 1
    assert any(ax.images for ax in maps.axes) or not run.torsions.keys() >= {"phi_1", "psi_1"}
    profiles = run.free_energies(reference=run)
    drawn = [ax for ax in profiles.axes if ax.lines]
    assert len(drawn) == 4
    assert all(len(ax.lines) == 2 for ax in drawn)
    profiles.savefig(tmp_path / "profiles.png")
    assert (tmp_path / "profiles.png").stat().st_size > 10_000


def test_refusals(run, tmp_path):
    with pytest.raises(FileNotFoundError):
        timewarp.open(tmp_path / "none")
    other = tmp_path / "other"
    argv = ["sample", "AG", "--no-flow", "--samples", "16", "--chains", "2", "--warmup", "2", "--quiet"]
    assert main([*argv, "--out", str(other)]) == 0
    with pytest.raises(ValueError, match="holds another molecule: AG, not AS"):
        run.ramachandran(reference=timewarp.open(other))
