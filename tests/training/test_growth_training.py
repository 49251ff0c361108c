"""From runs of several peptides to one network: packing, training, resuming, and what the network says of itself."""

import json

import pytest
import torch

from timewarp.commands import main
from timewarp.files import read_json
from timewarp.flows.circular import log_prob
from timewarp.flows.growth import GrowthConfig, GrowthFlow
from timewarp.flows.weights import describe_weights
from timewarp.molecules import build_molecule
from timewarp.pretrained import load, outside
from timewarp.training import GrowthData, TrainingSettings, train
from timewarp.training.growth_energy import Drawn, EnergyPairs, energy_loss
from timewarp.trajectories import RunFolder
from timewarp.trajectories.compact import read_compact, write_compact

TINY = {"width": 16, "n_blocks": 1, "n_heads": 2}


def settings(**changes) -> TrainingSettings:
    values = {"family": "C2", "flow": TINY, "steps": 60, "batch_size": 64, "learning_rate": 5e-3, "warmup_steps": 5}
    return TrainingSettings(**{**values, "validation_every": 20, "ema_decay": 0.9, "orders": 2, **changes})


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """Chains of three peptides, one of them held back, in one file."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("AG", "GS", "AS"):
        argv = ["sample", name, "--no-flow", "--samples", "640", "--chains", "32", "--warmup", "40", "--quiet"]
        assert main([*argv, "--out", str(folder / ("held" if name == "AS" else "runs") / name)]) == 0
    out = folder / "set.safetensors"
    argv = ["pack", str(folder / "runs"), "--validation", str(folder / "held"), "--frames", "200"]
    assert main([*argv, "--validation-frames", "50", "--out", str(out)]) == 0
    return out


def test_a_packed_set_holds_the_frames(packed):
    molecules = {m.name: m for m in read_compact(packed)}
    assert {name: (m.split, len(m.frames)) for name, m in molecules.items()} == {
        "AG": ("train", 200),
        "GS": ("train", 200),
        "AS": ("validation", 50),
    }
    run = RunFolder.open(packed.parent / "runs" / "AG")
    frames = torch.as_tensor(run.trajectory().positions).flatten(0, 1)
    index = torch.linspace(0, len(frames) - 1, 200).round().long()
    centred = frames[index] - frames[index].mean(1, keepdim=True)
    assert float((molecules["AG"].positions - centred).abs().max()) < 0.51e-4
    assert molecules["AG"].atoms.fingerprint == run.atoms.fingerprint


def test_a_damaged_set_says_so(packed, tmp_path):
    whole = packed.read_bytes()
    for name, content in (("cut", whole[: len(whole) // 2]), ("text", b"no tensors"), ("empty", b"")):
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(content)
        with pytest.raises(ValueError, match="is not a compact training set"):
            read_compact(path)
    twice = read_compact(packed)[:1] * 2
    with pytest.raises(ValueError, match="holds each molecule once"):
        write_compact(tmp_path / "twice.safetensors", twice)


def test_a_network_learns_beyond_its_prior_and_tells_what_it_knows(packed, tmp_path):
    data = GrowthData.of(read_compact(packed))
    done = train(data, settings(), tmp_path / "model", provenance=data.coverage(), quiet=True)
    # So few steps may end beyond the best ones; the best weights are those that are kept.
    best = min(row["validation_loss"] for row in done.history)
    untrained = train(data, settings(steps=1, learning_rate=1e-9), tmp_path / "untrained", quiet=True)
    assert best < untrained.history[0]["validation_loss"] - 0.1
    assert set(done.history[-1]["validation_peptides"]) == {"AS"}

    said = describe_weights(tmp_path / "model" / "model.toml").training
    assert (said["molecule"], said["preset"], said["longest_peptide"]) == ("2 peptides", "amber14-obc2", 2)
    assert said["known_residues"] == ["ALA", "GLY", "SER"]
    new = build_molecule("AVS", minimise=False).atoms
    assert outside(said, new) == [
        "it has 3 residues, and the longest peptide of the training 2",
        "the training knew no VAL",
    ]
    assert outside(said, build_molecule("SA", minimise=False).atoms) == []
    flow = load(tmp_path / "model", new).network
    assert isinstance(flow, GrowthFlow)


def test_a_stopped_training_goes_on_as_if_it_had_not_stopped(packed, tmp_path, monkeypatch):
    data = GrowthData.of(read_compact(packed))
    train(data, settings(steps=40), tmp_path / "whole", quiet=True)
    train(data, settings(steps=40), tmp_path / "parts", minutes=1e-6, quiet=True)
    assert read_json(tmp_path / "parts" / "summary.json")["steps"] == 20
    train(data, settings(steps=40), tmp_path / "parts", quiet=True)
    whole, parts = (read_json(tmp_path / name / "summary.json") for name in ("whole", "parts"))
    assert whole["weights_sha256"] == parts["weights_sha256"]


def test_the_acceptance_term_vanishes_where_all_is_accepted(packed, generator):
    data = GrowthData.of(read_compact(packed))
    torch.manual_seed(0)
    flow = GrowthFlow(data.train[0].atoms, GrowthConfig(**TINY))
    torch.nn.init.normal_(flow.network.read_out.weight, std=0.3)
    drawn = EnergyPairs(data.train, 16, torch.device("cpu")).draw(flow, generator)
    log_q = log_prob(flow.network(drawn.features, drawn.static), drawn.features.angle.float()).sum(-1)
    frame, draw = log_q.detach().double().chunk(2)
    perfect = Drawn(drawn.features, drawn.static, frame - draw)
    loss, acceptance = energy_loss(flow.network, perfect)
    assert abs(float(loss.detach())) < 1e-6
    assert abs(float(acceptance) - 1) < 1e-3
    loss, acceptance = energy_loss(flow.network, drawn)
    loss.backward()
    ratio = frame - draw - drawn.energy_gap
    torch.testing.assert_close(acceptance.double(), ratio.clamp(max=0).exp().mean(), atol=1e-4, rtol=1e-4)
    assert float(flow.network.read_out.weight.grad.abs().max()) > 0
    drawn.energy_gap[3] = torch.inf
    assert bool(torch.isfinite(energy_loss(flow.network, drawn)[0]))


def test_training_through_energies_is_resumed_exactly(packed, tmp_path):
    data = GrowthData.of(read_compact(packed))
    through = settings(steps=40, energy_weight=0.3, energy_frames=16)
    whole = train(data, through, tmp_path / "whole", quiet=True)
    train(data, through, tmp_path / "parts", minutes=1e-6, quiet=True)
    parts = train(data, through, tmp_path / "parts", quiet=True)
    assert [row["validation_loss"] for row in whole.history] == [row["validation_loss"] for row in parts.history]
    plain = train(data, settings(steps=40), tmp_path / "plain", quiet=True)
    assert plain.history[-1]["validation_loss"] != whole.history[-1]["validation_loss"]


def test_a_set_in_several_files(packed, tmp_path, capsys):
    molecules = read_compact(packed)
    for number, some in enumerate((molecules[:1], molecules[1:])):
        write_compact(tmp_path / f"{number}.safetensors", some)
    parts = [str(tmp_path / f"{number}.safetensors") for number in (0, 1)]
    options = ["--steps", "2", "--batch-size", "16", "--quiet"]
    assert main(["train", *parts, *options, "--out", str(tmp_path / "model")]) == 0
    assert "C2 for 2 peptides: 400 frames" in capsys.readouterr().out
    assert main(["train", parts[0], *parts, *options, "--out", str(tmp_path / "other")]) != 0
    assert f"{molecules[0].name} is in the training set twice" in capsys.readouterr().err


def test_a_set_of_two_targets_is_refused(packed):
    molecules = read_compact(packed)
    warmer = [type(m)(**{**vars(m), "temperature_K": 350.0}) for m in molecules[:1]]
    with pytest.raises(ValueError, match="a network learns one target, and the set has 2"):
        GrowthData.of([*warmer, *molecules[1:]]).coverage()
    with pytest.raises(ValueError, match="no peptide to choose the network by"):
        GrowthData.of([m for m in molecules if m.split == "train"])


def test_the_command_trains_and_its_network_samples(packed, tmp_path, capsys):
    config = tmp_path / "tiny.toml"
    config.write_text(
        '[training]\nfamily = "C2"\nsteps = 20\nbatch_size = 64\nvalidation_every = 20\norders = 1\n'
        "[training.flow]\nwidth = 16\nn_blocks = 1\nn_heads = 2\n"
    )
    model = tmp_path / "model"
    assert main(["train", str(packed), "--config", str(config), "--out", str(model), "--quiet"]) == 0
    assert "next       timewarp sample AIVL --model" in capsys.readouterr().out
    argv = ["sample", "AAG", "--model", str(model), "--samples", "320", "--chains", "16", "--warmup", "40", "--quiet"]
    assert main([*argv, "--out", str(tmp_path / "run")]) == 0
    assert "AAG is outside what model has learnt: it has 3 residues" in capsys.readouterr().err
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert {"torsion", "hmc"} < set(summary["kernels"])
    assert set(summary["tuning"]["balance"]) == {"sweeps", "flow", "flow_suffix", "flow_subset"}
    assert summary["tuning"]["balance"]["sweeps"] >= 1
