"""Every command that the program prints runs as it is printed, from a folder with a space in its name too."""

from __future__ import annotations

import re
import shlex

import pytest

import timewarp as tw
from timewarp.commands import VERBS, main

SMALL = {"sample": ["--samples", "64", "--chains", "8", "--warmup", "4", "--threads", "1"]}
"""Added to a printed command, so that it takes a second."""
FLOW = "[training.flow]\nn_couplings = 2\nwidth = 16\ncontext_blocks = 1\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with a space in its name, and a molecule whose file has one, too."""
    place = tmp_path / "my peptides"
    place.mkdir()
    monkeypatch.chdir(place)
    (place / "my ala.pdb").write_text(tw.System("Ace-A-Nme").pdb)
    (place / "small.toml").write_text("[training]\nvalidation_every = 10\nbatch_size = 32\n" + FLOW)
    return place


def printed(text: str) -> list[str]:
    """Commands in what a verb has printed: after ``next``, or in backquotes."""
    return re.findall(r"^next +(timewarp .*)$", text, re.MULTILINE) + re.findall(r"`(timewarp [^`]+)`", text)


def run(line: str, capsys) -> str:
    """Run a command line as a shell would split it; what it has printed."""
    name, verb, *words = shlex.split(line)
    assert name == "timewarp"
    assert verb in VERBS
    assert main([verb, *words, *SMALL.get(verb, []), "--quiet"]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


CASES = {
    "sample": ["sample 'my ala.pdb' --out 'a run'"],
    "sample under another preset": ["sample AG --preset amber14-vacuum --no-flow --out 'a run'"],
    "explore a file": ["explore 'my ala.pdb' --samples 40 --chains 4 --out 'some states'"],
    "explore under another preset": [
        "explore AG --preset amber99sbildn-obc --samples 40 --chains 4 --out 'some states'"
    ],
    "train on a file": [
        "simulate 'my ala.pdb' --length 0.24 --burn-in 1 --torsion-moves 10 --out 'an md'",
        "train 'an md' --config small.toml --steps 20 --out 'a model'",
    ],
    "train on a sequence": [
        "simulate AG --length 0.24 --burn-in 1 --torsion-moves 10 --out 'an md'",
        "train 'an md' --config small.toml --steps 20 --out 'a model'",
    ],
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_printed_runs(case, folder, capsys):
    for line in CASES[case]:
        out = run(f"timewarp {line}", capsys)
    commands = printed(out)
    assert commands
    for command in commands:
        for following in printed(run(command, capsys)):  # and what that one prints
            run(following, capsys)


@pytest.mark.parametrize("molecule", ["AG", "my ala.pdb"])
def test_advice_in_errors_runs(molecule, folder, capsys):
    out = folder / "some states"
    run(shlex.join(["timewarp", "explore", molecule, "--samples", "40", "--chains", "4", "--out", str(out)]), capsys)
    assert main(["analyse", str(out)]) == 2
    (command,) = printed(capsys.readouterr().err)
    run(command, capsys)
