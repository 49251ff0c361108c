"""Trajectory files of other programs where a run folder is expected: as reference, and as training data."""

import json

import pytest
import torch

from timewarp.commands import main
from timewarp.training import load_pairs, load_training_data
from timewarp.trajectories import RunFolder, export, read_frames


@pytest.fixture(scope="module", params=["AG", "Ace-P-Nme"])
def base(request, tmp_path_factory):
    """A run, and the frames of another one as a DCD file."""
    folder = tmp_path_factory.mktemp("foreign")
    for name, seed in (("run", "1"), ("other", "2")):
        small = ("--samples", "256", "--chains", "4", "--warmup", "4", "--no-flow", "--threads", "1", "--quiet")
        assert main(["sample", request.param, *small, "--seed", seed, "--out", str(folder / name)]) == 0
    whole = RunFolder.open(folder / "other").trajectory()
    frames = whole.positions.flatten(0, 1)[None]
    joined = type(whole)(
        whole.atoms, frames, whole.energies.reshape(1, -1), torch.arange(256), 1.0, "step", "chain", whole.name
    )
    pdb = RunFolder.open(folder / "other").topology_pdb
    export(joined, folder / "mine.dcd", topology_pdb=pdb, superposed=False)
    (folder / "topology.pdb").rename(folder / "mine.pdb")
    return folder


def foreign(base) -> list[str]:
    return [str(base / "mine.dcd"), "--top", str(base / "mine.pdb")]


@pytest.mark.parametrize("verb", ["analyse", "report"])
def test_as_reference(base, tmp_path, verb, capsys):
    out = tmp_path / "out"
    target = out if verb == "report" else out.with_suffix(".json")
    assert main([verb, str(base / "run"), "--reference", *foreign(base), "--out", str(target)]) == 0
    said = capsys.readouterr()
    assert ("index.html" if verb == "report" else "written to") in said.out
    written = json.loads((target / "analysis.json" if verb == "report" else target).read_text())
    assert written["reference"] == str(base / "mine.dcd")
    assert written["comparison"]["jsd"]
    same = tmp_path / "same.json"
    assert main(["analyse", str(base / "run"), "--reference", str(base / "other"), "--quiet", "--out", str(same)]) == 0
    folder = json.loads(same.read_text())
    for name, row in folder["comparison"]["jsd"].items():
        assert written["comparison"]["jsd"][name]["value"] == pytest.approx(row["value"], rel=1e-3, abs=1e-5)


def test_evaluate(base, tmp_path):
    rows = []
    for number, reference in enumerate((foreign(base), [str(base / "other")])):
        out = tmp_path / str(number)
        assert main(["evaluate", str(base / "run"), "--reference", *reference, "--out", str(out), "--quiet"]) == 0
        rows += json.loads((out / "evaluation.json").read_text())["rows"]
    assert [row["reference_frames"] for row in rows] == [256, 256]
    for name in ("energy_w2", "torsion_w2"):
        one, other = (row["measures"][name]["value"] for row in rows)
        assert one == pytest.approx(other, rel=1e-3), "the same frames, from a file and from a folder"


def test_refusals_are_one_line(base, capsys):
    assert main(["analyse", str(base / "run"), "--reference", str(base / "mine.dcd")]) == 2
    assert "--top" in capsys.readouterr().err
    other = "AV" if RunFolder.open(base / "run").name == "AG" else "AG"
    small = ("--samples", "8", "--chains", "4", "--warmup", "2", "--no-flow", "--quiet")
    assert main(["sample", other, *small, "--out", str(base / "third")]) == 0
    capsys.readouterr()
    assert main(["analyse", str(base / "third"), "--reference", *foreign(base)]) == 2
    error = capsys.readouterr().err
    assert "mine.dcd" in error
    assert "expected" in error or "bonded otherwise" in error
    assert "Traceback" not in error


def test_train(base, tmp_path, capsys):
    out = tmp_path / "model"
    command = ["train", *foreign(base), "--out", str(out), "--steps", "4", "--batch-size", "16", "--threads", "1"]
    assert main(command) == 0
    captured = capsys.readouterr()
    assert "taken for frames at 310 K" in captured.err
    assert "estimated acceptance" in captured.out, "the compiled energy came with the frames"
    name = RunFolder.open(base / "run").name
    assert f"timewarp sample {name} --model" in captured.out


def test_training_data_bring_their_energy(base):
    frames = read_frames(base / "mine.dcd", base / "mine.pdb", spacing_ps=2.0)
    data = load_training_data([frames])
    assert data.parameters is frames.parameters
    assert len(data.train) + len(data.validation) == 256
    pairs = load_pairs([frames], 4.0)
    assert pairs.parameters == (frames.parameters,)
    assert pairs.train.runs[0].lag_frames == 2
    with pytest.raises(ValueError, match="do not say how far apart"):
        load_pairs([read_frames(base / "mine.dcd", base / "mine.pdb")], 4.0)
    run = RunFolder.open(base / "run")
    by_path, opened = load_training_data([base / "run"]), load_training_data([run])
    assert torch.equal(by_path.train, opened.train)
    assert by_path.parameters is not None
    with pytest.raises(ValueError, match="at least one run folder"):
        load_training_data([])
