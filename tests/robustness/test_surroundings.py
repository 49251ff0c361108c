"""Another locale, a full disk, a folder that may not be written, a folder that was moved, other thread counts."""

import os
import shutil
import subprocess

import numpy as np
import pytest
from fuzz import CHAIN
from kills import same_frames
from program_calls import call, run

from timewarp import native
from timewarp.files import NotWritten, write_atomically
from timewarp.trajectories import RunFolder

SAMPLE = ["sample", *CHAIN, "--quiet", "--samples"]


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    out = tmp_path_factory.mktemp("surroundings") / "chain"
    assert call([*SAMPLE, "80", "--out", str(out)]).code == 0
    return out


def test_another_locale(chain, tmp_path):
    moved = tmp_path / "rün"
    shutil.copytree(chain, moved)
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    ended = run(["export", str(moved), "--out", str(tmp_path / "ä")], **ascii_only)
    assert ended.code == 0, ended
    assert sorted(p.name for p in (tmp_path / "ä").glob("*.dcd")) == ["chain-000.dcd", "chain-001.dcd"]
    assert (tmp_path / "ä" / "topology.pdb").is_file()


def test_a_folder_that_was_moved_goes_on(chain, tmp_path):
    shutil.copytree(chain, tmp_path / "elsewhere" / "run")
    shutil.copytree(chain, tmp_path / "here")
    for out in (tmp_path / "elsewhere" / "run", tmp_path / "here"):
        assert call([*SAMPLE, "120", "--out", str(out)]).code == 0
    assert same_frames(tmp_path / "elsewhere" / "run", tmp_path / "here")


@pytest.fixture
def small_disk(tmp_path):
    """A disk of one megabyte, where one may be mounted."""
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("only root mounts a disk")
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_loses_nothing_closed(small_disk, tmp_path):
    out, whole = small_disk / "run", tmp_path / "whole"
    ended = call([*SAMPLE, "6000", "--out", str(out)], 60)
    assert "no space is left on the disk; make room, and run the same command again" in ended.err, ended
    assert not ended.fault
    assert RunFolder.open(out).n_frames(0) > 0
    for verb in ("export", "report"):
        refused = call([verb, str(out)], 60)
        assert "no space is left" in refused.err, refused
    subprocess.run(["mount", "-o", "remount,size=60m", str(small_disk)], check=True)
    assert call([*SAMPLE, "6000", "--out", str(out)], 60).code == 0
    assert call([*SAMPLE, "6000", "--out", str(whole)], 60).code == 0
    assert same_frames(out, whole)


def test_what_cannot_be_written_is_said(tmp_path, monkeypatch):
    import errno

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "a").write_text("before")
    monkeypatch.setattr("timewarp.files.os.fsync", full)
    with pytest.raises(NotWritten, match=r"a cannot be written: no space is left .* \(what was there before is unch"):
        write_atomically(tmp_path / "a", "after")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "before"


@pytest.mark.parametrize(
    "arguments",
    [
        ["report", "CHAIN", "--out", "LINK"],
        ["export", "CHAIN", "--out", "LINK"],
        ["analyse", "CHAIN", "--out", "LINK"],
        ["analyse", "CHAIN", "--out", "FOLDER"],
        ["pack", "CHAIN", "--out", "FOLDER.safetensors"],
        ["sample", *CHAIN, "--out", "LINK"],
        ["simulate", "AG", "--out", "LINK"],
        ["train", "CHAIN", "--out", "LINK"],
        ["report", "CHAIN", "--out", "FILE/x"],
    ],
)
def test_links_to_nowhere_folders_and_files(chain, tmp_path, arguments):
    (tmp_path / "LINK").symlink_to(tmp_path / "nowhere")
    for name in ("FOLDER", "FOLDER.safetensors"):
        (tmp_path / name).mkdir()
    (tmp_path / "FILE").write_text("")
    names = {"CHAIN": str(chain)} | {n: str(tmp_path / n) for n in ("LINK", "FOLDER", "FOLDER.safetensors", "FILE/x")}
    before = sorted(map(str, tmp_path.rglob("*")))
    ended = call([names.get(a, a) for a in arguments])
    assert ended.code == 2, ended
    assert not ended.fault, ended
    assert "[Errno" not in ended.err
    assert str(tmp_path) in ended.err
    assert sorted(map(str, tmp_path.rglob("*"))) == before


def test_other_thread_counts_give_the_same_chain(chain, tmp_path):
    if not native.available():
        pytest.skip("without the compiled kernels, torch decides")
    argv = [a if a != "1" or CHAIN[i - 1] != "--threads" else "2" for i, a in enumerate(CHAIN)]
    out = tmp_path / "two"
    assert call(["sample", *argv, "--quiet", "--samples", "80", "--out", str(out)]).code == 0
    assert same_frames(chain, out)


def test_segments_that_were_deleted_are_not_done(tmp_path):
    (tmp_path / "list.txt").write_text("AG\nGA\n")
    argv = ["simulate", "--sequences", str(tmp_path / "list.txt"), "--scheduler", "processes", "--length", "0.002",
            "--replicas", "2", "--burn-in", "0.1", "--frame-spacing", "0.1", "--out",
            str(tmp_path / "out"), "--threads", "1", "--quiet"]  # fmt: skip
    assert run(argv).code == 0
    deleted = tmp_path / "out" / "GA" / "segments" / "s000-000000.safetensors"
    before = deleted.read_bytes()
    deleted.unlink()
    assert run(argv).code == 0
    assert deleted.is_file()
    assert len(deleted.read_bytes()) == len(before)


def test_outputs_that_would_be_copied_are_refused():
    if not native.available():
        pytest.skip("there are no compiled kernels")
    core = native.core()
    x = np.random.default_rng(0).normal(size=(3, 4, 3)).astype(np.float32)
    atoms = np.array([[0, 1, 2, 3]], dtype=np.int32)
    out = np.zeros((3, 1), dtype=np.float32)
    core.dihedrals(x, atoms, out)
    assert np.abs(out).max() > 0
    for wrong in (np.zeros((3, 2), dtype=np.float32)[:, ::2], np.zeros((3, 1), dtype=np.int32)):
        with pytest.raises(TypeError):
            core.dihedrals(x, atoms, wrong)
    double = np.zeros((3, 1))
    core.dihedrals(x, atoms, double)  # the kernel in double precision: what it writes is there
    assert np.allclose(double, out, atol=1e-5)


def test_energies_of_arrays_and_far_from_the_origin():
    from timewarp.energies import Potential, compile_system
    from timewarp.molecules import build_molecule

    molecule = build_molecule("Ace-A-Nme", "amber14-vacuum")
    potential = Potential(compile_system(molecule.system))
    x = molecule.start_positions[None].double()
    here = float(potential.energy(x))
    assert float(potential.energy(x.numpy())) == here
    assert float(potential.energy(x + 1e4)) == pytest.approx(here, abs=1e-3)


def test_a_signal_is_heard_while_workers_start():
    import signal
    import time

    from timewarp.executors.processes import interrupts_ignored

    heard = []
    before = signal.signal(signal.SIGINT, lambda *_: heard.append(1))
    try:
        with interrupts_ignored():
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)
    finally:
        signal.signal(signal.SIGINT, before)
    assert heard == [1]
