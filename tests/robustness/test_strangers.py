"""No verb changes a byte of a file that it did not make, and what it made it replaces only for the same run."""

import json
import shutil

import pytest
import torch
from fuzz import CHAIN, MD, TRAIN, make_inputs
from program_calls import call, hashes

from timewarp.files import exclusive
from timewarp.trajectories import RunFolder

NAMES = (
    "index.html", "analysis.json", "evaluation.json", "evaluation.csv", "conditional.json", "conditional.png",
    "ramachandran.png", "chain-000.dcd", "chain-001.dcd", "topology.pdb", "summary.json", "config.toml", "curves.png",
    "model.safetensors", "thesis.part", "film.mkv.part", "atoms.json", "energy.safetensors",
)  # fmt: skip


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("robust") / "inputs"
    folder.mkdir()
    make_inputs(folder)
    return folder


def fill(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        if not (folder / name).exists():
            (folder / name).write_text(f"a stranger's {name}")
    (folder / "peptides").mkdir(exist_ok=True)
    (folder / "peptides" / "Ace-A-Nme.json").write_text("a stranger's row")


def commands(inputs, out):
    chain, md = str(inputs / "chain"), str(inputs / "md")
    return {
        "report": ["report", chain, "--out", out, "--quiet"],
        "evaluate": ["evaluate", chain, "--reference", md, "--out", out, "--quiet"],
        "conditional": ["conditional", md, "--n", "4", "--md-runs", "4", "--lag", "0.05", "--threads", "1", "--out",
                        out, "--quiet"],
        "export": ["export", chain, "--out", out],
        "analyse": ["analyse", chain, "--out", f"{out}/analysis.json", "--quiet"],
        "pack": ["pack", md, "--out", f"{out}/model.safetensors"],
        "sample": ["sample", *CHAIN, "--samples", "8", "--out", out, "--quiet"],
        "simulate": ["simulate", *MD, "--length", "0.001", "--out", out, "--quiet"],
        "train": ["train", md, "--config", str(inputs / "training.toml"), "--out", out, *TRAIN],
        "explore": ["explore", "Ace-A-Nme", "--chains", "2", "--samples", "4", "--out", out, "--quiet"],
    }  # fmt: skip


VERBS = ["report", "evaluate", "conditional", "export", "analyse", "pack", "sample", "simulate", "train", "explore"]


@pytest.mark.parametrize("verb", VERBS)
def test_files_of_others_stay(inputs, tmp_path, verb):
    fill(tmp_path / "out")
    before = hashes(tmp_path)
    ended = call(commands(inputs, str(tmp_path / "out"))[verb], 60)
    assert ended.code == 2, ended
    assert not ended.fault
    assert hashes(tmp_path) == before


def test_force_replaces_what_it_writes_and_nothing_else(inputs, tmp_path):
    fill(tmp_path / "out")
    before = hashes(tmp_path)
    for verb in ("evaluate", "export", "analyse", "pack"):
        assert call([*commands(inputs, str(tmp_path / "out"))[verb], "--force"], 60).code == 0
    after = hashes(tmp_path)
    assert {name for name in before if before[name] != after[name]} == {
        "out/index.html", "out/evaluation.json", "out/evaluation.csv", "out/peptides/Ace-A-Nme.json",
        "out/chain-000.dcd", "out/chain-001.dcd", "out/topology.pdb", "out/analysis.json", "out/model.safetensors",
    }  # fmt: skip


def test_strangers_in_a_run_folder_stay_when_it_goes_on(inputs, tmp_path):
    run = tmp_path / "chain"
    shutil.copytree(inputs / "chain", run)
    for name in ("thesis.part", "film.mkv.part", "config.toml.bak", "segments/notes.1.part"):
        (run / name).write_text("mine")
    (run / "config.toml.4711.timewarp-part").write_text("left by a kill")
    assert call(["sample", *CHAIN, "--samples", "160", "--out", str(run), "--quiet"]).code == 0
    assert {n for n, data in hashes(run).items() if data == b"mine"} == {
        "thesis.part", "film.mkv.part", "config.toml.bak", "segments/notes.1.part",
    }  # fmt: skip
    assert not (run / "config.toml.4711.timewarp-part").exists()


def test_the_own_is_replaced_of_the_same_run_alone(inputs, tmp_path):
    out = str(tmp_path / "out")
    export = ["export", str(inputs / "chain"), "--out", out]
    assert call(export).code == call(export).code == 0
    before = hashes(tmp_path)
    other = call(["export", str(inputs / "md"), "--out", out])
    assert "is of something else" in other.err
    (tmp_path / "out" / "chain-001.dcd").write_bytes(b"edited")
    assert "was changed after" in call(export).err
    changed = hashes(tmp_path)
    assert {name for name in before if before[name] != changed[name]} == {"out/chain-001.dcd"}


def test_a_pack_replaces_a_pack_of_its_peptides_alone(inputs, tmp_path):
    target = tmp_path / "set.safetensors"
    for own in ("energy.safetensors", "segments/s000-000000.safetensors"):
        shutil.copyfile(inputs / "md" / own, target)
        assert "is not a training set" in call(["pack", str(inputs / "md"), "--out", str(target)]).err
        assert target.read_bytes() == (inputs / "md" / own).read_bytes()
    shutil.copyfile(inputs / "set.safetensors", target)
    assert call(["pack", str(inputs / "md"), "--out", str(target)]).code == 0


def test_a_refused_command_alters_nothing(inputs, tmp_path):
    run = tmp_path / "md"
    shutil.copytree(inputs / "md", run)
    before = hashes(run)
    with exclusive(run):
        ended = call(["simulate", *MD, "--length", "0.05", "--out", str(run), "--quiet"])
    assert "another process is writing" in ended.err
    after = hashes(run)
    assert {name for name in after if after[name] != before.get(name)} <= {".lock"}


@pytest.mark.parametrize("verb", ["report", "evaluate", "conditional", "export", "analyse", "train"])
def test_two_writers(inputs, tmp_path, verb):
    from timewarp.publishing import PUBLISH_LOCK

    out = tmp_path / "out"
    out.mkdir()
    with exclusive(out, ".lock" if verb == "train" else PUBLISH_LOCK):
        ended = call(commands(inputs, str(out))[verb], 60)
    assert ended.code == 2
    assert "another process is writing" in ended.err


def test_a_report_that_was_killed_is_written_again(inputs, tmp_path):
    out = tmp_path / "out"
    (out / ".timewarp-4711-work").mkdir(parents=True)
    (out / ".timewarp-4711-work" / "ramachandran.png").write_text("half")
    (out / ".timewarp.lock").write_text("")
    assert call(commands(inputs, str(out))["report"], 60).code == 0
    assert not (out / ".timewarp-4711-work").exists()
    assert (out / "index.html").is_file()


def test_a_mirror_image_is_another_molecule(inputs, tmp_path):
    run = RunFolder.open(inputs / "chain")
    lines = [
        f"{line[:30]}{-float(line[30:38]):8.3f}{line[38:]}" if line.startswith(("ATOM", "HETATM")) else line
        for line in run.topology_pdb.splitlines()
    ]
    mirrored = "\n".join(lines) + "\n"
    with pytest.raises(FileExistsError, match="the handedness of ALA 1"):
        RunFolder.create(
            inputs / "chain", kind="chain", name=run.name, atoms=run.atoms, topology_pdb=mirrored, config=run.config
        )
    other = RunFolder.create(
        tmp_path / "mirror", kind="md", name=run.name, atoms=run.atoms, topology_pdb=mirrored,
        config=RunFolder.open(inputs / "md").config,
    )  # fmt: skip
    t = RunFolder.open(inputs / "md").trajectory()
    flip = torch.tensor([-1.0, 1.0, 1.0])
    other.append(0, t.positions.transpose(0, 1) * flip, t.energies.T, t.steps, {})
    for argv in (
        ["evaluate", str(inputs / "chain"), "--reference", str(other.path), "--out", str(tmp_path / "e"), "--quiet"],
        ["analyse", str(inputs / "chain"), "--reference", str(other.path), "--out", str(tmp_path / "a"), "--quiet"],
        ["train", str(inputs / "md"), str(other.path), "--config", str(inputs / "training.toml"), "--out",
         str(tmp_path / "t"), "--quiet"],
    ):  # fmt: skip
        assert "stereoisomer" in call(argv).err, argv


def test_rows_of_other_frames_are_made_again(inputs, tmp_path):
    shutil.copytree(inputs / "chain", tmp_path / "chain")
    argv = [
        "evaluate",
        str(tmp_path / "chain"),
        "--reference",
        str(inputs / "md"),
        "--out",
        str(tmp_path / "e"),
        "--quiet",
    ]
    assert call(argv, 60).code == 0
    first = json.loads((tmp_path / "e" / "evaluation.json").read_text())["rows"][0]
    run = RunFolder.open(tmp_path / "chain")
    t = run.trajectory()
    last = run.last_state(0)
    for file in run.segment_files:
        file.unlink()
    again = RunFolder.open(tmp_path / "chain")
    again.append(0, t.positions.transpose(0, 1), t.energies.T + 50, t.steps, last)
    assert call(argv, 60).code == 0
    second = json.loads((tmp_path / "e" / "evaluation.json").read_text())["rows"][0]
    assert first["measures"]["energy_w2"] != second["measures"]["energy_w2"]
