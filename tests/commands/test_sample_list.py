"""``timewarp sample --sequences`` as a user runs it."""

import json

import pytest

from timewarp.commands import main
from timewarp.trajectories import RunFolder

TINY = ["--samples", "32", "--chains", "8", "--warmup", "4", "--no-flow", "--quiet", "--threads", "1"]


@pytest.fixture
def peptides(tmp_path):
    path = tmp_path / "peptides.txt"
    path.write_text("GG  # small\n\nAG\n")
    return path


def command(peptides, out, *more):
    return ["sample", "--sequences", str(peptides), "--out", str(out), *TINY, *more]


@pytest.mark.parametrize("where", ["processes", "local"])
def test_a_list_is_sampled_resumed_and_extended(peptides, tmp_path, capsys, where):
    if where == "local":
        pytest.importorskip("distributed")
    out = tmp_path / "out"
    assert main(command(peptides, out, "--scheduler", where)) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{out}: 2 of 2 peptides")
    summary = json.loads((out / "summary.json").read_text())
    assert [row["sequence"] for row in summary["table"]] == ["GG", "AG"]
    assert {row["state"] for row in summary["table"]} == {"done"}
    assert all(0 < row["acceptance"]["hmc"] <= 1 for row in summary["table"])
    first = RunFolder.open(out / "AG").trajectory().positions

    before = (out / "AG" / "summary.json").stat().st_mtime_ns
    assert main(command(peptides, out, "--scheduler", where)) == 0
    assert (out / "AG" / "summary.json").stat().st_mtime_ns == before, "what is finished is left alone"
    assert main(command(peptides, out, "--scheduler", where, "--samples", "64")) == 0
    longer = RunFolder.open(out / "AG").trajectory().positions
    assert longer.shape[:2] == (8, 8)
    assert bool((longer[:, : first.shape[1]] == first).all())


def test_each_is_what_sampling_it_alone_makes(peptides, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(command(peptides, out, "--scheduler", "processes")) == 0
    seed = json.loads((out / "AG" / "summary.json").read_text())["seed"]
    assert main(["sample", "AG", "--out", str(tmp_path / "alone"), *TINY, "--seed", str(seed)]) == 0
    alone, listed = (RunFolder.open(path).trajectory().positions for path in (tmp_path / "alone", out / "AG"))
    assert bool((alone == listed).all())


def test_a_failure_is_told_and_tried_again(peptides, tmp_path, capsys):
    out = tmp_path / "out"
    wrong = command(peptides, out, "--scheduler", "processes", "--start", "chi1_1=60")  # neither has such a torsion
    assert main(wrong) == 2
    said = capsys.readouterr()
    assert said.out.startswith(f"{out}: 0 of 2 peptides")
    assert said.err.startswith("timewarp: error: 2 of 2 peptides failed, GG: no torsion 'chi1_1'")
    assert main(wrong) == 2
    assert main(command(peptides, out, "--scheduler", "processes")) == 2
    assert "holds a campaign whose start is ['chi1_1=60'], not 'default'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "give a MOLECULE or --sequences FILE, got neither"),
        (["AG", "--sequences", "list.txt"], "got AG and --sequences list.txt"),
        (["AG", "--scheduler", "local"], "--scheduler is for a list of peptides"),
        (["--sequences", "list.txt", "--start-from", "run"], "--start-from is of one molecule"),
        (["--sequences", "nowhere.txt"], "no such file of sequences"),
    ],
)
def test_bad_command_lines(tmp_path, capsys, argv, message):
    assert main(["sample", *argv, "--out", str(tmp_path / "out"), *TINY]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert message in said
    assert not (tmp_path / "out").exists()
