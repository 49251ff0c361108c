import json

import pytest
import torch

from synthetic_runs import alanine, alanine_run
from timewarp.commands import main
from timewarp.trajectories import RunFolder


def store(path, *, kind="chain", seed=3, frames=400, temperature=310.0, preset="amber14-obc2", summary=True):
    run = alanine_run(seed=seed, frames=frames)
    molecule = alanine()
    config = {"temperature_K": temperature, "preset": preset, "timestep_fs": 1.0, "seed": seed}
    folder = RunFolder.create(
        path, kind=kind, name="Ace-A-Nme", atoms=molecule.atoms, topology_pdb=molecule.pdb, config=config
    )
    positions, energies = run.positions.transpose(0, 1), run.energies.transpose(0, 1)
    if kind == "chain":
        folder.append(0, positions, energies, 10 * torch.arange(1, frames + 1), {})
        if summary:
            kernels = {"flow": {"proposed": 1600, "accepted": 1333, "acceptance_per_chain": [0.8, 0.9, 0.8, 0.83]}}
            folder.write_summary({"schema": 1, "kernels": kernels, "temperature_K": temperature, "preset": preset})
    else:
        for stream in range(4):
            one = slice(stream, stream + 1)
            folder.append(stream, positions[:, one], energies[:, one], 500 * torch.arange(1, frames + 1), {})
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    base = tmp_path_factory.mktemp("runs")
    store(base / "chain")
    store(base / "md", kind="md", seed=4)
    return base


def test_analyse_prints_a_table_and_writes_json(runs, capsys):
    assert main(["analyse", str(runs / "chain"), "--quiet"]) == 0
    shown = capsys.readouterr().out
    for text in ("phi_1", "R-hat", "ESS", "kernel flow: accepted 83.3 %", "mean energy", "trusted"):
        assert text in shown
    data = json.loads((runs / "chain" / "analysis.json").read_text())
    assert data["n_samples"] == 1600
    assert data["verdict"]["level"] == "trust"
    assert data["comparison"] is None


def test_analyse_beside_md_with_discard_and_stride(runs, tmp_path, capsys):
    out = tmp_path / "deep" / "a.json"
    command = ["analyse", str(runs / "chain"), "--reference", str(runs / "md"), "--out", str(out)]
    assert main([*command, "--discard", "20", "--stride", "2"]) == 0
    shown = capsys.readouterr()
    assert "JSD" in shown.out
    assert "analysing torsions" in shown.err
    data = json.loads(out.read_text())
    assert data["n_frames"] == 190
    assert data["frame_spacing"] == 20
    assert 0 < data["comparison"]["jsd"]["phi_1"]["floor"] < 0.5


def test_analyse_of_md_alone_uses_picoseconds(runs, capsys):
    assert main(["analyse", str(runs / "md"), "--quiet"]) == 0
    assert "IAT/ps" in capsys.readouterr().out
    data = json.loads((runs / "md" / "analysis.json").read_text())
    assert (data["n_chains"], data["frame_spacing"], data["kernels"]) == (4, 0.5, [])


def test_report_writes_a_page_and_says_where(runs, tmp_path, capsys):
    out = tmp_path / "page"
    assert main(["report", str(runs / "chain"), "--reference", str(runs / "md"), "--out", str(out), "--quiet"]) == 0
    assert capsys.readouterr().out.strip() == str(out / "index.html")
    page = (out / "index.html").read_text()
    assert "0.8 ns of reference MD (4 chains)" in page
    assert (out / "ramachandran.png").stat().st_size > 5000
    assert json.loads((out / "analysis.json").read_text())["comparison"] is not None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["analyse", "{runs}/none"], "no such run folder"),
        (["analyse", "{runs}"], "not a run folder"),
        (["report", "{runs}/chain", "--discard", "395"], "at least 8 are needed"),
        (["report", "{runs}/chain", "--discard", "500"], "none left after 500 discarded"),
        (["analyse", "{runs}/chain", "--reference", "{runs}/warm"], "at the same temperature"),
        (["analyse", "{runs}/chain", "--reference", "{runs}/other"], "amber14-vacuum"),
        (["report", "{runs}/chain", "--out", "{runs}/chain/config.toml"], "is a file"),
    ],
)
def test_bad_requests_are_one_line(runs, capsys, arguments, message):
    if not (runs / "warm").exists():
        store(runs / "warm", kind="md", temperature=400.0, frames=10)
        store(runs / "other", kind="md", preset="amber14-vacuum", frames=10)
    assert main([a.format(runs=runs) for a in [*arguments, "--quiet"]]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_impossible_options_are_refused_before_any_work(runs, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["analyse", str(runs / "chain"), "--stride", "0"])
    assert stop.value.code == 2
    assert "argument --stride: must be a whole number of at least 1" in capsys.readouterr().err
