"""``timewarp explore`` and what follows from it: labelled biased, refused as equilibrium, confirmed by `sample`."""

from __future__ import annotations

import json

import pytest
import torch

from timewarp.commands import main
from timewarp.trajectories import RunFolder

SMALL = ["--chains", "6", "--samples", "72", "--threads", "1", "--quiet"]
SAMPLE = ["--kernels", "torsion,hmc", "--hmc-steps", "2", "--torsion-moves", "1", "--warmup", "3", *SMALL]


def explore(out, *arguments, molecule="Ace-A-Nme"):
    return main(["explore", molecule, "--out", str(out), *SMALL, *map(str, arguments)])


def sample(out, *arguments, molecule="Ace-A-Nme"):
    return main(["sample", molecule, "--out", str(out), *SAMPLE, *map(str, arguments)])


@pytest.fixture(scope="module")
def explored(tmp_path_factory):
    out = tmp_path_factory.mktemp("explore") / "run"
    assert explore(out) == 0
    return out


def test_it_is_labelled_biased_everywhere(explored, tmp_path, capsys):
    summary = json.loads((explored / "summary.json").read_text())
    assert summary["biased"] is True
    assert summary["schema"] == 1
    assert summary["states"]["found"] > 2
    assert summary["states"]["against_time"][-1]["found"] == summary["states"]["found"]
    assert summary["moves"]["proposed"] == 72
    assert (summary["chirality_flips"], summary["cis_trans_flips"]) == (0, 0)
    run = RunFolder.open(explored)
    assert run.kind == "exploration"
    assert run.config["biased"] is True
    assert run.config["threshold_kJ_mol"] == 300.0
    assert explore(tmp_path / "other", "--samples", "6") == 0
    assert "BIASED" in capsys.readouterr().out
    assert main(["export", str(explored), "--format", "dcd", "--stride", "4", "--out", str(tmp_path / "dcd")]) == 0
    output = capsys.readouterr()
    assert "biased" in output.err
    assert all("biased-" in line for line in output.out.split() if line.endswith(".dcd"))


@pytest.mark.parametrize("verb", ["analyse", "train"])
def test_it_is_refused_where_equilibrium_is_needed(explored, verb, tmp_path, capsys):
    assert main([verb, str(explored), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "biased" in error
    assert f"--start-from {explored}" in error
    assert error.count("\n") == 1


def test_it_is_refused_as_a_reference(explored, tmp_path, capsys):
    assert sample(tmp_path / "run", "--no-flow") == 0
    capsys.readouterr()
    assert main(["analyse", str(tmp_path / "run"), "--reference", str(explored), "--quiet"]) == 2
    assert "biased" in capsys.readouterr().err


def test_asking_for_more_extends_it_bit_for_bit(explored, tmp_path):
    assert explore(tmp_path / "run", "--samples", "30") == 0
    assert explore(tmp_path / "run") == 0
    whole, extended = (RunFolder.open(p).trajectory() for p in (explored, tmp_path / "run"))
    assert torch.equal(whole.positions, extended.positions)


def test_sampling_does_not_go_on_in_it(explored, capsys):
    assert sample(explored, "--no-flow") == 2
    assert "kind exploration" in capsys.readouterr().err
    assert explore(explored, "--threshold", "10") == 2
    assert "threshold_kJ_mol" in capsys.readouterr().err


def test_chains_start_from_its_distinct_states(explored, tmp_path, capsys):
    from timewarp.analysis import find_states, torsion_angles

    assert sample(tmp_path / "run", "--no-flow", "--start-from", explored, "--kernels", "hmc", "--warmup", "0") == 0
    found = json.loads((explored / "summary.json").read_text())["states"]["found"]
    assert f"6 chains start from {min(found, 6)} states" in capsys.readouterr().err
    run = RunFolder.open(tmp_path / "run")
    assert run.config["starts"] == ["exploration"]
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["start_from"] == str(explored)
    angles = torsion_angles(run.trajectory(), names=["phi_1", "psi_1"])
    first = torch.stack([torch.tensor(a[:, 0]) for a in angles.values()], -1).numpy()
    assert len(find_states(first)) >= min(found, 6) - 1, "chains start apart (a minimum may join two)"
    # resumed, also from a copy elsewhere
    more = ["--samples", "78", "--kernels", "hmc", "--warmup", "0"]
    assert sample(tmp_path / "run", "--no-flow", "--start-from", explored, *more) == 0
    assert RunFolder.open(tmp_path / "run").n_frames(0) == 13


def test_chains_start_from_frames_of_another_chain(tmp_path, capsys):
    """Spread over it, so that what is in equilibrium stays so from the first step."""
    assert sample(tmp_path / "first", "--no-flow") == 0
    more = ("--no-flow", "--kernels", "hmc", "--hmc-steps", "1", "--warmup", "0", "--start-from", tmp_path / "first")
    assert sample(tmp_path / "second", *more) == 0
    assert f"6 chains start from 6 frames of {tmp_path / 'first'}" in capsys.readouterr().err
    run = RunFolder.open(tmp_path / "second")
    assert run.config["starts"] == ["run"]
    source = RunFolder.open(tmp_path / "first").trajectory().positions.flatten(0, 1)
    expected = source[torch.linspace(0, len(source) - 1, 6).round().long()]
    first = run.trajectory().positions[:, 0]
    # One leapfrog step has been made since, and no minimisation, which would take them out of equilibrium.
    assert (torch.cdist(first, first) - torch.cdist(expected, expected)).abs().max() < 0.01
    assert (torch.cdist(first, first) - torch.cdist(expected[:1], expected[:1])).abs().max() > 0.1


def test_foreign_explorations_say_so(explored, tmp_path, capsys):
    assert sample(tmp_path / "chain", "--no-flow") == 0
    capsys.readouterr()
    for arguments, molecule, message in (
        (["--start-from", tmp_path / "chain"], "Ace-G-Nme", "holds another molecule"),
        (["--start-from", explored], "Ace-G-Nme", "another molecule"),
        (["--start-from", explored, "--preset", "amber14-vacuum"], "Ace-A-Nme", "is under amber14-obc2"),
        (["--start-from", tmp_path / "nowhere"], "Ace-A-Nme", "no such run"),
        (["--start-from", explored, "--start", "built"], "Ace-A-Nme", "not both"),
    ):
        assert sample(tmp_path / "run", "--no-flow", *arguments, molecule=molecule) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--threshold", "-1"], "threshold"),
        (["--model", "no-such"], "no model 'no-such'"),
        (["--start", "phi_9=3"], "no torsion 'phi_9'"),
    ],
)
def test_bad_requests_give_one_line(arguments, message, tmp_path, capsys):
    assert explore_or_exit(tmp_path / "run", *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def explore_or_exit(out, *arguments):
    try:
        return explore(out, *arguments)
    except SystemExit as stop:
        return stop.code


def test_a_molecule_without_a_network_says_so(tmp_path, capsys):
    assert explore(tmp_path / "run", "--family", "B", molecule="Ace-G-Nme") == 2
    assert "give its folder as --model" in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--proposals", "4"], ["--flow-steps", "4"]])
def test_batches_are_for_family_a(option, tmp_path, capsys):
    small = ["--chains", "2", "--samples", "2", "--warmup", "0", "--threads", "1", "--quiet"]
    assert main(["sample", "Ace-A-Nme", "--out", str(tmp_path / "run"), *small, *option]) == 2
    assert "for networks that draw in batches (family A)" in capsys.readouterr().err
    assert main(["sample", "Ace-A-Nme", "--no-flow", "--out", str(tmp_path / "run"), *small, *option]) == 2
    assert "leave them out" in capsys.readouterr().err
