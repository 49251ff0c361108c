"""``timewarp sample`` killed ten times at random: nothing closed is lost, the chain is the uninterrupted one."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import time

import pytest
import torch

from timewarp.trajectories import RunFolder

ARGUMENTS = [
    "sample",
    "Ace-A-Nme",
    "--no-flow",
    "--preset",
    "amber14-vacuum",
    "--hmc-steps",
    "1",
    "--torsion-moves",
    "1",
    "--chains",
    "2",
]
ARGUMENTS += ["--samples", "4800", "--warmup", "20", "--threads", "1", "--quiet"]
KILLS = 10


def run(out):
    from timewarp.commands import main

    os._exit(main([*ARGUMENTS, "--out", str(out)]))


@pytest.fixture(scope="module")
def server():
    """Children fork from a process that has imported everything, so that ten starts cost little."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["timewarp.verbs.sample", "timewarp.commands.sample", "timewarp.run"])
    return context


def closed(out):
    return {p.name: p.stat().st_mtime_ns for p in (out / "segments").glob("*.safetensors")}


@pytest.mark.slow
def test_killed_ten_times_the_chain_is_the_same(server, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    finish(server, whole)
    began = time.monotonic()
    finish(server, tmp_path / "timed")
    duration = time.monotonic() - began

    delays = random.Random(7)
    killed = landed = 0
    while killed < KILLS:
        before = closed(broken)
        process = server.Process(target=run, args=(broken,))
        process.start()
        process.join(delays.uniform(0.1, 0.8) * duration)
        if process.exitcode is not None:  # it was faster than the kill: once more from the start
            assert process.exitcode == 0
            assert_same(whole, broken)
            shutil.rmtree(broken)
            continue
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        killed += 1
        after = closed(broken)
        assert before.items() <= after.items(), "a closed segment was lost or written again"
        landed += 0 < len(after) < len(closed(whole))
    assert landed, "no kill came between two segments, so nothing was tested"
    finish(server, broken)
    assert_same(whole, broken)


def finish(server, out):
    process = server.Process(target=run, args=(out,))
    process.start()
    process.join()
    assert process.exitcode == 0


def assert_same(whole, broken):
    first, second = RunFolder.open(whole), RunFolder.open(broken)
    a, b = first.trajectory(), second.trajectory()
    assert torch.equal(a.positions, b.positions)
    assert torch.equal(a.energies, b.energies)
    for key in ("kernels", "rhat", "ess", "tuning", "energy_evaluations", "force_evaluations"):
        assert first.summary()[key] == second.summary()[key]
