"""The recipes of the paper's networks for many peptides, from MD to chains, each made small in what only costs time."""

import tomllib
from pathlib import Path

import pytest

import timewarp as tw
from timewarp.files import read_json
from timewarp.flows import build_network
from timewarp.pretrained import load
from timewarp.training import TrainingSettings

CONFIGS = Path(__file__).parents[2] / "configs"
RECIPES = {
    "paper-2aa": (("AG", "SA"), "GS"),
    "paper-4aa": (("AGSA", "GAAG"), "SGAS"),
    "dipeptides-cartesian": (("AG", "SA"), "GS"),
}
"""Peptides to learn from, and one that the network has not seen."""
SMALL_FLOW = {"n_couplings": 2, "n_layers": 1, "width": 16, "feed_forward": 32, "mlp_hidden": 16, "embedding": 8}
SMALL = {"lag_ps": 0.4, "batch_size": 8, "warmup_steps": 2, "validation_every": 4, "validation_frames": 8}
STAGES = {
    "likelihood": {"steps": 8, "likelihood": 1.0},
    "all": {"steps": 4, "likelihood": 1.0, "acceptance": 0.1, "entropy": 0.01},
}


def small(name: str) -> dict:
    """The recipe with smaller numbers where they cost time; what kind of network and pairs it is stays."""
    table = tomllib.loads((CONFIGS / f"{name}.toml").read_text())["training"]
    table.pop("steps", None)
    return {**table, **SMALL, "stages": STAGES, "flow": {**table["flow"], **SMALL_FLOW}}


@pytest.mark.parametrize(("name", "parameters", "lag_ps"), [("paper-2aa", 106e6, 500), ("paper-4aa", 373e6, 50)])
def test_the_networks_have_the_size_that_they_say(name, parameters, lag_ps):
    settings = TrainingSettings.from_table(tomllib.loads((CONFIGS / f"{name}.toml").read_text())["training"])
    assert settings.lag_ps == lag_ps
    atoms = tw.System("AG").atoms
    few, more = (
        sum(p.numel() for p in build_network(atoms, "A", {**settings.flow, "n_couplings": n}).parameters())
        for n in (2, 4)
    )
    n_couplings = settings.flow["n_couplings"]
    assert few + (more - few) * (n_couplings - 2) // 2 == pytest.approx(parameters, rel=0.01)


def test_the_weights_to_go_on_from_are_of_the_recipe():
    settings = TrainingSettings.from_table(
        tomllib.loads((CONFIGS / "dipeptides-cartesian.toml").read_text())["training"]
    )
    atoms = tw.System("WM").atoms
    network = load(CONFIGS.parent / "data" / "dipeptides-cartesian", atoms).network
    assert network.config == build_network(atoms, "A", settings.flow).config


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_from_md_to_chains(name, tmp_path):
    learnt, unseen = RECIPES[name]
    common = {"preset": "amber14-obc1", "threads": 1}
    md = {"timestep_fs": 0.5, "friction_per_ps": 0.3, "burn_in_ps": 0.5, "frame_spacing_ps": 0.1, "length_ns": 0.02}
    runs = [tw.simulate(s, replicas=4, out=tmp_path / s, **md, **common) for s in learnt]
    model = tmp_path / "model"
    tw.train(runs, out=model, config=small(name), threads=1)
    rows = read_json(model / "curves.json")["rows"]
    assert [row["stage"] for row in rows] == ["likelihood"] * 2 + ["all"]
    atoms = tw.System(unseen).atoms
    network = load(model, atoms).network
    assert network.config.frame == tomllib.loads((CONFIGS / f"{name}.toml").read_text())["training"]["flow"].get(
        "frame", "bonds"
    )
    start = tw.simulate(unseen, replicas=4, out=tmp_path / unseen, **{**md, "length_ns": 0.004}, **common)
    chain = tw.sample(
        unseen, model=model, kernels="flow,hmc", samples=32, chains=4, warmup=2, proposals=2, start_from=start.path,
        out=tmp_path / "chain", **common,
    )  # fmt: skip
    assert chain.summary["kernels"]["flow"]["proposed"] >= 32
    explored = tw.explore(
        unseen, model=model, samples=40, chains=4, threshold_kJ_mol=1e6, out=tmp_path / "explored", **common
    )
    assert explored.summary["moves"]["proposed"] == 40
