"""``timewarp simulate`` and ``export`` as a user runs them: killed, resumed, refused."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
import torch

from timewarp.commands import main
from timewarp.trajectories import RunFolder

TINY = ["--length", "0.02", "--replicas", "2", "--burn-in", "0.5", "--segment", "0.5", "--frame-spacing", "0.1"]
TINY += ["--torsion-moves", "10", "--engine", "openmm", "--start", "built", "--start", "phi_1=60", "--quiet"]


def arguments(out, *more, molecule="Ace-A-Nme"):
    return ["simulate", molecule, "--out", str(out), *TINY, *more]


def same_frames(a, b):
    x, y = (RunFolder.open(path).trajectory() for path in (a, b))
    return torch.equal(x.positions, y.positions) and torch.equal(x.energies, y.energies)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run that nothing interrupts, one replica after the other in this process."""
    path = tmp_path_factory.mktemp("whole") / "run"
    assert main(arguments(path, "--threads", "1")) == 0
    return path


def segments(path):
    return len(list((path / "segments").glob("*.safetensors"))) if (path / "segments").exists() else 0


def wait_until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.002)


FORKER = """
import os, signal, sys
from timewarp.commands import main, simulate
from timewarp import energies, molecules, simulation
molecules.build_molecule("Ace-A-Nme")  # everything is imported once, here
print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        os._exit(main(sys.argv[1:]))
    print(child, flush=True)
    os.waitpid(child, 0)
    print("gone", flush=True)
"""


def kill_ten_times(path, argv, last):
    """Run in a forked process and kill it, ten times, at up to the ``last`` segment."""
    rng = random.Random(7)
    command = [sys.executable, "-c", FORKER, *argv]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as forker:

        def read():
            while (line := forker.stdout.readline().strip()).startswith(str(path)):
                pass  # the summary line of a finished run
            return line

        assert read() == "ready"
        kept = 0
        for kill in range(10):
            forker.stdin.write("go\n")
            forker.stdin.flush()
            child = int(read())
            if kill:  # the first dies while the molecule is built or burnt in
                wanted = min(kept + rng.randint(0, 7), last)
                wait_until(lambda wanted=wanted: segments(path) >= wanted)
            time.sleep(rng.uniform(0, 0.1))
            os.kill(child, signal.SIGKILL)
            assert read() == "gone"
            assert segments(path) >= kept
            kept = segments(path)
        forker.stdin.close()
    return kept


def test_ten_kills_and_the_run_is_the_uninterrupted_one(whole, tmp_path):
    path = tmp_path / "run"
    kept = kill_ten_times(path, arguments(path, "--threads", "1"), 38)
    assert not kept or RunFolder.open(path).n_segments(0) <= 20
    assert main(arguments(path)) == 0
    assert same_frames(whole, path)


def test_processes_stop_with_their_parent(whole, tmp_path):
    """Two replicas in processes of their own: Ctrl-C and SIGKILL leave nothing running and lose nothing."""
    path = tmp_path / "run"
    command = [sys.executable, "-m", "timewarp", *arguments(path, "--threads", "2")]
    for signum, code in ((signal.SIGINT, 130), (signal.SIGKILL, -9)):
        before = segments(path)
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
        wait_until(lambda before=before: segments(path) > before + 1)
        if signum == signal.SIGINT:  # a terminal interrupts the whole group
            os.killpg(process.pid, signum)
        else:
            process.send_signal(signum)
        _, said = process.communicate()
        if process.returncode == 0:  # it was quicker than us
            break
        assert process.returncode == code
        if code == 130:
            assert said == "timewarp: interrupted; run the same command again to go on from what is saved\n"

        def alone(group=process.pid):
            try:
                os.killpg(group, 0)
            except ProcessLookupError:
                return True
            return False

        wait_until(alone, 30)
    assert main(arguments(path)) == 0
    assert same_frames(whole, path)


def test_what_is_in_the_folder(whole, capsys):
    from timewarp.energies import Parameters, Potential

    run = RunFolder.open(whole)
    assert run.config["starts"] == ["built", "phi_1=60"]
    assert run.summary()["complete"]
    assert main(arguments(whole)) == 0  # complete: says so, does nothing
    assert capsys.readouterr().out.startswith(f"{whole}: 200 frames, 0.02 ns")
    trajectory = run.trajectory(stride=10)
    energy = Potential(Parameters.load(whole / "energy.safetensors"), dtype=torch.float64).energy(
        trajectory.positions[:, :, :, :].flatten(0, 1).double()
    )
    # positions were rounded to float32 after their energy was taken
    assert torch.allclose(energy.reshape(2, -1), trajectory.energies, atol=0.05)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--seed", "3"], "whose seed is 0, not 3"),
        (["--temperature", "400"], "whose temperature_K is 310.0, not 400.0"),
        (["--preset", "amber14-vacuum"], "whose preset is"),
        (["--length", "0.01"], "can be extended, not shortened"),
    ],
)
def test_another_run_is_refused(whole, capsys, change, message):
    before = {p: p.read_bytes() for p in whole.rglob("*") if p.is_file()}
    assert main(arguments(whole, *change)) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert message in said
    assert main(arguments(whole, molecule="Ace-G-Nme")) == 2
    assert before == {p: p.read_bytes() for p in whole.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    ("molecule", "more", "message"),
    [
        ("AXG", [], "X"),
        ("", [], ""),
        ("A" * 40, [], ""),
        ("nowhere.pdb", [], "nowhere.pdb"),
        ("Ace-A-Nme", ["--start", "chi9_1=3", "--start", "built"], "chi9_1"),
        ("Ace-A-Nme", ["--platform", "GPU"], "no platform 'GPU'"),
        ("Ace-A-Nme", ["--hydrogen-mass", "9"], "hydrogen_mass_Da"),
        ("Ace-A-Nme", ["--frame-spacing", "0.0035"], "whole number of time steps"),
        ("Ace-A-Nme", ["--timestep", "10", "--replicas", "1", "--threads", "1"], "exploded"),
    ],
)
def test_bad_input_is_one_line(tmp_path, capsys, molecule, more, message):
    assert main(["simulate", molecule, "--out", str(tmp_path / "run"), *TINY[:-5], "--quiet", *more]) == 2
    said = capsys.readouterr().err
    assert said.startswith("timewarp: error: ")
    assert said.count("\n") == 1
    assert message in said
    assert segments(tmp_path / "run") == 0


def test_a_folder_of_other_things_is_refused(tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("do not touch")
    assert main(arguments(tmp_path)) == 2
    assert "thesis.tex" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_truncated_segment_is_named(whole, tmp_path, capsys):
    import shutil

    copy = shutil.copytree(whole, tmp_path / "copy")
    last = copy / "segments" / "s001-000019.safetensors"
    last.write_bytes(last.read_bytes()[:-10])
    for argv in (arguments(copy), ["export", str(copy)]):
        assert main(argv) == 2
        assert "s001-000019" in capsys.readouterr().err
    last.unlink()  # as the message advises
    assert main(arguments(copy)) == 0
    assert same_frames(whole, copy)


def test_export(whole, tmp_path, capsys):
    import mdtraj

    assert main(["export", str(whole), "--format", "xtc", "--stride", "10", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.split() == [
        str(tmp_path / name) for name in ("chain-000.xtc", "chain-001.xtc", "topology.pdb")
    ]
    assert mdtraj.load(str(tmp_path / "chain-001.xtc"), top=str(tmp_path / "topology.pdb")).n_frames == 10
    assert main(["export", str(whole), "--format", "xtc", "--out", str(tmp_path)]) == 2
    assert "--force" in capsys.readouterr().err
    assert main(["export", str(whole), "--format", "xtc", "--out", str(tmp_path), "--force"]) == 0
    assert main(["export", str(tmp_path)]) == 2
    assert "not a run folder" in capsys.readouterr().err
