"""`report` on an exploration: states against time, beside MD, and no word of trust."""

import json

import pytest
from test_report_beside_md import MOLECULE, store

from synthetic_runs import alanine_run
from timewarp.commands import main


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    base = tmp_path_factory.mktemp("exploration")
    options = "--length 0.16 --replicas 8 --frame-spacing 0.5 --burn-in 2 --threads 1 --quiet"
    assert main(["simulate", MOLECULE, *options.split(), "--out", str(base / "md")]) == 0
    options = "--samples 2000 --chains 20 --threads 1 --quiet"
    assert main(["explore", MOLECULE, *options.split(), "--out", str(base / "explored")]) == 0
    return base


def test_states_against_time_beside_md(base, capsys):
    assert main(["report", str(base / "explored"), "--reference", str(base / "md"), "--quiet"]) == 0
    folder = base / "explored" / "report"
    assert capsys.readouterr().out.strip() == str(folder / "index.html")
    data = json.loads((folder / "analysis.json").read_text())
    assert data["run"]["kind"] == "exploration"
    assert data["verdict"] is None
    assert data["exploration"]["states"] > data["md"]["states"] >= 1
    assert data["md"]["only_in_exploration"] > 0
    assert data["together"] >= data["exploration"]["states"]
    found = [row["found"] for row in data["md"]["against_time"]]
    assert found == list(range(1, data["md"]["states"] + 1))
    assert data["exploration"]["against_time"][-1]["found"] == data["exploration"]["states"]
    assert (folder / "exploration.png").stat().st_size > 5_000
    page = (folder / "index.html").read_text()
    for text in ("Biased", "how often each occurs means nothing", "only in MD", "id='listed-table'", "phi_1 / °"):
        assert text in page
    assert "can be trusted" not in page
    assert main(["report", str(base / "explored"), "--quiet"]) == 0  # alone, into the same folder
    assert json.loads((folder / "analysis.json").read_text())["md"] is None


def test_what_cannot_be_compared_is_said_in_a_line(base, tmp_path, capsys):
    store(tmp_path / "vacuum", alanine_run(seed=8), kind="md", preset="amber14-vacuum")
    store(tmp_path / "unfinished", alanine_run(seed=8), kind="exploration")
    (tmp_path / "unfinished" / "summary.json").unlink()
    explored = str(base / "explored")
    for words, message in (
        ([explored, "--reference", str(tmp_path / "vacuum")], "is under amber14-vacuum and"),
        ([explored, "--reference", explored], "biased"),
        ([explored, "--discard", "5"], "leave out --discard and --stride"),
        ([str(tmp_path / "unfinished")], "has no finished summary.json"),
    ):
        assert main(["report", *words, "--quiet", "--out", str(tmp_path / "out")]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
        assert not (tmp_path / "out").exists()
