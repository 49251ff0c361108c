"""What `report` and `evaluate` say of made-up runs beside made-up MD, whose states, energies and speeds are known."""

import csv
import json

import numpy as np
import pytest
import torch

from synthetic_runs import alanine, alanine_run, hopping_run, with_torsions
from timewarp.analysis import torsion_angles
from timewarp.commands import main
from timewarp.judging import judge_run
from timewarp.report import ramachandran_plot
from timewarp.trajectories import RunFolder

MOLECULE = "Ace-A-Nme"
PAGES = (("chain", "mixed"), ("stuck", "md"))
"""Runs of which there is a page with figures."""


def store(path, run, *, kind="chain", dynamics=True, wall_s=2.0, preset="amber14-obc2"):
    """A made-up run on disk."""
    m = alanine()
    config = {"temperature_K": 310.0, "preset": preset, "timestep_fs": 2.0, "seed": 0, "dynamics": dynamics}
    folder = RunFolder.create(path, kind=kind, name=MOLECULE, atoms=m.atoms, topology_pdb=m.pdb, config=config)
    positions, energies = run.positions.transpose(0, 1), run.energies.transpose(0, 1)
    folder.append(0, positions, energies, 10 * torch.arange(1, len(positions) + 1), {})
    row = {"proposed": 1600, "accepted": 1200, "acceptance_per_chain": [0.7, 0.8, 0.75, 0.75], "jump": 0.8}
    counted = {"n_samples" if kind == "chain" else "frames": run.energies.numel(), "wall_s": wall_s}
    folder.write_summary({"schema": 1, **counted, **({"kernels": {"flow": row}} if kind == "chain" else {})})
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    base = tmp_path_factory.mktemp("beside")
    store(base / "chain", alanine_run(seed=3, frames=400))
    hopping = hopping_run(8)
    hopping.positions = hopping.positions + 1e-3 * torch.randn(
        hopping.positions.shape, generator=torch.Generator().manual_seed(0)
    )
    store(base / "md", hopping, kind="md", wall_s=1000.0)
    store(base / "mixed", alanine_run(seed=4, frames=400), kind="md", wall_s=200.0)
    stuck = alanine_run(seed=5, frames=400)
    rng = np.random.default_rng(0)
    shape = (4, 400)
    wanted = {"phi_1": torch.tensor(-1.2 + 0.2 * rng.normal(size=shape))}
    wanted["psi_1"] = torch.tensor(2.6 + 0.2 * rng.normal(size=shape))
    m = alanine()
    stuck.positions = with_torsions(m.start_positions, m.atoms, wanted).float()
    store(base / "stuck", stuck)
    hot = alanine_run(seed=6, frames=400)
    hot.energies = hot.energies + 10.0
    store(base / "hot", hot)
    return base


@pytest.fixture(scope="module")
def judged(runs, tmp_path_factory):
    """`analysis.json` of a run beside a reference, and the folder of its report where one is made."""
    made = {}

    def judge(run, reference):
        if (run, reference) not in made:
            out = tmp_path_factory.mktemp("report") / "out"
            argv = [str(runs / run), "--lag", "0.1", "--quiet", "--out", str(out)]
            argv += ["--reference", str(runs / reference)] if reference else []
            with_page = (run, reference) in PAGES
            formats = ["--format", "png", "--format", "svg"] if with_page else []
            assert main(["report" if with_page else "analyse", *argv, *formats]) == 0
            made[run, reference] = json.loads((out / "analysis.json" if with_page else out).read_text()), out
        return made[run, reference]

    return judge


def test_planes_tell_agreement_from_disagreement(judged):
    good, folder = judged("chain", "mixed")
    bad, _ = judged("stuck", "mixed")
    row = good["comparison"]["jsd_phi_psi"]["residue 1"]
    assert row["value"] < 1.2 * row["floor"]
    row = bad["comparison"]["jsd_phi_psi"]["residue 1"]
    assert row["value"] > 1.5 * row["floor"]
    assert (folder / "ramachandran.png").stat().st_size > 10_000


def test_a_dipeptide_has_a_plane_across_its_peptide_bond(tmp_path):
    options = "--length 0.02 --replicas 4 --frame-spacing 0.1 --burn-in 1 --threads 1 --quiet"
    for name, seed in (("md", "1"), ("run", "2")):
        assert main(["simulate", "AK", *options.split(), "--seed", seed, "--out", str(tmp_path / name)]) == 0
    judged = judge_run(RunFolder.open(tmp_path / "run"), RunFolder.open(tmp_path / "md"))
    assert list(judged.comparison["jsd_phi_psi"]) == ["residues 1 and 2"]
    (panel,) = ramachandran_plot({"MD": torsion_angles(judged.trajectory)}).panels
    assert panel.label == "Ramachandran plot of residues 1 and 2, MD"


def test_free_energies_of_both(judged):
    data, folder = judged("chain", "mixed")
    for basin in (data["phi_basins"]["phi_1"], data["comparison"]["phi_basins"]["phi_1"]["reference"]):
        # Of the made-up states one in five has phi > 0: ln 4.
        assert basin["delta_F"] == pytest.approx(np.log(4), abs=0.3)
    profiles, theirs = data["profiles"], data["comparison"]["profiles"]
    assert set(theirs) == {"phi_1", "psi_1"}
    assert set(profiles) == {"degrees", *theirs}
    assert profiles["degrees"][:2] == [-177.5, -172.5]
    for row in (profiles["psi_1"], theirs["psi_1"]):
        assert min(v for v in row["free_energy_kT"] if v is not None) == 0
        assert len(row["error_kT"]) == 72
    assert 0 < theirs["psi_1"]["difference_kT"] < 1.5
    assert 0 < theirs["psi_1"]["difference_errors"] < 5
    assert (folder / "free_energy.svg").read_text().count("<path") > 20


def test_energies_and_bonds(judged):
    same, folder = judged("chain", "mixed")
    energy = same["comparison"]["energy"]
    assert energy["w2_kT"] < 3 * energy["floor_kT"]
    scores = [abs(row[f"z_{part}"]) for row in same["comparison"]["bonded"] for part in ("mean", "sd")]
    assert max(scores) < 4.5
    assert {row["kind"] for row in same["comparison"]["bonded"]} == {"bond", "angle"}
    assert (folder / "bonded.png").exists()
    other, _ = judged("hot", "mixed")
    assert other["comparison"]["energy"]["w2_kT"] > 3.0  # 10 kJ/mol are 3.9 kT


def test_slow_coordinates_name_the_state_that_a_chain_misses(judged):
    """MD that hops on its own time; the chain stays in one place."""
    data, folder = judged("stuck", "md")
    slow, comparison = data["slow"], data["comparison"]
    assert (slow["fitted_to"], slow["unit"], slow["lag"]) == ("reference", "ps", pytest.approx(0.1))
    # -1 / ln(1 - 3 x 0.02) frames of 0.02 ps
    assert slow["timescales"][0] == pytest.approx(16.2 * 0.02, rel=0.25)
    assert len(slow["implied_timescales"]) == len(slow["implied_lags"]) > 5
    assert slow["ess_tic_1"].keys() == slow["states"].keys() == {"run", "reference"}
    assert comparison["states"]["missed"] == [1]
    assert comparison["states"]["first_met"] == [1, None]
    assert slow["states"]["run"][1]["population"] == 0
    assert slow["states"]["reference"][1]["population"] == pytest.approx(1 / 3, abs=0.05)
    row = comparison["measures"]["jsd_tica"]
    assert row["value"] > 3 * row["floor"]
    (check,) = [c for c in data["verdict"]["checks"] if c["name"] == "metastable states vs reference"]
    assert check["status"] == "fail"
    assert "state 2" in check["text"]
    page = (folder / "index.html").read_text()
    for text in ("Distance from the reference", "TICA-W2", "Implied time scales", "id='states-table'"):
        assert text in page


def test_without_a_reference_the_run_has_slow_coordinates_of_its_own(judged):
    data, _ = judged("md", None)
    assert data["slow"]["fitted_to"] == "run"
    assert data["slow"]["states"].keys() == {"run"}
    assert data["seconds"] == 1000.0


def test_speed_is_the_ratio_of_effective_samples_per_second(judged):
    data, _ = judged("chain", "md")
    fast = data["comparison"]["speed"]["phi_1 > 0"]
    assert fast["sign"] == "="
    # 1,600 independent samples in 2 s, against some 24,000 x 0.031 in 1,000 s.
    assert fast["ratio"] == pytest.approx(800 / (24_000 * 0.031 / 1000), rel=0.5)
    assert fast["run"]["per_second"] / fast["reference"]["per_second"] == pytest.approx(fast["ratio"])
    assert fast["paper_ratio"] == pytest.approx(fast["ratio"], rel=0.5)
    assert set(data["comparison"]["speed"]) == {"TIC 1", "phi_1 > 0", "phi_1", "psi_1"}
    still, folder = judged("stuck", "md")
    assert still["comparison"]["speed"]["phi_1 > 0"]["sign"] == "<"
    assert (folder / "speed.png").stat().st_size > 5_000
    assert "id='speed-table'" in (folder / "index.html").read_text()


def test_there_is_no_speed_where_time_means_nothing_or_is_not_known(runs, tmp_path):
    m = alanine_run(seed=8, frames=400)
    store(tmp_path / "moves", m, kind="md", dynamics=False)
    store(tmp_path / "grown", m, kind="md")
    folder = RunFolder.open(tmp_path / "grown")
    folder.write_summary({**folder.summary(), "frames": 800})  # half of what was there when it was timed
    for name in ("moves", "grown"):
        out = tmp_path / "out" / name
        argv = ["analyse", str(runs / "chain"), "--reference", str(tmp_path / name), "--quiet", "--out", str(out)]
        assert main(argv) == 0
        data = json.loads(out.read_text())
        assert data["comparison"]["speed"] is None
        assert data["seconds"] == 2.0


def test_acceptance_of_each_kernel_and_chain(judged):
    data, folder = judged("chain", "mixed")
    (row,) = data["kernels"]
    assert (row["name"], row["acceptance"], row["jump"]) == ("flow", 0.75, 0.8)
    assert row["per_chain"] == [0.7, 0.8, 0.75, 0.75]
    assert (folder / "acceptance.png").exists()


def test_evaluate_has_speed_ups_of_several_runs_and_agrees_with_the_report(runs, judged, tmp_path, capsys):
    out = tmp_path / "evaluation"
    argv = ["evaluate", str(runs / "chain"), str(runs / "stuck"), "--reference", str(runs / "md"), "--lag", "0.1"]
    assert main([*argv, "--out", str(out), "--quiet"]) == 0
    shown = capsys.readouterr().out
    assert "speed-up" in shown
    assert "(stuck, slowest coordinate; < and > are bounds)" in shown
    rows = json.loads((out / "evaluation.json").read_text())["rows"]
    for row, run in zip(rows, ("chain", "stuck"), strict=True):
        data, _ = judged(run, "md")
        assert row["measures"] == data["comparison"]["measures"]
        assert row["speed"] == data["comparison"]["speed"]
        assert row["level"] == data["verdict"]["level"]
        assert row["states"] == data["comparison"]["states"]
    assert rows[0]["ess_per_second"] == pytest.approx(rows[0]["ess"] / 2.0)
    assert rows[1]["speed_up_sign"] == "<"
    with open(out / "evaluation.csv") as lines:
        first, second = csv.DictReader(lines)
    assert float(first["speed_up"]) == pytest.approx(rows[0]["speed_up"])
    assert second["speed_up_sign"] == "<"
    assert "&lt; " in (out / "index.html").read_text()


def test_a_reference_too_short_for_slow_coordinates_is_compared_all_the_same(runs, tmp_path):
    store(tmp_path / "short", alanine_run(seed=9, frames=30), kind="md")
    out = tmp_path / "out.json"
    argv = ["analyse", str(runs / "chain"), "--reference", str(tmp_path / "short"), "--quiet", "--out", str(out)]
    assert main(argv) == 0
    comparison = json.loads(out.read_text())["comparison"]
    assert set(comparison["measures"]) == {"energy_w2", "torsion_w2", "jsd_torsion", "jsd_phi_psi", "delta_F"}
    assert comparison["states"] == {"populations": [], "missed": [], "found": 0, "first_met": []}
    argv = ["evaluate", str(runs / "chain"), "--reference", str(tmp_path / "short"), "--quiet", "--out"]
    assert main([*argv, str(tmp_path / "evaluation")]) == 0
    (row,) = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())["rows"]
    assert row["steps_to_states"] is None
