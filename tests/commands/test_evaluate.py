"""``timewarp evaluate``: halves of MD at the floor, and chains with something wrong that must be flagged."""

import csv
import json

import numpy as np
import pytest
import torch

from timewarp.analysis import torsion_angles
from timewarp.commands import main
from timewarp.trajectories import RunFolder

QUIET = ["--quiet"]


@pytest.fixture(scope="module")
def md(tmp_path_factory):
    """MD of alanine dipeptide with torsion moves, well mixed."""
    out = tmp_path_factory.mktemp("evaluate") / "md"
    argv = ["simulate", "Ace-A-Nme", "--length", "9.6", "--replicas", "32", "--frame-spacing", "1", "--burn-in", "4"]
    assert main([*argv, "--torsion-moves", "100", "--out", str(out), *QUIET]) == 0
    return RunFolder.open(out)


def copy(run, path, positions, energies):
    """A run with other frames, which says that it is the same kind of run."""
    new = RunFolder.create(
        path, kind="md", name=run.name, atoms=run.atoms, topology_pdb=run.topology_pdb, config=run.config
    )
    steps = run.trajectory().steps[: positions.shape[1]]
    new.append(0, positions.transpose(0, 1).contiguous(), energies.T.contiguous(), steps, state={})
    return path


@pytest.fixture(scope="module")
def cases(md, tmp_path_factory):
    """Two halves of the MD, and what is wrong with the second one in each control."""
    folder = tmp_path_factory.mktemp("cases")
    t = md.trajectory()
    x, u = t.positions, t.energies
    half, other = slice(0, None, 2), slice(1, None, 2)
    phi = torch.as_tensor(torsion_angles(t)["phi_1"])[other]
    beyond = phi > 0
    assert 0.005 < float(beyond.double().mean()) < 0.5
    without, without_u = x[other].clone(), u[other].clone()
    inside = (~beyond).nonzero()
    chosen = inside[torch.arange(int(beyond.sum())) % len(inside)]
    without[beyond], without_u[beyond] = x[other][tuple(chosen.T)], u[other][tuple(chosen.T)]
    hot = folder / "hot"
    argv = ["simulate", "Ace-A-Nme", "--length", "4.8", "--replicas", "16", "--frame-spacing", "1", "--burn-in", "4"]
    assert main([*argv, "--temperature", "345", "--torsion-moves", "100", "--out", str(hot), *QUIET]) == 0
    warm = RunFolder.open(hot).trajectory()
    flipped = x[other].clone()
    flipped[3] *= torch.tensor([-1.0, 1.0, 1.0])
    n = warm.n_frames
    return {
        "reference": copy(md, folder / "reference", x[half], u[half]),
        "good": copy(md, folder / "good", x[other], u[other]),
        "misses a basin": copy(md, folder / "basin", without, without_u),
        "too hot": copy(md, folder / "warm", warm.positions[:, :n], warm.energies[:, :n]),
        "one flipped": copy(md, folder / "flipped", flipped, u[other]),
    }


def evaluated(cases, name, out):
    argv = ["evaluate", str(cases[name]), "--reference", str(cases["reference"]), "--lag", "5", "--out", str(out)]
    assert main([*argv, *QUIET]) == 0
    return json.loads((out / "evaluation.json").read_text())["rows"][0]


def test_two_halves_of_md_are_at_the_floor(cases, tmp_path, capsys):
    row = evaluated(cases, "good", tmp_path / "out")
    assert row["level"] != "reject", row["reasons"]
    assert row["states"]["missed"] == []
    assert set(row["measures"]) == {
        "energy_w2", "torsion_w2", "tica_w2", "jsd_torsion", "jsd_phi_psi", "jsd_tica", "delta_F",
    }  # fmt: skip
    for name, cell in row["measures"].items():
        # Floors are between quarters of the MD, which differ more than its halves.
        assert cell["value"] < 2.5 * cell["floor"] + (0.3 if name == "delta_F" else 0.05), name
    assert "E-W2/kT" in capsys.readouterr().out
    with open(tmp_path / "out" / "evaluation.csv") as lines:
        (line,) = csv.DictReader(lines)
    assert line["name"] == "Ace-A-Nme"
    assert float(line["torsion_w2"]) == pytest.approx(row["measures"]["torsion_w2"]["value"])
    page = (tmp_path / "out" / "index.html").read_text()
    assert page.count("<svg") == 1
    assert "http" not in page.replace("http-equiv", "")


@pytest.mark.parametrize(
    ("name", "measure"), [("misses a basin", "jsd_torsion"), ("too hot", "energy_w2"), ("one flipped", "torsion_w2")]
)
def test_what_is_wrong_is_flagged(cases, tmp_path, name, measure):
    good, bad = evaluated(cases, "good", tmp_path / "good"), evaluated(cases, name, tmp_path / "bad")
    assert bad["level"] == "reject", bad["reasons"]
    assert good["level"] != "reject", good["reasons"]
    if name == "misses a basin":
        assert bad["measures"]["delta_F"]["value"] is None
        assert any("phi_1 > 0" in reason for reason in bad["reasons"])
    assert bad["measures"][measure]["value"] > 1.2 * good["measures"][measure]["value"]


def test_it_goes_on_and_takes_in_what_has_grown(cases, md, tmp_path, capsys):
    out = tmp_path / "out"
    first = evaluated(cases, "good", out)
    stored = out / "peptides" / "Ace-A-Nme.json"
    before = stored.stat().st_mtime_ns
    assert evaluated(cases, "good", out) == first
    assert stored.stat().st_mtime_ns == before  # nothing has changed: not done again
    run = RunFolder.open(cases["good"])
    t = run.trajectory()
    again = copy(md, tmp_path / "grown", t.positions, t.energies)
    argv = ["evaluate", str(again), "--reference", str(cases["reference"]), "--lag", "5", "--out", str(out), *QUIET]
    assert main(argv) == 0
    row = json.loads((out / "evaluation.json").read_text())["rows"][0]
    assert row["ess"] == pytest.approx(first["ess"])
    assert np.isfinite(row["measures"]["tica_w2"]["value"])
    assert stored.stat().st_mtime_ns > before
    data = json.loads(stored.read_text())
    data["row"]["ess"] = 12345.0
    stored.write_text(json.dumps(data))
    assert main(argv) == 2
    assert "was changed after this program wrote it" in capsys.readouterr().err
    assert json.loads(stored.read_text()) == data
    assert main([*argv, "--force"]) == 0
    assert json.loads((out / "evaluation.json").read_text())["rows"][0]["ess"] == pytest.approx(first["ess"])


def test_refusals(cases, tmp_path, capsys):
    ag = tmp_path / "ag"
    argv = ["sample", "AG", "--no-flow", "--samples", "16", "--chains", "2", "--warmup", "2", "--out", str(ag), *QUIET]
    assert main(argv) == 0
    reference = ["--reference", str(cases["reference"]), "--out"]
    assert main(["evaluate", str(ag), *reference, str(tmp_path / "x")]) == 2
    assert "needs one reference of AG under amber14-obc2 at 310 K, and 0 were given" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("keep")
    assert main(["evaluate", str(cases["good"]), *reference, str(full)]) == 2
    assert "no record of writing to it (it holds mine.txt)" in capsys.readouterr().err
    assert main(["evaluate", str(tmp_path / "none"), *reference, str(tmp_path / "y")]) == 2
