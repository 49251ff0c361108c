"""Each experiment end to end on small runs: its numbers, its figure, and what it refuses."""

import json

import numpy as np
import pytest
import torch

from synthetic_runs import alanine, alanine_run, hopping_run, with_torsions
from timewarp.commands import main
from timewarp.trajectories import RunFolder

MOLECULE = "Ace-A-Nme"


def store(path, run, *, kind="chain", kernels=True, dynamics=True, wall_s=2.0, preset="amber14-obc2"):
    """A made-up run on disk."""
    m = alanine()
    config = {"temperature_K": 310.0, "preset": preset, "timestep_fs": 2.0, "seed": 0, "dynamics": dynamics}
    folder = RunFolder.create(path, kind=kind, name=MOLECULE, atoms=m.atoms, topology_pdb=m.pdb, config=config)
    positions, energies = run.positions.transpose(0, 1), run.energies.transpose(0, 1)
    folder.append(0, positions, energies, 10 * torch.arange(1, len(positions) + 1), {})
    row = {"proposed": 1600, "accepted": 1200, "acceptance_per_chain": [0.7, 0.8, 0.75, 0.75], "jump": 0.8}
    folder.write_summary({"schema": 1, "wall_s": wall_s, **({"kernels": {"flow": row}} if kernels else {})})
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    base = tmp_path_factory.mktemp("experiments")
    store(base / "chain", alanine_run(seed=3, frames=400))
    store(base / "md", alanine_run(seed=4, frames=400), kind="md", kernels=False, wall_s=200.0)
    one_state = alanine_run(seed=5, frames=400)
    phi = np.full((4, 400), -1.2)
    one_state.positions = _at(phi, one_state)
    store(base / "stuck", one_state)
    return base


def _at(phi, run):
    rng = np.random.default_rng(0)
    psi = 2.6 + 0.2 * rng.normal(size=phi.shape)
    wanted = {"phi_1": torch.tensor(phi + 0.2 * rng.normal(size=phi.shape)), "psi_1": torch.tensor(psi)}
    m = alanine()
    return with_torsions(m.start_positions, m.atoms, wanted).float()


@pytest.fixture(scope="module")
def dynamics(tmp_path_factory):
    """A little real MD."""
    out = tmp_path_factory.mktemp("md") / "md"
    options = "--length 0.16 --replicas 8 --frame-spacing 0.5 --burn-in 2 --threads 1 --quiet"
    assert main(["simulate", MOLECULE, *options.split(), "--out", str(out)]) == 0
    return out


def experiment(name, run, *options, out):
    assert main(["experiment", name, str(run), *map(str, options), "--quiet", "--out", str(out)]) == 0
    return json.loads((out / f"{name}.json").read_text())


def test_ramachandran_tells_agreement_from_disagreement(runs, tmp_path, capsys):
    good = experiment("ramachandran", runs / "chain", "--reference", runs / "md", out=tmp_path / "good")
    bad = experiment("ramachandran", runs / "stuck", "--reference", runs / "md", out=tmp_path / "bad")
    assert good["planes"]["residue 1"]["jsd"] < 1.2 * good["planes"]["residue 1"]["floor"]
    assert bad["planes"]["residue 1"]["jsd"] > 1.5 * bad["planes"]["residue 1"]["floor"]
    assert (tmp_path / "good" / "ramachandran.png").stat().st_size > 10_000
    assert "JSD" in capsys.readouterr().out


def test_a_dipeptide_has_a_plane_across_its_peptide_bond(tmp_path, capsys):
    options = "--length 0.02 --replicas 4 --frame-spacing 0.1 --burn-in 1 --threads 1 --quiet"
    assert main(["simulate", "AK", *options.split(), "--out", str(tmp_path / "md")]) == 0
    data = experiment("ramachandran", tmp_path / "md", out=tmp_path / "out")
    assert list(data["planes"]) == ["residues 1 and 2"]
    assert (tmp_path / "out" / "ramachandran.png").stat().st_size > 10_000


def test_free_energy_of_both(runs, tmp_path, capsys):
    data = experiment("free-energy", runs / "chain", "--reference", runs / "md", "--format", "svg", out=tmp_path)
    assert set(data["profiles"]) == {"phi_1", "psi_1"}
    for run in ("chain", "MD"):
        # Of the made-up states one in five has phi > 0: ln 4.
        assert data["profiles"]["phi_1"]["basins"][run]["delta_F"] == pytest.approx(np.log(4), abs=0.3)
        assert min(v for v in data["profiles"]["psi_1"][run]["free_energy_kT"] if v is not None) == 0
    assert (tmp_path / "free-energy.svg").read_text().count("<path") > 20
    assert "largest difference" in capsys.readouterr().out


def test_energies_and_bonds(runs, tmp_path):
    same = experiment("energies", runs / "chain", "--reference", runs / "md", out=tmp_path / "a")
    assert same["energy_w2_kT"] < 3 * same["energy_w2_floor_kT"]
    assert same["largest_z"] < 4.5
    assert {row["kind"] for row in same["bonded"]} == {"bond", "angle"}
    assert (tmp_path / "a" / "bonds.png").exists()
    hot = alanine_run(seed=6, frames=400)
    hot.energies = hot.energies + 10.0
    store(tmp_path / "hot", hot)
    other = experiment("energies", tmp_path / "hot", "--reference", runs / "md", out=tmp_path / "b")
    assert other["energy_w2_kT"] > 3.0  # 10 kJ/mol are 3.9 kT


def test_tica_on_md_and_a_chain_that_misses_a_state(dynamics, tmp_path, capsys):
    data = experiment("tica", dynamics, "--reference", dynamics, "--lag", "1", out=tmp_path / "self")
    assert data["jsd"] == 0
    assert data["missed"] == []
    assert data["lag_ps"] == 1
    assert all(0 < row["population"] <= 1 for rows in data["states"].values() for row in rows)
    assert "TICA-W2" in capsys.readouterr().out


def test_tica_names_the_state_that_a_chain_misses(runs, tmp_path, capsys):
    """MD that hops on its own time; the chain stays in one place."""
    store(tmp_path / "md", hopping_run(), kind="md", kernels=False)
    data = experiment("tica", runs / "stuck", "--reference", tmp_path / "md", "--lag", "0.1", out=tmp_path / "out")
    assert [row["state"] for row in data["missed"]] == [2]
    assert "MISSED     state 2" in capsys.readouterr().out
    assert data["jsd"] > 3 * data["jsd_floor"]


def test_speed_is_the_ratio_of_effective_samples_per_second(runs, tmp_path, capsys):
    md = store(tmp_path / "md", hopping_run(), kind="md", kernels=False, wall_s=1000.0)
    data = experiment("speed", runs / "chain", runs / "stuck", "--reference", md, "--lag", "0.1", out=tmp_path / "out")
    fast, still = (data["speed_up"]["phi_1 > 0"][name] for name in ("chain", "stuck"))
    assert fast["sign"] == "="
    # 1,600 independent samples in 2 s, against some 24,000 x 0.031 in 1,000 s.
    assert fast["ratio"] == pytest.approx(800 / (24_000 * 0.031 / 1000), rel=0.5)
    assert still["sign"] == "<"
    assert (tmp_path / "out" / "speed.png").stat().st_size > 5_000
    assert "effective samples per second" in capsys.readouterr().out


def test_acceptance_of_several_runs(runs, tmp_path, capsys):
    data = experiment("acceptance", runs / "chain", runs / "stuck", out=tmp_path)
    (row,) = data["runs"][str(runs / "chain")]
    assert (row["name"], row["acceptance"], row["jump"]) == ("flow", 0.75, 0.8)
    assert len(list(tmp_path.glob("acceptance-*.png"))) == 2
    assert "70" in capsys.readouterr().out


def test_conditional_of_a_shipped_network_beside_fresh_md(dynamics, tmp_path, capsys):
    options = ("--model", "ala2", "--n", 200, "--md-runs", 64, "--lag", 2, "--threads", 1, "--frame", 5, "--chain", 1)
    data = experiment("conditional", dynamics, *options, out=tmp_path)
    assert (data["start"]["chain"], data["start"]["frame"], data["lag_ps"]) == (1, 5, 2)
    assert 0.5 < data["acceptance"]["value"] < 1
    assert data["md_runs"] == 64
    # In 2 ps MD has hardly left the state; the network, which redraws psi, has.
    assert data["jsd"]["psi_1"]["value"] > 0.1
    assert (tmp_path / "conditional.png").stat().st_size > 20_000
    again = experiment("conditional", dynamics, *options, out=tmp_path / "again")
    assert again["jsd"] == data["jsd"]
    assert "acceptance from this state" in capsys.readouterr().out


def test_exploration_beside_md(dynamics, tmp_path, capsys):
    explored = tmp_path / "explored"
    command = f"explore {MOLECULE} --samples 2000 --chains 20 --threads 1 --quiet --out {explored}"
    assert main(command.split()) == 0
    data = experiment("exploration", explored, "--reference", dynamics, out=tmp_path / "out")
    assert data["exploration"]["states"] > data["md"]["states"] >= 1
    assert data["md"]["only_in_exploration"] > 0
    assert (tmp_path / "out" / "exploration.png").exists()
    assert "biased" in capsys.readouterr().out
    foreign = store(tmp_path / "vacuum", alanine_run(seed=8), kind="md", preset="amber14-vacuum")
    assert main(["experiment", "exploration", str(explored), "--reference", str(foreign), "--quiet"]) == 2
    assert "is under amber14-vacuum and" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("speed {runs}/chain", "give its folder with --reference"),
        ("tica {runs}/chain", "TICA needs plain MD, and"),
        ("acceptance {runs}/md", "has no kernels in its summary.json"),
        ("exploration {runs}/chain", "give the folder of `timewarp explore`"),
        ("conditional {runs}/chain", "is a run of kind chain; give MD"),
        ("conditional {md} --frame 100000", "got chain 0, frame 100000"),
        ("tica {md} --lag 0.1", "is shorter than the frames"),
        ("tica {md} --lag 100", "give a shorter --lag, or longer MD"),
        ("ramachandran {runs}/nothing", "nothing"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(command, message, runs, dynamics, tmp_path, capsys):
    words = command.format(runs=runs, md=dynamics).split()
    assert main(["experiment", *words, "--quiet", "--out", str(tmp_path / "out")]) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_explorations_are_no_equilibrium(runs, tmp_path, capsys):
    biased = store(tmp_path / "explored", alanine_run(seed=8), kind="exploration")
    assert main(["experiment", "ramachandran", str(biased), "--quiet"]) == 2
    assert "biased" in capsys.readouterr().err


def test_md_with_torsion_moves_has_no_times(runs, tmp_path, capsys):
    md = store(tmp_path / "moves", alanine_run(seed=8), kind="md", dynamics=False)
    assert main(["experiment", "speed", str(runs / "chain"), "--reference", str(md), "--quiet"]) == 2
    assert "MD with torsion moves" in capsys.readouterr().err
