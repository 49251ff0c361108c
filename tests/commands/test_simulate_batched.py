"""The batched engine as a user runs it: chosen by itself, killed, resumed, extended, exported."""

import os
import signal
import subprocess
import sys

import pytest
import torch
from test_simulate_command import kill_ten_times, same_frames, segments, wait_until

from timewarp import native
from timewarp.commands import main
from timewarp.trajectories import RunFolder

if not native.available():
    pytest.skip(native.why_not(), allow_module_level=True)

SMALL = ["--length", "1.6", "--replicas", "4", "--burn-in", "5", "--segment", "10"]
SMALL += ["--torsion-moves", "5", "--start", "built", "--start", "phi_1=60", "--quiet"]
N_SEGMENTS = 40


def arguments(out, *more, molecule="Ace-A-Nme"):
    return ["simulate", molecule, "--out", str(out), *SMALL, *more]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "run"
    assert main(arguments(path, "--threads", "1")) == 0
    return path


def same_end(a, b):
    one, other = (RunFolder.open(path).last_state(0) for path in (a, b))
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one if key != "wall_s")


def test_it_is_chosen(whole, capsys):
    run = RunFolder.open(whole)
    summary = run.summary()
    assert (run.streams, run.n_frames(0), run.n_segments(0)) == ([0], 400, N_SEGMENTS)
    assert summary["engine"] == run.config["engine"] == "batched"
    assert summary["complete"]
    assert summary["instruction_set"] == native.instruction_set()
    assert summary["torsion_moves"]["attempts"] == 4 * 400 * 5
    assert (summary["frames"], summary["stopped"]) == (1600, [])
    assert main(arguments(whole)) == 0  # complete: says so, does nothing
    assert capsys.readouterr().out.startswith(f"{whole}: 1600 frames, 1.6 ns")


def test_ten_kills_and_the_run_is_the_uninterrupted_one(whole, tmp_path):
    path = tmp_path / "run"
    kill_ten_times(path, arguments(path, "--threads", "1"), N_SEGMENTS - 2)
    assert main(arguments(path, "--threads", "2")) == 0  # threads change nothing
    assert same_frames(whole, path)
    assert same_end(whole, path)


def test_an_interrupted_run_says_how_to_go_on(whole, tmp_path):
    path = tmp_path / "run"
    command = [sys.executable, "-m", "timewarp", *arguments(path, "--threads", "1")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_until(lambda: segments(path) > 1)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130
    assert said == "timewarp: interrupted; run the same command again to go on from what is saved\n"
    assert main(arguments(path)) == 0
    assert same_frames(whole, path)


def test_a_run_is_extended_from_an_open_end(whole, tmp_path):
    """The shorter run ends in the middle of a segment of the longer one."""
    path = tmp_path / "run"
    assert main(arguments(path, "--length", "0.5")) == 0
    assert RunFolder.open(path).n_frames(0) == 125
    assert main(arguments(path, "--length", "1.6")) == 0
    assert same_frames(whole, path)
    assert same_end(whole, path)
    assert main(arguments(path, "--length", "1")) == 2


def test_a_resumed_run_keeps_its_engine_and_replicas(tmp_path):
    path, short = tmp_path / "run", ["--length", "0.02", "--burn-in", "1", "--quiet"]
    assert main(["simulate", "Ace-A-Nme", "--out", str(path), *short, "--replicas", "3"]) == 0
    assert main(["simulate", "Ace-A-Nme", "--out", str(path), *short, "--length", "0.03"]) == 0
    assert RunFolder.open(path).trajectory().n_chains == 3
    assert main(["simulate", "Ace-A-Nme", "--out", str(path), *short, "--engine", "openmm"]) == 2
    older = tmp_path / "older"  # made before there was a choice
    assert main(["simulate", "Ace-A-Nme", "--out", str(older), *short, "--engine", "openmm"]) == 0
    config = older / "config.toml"
    config.write_text(config.read_text().replace('engine = "openmm"\n', ""))
    assert main(["simulate", "Ace-A-Nme", "--out", str(older), *short, "--length", "0.03"]) == 0
    assert RunFolder.open(older).n_frames(0) == 30
    assert "engine" not in RunFolder.open(older).config


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--engine", "batched", "--platform", "CPU"], "the platform CPU is OpenMM's"),
        (["--timestep", "10", "--hydrogen-mass", "1"], "4 of 4 replicas stopped"),
    ],
)
def test_bad_input_is_one_line(tmp_path, capsys, more, message):
    assert main(arguments(tmp_path / "run", *more)) == 2
    said = capsys.readouterr().err
    assert message in said
    assert segments(tmp_path / "run") == 0


def test_without_the_kernels_openmm_takes_over_and_says_so(tmp_path):
    command = [sys.executable, "-m", "timewarp", "simulate", "Ace-A-Nme", "--out", str(tmp_path / "run")]
    command += ["--length", "0.001", "--burn-in", "0"]
    done = subprocess.run(command, env={**os.environ, "TIMEWARP_NATIVE": "0"}, capture_output=True, text=True)
    assert done.returncode == 0
    assert "timewarp: MD with OpenMM: TIMEWARP_NATIVE=0 switches the compiled kernels off\n" in done.stderr
    summary = RunFolder.open(tmp_path / "run").summary()
    assert (summary["engine"], summary["replicas"]) == ("openmm", 1)
    assert "TIMEWARP_NATIVE" in summary["engine_note"]


def test_export_and_lagged_pairs(whole, tmp_path):
    import mdtraj

    from timewarp.trajectories import time_lagged_pairs

    assert main(["export", str(whole), "--format", "xtc", "--stride", "10", "--out", str(tmp_path)]) == 0
    top = str(tmp_path / "topology.pdb")
    assert mdtraj.load(str(tmp_path / "chain-003.xtc"), top=top).n_frames == 40
    trajectory = RunFolder.open(whole).trajectory()
    assert len(time_lagged_pairs(trajectory, 10.0)) == 4 * 390
