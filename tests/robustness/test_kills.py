"""Kills and signals at random moments: nothing closed is lost, and a signal is one line and its exit code."""

import os
import random

import pytest
from kills import attack, interrupt, make_inputs, works

# Where kills land hangs on how fast and how busy the machine is: by hand, on a quiet one.
LONG = pytest.mark.skipif(
    "TIMEWARP_ROBUSTNESS" not in os.environ, reason="takes half an hour: set TIMEWARP_ROBUSTNESS=1"
)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kills") / "inputs"
    make_inputs(folder)
    return folder


@LONG
@pytest.mark.slow
@pytest.mark.parametrize("number", range(9))
def test_kills_lose_nothing(inputs, tmp_path, number):
    work = works(inputs)[number]
    tally = attack(work, tmp_path, kills=12, rng=random.Random(number))
    assert tally.lost == 0, work.name
    assert tally.landed >= 4, f"{work.name}: kills came too late or too early, so that little was tested"


@LONG
@pytest.mark.slow
@pytest.mark.parametrize("number", range(9))
def test_signals_end_with_one_line(inputs, tmp_path, number):
    work, rng = works(inputs)[number], random.Random(100 + number)
    found = [interrupt(work, tmp_path, 8.0, rng) for _ in range(4)]
    assert not any(found), found


def test_two_signals(tmp_path):
    (tmp_path / "list.txt").write_text("AG\n")
    (work,) = (w for w in works(tmp_path) if w.name == "sample")
    rng = random.Random(3)
    found = [interrupt(work, tmp_path, seconds, rng) for seconds in (0.5, 3.0)]
    assert not any(found), found
