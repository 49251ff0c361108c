"""Runs that end by themselves: when, what they say on the way, that they are the same however often interrupted."""

import json
import math

import numpy as np
import pytest

from timewarp.commands import main
from timewarp.goal import FIRST_FRAMES, GROWTH, Goal, Looking, parse_goal, progress_of
from timewarp.trajectories import RunFolder
from timewarp.verbs.sample import sample

FEW = {"chains": 8, "warmup": 20, "threads": 1, "no_flow": True}


def test_goals():
    assert parse_goal() == Goal(1.01, 1000)
    assert parse_goal("ess=400, rhat=1.05") == Goal(1.05, 400)
    assert parse_goal(str(Goal(1.02, 300))) == Goal(1.02, 300)


@pytest.mark.parametrize("text", ["", "rhat", "rhat=1", "ess=5", "speed=3", "ess=nan", "ess=400,ess=500", "rhat=x"])
def test_goals_that_mean_nothing(text):
    with pytest.raises(ValueError, match="cannot understand"):
        parse_goal(text)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run that ended by itself, on a goal that a small peptide meets in a second or two."""
    out = tmp_path_factory.mktemp("goal") / "run"
    return sample("Ace-G-Nme", until="rhat=1.2,ess=100", minutes=5, out=out, **FEW)


def test_a_run_ends_where_its_goal_is_met(finished):
    until = finished.summary["until"]
    assert until["met"]
    assert until["lacking"] == []
    again = progress_of(RunFolder.open(finished.path), Goal(1.2, 100))
    assert again.met
    assert again.samples == finished.summary["n_samples"]
    worst = min(finished.diagnose()["ess"].values())
    assert worst >= 100
    # Not before: at the look before the last it was not met, or the run would have ended there.
    frames = finished.trajectory.n_frames
    looks = [FIRST_FRAMES]
    while looks[-1] < frames:
        looks.append(math.ceil(GROWTH * looks[-1]))
    assert looks[-1] == frames


def test_interrupted_it_ends_at_the_same_frame(finished, tmp_path):
    """Stopped after every segment and begun again, it is the same run."""

    class Stop(Exception):
        pass

    calls = 0

    def stop():
        nonlocal calls
        calls += 1
        if calls % 170 == 0:
            raise Stop

    for _ in range(60):
        try:
            run = sample("Ace-G-Nme", until="rhat=1.2,ess=100", minutes=5, out=tmp_path / "run", heartbeat=stop, **FEW)
            break
        except Stop:
            continue
    np.testing.assert_array_equal(run.positions, finished.positions)
    assert calls > 170


def test_a_run_whose_time_is_over_says_what_it_lacks(tmp_path, capsys):
    out = tmp_path / "a run"
    words = ["sample", "Ace-A-Nme", "--no-flow", "-c", "4", "--warmup", "5", "--threads", "1", "-o", str(out), "-q"]
    assert main([*words, "--until", "ess=100000", "--minutes", "0.001"]) == 0
    text = capsys.readouterr().out
    assert "not there yet    rhat=1.01,ess=100000 lacks" in text
    (line,) = [line.strip() for line in text.splitlines() if line.strip().startswith("timewarp sample")]
    assert "--minutes" in line
    assert f"'{out}'" in line
    summary = json.loads((out / "summary.json").read_text())
    assert not summary["until"]["met"]
    assert summary["n_samples"] >= 32
    # A fixed number of samples extends it; both at once are refused.
    assert main([*words, "-n", "400"]) == 0
    assert json.loads((out / "summary.json").read_text())["n_samples"] == 400
    capsys.readouterr()
    assert main([*words, "-n", "400", "--until", "ess=400"]) == 2
    assert "give --samples or --until, not both" in capsys.readouterr().err


def test_an_exit_code_for_scripts(tmp_path, capsys):
    words = ["sample", "AG", "--no-flow", "-c", "4", "-n", "64", "--warmup", "2", "--threads", "1", "-q"]
    assert main([*words, "-o", str(tmp_path / "run"), "--strict"]) == 3
    capsys.readouterr()


def test_a_quantity_that_never_varies_is_not_met(finished):
    """A run of one state does not pass for a converged one."""
    found = progress_of(finished.folder, Goal(1.2, 100), ["distance=1:CA,1:C"])
    assert found.quantities == progress_of(finished.folder, Goal(1.2, 100)).quantities + 1
    looking = Looking(finished.folder, Goal(1.0001, 1e9))
    assert looking(FIRST_FRAMES) > FIRST_FRAMES
    assert not looking.last.met
    assert looking.last.factor > 1
