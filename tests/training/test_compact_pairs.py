"""Lagged pairs in compact sets: made by plain MD, held out by molecule, learnt from with either optimiser."""

import argparse
import dataclasses
import importlib.util
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from lagged_runs import TINY

import timewarp as tw
from timewarp.analysis import named_torsions
from timewarp.energies import Parameters
from timewarp.files import read_json
from timewarp.geometry import measure_dihedrals, wrap
from timewarp.pretrained import find
from timewarp.simulation.langevin import BatchedLangevin
from timewarp.state import repartition_hydrogen_mass
from timewarp.training import PairTask, TrainingSettings, compact_pairs
from timewarp.training.optimisers import MATCHING, MUON_RATE, Muon, orthogonal
from timewarp.trajectories.compact import CompactMolecule, read_compact, to_fixed_point, write_compact

ROOT = Path(__file__).parents[2]
MD = argparse.Namespace(lag=0.4, stretch=0.2, spacing=0.1, burn_in=0.1, replicas=4, seed=3, threads=1)


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("lagged_pairs", ROOT / "data" / "lagged_pairs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def still(sequence: str, split: str) -> CompactMolecule:
    """A compact molecule whose frames are all the built structure."""
    system = tw.System(sequence)
    frames = to_fixed_point(system.built[None].repeat(6, 1, 1))
    parameters = {f.name: getattr(system.parameters, f.name) for f in fields(Parameters)}
    return CompactMolecule(sequence, split, system.atoms, frames, parameters, "amber14-obc2", 310.0)


@pytest.fixture(scope="module")
def made(script):
    return [script.simulate(still(*each), MD) for each in (("AG", "train"), ("GS", "train"), ("AS", "validation"))]


@pytest.fixture(scope="module")
def packed(made, tmp_path_factory):
    path = tmp_path_factory.mktemp("pairs") / "set.safetensors"
    write_compact(path, made)
    return path


def test_pairs_are_a_lag_apart_on_the_trajectory_and_stand_both_ways_round(made):
    molecule = made[0]
    engine = BatchedLangevin(
        Parameters(**molecule.parameters),
        molecule.atoms,
        repartition_hydrogen_mass(molecule.atoms).numpy(),
        temperature_K=310.0,
        friction_per_ps=1.0,
        timestep_fs=2.0,
        seed=3,
    )
    replicas = engine.start(still("AG", "train").positions[:4].double().numpy())
    engine.advance(replicas, 1, 50, burn_in=True)
    replicas.step = 0
    times = engine.advance(replicas, 7, 50).positions
    expected = {
        (
            to_fixed_point(torch.from_numpy(times[t, [r]])).sum().item(),
            to_fixed_point(torch.from_numpy(times[t + 4, [r]])).sum().item(),
        )
        for t in range(3)
        for r in range(4)
    }
    sums = molecule.frames.sum((1, 2))
    pairs = molecule.pairs
    found = {(sums[a].item(), sums[b].item()) for a, b in pairs[: len(pairs) // 2].tolist()}
    assert found == expected
    assert torch.equal(pairs[len(pairs) // 2 :], pairs[: len(pairs) // 2].flip(-1))
    assert molecule.lag_ps == 0.4


def test_a_thinned_set_keeps_the_frames_that_its_pairs_name(script, made):
    thin = script.thinned(made[0], 2, 4)
    assert (len(thin.pairs), len(thin.frames)) == (16, 16)
    wanted = {(made[0].frames[a].sum().item(), made[0].frames[b].sum().item()) for a, b in made[0].pairs.tolist()}
    assert {(thin.frames[a].sum().item(), thin.frames[b].sum().item()) for a, b in thin.pairs.tolist()} <= wanted


def test_stand_ins_keep_side_chains_and_turn_psi(script):
    molecule = still("SG", "train")
    generator = torch.Generator().manual_seed(0)
    degrees = [f"psi_1={psi},chi1_1={chi}" for chi in (60, 180) for psi in (0, 120, 150)]
    starts = tw.System("SG").starts(6, generator, degrees, superchains=6)
    made = script.stand_in(dataclasses.replace(molecule, frames=to_fixed_point(starts.float())), 500.0, partners=2)
    angles = torch.stack(
        [
            measure_dihedrals(made.positions[p], torch.tensor([named_torsions(molecule.atoms)["chi1_1"]]))
            for p in made.pairs.T
        ]
    )
    assert (wrap(angles[0] - angles[1]).abs() < 1.0).float().mean() > 0.8
    assert (made.pairs[:, 0] != made.pairs[:, 1]).all()
    assert (len(made.pairs), made.lag_ps) == (24, 500.0)


def test_a_set_comes_back_from_its_file_and_damaged_pairs_are_refused(made, packed, tmp_path):
    for before, after in zip(made, read_compact(packed), strict=True):
        assert torch.equal(before.pairs, after.pairs)
        assert torch.equal(before.frames, after.frames)
        assert after.lag_ps == 0.4
    outside = dataclasses.replace(made[0], pairs=made[0].pairs + 1000)
    write_compact(tmp_path / "outside.safetensors", [outside])
    with pytest.raises(ValueError, match="pairs of AG are not rows of two of its 24 frames"):
        read_compact(tmp_path / "outside.safetensors")


def test_molecules_are_held_out_and_what_does_not_fit_is_refused(made):
    data = compact_pairs(made, 0.4)
    assert [len(data.train), len(data.validation)] == [48, 24]
    before, after, molecule = data.validation.take(torch.arange(24))
    assert set(molecule.tolist()) == {2}
    assert before.shape == after.shape == (24, data.molecules[2].n_atoms, 3)
    assert torch.equal(before[0], made[2].positions[made[2].pairs[0, 0]])
    assert torch.equal(after[0], made[2].positions[made[2].pairs[0, 1]])
    with pytest.raises(ValueError, match=r"0.4 ps apart; set lag_ps to that, not to 0.5"):
        compact_pairs(made, 0.5)
    with pytest.raises(ValueError, match="hold a molecule twice"):
        compact_pairs([*made, made[0]], 0.4)
    with pytest.raises(ValueError, match="no molecule to choose the network by"):
        compact_pairs(made[:2], 0.4)
    with pytest.raises(ValueError, match="frames of AG without their order in time"):
        compact_pairs([dataclasses.replace(made[0], pairs=None), *made[1:]], 0.4)


def test_batches_are_of_one_size_and_hold_every_pair_once(made):
    data = compact_pairs(made, 0.4)
    task = PairTask(data, TrainingSettings(family="A", flow=TINY, lag_ps=0.4, batch_size=6))
    batches = [task._chosen(step) for step in range(8)]
    assert torch.cat(batches).sort().values.tolist() == list(range(48)), "an epoch"
    assert sorted(len(data.train.sizes(b).unique()) for b in batches) == [1] * 8, "24 pairs of each of two molecules"
    assert len({int(data.train.sizes(b)[0]) for b in batches}) == 2
    again = PairTask(data, task.settings)
    assert torch.equal(again._chosen(5), batches[5]), "whatever was asked for before"
    assert not torch.equal(torch.stack(batches), torch.stack([task._chosen(step) for step in range(8, 16)]))


def test_jumps_are_counted_against_independent_states():
    """Half of the frames of a molecule have psi turned: of each frame's three partners, two differ by a jump."""
    molecule = still("AG", "validation")
    turned = tw.System("AG").starts(1, torch.Generator().manual_seed(0), ("psi_1=0",))
    frames = to_fixed_point(torch.cat([molecule.positions[:1], turned.float()]))
    pairs = torch.tensor([[0, 0], [1, 1], [0, 1], [1, 0]])
    learnt = dataclasses.replace(still("GS", "train"), pairs=torch.tensor([[0, 1]]), lag_ps=1.0)
    data = compact_pairs([learnt, dataclasses.replace(molecule, frames=frames, pairs=pairs, lag_ps=1.0)], 1.0)
    settings = TrainingSettings(family="A", flow=TINY, lag_ps=1.0)
    task = PairTask(data, settings, lambda device: lambda x, molecule: torch.zeros(len(x), dtype=torch.float64))
    before, after, number = data.validation.take(torch.arange(4))
    assert task._jumped(before, after, number).tolist() == [0, 0, 1, 1]
    assert task._jumped(before, before, number).tolist() == [0, 0, 0, 0]
    task.to(torch.device("cpu"))
    torch.manual_seed(1)
    row = task.row(task.flow(), {})
    assert float(task._independent(before, number)) == pytest.approx(4 * 2 / 3)
    assert 0 <= row["validation_jumping"] <= row["validation_acceptance"] * 1.5
    assert row["validation_jumping"] == pytest.approx(row["validation_jump"] * row["validation_acceptance"])


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_a_network_learns_them_and_a_stopped_training_goes_on(packed, tmp_path, optimiser):
    settings = {"family": "A", "lag_ps": 0.4, "flow": TINY, "steps": 20, "batch_size": 16, "warmup_steps": 5}
    settings |= {"learning_rate": 3e-3, "validation_every": 10, "ema_decay": 0.5, "optimiser": optimiser, "threads": 1}
    model = tw.train(packed, out=tmp_path / "whole", **settings)
    rows = read_json(tmp_path / "whole" / "curves.json")["rows"]
    assert rows[1]["validation_loss"] < rows[0]["validation_loss"]
    assert "validation_jumping" not in rows[1], "in 0.4 ps nothing jumps, and there is nothing to compare with"
    said = find(tmp_path / "whole").training
    assert (said["molecule"], said["preset"], said["lag_ps"]) == ("2 peptides", "amber14-obc2", 0.4)
    assert said["known_residues"] == ["ALA", "GLY", "SER"]
    tw.train(packed, out=tmp_path / "parts", minutes=1e-9, **settings)
    assert read_json(tmp_path / "parts" / "summary.json")["steps"] == 10
    assert tw.train(packed, out=tmp_path / "parts", **settings).sha256 == model.sha256


def test_muon_takes_orthogonal_steps_in_matrices_and_adamw_in_the_rest():
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(8, 6), torch.nn.Linear(6, 3), torch.nn.Embedding(5, 6))
    before = [p.detach().clone() for p in module.parameters()]
    optimiser = Muon(module, lr=1e-2, weight_decay=0.0)
    inside = module[0](torch.randn(16, 8))
    outside = module[1](inside.detach())
    ((inside - torch.randn(16, 6)).square().sum() + outside.square().sum() + module[2].weight.square().sum()).backward()
    optimiser.step()
    moved = [(a - b).detach() for a, b in zip(module.parameters(), before, strict=True)]
    singular = torch.linalg.svdvals(moved[0]) / (1e-2 * MUON_RATE * MATCHING * 8**0.5)
    assert ((singular > 0.6) & (singular < 1.3)).all()
    for part in moved[1:]:  # a bias, too narrow a matrix, another bias, an embedding: AdamW's first step is the sign's
        assert torch.allclose(part.abs(), torch.full_like(part, 1e-2), rtol=1e-3)
    x = torch.randn(3, 5, 9)
    assert torch.allclose(orthogonal(x), orthogonal(10 * x), atol=0.02)
    u, _, v = torch.linalg.svd(x, full_matrices=False)
    assert (torch.einsum("nij,nij->n", orthogonal(x), u @ v) / 5 > 0.7).all(), "nearly the orthogonal factor"
    assert np.isfinite(orthogonal(torch.zeros(1, 4, 4)).numpy()).all()
