"""``timewarp sample`` on a tiny molecule: what it writes, how it resumes, what it refuses."""

from __future__ import annotations

import json

import pytest
import torch

from timewarp.commands import main
from timewarp.trajectories import RunFolder

FAST = [
    "--no-flow",
    "--preset",
    "amber14-vacuum",
    "--hmc-steps",
    "2",
    "--torsion-moves",
    "1",
    "--threads",
    "1",
    "--quiet",
]
SMALL = [*FAST, "--chains", "4", "--samples", "48", "--warmup", "5"]
KEYS = {
    *("schema", "molecule", "model", "n_chains", "n_samples", "wall_s", "energy_evaluations", "force_evaluations"),
    *("kernels", "rhat", "ess", "ess_per_second", "chirality_rejected", "chirality_flips", "preset", "temperature_K"),
    *("seed", "warmup", "threads", "device", "versions", "weights_sha256"),
}


def sample(out, *arguments, molecule="Ace-A-Nme"):
    return main(["sample", molecule, "--out", str(out), *map(str, arguments)])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("sample") / "run"
    assert sample(out, *SMALL) == 0
    return out


def test_summary_has_the_documented_keys(finished):
    summary = json.loads((finished / "summary.json").read_text())
    assert summary.keys() >= KEYS
    assert summary["schema"] == 1
    assert (summary["molecule"], summary["model"], summary["n_samples"]) == ("Ace-A-Nme", None, 48)
    assert summary["kernels"].keys() == {"torsion", "hmc"}
    for row in summary["kernels"].values():
        assert row.keys() >= {"proposed", "accepted", "acceptance", "nonfinite"}
        assert row["proposed"] == 48
    assert summary["rhat"].keys() == summary["ess"].keys() == summary["ess_per_second"].keys()
    assert {"phi_1", "psi_1"} <= summary["rhat"].keys()
    assert summary["chirality_flips"] == 0
    assert summary["force_evaluations"] > summary["warmup_force_evaluations"] > 0


def test_energies_are_those_of_the_positions(finished):
    from timewarp.energies import Parameters, Potential

    trajectory = RunFolder.open(finished).trajectory()
    potential = Potential(Parameters.load(finished / "energy.safetensors"), dtype=torch.float64)
    expected = potential.energy(trajectory.positions.flatten(0, 1).double())
    torch.testing.assert_close(trajectory.energies.flatten(), expected, atol=0.05, rtol=1e-4)


def test_more_samples_extend_the_run_and_equal_one_long_run(finished, tmp_path, capsys):
    few = [a if a != "48" else "20" for a in SMALL]
    assert sample(tmp_path / "run", *few) == 0
    assert RunFolder.open(tmp_path / "run").n_frames(0) == 5
    assert sample(tmp_path / "run", *SMALL) == 0
    assert torch.equal(
        RunFolder.open(tmp_path / "run").trajectory().positions, RunFolder.open(finished).trajectory().positions
    )
    assert "samples/s" in capsys.readouterr().out


def test_another_molecule_or_setting_writes_over_nothing(finished, capsys):
    before = {p: p.read_bytes() for p in finished.rglob("*") if p.is_file() and p.name != ".lock"}
    assert sample(finished, *SMALL, molecule="Ace-G-Nme") == 2
    assert "another molecule" in capsys.readouterr().err
    assert sample(finished, *SMALL, "--seed", "9") == 2
    assert "whose seed is" in capsys.readouterr().err
    assert sample(finished, *SMALL, "--temperature", "400") == 2
    assert "temperature_K" in capsys.readouterr().err
    assert before == {p: p.read_bytes() for p in finished.rglob("*") if p.is_file() and p.name != ".lock"}


def test_tuning_is_replayed(finished, tmp_path):
    tuned = json.loads((finished / "summary.json").read_text())["tuning"]
    assert sample(tmp_path / "run", *SMALL, "--tuning", finished / "summary.json", "--seed", "5") == 0
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["tuning"] == tuned


def test_half_of_the_chains_start_at_the_torsion(tmp_path):
    from timewarp.analysis import torsion_angles

    arguments = [*FAST, "--chains", "8", "--samples", "8", "--warmup", "0", "--start-torsion", "phi_1=60"]
    assert sample(tmp_path / "run", *arguments, "--kernels", "hmc") == 0
    phi = torsion_angles(RunFolder.open(tmp_path / "run").trajectory())["phi_1"][:, 0]
    assert (phi[1::2] > 0).all()
    assert (phi[::2] < 0).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--kernels", "flow,gibbs"], "no kernel 'gibbs'"),
        (["--kernels", "torsion", "--no-flow"], "add hmc"),
        (["--no-flow", "--model", "ala2"], "exclude each other"),
        (["--kernels", "hmc", "--family", "B"], "need the kernel flow"),
        (["--no-flow", "--start", "phi_9=60"], "no torsion 'phi_9'"),
        (["--no-flow", "--start", "built", "--start-torsion", "phi_1=60"], "not both"),
        (["--no-flow", "--tuning", "nowhere.json"], "nowhere.json"),
        (["--no-flow", "--device", "abacus"], "no device 'abacus'"),
        (["--model", "no-such-model"], "no model 'no-such-model'"),
    ],
)
def test_bad_requests_give_one_line(arguments, message, tmp_path, capsys):
    small = [
        "--preset",
        "amber14-vacuum",
        "--chains",
        "2",
        "--samples",
        "2",
        "--warmup",
        "0",
        "--threads",
        "1",
        "--quiet",
    ]
    assert sample(tmp_path / "run", *small, "--quiet", *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("wrong", [["--chains", "0"], ["--samples", "-1"], ["--temperature", "-5"], ["--thin", "x"]])
def test_impossible_numbers_are_refused_by_the_parser(wrong, tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_:
        sample(tmp_path / "run", *wrong)
    assert exit_.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_molecule_that_no_network_covers(tmp_path, capsys):
    assert sample(tmp_path / "run", "--quiet", "--family", "B", molecule="WW") == 2
    error = capsys.readouterr().err
    assert "no shipped network of family B covers TRP-TRP" in error
    assert "--no-flow" in error
    assert not (tmp_path / "run").exists()


def test_tuning_file_must_hold_tuning(tmp_path, capsys):
    bad = tmp_path / "bad.json"
    bad.write_text('{"schema": 1}')
    assert sample(tmp_path / "run", "--no-flow", "--tuning", bad) == 2
    assert "holds no tuning" in capsys.readouterr().err


# --- with a network --------------------------------------------------------------------------------------------------

WITH_NETWORK = [a for a in SMALL if a != "--no-flow"]


@pytest.fixture(scope="module")
def model(finished, tmp_path_factory):
    """An untrained network in a folder as `timewarp train` leaves it: redraws torsions almost uniformly."""
    from timewarp.flows.weights import build_network, save_network
    from timewarp.geometry import to_internal

    trajectory = RunFolder.open(finished).trajectory()
    atoms = trajectory.atoms
    folders = {}
    for family, size in (("C", {"n_couplings": 2}), ("B", {"torsion_couplings": 2, "stiff_couplings": 1})):
        flow = build_network(atoms, family, {**size, "width": 16, "n_heads": 2})
        internal = to_internal(trajectory.positions.flatten(0, 1), atoms.tree)
        flow.fit_standardiser(internal.repeat(4, 1, 1) + 1e-3 * torch.randn(4 * len(internal), 22, 3))
        folders[family] = tmp_path_factory.mktemp(family)
        save_network(folders[family], "model", flow, {"preset": "amber14-obc2"})
    return folders


@pytest.mark.parametrize("family", ["C", "B"])
def test_samples_with_a_network_and_resumes(family, model, tmp_path, capsys):
    arguments = [*WITH_NETWORK, "--model", model[family], "--family", family]
    few = [a if a != "48" else "16" for a in arguments]
    assert sample(tmp_path / "whole", *arguments) == 0
    assert "trained under amber14-obc2" in capsys.readouterr().err
    assert sample(tmp_path / "parts", *few) == 0
    assert sample(tmp_path / "parts", *arguments) == 0
    whole, parts = (RunFolder.open(tmp_path / name) for name in ("whole", "parts"))
    assert torch.equal(whole.trajectory().positions, parts.trajectory().positions)
    summary = whole.summary()
    assert summary["family"] == family
    assert len(summary["weights_sha256"]) == 64
    assert summary["kernels"].keys() == {"flow", "torsion", "hmc"}
    flow = summary["kernels"]["flow"]
    assert flow["proposed"] == 48
    assert "jump" in flow
    assert flow["accepted"] + flow["nonfinite"] + flow["restricted"] <= flow["proposed"]


def test_networks_that_do_not_fit(model, tmp_path, capsys):
    for arguments, molecule, message in (
        (["--model", model["C"], "--family", "B"], "Ace-A-Nme", "is of family C, not B"),
        (["--model", model["C"]], "Ace-G-Nme", "trained for ACE-ALA-NME"),
        (["--model", tmp_path], "Ace-A-Nme", "no trained model"),
    ):
        assert sample(tmp_path / "run", *WITH_NETWORK, *arguments, molecule=molecule) == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "run").exists()
