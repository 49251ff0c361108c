"""``timewarp sample`` and ``explore`` with a network of family A: batches, with and without a local kernel, resumed."""

from __future__ import annotations

import json
import math

import pytest
import torch

from timewarp.commands import main
from timewarp.flows import CartesianFlow, CartesianFlowConfig
from timewarp.flows.weights import save_network
from timewarp.molecules import build_molecule
from timewarp.trajectories import RunFolder

SMALL = ["--preset", "amber14-vacuum", "--threads", "1", "--quiet", "--chains", "4"]
HMC = ["--hmc-steps", "2", "--torsion-moves", "1"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """An untrained network that shakes atoms a little, in a folder as `timewarp train` leaves it."""
    folder = tmp_path_factory.mktemp("model")
    config = {
        "n_couplings": 2,
        "n_layers": 1,
        "width": 8,
        "feed_forward": 8,
        "mlp_hidden": 8,
        "embedding": 4,
        "frame": "molecule",
        "initial_scale": 0.0,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        flow = CartesianFlow(build_molecule("Ace-A-Nme", "amber14-vacuum").atoms, CartesianFlowConfig(**config))
    with torch.no_grad():
        flow.log_scale_position.fill_(math.log(5e-4 / flow.config.length_unit_nm))
    save_network(folder, "model", flow, {"preset": "amber14-vacuum"})
    return folder


def sample(out, model, *arguments, samples=48, warmup=5):
    amount = ["--samples", str(samples), "--warmup", str(warmup)]
    return main(["sample", "Ace-A-Nme", "--model", str(model), "--out", str(out), *SMALL, *amount, *arguments])


def summary_of(out):
    return json.loads((out / "summary.json").read_text())


def test_batches_are_tuned_and_replayed(model, tmp_path):
    assert sample(tmp_path / "run", model, *HMC, "--family", "A") == 0
    summary = summary_of(tmp_path / "run")
    assert (summary["family"], summary["model"]) == ("A", "model")
    batch = summary["proposals"]
    assert summary["tuning"]["flow"] == {"proposals": batch}
    assert summary["flow_steps"] == batch > 1
    assert summary["kernels"].keys() == {"flow", "torsion", "hmc"}
    assert summary["kernels"]["flow"]["proposed"] == 48 * batch
    assert summary["kernels"]["flow"]["accepted"] > 0
    assert summary["energy_evaluations"] > 48 * batch
    tuning = ["--tuning", str(tmp_path / "run" / "summary.json"), "--seed", "5"]
    assert sample(tmp_path / "again", model, *HMC, *tuning) == 0
    assert summary_of(tmp_path / "again")["proposals"] == batch


def test_a_tuned_batch_fills_the_machine_and_no_more(model, tmp_path):
    assert sample(tmp_path / "run", model, "--kernels", "flow", "--chains", "64", samples=64, warmup=1) == 0
    assert summary_of(tmp_path / "run")["proposals"] == 1


def test_the_flow_alone_in_fixed_batches_and_resumed(model, tmp_path):
    arguments = ["--kernels", "flow", "--proposals", "3", "--flow-steps", "7"]
    assert sample(tmp_path / "whole", model, *arguments) == 0
    summary = summary_of(tmp_path / "whole")
    assert (summary["proposals"], summary["flow_steps"], summary["tuning"]) == (3, 7, {})
    assert summary["kernels"].keys() == {"flow"}
    assert summary["kernels"]["flow"]["proposed"] == 48 * 7
    assert summary["force_evaluations"] == summary["warmup_force_evaluations"]
    assert summary["chirality_flips"] == 0
    assert sample(tmp_path / "broken", model, *arguments, samples=20) == 0
    assert sample(tmp_path / "broken", model, *arguments) == 0
    whole, broken = (RunFolder.open(tmp_path / name).trajectory() for name in ("whole", "broken"))
    assert torch.equal(whole.positions, broken.positions)
    assert torch.equal(whole.energies, broken.energies)
    assert sample(tmp_path / "whole", model, "--kernels", "flow", "--proposals", "4", "--flow-steps", "7") == 2


def test_it_explores_and_its_states_are_confirmed(model, tmp_path):
    out = tmp_path / "explored"
    explore = ["explore", "Ace-A-Nme", "--model", str(model), "--out", str(out), *SMALL, "--samples", "40"]
    assert main(explore) == 0
    summary = summary_of(out)
    assert (summary["family"], summary["biased"]) == ("A", True)
    assert summary["moves"]["taken"] > 0
    assert sample(tmp_path / "run", model, "--kernels", "flow", "--start-from", str(out), samples=8, warmup=2) == 0


def test_another_family_is_named(model, tmp_path, capsys):
    assert sample(tmp_path / "run", model, "--family", "C") == 2
    assert "is of family A, not C" in capsys.readouterr().err
