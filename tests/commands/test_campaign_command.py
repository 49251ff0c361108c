"""``timewarp simulate --sequences`` as a user runs it."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from timewarp.commands import main
from timewarp.executors import cluster

TINY = ["--length", "0.002", "--burn-in", "0.2", "--segment", "0.5", "--frame-spacing", "0.1", "--quiet"]


@pytest.fixture
def peptides(tmp_path):
    path = tmp_path / "peptides.txt"
    path.write_text("GG  # small\n\nAG\n")
    return path


def test_a_failure_is_told_and_tried_again(peptides, tmp_path, capsys):
    out = tmp_path / "out"
    argv = ["simulate", "--sequences", str(peptides), "--out", str(out), *TINY, "--scheduler", "processes"]
    out.mkdir()
    assert main([*argv, "--threads", "1", "--start", "chi1_1=60"]) == 2  # neither has such a torsion
    said = capsys.readouterr()
    assert said.out.startswith(f"{out}: 0 of 2 peptides, 0 ns")
    assert said.err.startswith("timewarp: error: 2 of 2 peptides failed, GG: no torsion 'chi1_1'")
    assert said.err.count("\n") == 1
    assert main([*argv, "--threads", "1"]) == 2
    assert "holds a campaign whose starts is ['chi1_1=60'], not ['built']" in capsys.readouterr().err


@pytest.mark.parametrize("where", ["processes", "local"])
def test_ctrl_c_and_on(peptides, tmp_path, where):
    """A terminal interrupts the whole group: nothing goes on running, nothing is noisy, nothing is lost."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "timewarp", "simulate", "--sequences", str(peptides), "--out", str(out)]
    command += [*TINY, "--threads", "1", "--scheduler", where]
    process = subprocess.Popen([*command, "--length", "0.1"], stderr=subprocess.PIPE, text=True, start_new_session=True)
    while len(kept := list(out.glob("GG/segments/*.safetensors"))) < 3:
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said == "timewarp: interrupted; run the same command again to go on from what is saved\n"
    assert all(path.exists() for path in kept)
    summary = json.loads((out / "summary.json").read_text())
    assert [row["state"] for row in summary["table"]] == ["waiting", "waiting"]
    assert summary["table"][0]["done_ns"] >= 0.0005 * len(kept)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "give a MOLECULE or --sequences FILE, got neither"),
        (["AG", "--sequences", "list.txt"], "got AG and --sequences list.txt"),
        (["AG", "--scheduler", "local"], "--scheduler is for a list of peptides"),
        (["--sequences", "nowhere.txt"], "no such file of sequences"),
        (["--sequences", "list.txt", "--scheduler", "tcp://h:1", "--threads", "2"], "leave --threads out"),
    ],
)
def test_bad_command_lines(tmp_path, capsys, argv, message):
    assert main(["simulate", *argv, "--out", str(tmp_path / "out"), *TINY]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert message in said
    assert not (tmp_path / "out").exists()


def test_a_bad_list_starts_nothing(peptides, tmp_path, capsys):
    peptides.write_text("AG\nAXG\n")
    assert main(["simulate", "--sequences", str(peptides), "--out", str(tmp_path / "out"), *TINY]) == 2
    assert "line 2: unknown amino acid 'X'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_without_dask(peptides, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(cluster, "is_dask_installed", lambda: False)
    argv = ["simulate", "--sequences", str(peptides), "--out", str(tmp_path / "out"), *TINY]
    assert main([*argv, "--scheduler", "tcp://127.0.0.1:8786"]) == 2
    assert "pip install 'timewarp-md[cluster]'" in capsys.readouterr().err
