"""What a careless user asks for gets one line, a non-zero exit, and destroys nothing."""

import json
from dataclasses import replace

import pytest
import torch

from handmade import ALANINE_DIPEPTIDE, random_positions
from timewarp.commands import main, verb_of
from timewarp.trajectories import RunFolder


def refused(capsys, *arguments: str, bug: bool = False) -> str:
    try:
        status = main(list(arguments))
    except SystemExit as stop:
        status = stop.code
    err = capsys.readouterr().err
    assert status not in (0, None)
    assert "Traceback" not in err
    assert "please report it" not in err or bug
    assert err.startswith("timewarp: error: ")
    assert err.count("\n") == 1
    return err


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = RunFolder.create(
        tmp_path_factory.mktemp("refusals") / "run",
        kind="md",
        name="Ace-A-Nme",
        atoms=ALANINE_DIPEPTIDE,
        topology_pdb="END\n",
        config={"timestep_fs": 2.0, "temperature_K": 310.0},
    )
    positions = random_positions(ALANINE_DIPEPTIDE, 300)[:, None]
    folder.append(0, positions, torch.zeros(300, 1, dtype=torch.float64), torch.arange(1, 301), {})
    return folder.path


def test_analyse_and_report_keep_foreign_files(run, tmp_path, capsys):
    precious = tmp_path / "thesis.txt"
    precious.write_text("precious")
    assert "no record of writing it" in refused(capsys, "analyse", str(run), "--quiet", "--out", str(precious))
    assert "no record of writing to it (it holds thesis.txt)" in refused(
        capsys, "report", str(run), "--quiet", "--out", str(tmp_path)
    )
    assert precious.read_text() == "precious"
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["sample", "Ace-A-Nme", "--chains", "9" * 400],
        ["sample", "Ace-A-Nme", "--chains", "0"],
        ["sample", "Ace-A-Nme", "--temperature", "-5"],
        ["sample", "Ace-A-Nme", "--temperature", "1e300"],
        ["sample", "Ace-A-Nme", "--seed", "9223372036854775807"],
        ["simulate", "Ace-A-Nme", "--out", "x", "--length", "1e300"],
        ["simulate", "Ace-A-Nme", "--out", "x", "--friction", "nan"],
        ["analyse", "x", "--stride", "99999999999999999999"],
        ["sample", "Ace-A-Nme", "--threads", "99999999999"],
    ],
)
def test_impossible_numbers(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    refused(capsys, *arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "tuning",
    [
        {"hnc": {"step_fs": 1.0}},
        {"hmc": {"foo": 1.0}},
        {"hmc": {}},
        {"hmc": {"step_fs": True}},
        {"hmc": {"step_fs": 1e300}},
    ],
)
def test_a_tuning_that_cannot_be_replayed(tuning, tmp_path, capsys):
    file = tmp_path / "tuning.json"
    file.write_text(json.dumps({"tuning": tuning}))
    out = tmp_path / "out"
    refused(capsys, "sample", "Ace-A-Nme", "--no-flow", "--tuning", str(file), "--out", str(out), "--quiet")
    assert not out.exists()


def test_a_training_that_cannot_start_leaves_its_folder_free(run, tmp_path, capsys):
    config = tmp_path / "bad.toml"
    config.write_text("training = 3\n")
    assert "must be a table" in refused(
        capsys, "train", str(run), "--config", str(config), "--out", str(tmp_path / "m")
    )
    config.write_text("[training.flow]\ncolour = 3\n")
    assert "no setting 'colour'" in refused(
        capsys, "train", str(run), "--config", str(config), "--out", str(tmp_path / "m"), "--quiet"
    )
    assert not (tmp_path / "m").exists()
    assert "not a training run" in refused(capsys, "train", str(run), "--out", str(run), "--quiet")


def test_a_bug_is_one_line_too(monkeypatch, capsys):
    broken = replace(verb_of("models"), run=lambda call: [][1])
    monkeypatch.setattr("timewarp.commands.models.VERB", broken)
    assert "unexpected IndexError" in refused(capsys, "models", bug=True)
