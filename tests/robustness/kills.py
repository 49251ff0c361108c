"""Kills and signals at random moments of every verb, and whether the end is that of a process left alone."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from fuzz import CONFIG
from program_calls import hashes, run, start

from timewarp.interrupts import LINE
from timewarp.trajectories import RunFolder

CHAIN = ["Ace-A-Nme", "--preset", "amber14-vacuum", "--threads", "1", "--no-flow", "--chains", "4", "--warmup", "5"]
MD = ["Ace-A-Nme", "--preset", "amber14-vacuum", "--threads", "1", "--replicas", "2", "--burn-in", "1"]


@dataclass(frozen=True)
class Work:
    """A command, and how its end is compared.

    Attributes:
        name: for the table.
        arguments: with OUT for its output and IN for the folder of inputs.
        same: whether two outputs are the same.
    """

    name: str
    arguments: list[str]
    same: Callable[[Path, Path], bool]


def same_frames(first: Path, second: Path) -> bool:
    """Whether two runs hold the same frames and go on from the same state."""
    a, b = RunFolder.open(first), RunFolder.open(second)
    for stream in a.streams:
        x, y = a.trajectory(streams=[stream]), b.trajectory(streams=[stream])
        if not (torch.equal(x.positions, y.positions) and torch.equal(x.energies, y.energies)):
            return False
    return a.streams == b.streams


def same_lists(first: Path, second: Path) -> bool:
    """Whether two lists hold the same runs."""
    names = sorted(p.parent.name for p in first.glob("*/topology.pdb"))
    found = sorted(p.parent.name for p in second.glob("*/topology.pdb"))
    return bool(names) and names == found and all(same_frames(first / n, second / n) for n in names)


def same_models(first: Path, second: Path) -> bool:
    """Whether two trainings gave the same weights."""
    return (first / "model.safetensors").read_bytes() == (second / "model.safetensors").read_bytes()


def same_files(first: Path, second: Path) -> bool:
    """Whether two folders of results hold the same files, temporary ones and the list apart."""
    return _contents(first) == _contents(second)


def _contents(folder: Path) -> dict[str, bytes]:
    found = {k: v for k, v in hashes(folder).items() if not k.startswith(".timewarp")}
    return {k: v.replace(str(folder).encode(), b"") for k, v in found.items()}


def works(inputs: Path) -> list[Work]:
    """Every verb that takes a while."""
    chain, md = str(inputs / "chain"), str(inputs / "md")
    sequences = str(inputs / "list.txt")
    small = ["--sequences", sequences, "--preset", "amber14-vacuum", "--threads", "2"]
    train = str(inputs / "long.toml")
    return [
        Work("sample", ["sample", *CHAIN, "--samples", "12000", "--out", "OUT", "--quiet"], same_frames),
        Work("simulate", ["simulate", *MD, "--length", "1.5", "--frame-spacing", "0.1", "--out", "OUT", "--quiet"],
             same_frames),
        Work("explore", ["explore", "Ace-A-Nme", "--chains", "8", "--samples", "40000", "--threads", "1", "--out",
                         "OUT", "--quiet"], same_frames),
        Work("train", ["train", md, "--config", train, "--threads", "1", "--out", "OUT", "--quiet"], same_models),
        Work("report", ["report", chain, "--out", "OUT", "--quiet"], same_files),
        Work("evaluate", ["evaluate", chain, "--reference", md, "--out", "OUT", "--quiet"], same_files),
        Work("export", ["export", chain, "--out", "OUT", "--format", "pdb"], same_files),
        Work("list on processes", ["simulate", *small, "--scheduler", "processes", "--length", "0.3", "--replicas", "2",
                                   "--burn-in", "1", "--out", "OUT", "--quiet"], same_lists),
        Work("list on Dask", ["sample", *small, "--scheduler", "local", "--no-flow", "--samples", "3000", "--chains",
                              "4", "--warmup", "5", "--out", "OUT", "--quiet"], same_lists),
    ]  # fmt: skip


def make_inputs(folder: Path) -> None:
    """A chain and MD to read, settings of a training, a list."""
    folder.mkdir(parents=True)
    (folder / "list.txt").write_text("AG\nGA\n")
    (folder / "long.toml").write_text(CONFIG.replace("steps = 4", "steps = 600").replace("every = 2", "every = 20"))
    for argv in (
        ["sample", *CHAIN, "--samples", "2000", "--out", str(folder / "chain"), "--quiet"],
        ["simulate", *MD, "--length", "0.1", "--frame-spacing", "0.1", "--out", str(folder / "md"), "--quiet"],
    ):
        assert run(argv).code == 0


def to(work: Work, out: Path) -> list[str]:
    """The command with its output."""
    return [str(out) if a == "OUT" else a for a in work.arguments]


def kill_whole(process: subprocess.Popen[str], signum: int = signal.SIGKILL) -> None:
    """Send a signal to the process alone: its workers must end with it."""
    process.send_signal(signum)


@dataclass
class Tally:
    """What was tried of one verb."""

    tried: int = 0
    landed: int = 0
    lost: int = 0
    seconds: float = 0.0


def attack(work: Work, folder: Path, kills: int, rng: random.Random) -> Tally:
    """Kill a command so often, each time going on, and compare its end with that of one left alone."""
    tally = Tally()
    whole, broken = folder / "whole", folder / "broken"
    ended = run(to(work, whole))
    assert ended.code == 0, ended
    tally.seconds = ended.seconds
    while tally.tried < kills:
        process = start(to(work, broken))
        try:
            process.wait(rng.uniform(0.15, 1.0) * ended.seconds)
        except subprocess.TimeoutExpired:
            landed = broken.exists()
            kill_whole(process)
            process.communicate()
            tally.tried += 1
            tally.landed += landed
        else:
            process.communicate()
            if process.returncode != 0 or not work.same(whole, broken):
                tally.lost += 1
            shutil.rmtree(broken)
    last = run(to(work, broken))
    if last.code != 0 or not work.same(whole, broken):
        tally.lost += 1
    left = [p for p in broken.rglob("*") if p.name.endswith((".timewarp-part", "-work"))]
    assert not left, left
    return tally


def interrupt(work: Work, folder: Path, seconds: float, rng: random.Random) -> str:
    """One signal, or two of them, at a random moment; what was wrong with the end, or nothing."""
    out = folder / "interrupted"
    shutil.rmtree(out, ignore_errors=True)
    signum = rng.choice((signal.SIGINT, signal.SIGTERM))
    process = start(to(work, out))
    delay = rng.uniform(0.25, 0.6) if rng.random() < 0.4 else rng.uniform(0.25, 0.9 * seconds)
    try:
        process.wait(delay)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signum)
        if rng.random() < 0.3:
            time.sleep(rng.uniform(0, 0.2))
            if process.poll() is None:
                os.kill(process.pid, signum)
        began = time.monotonic()
        _, err = process.communicate(timeout=60)
        if process.returncode == 0:
            return ""  # it had just ended
        if process.returncode != 128 + signum or err != f"{LINE}\n":
            return f"{work.name}, {signum.name} after {delay:.2f} s: exit {process.returncode}, {err[:200]!r}"
        if time.monotonic() - began > 12:
            return f"{work.name}: {signum.name} took {time.monotonic() - began:.0f} s"
        return ""
    process.communicate()
    return ""


if __name__ == "__main__":
    where, kills, signals, seed = Path(sys.argv[1]), *map(int, sys.argv[2:5])
    shutil.rmtree(where, ignore_errors=True)
    make_inputs(where / "inputs")
    rng, rows, faults = random.Random(seed), {}, []
    for work in works(where / "inputs"):
        tally = attack(work, where / work.name.replace(" ", "-"), kills, rng)
        rows[work.name] = {"kills": tally.tried, "landed": tally.landed, "lost": tally.lost}
        found = [interrupt(work, where, tally.seconds, rng) for _ in range(signals)]
        rows[work.name] |= {"signals": len(found), "faults": sum(map(bool, found))}
        print(work.name, rows[work.name], [f for f in found if f], flush=True)
    (where / "kills.json").write_text(json.dumps(rows, indent=2))
