"""The training loop learns, keeps the best, and resumes exactly."""

import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from handmade import ALANINE_DIPEPTIDE, random_internal, random_positions
from timewarp.files import read_json
from timewarp.flows import InternalProposer, soft_coordinates
from timewarp.flows.acceptance import expected_acceptance
from timewarp.flows.weights import describe_weights, load_network
from timewarp.geometry import to_positions
from timewarp.pretrained import find, load
from timewarp.training import TrainingData, TrainingSettings, train
from timewarp.training.score import Score
from timewarp.trajectories import RunFolder

ATOMS = ALANINE_DIPEPTIDE
TINY = {"n_couplings": 2, "bins": 4, "width": 8, "n_heads": 2, "context_blocks": 1}
TINY_B = {"torsion_couplings": 2, "torsion_bins": 4, "stiff_couplings": 2, "stiff_bins": 3, "width": 8, "n_heads": 2}


def concentrated(n: int, seed: int) -> torch.Tensor:
    """Frames whose torsions gather around one value each, with psi following phi."""
    internal = random_internal(ATOMS, n, seed)
    generator = torch.Generator().manual_seed(seed + 99)
    for k, atom in enumerate(ATOMS.tree.rotatable):
        internal[:, atom, 2] = 0.5 * k - 1 + 0.3 * torch.randn(n, generator=generator)
    return internal


DATA = TrainingData(ATOMS, concentrated(2000, 0), concentrated(400, 1))


def settings(**changes) -> TrainingSettings:
    flow = TINY_B if changes.get("family") == "B" else TINY
    values = {"flow": flow, "steps": 60, "batch_size": 128, "learning_rate": 5e-3, "warmup_steps": 5}
    return TrainingSettings(**{**values, "validation_every": 20, "validation_frames": 256, "ema_decay": 0.9, **changes})


@pytest.mark.parametrize("family", ["B", "C"])
def test_training_lowers_the_validation_loss(family, tmp_path):
    done = train(DATA, settings(family=family), tmp_path / "run", quiet=True)
    losses = [row["validation_loss"] for row in done.history]
    assert losses[-1] < losses[0] - 0.3
    summary = read_json(tmp_path / "run" / "summary.json")
    assert summary["validation_loss"] == min(losses)
    assert summary["weights_sha256"] == describe_weights(tmp_path / "run" / "model.toml").sha256
    if family == "C":
        assert losses[-1] < len(ATOMS.tree.rotatable) * math.log(2 * math.pi) - 1.0


@pytest.mark.parametrize("stop_at", [20, 40])
def test_resumed_training_is_the_uninterrupted_one(stop_at, tmp_path, monkeypatch):
    chosen = settings(stiff_noise=0.1)
    whole = train(DATA, chosen, tmp_path / "whole", quiet=True)

    from timewarp.training import loop

    saved = loop.save_checkpoint

    def save_then_die(folder, progression, *modules):
        saved(folder, progression, *modules)
        if progression.step == stop_at:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "save_checkpoint", save_then_die)
    with pytest.raises(KeyboardInterrupt):
        train(DATA, chosen, tmp_path / "parts", quiet=True)
    monkeypatch.setattr(loop, "save_checkpoint", saved)
    parts = train(DATA, chosen, tmp_path / "parts", quiet=True)
    assert parts.history == whole.history
    a, b = (find(tmp_path / name).sha256 for name in ("whole", "parts"))
    assert a == b


def test_started_again_when_finished_changes_nothing(tmp_path):
    train(DATA, settings(), tmp_path / "run", quiet=True)
    before = find(tmp_path / "run").sha256
    train(DATA, settings(), tmp_path / "run", quiet=True)
    assert find(tmp_path / "run").sha256 == before


def test_other_settings_are_refused(tmp_path):
    train(DATA, settings(), tmp_path / "run", quiet=True)
    with pytest.raises(FileExistsError, match=r"training.seed is 0 there, 1 here"):
        train(DATA, settings(seed=1), tmp_path / "run", quiet=True)


def test_a_foreign_folder_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(FileExistsError, match="not a training run"):
        train(DATA, settings(), tmp_path, quiet=True)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("damage", ["truncate", "foreign"])
def test_damaged_checkpoint(damage, tmp_path):
    train(DATA, settings(steps=20), tmp_path / "run", quiet=True)
    checkpoint = tmp_path / "run" / "checkpoint.safetensors"
    data = checkpoint.read_bytes()
    checkpoint.write_bytes(data[: len(data) // 2] if damage == "truncate" else b"PK\x03\x04 not this")
    with pytest.raises(ValueError, match="damaged or not a training checkpoint"):
        train(DATA, settings(steps=20), tmp_path / "run", quiet=True)


def test_best_is_by_acceptance_where_it_is_known():
    assert Score(2.0, 0.5).is_better_than(Score(1.0, 0.4))
    assert not Score(1.0, 0.3).is_better_than(Score(2.0, 0.4))
    assert Score(1.0).is_better_than(Score(2.0))
    assert Score(1.0).is_better_than(None)


def test_acceptance_times_jump_goes_before_acceptance():
    stays, jumps = Score(1.0, 0.148, 0.01, jumping=0.0015, jumping_error=5e-4), Score(2.0, 0.04, 0.005, 0.025, 4e-3)
    assert jumps.is_better_than(stays)
    assert not stays.is_better_than(jumps)
    assert stays.is_better_than(Score(2.0, 0.04, 0.005)), "a row of an older version does not know"
    fluke = Score(2.0, 1e-3, 1e-3, 1e-3, 1e-3)
    assert not fluke.is_better_than(Score(1.0, 0.0, 0.0, 1e-9, 1e-9)), "one state is no acceptance"


def test_acceptances_within_their_error_leave_the_choice_to_the_loss():
    """Early on nothing is accepted at all: the first validation must not stay the best for ever."""
    assert Score(1.0, 0.0).is_better_than(Score(2.0, 0.0))
    assert not Score(2.0, 0.002, 0.002).is_better_than(Score(1.0, 0.001, 0.001))
    assert Score(2.0, 0.009, 0.002).is_better_than(Score(1.0, 0.001, 0.001))


class _Exact:
    """The density that the made-up energy below has: uniform soft torsions whatever the rest."""

    redraws = soft_coordinates(ATOMS.tree)
    condition_is_invariant = True

    def encode(self, internal):
        return internal

    def sample(self, condition, n, generator):
        drawn = condition.repeat(n, 1, 1, 1)
        soft = list(ATOMS.tree.rotatable)
        drawn[:, :, soft, 2] = 2 * math.pi * torch.rand(n, len(condition), len(soft), generator=generator) - math.pi
        return drawn, torch.zeros(n, len(condition))

    def log_prob(self, internal, condition):
        return torch.zeros(len(internal))


def test_acceptance_of_the_exact_density_is_one_and_of_a_wrong_energy_less(generator):
    x = random_positions(ATOMS, 300)
    proposer = InternalProposer(_Exact(), ATOMS.tree)

    def flat(positions):
        return torch.zeros(len(positions))

    def bumpy(positions):
        return 5 * (positions[:, 0] - positions[:, 19]).norm(dim=-1) / 0.1

    certain = expected_acceptance(proposer, x, flat, generator)
    assert (certain.mean, certain.error) == (pytest.approx(1.0), pytest.approx(0.0, abs=1e-3))
    uncertain = expected_acceptance(proposer, x, bumpy, generator)
    assert uncertain.mean < 0.6
    assert 0.005 < uncertain.error < 0.05
    assert uncertain.candidates.shape == x.shape

    def broken(positions):
        return torch.full((len(positions),), torch.inf)

    assert expected_acceptance(proposer, x, broken, generator).mean == 0.0


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"famly": "C"}, "no setting 'famly'"),
        ({"steps": 0}, "steps must be a whole number of at least 1"),
        ({"steps": "many"}, "steps must be a whole number of at least 1, got 'many'"),
        ({"flow": 3}, "flow must be a table, got 3"),
        ({"learning_rate": float("nan")}, "learning_rate must be a number above 0, got nan"),
        ({"family": "A9"}, "unknown family"),
        ({"validation_fraction": 0.9}, "must be a number above 0 and at most 0.5, got 0.9"),
        ({"precision": "8-bit"}, "precision must be one of 32-true, bf16-mixed, 64-true, got '8-bit'"),
    ],
)
def test_bad_settings(table, message):
    with pytest.raises(ValueError, match=message):
        TrainingSettings.from_table(table)


@pytest.mark.parametrize(
    ("config", "message"),
    [({"colour": 3}, "no setting 'colour'"), ({"width": 2.5}, "whole number"), ({"bins": 0}, "bins")],
)
def test_bad_flow_settings(config, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        train(DATA, settings(flow=config), tmp_path / "run", quiet=True)


def test_a_loss_that_is_not_finite_stops_with_advice(tmp_path):
    broken = TrainingData(ATOMS, DATA.train.clone(), DATA.validation)
    broken.train[:, 0, 0] = float("inf")
    with pytest.raises(ValueError, match=r"not finite"):
        train(broken, settings(), tmp_path / "run", quiet=True)


def md_run(path: Path) -> Path:
    """A run folder as `timewarp simulate` leaves it, with made-up frames."""
    internal = concentrated(600, 3)
    positions = to_positions(internal, ATOMS.tree, torch.randn(600, 22, 3, generator=torch.Generator().manual_seed(5)))
    run = RunFolder.create(
        path, kind="md", name="Ace-A-Nme", atoms=ATOMS, topology_pdb="END\n", config={"timestep_fs": 2.0}
    )
    run.append(0, positions[:, None], torch.zeros(600, 1, dtype=torch.float64), torch.arange(1, 601), {})
    return path


@pytest.mark.parametrize("stage", ["config.toml", "checkpoint.safetensors"])
def test_what_a_killed_writer_left_is_cleared_away(stage, tmp_path):
    if stage != "config.toml":
        train(DATA, settings(steps=40), tmp_path, minutes=1e-6, quiet=True)
    (tmp_path / f"{stage}.4711.timewarp-part").write_bytes(b"half")
    train(DATA, settings(steps=40), tmp_path, quiet=True)
    assert not list(tmp_path.glob("*.timewarp-part"))


@pytest.mark.slow
def test_ten_kills_lose_nothing(tmp_path):
    """SIGKILL at random moments; the resumed training ends with the same weights as one that was left alone."""
    config = tmp_path / "tiny.toml"
    config.write_text(
        'family = "C"\nsteps = 120\nbatch_size = 64\nvalidation_every = 10\nvalidation_frames = 64\n'
        "[flow]\nn_couplings = 2\nbins = 4\nwidth = 8\nn_heads = 2\ncontext_blocks = 0\n"
    )
    run = md_run(tmp_path / "md")
    command = [sys.executable, "-m", "timewarp", "train", str(run), "--config", str(config), "--threads", "1", "--out"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    started = time.monotonic()
    subprocess.run([*command, str(tmp_path / "whole")], check=True, capture_output=True, env=environment)
    whole_s = time.monotonic() - started
    rng = random.Random(1)
    kills = 0
    for _ in range(10):
        process = subprocess.Popen(
            [*command, str(tmp_path / "killed")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
        )
        time.sleep(rng.uniform(0.4, 1.0) * whole_s)
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
    done = subprocess.run(
        [*command, str(tmp_path / "killed")], check=True, capture_output=True, text=True, env=environment
    )
    assert kills >= 1
    assert "trained" in done.stdout
    assert find(tmp_path / "killed").sha256 == find(tmp_path / "whole").sha256
    assert not list((tmp_path / "killed").glob("*.timewarp-part"))


def test_a_trained_folder_loads_and_other_molecules_are_refused(tmp_path):
    train(DATA, settings(steps=20), tmp_path / "run", quiet=True)
    model = load(tmp_path / "run", ATOMS)
    assert model.network.kind == "C"
    from dataclasses import replace

    other = replace(ATOMS, names=(*ATOMS.names[:-1], "HX"))
    with pytest.raises(ValueError, match="with other atom names"):
        load(tmp_path / "run", other)


@pytest.mark.parametrize("damage", ["truncated", "foreign", "swapped", "toml", "missing"])
def test_damaged_weights_are_refused(damage, tmp_path):
    train(DATA, settings(steps=20), tmp_path / "run", quiet=True)
    weights, toml = tmp_path / "run" / "model.safetensors", tmp_path / "run" / "model.toml"
    error: type[Exception] = ValueError
    if damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:-50])
        message = "is damaged or not the file"
    elif damage == "foreign":
        weights.write_bytes(b"\x80\x04 a pickle, perhaps")
        message = "is damaged or not the file"
    elif damage == "swapped":
        text = toml.read_text().replace("n_couplings = 2", "n_couplings = 3")
        toml.write_text(text)
        message = "lacks"
    elif damage == "toml":
        toml.write_text("nonsense [")
        message = "not a TOML table"
    else:
        weights.unlink()
        error, message = FileNotFoundError, "are missing"
    with pytest.raises(error, match=message):
        load(tmp_path / "run", ATOMS)


def test_a_forged_file_with_the_right_hash_still_needs_the_right_tensors(tmp_path):
    from safetensors.torch import save_file

    from timewarp.files import sha256

    train(DATA, settings(steps=20), tmp_path / "run", quiet=True)
    weights, toml = tmp_path / "run" / "model.safetensors", tmp_path / "run" / "model.toml"
    old = sha256(weights)
    save_file({"a": torch.zeros(2)}, weights)
    toml.write_text(toml.read_text().replace(old, sha256(weights)))
    with pytest.raises(ValueError, match="does not fit this network"):
        load(tmp_path / "run", ATOMS)


def test_load_names_the_good_ones(tmp_path):
    with pytest.raises(FileNotFoundError, match="no model 'ala3'; the shipped ones are"):
        find("ala3")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"it holds no model\.toml"):
        find(tmp_path / "empty")


def test_saved_flow_gives_the_same_numbers(tmp_path):
    train(DATA, settings(steps=20, family="B"), tmp_path / "run", quiet=True)
    described = find(tmp_path / "run")
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    a, b = load_network(described, ATOMS), load_network(find(tmp_path / "copy"), ATOMS)
    internal = DATA.validation[:8]
    assert torch.equal(a.log_prob(internal, 8), b.log_prob(internal, 8))
