"""The loop on family A: it learns, keeps the best, changes stages, resumes exactly, and shares batches."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lagged_runs import METHANOL, MOLECULES, SHAPES, TINY, elastic, lagged_run
from safetensors.torch import load_file
from share_batch import gradients

from timewarp.commands import main
from timewarp.files import read_json, read_toml
from timewarp.flows import CartesianFlow, CartesianFlowConfig
from timewarp.flows.weights import describe_weights, load_network
from timewarp.pretrained import find
from timewarp.training import TrainingSettings, cartesian, load_pairs, loop, train
from timewarp.training.score import Score

LAG_PS = 6.0
STAGES = {
    "likelihood": {"steps": 8, "likelihood": 1.0},
    "all": {"steps": 4, "likelihood": 1.0, "acceptance": 0.2, "entropy": 0.1, "learning_rate": 1e-3},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return [lagged_run(folder / "a", 0), lagged_run(folder / "b", 1, frames=120)]


@pytest.fixture(scope="module")
def small(runs):
    return load_pairs(runs[:1], LAG_PS)


def settings(**changes) -> TrainingSettings:
    values = {"family": "A", "flow": TINY, "lag_ps": LAG_PS, "batch_size": 16, "learning_rate": 3e-3}
    values |= {"warmup_steps": 5, "validation_every": 2, "validation_frames": 16, "ema_decay": 0.9, "stages": STAGES}
    return TrainingSettings(**{**values, **changes})


def energy(device):
    return elastic


def test_training_lowers_the_loss_then_raises_the_log_ratio(tmp_path):
    data = load_pairs([lagged_run(tmp_path / "md", tumbling=False)], LAG_PS, validation_fraction=0.2)
    stages = {
        "likelihood": {"steps": 30, "likelihood": 1.0},
        "all": {"steps": 30, "likelihood": 1.0, "acceptance": 0.5, "entropy": 0.2, "learning_rate": 3e-3},
    }
    chosen = settings(
        stages=stages, align="none", batch_size=32, learning_rate=1e-2, validation_every=5, validation_frames=64
    )
    done = train(data, chosen, tmp_path / "run", reduced_energy=energy, quiet=True)
    rows = done.history
    assert [row["stage"] for row in rows] == ["likelihood"] * 6 + ["all"] * 6
    assert rows[5]["training_loss"] < rows[0]["training_loss"] - 3.0
    assert rows[5]["validation_loss"] < rows[0]["validation_loss"] - 2.0
    assert rows[-1]["training_log_ratio"] > rows[6]["training_log_ratio"]
    assert rows[-1]["validation_acceptance"] > rows[0]["validation_acceptance"] + 0.1
    assert 0.0 < rows[-1]["validation_move_nm"] < 0.1
    best = done.best
    assert all(not Score.of(row).is_better_than(Score.of(best)) for row in rows[rows.index(best) :])
    summary = read_json(tmp_path / "run" / "summary.json")
    assert summary["validation_acceptance"] == best["validation_acceptance"]
    assert summary["lag_ps"] == LAG_PS
    described = describe_weights(tmp_path / "run" / "model.toml")
    assert described.family == "A"
    assert load_network(described, METHANOL).config.n_couplings == TINY["n_couplings"]


@pytest.mark.parametrize("stop_at", [2, 8, 10])
def test_resumed_training_is_the_uninterrupted_one(stop_at, small, tmp_path, monkeypatch):
    """Killed within a stage, at the change of stages (8), and within the last."""
    whole = train(small, settings(), tmp_path / "whole", reduced_energy=energy, quiet=True)
    saved = loop.save_checkpoint

    def save_then_die(folder, progression, *modules):
        saved(folder, progression, *modules)
        if progression.step == stop_at:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "save_checkpoint", save_then_die)
    with pytest.raises(KeyboardInterrupt):
        train(small, settings(), tmp_path / "parts", reduced_energy=energy, quiet=True)
    monkeypatch.setattr(loop, "save_checkpoint", saved)
    parts = train(small, settings(), tmp_path / "parts", reduced_energy=energy, quiet=True)
    assert parts.history == whole.history
    assert find(tmp_path / "parts").sha256 == find(tmp_path / "whole").sha256


def test_other_stages_and_another_order_of_stages_are_refused(small, tmp_path):
    short = {name: {**stage, "steps": 2} for name, stage in STAGES.items()}
    train(small, settings(stages=short), tmp_path / "run", reduced_energy=energy, quiet=True)
    other = {**short, "all": {**short["all"], "steps": 3}}
    with pytest.raises(FileExistsError, match=r"stages.all.steps is 2 there, 3 here"):
        train(small, settings(stages=other), tmp_path / "run", reduced_energy=energy, quiet=True)
    turned = dict(reversed(short.items()))
    with pytest.raises(FileExistsError, match=r"stages are likelihood, all there, all, likelihood here"):
        train(small, settings(stages=turned), tmp_path / "run", reduced_energy=energy, quiet=True)


def test_a_stage_that_no_longer_improves_ends_early(small, tmp_path):
    """At a learning rate of nothing no validation beats the first."""
    idle = settings(
        learning_rate=1e-30, patience=2, stages={n: {**s, "learning_rate": 1e-30} for n, s in STAGES.items()}
    )
    done = train(small, idle, tmp_path / "run", reduced_energy=energy, quiet=True)
    assert [(row["step"], row["stage"]) for row in done.history] == [
        *((2, "likelihood"), (4, "likelihood"), (6, "likelihood")),
        *((8, "all"), (10, "all")),
    ]


def test_a_stage_starts_from_the_best_weights_with_a_new_optimiser(small, tmp_path, monkeypatch):
    seen = {}
    judge = loop._judge

    def watch(row, progression, chosen, stages, flow, averaged, best, optimiser):
        judge(row, progression, chosen, stages, flow, averaged, best, optimiser)
        if progression.step == 8:
            seen["states"] = len(optimiser.state)
            pairs = zip(flow.parameters(), best.parameters(), strict=True)
            seen["same"] = all(torch.equal(a, b) for a, b in pairs)

    monkeypatch.setattr(loop, "_judge", watch)
    train(small, settings(), tmp_path / "run", reduced_energy=energy, quiet=True)
    assert seen == {"states": 0, "same": True}


def test_acceptance_without_an_energy_is_refused(small, tmp_path):
    with pytest.raises(ValueError, match="stage 'all' weighs acceptance, which needs the energy"):
        train(small, settings(), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_broken_step_is_skipped_and_counted(small, tmp_path):
    """An energy whose force is not a number now and then: those steps change nothing, the training goes on."""
    calls = {"n": 0}

    class Trap(torch.autograd.Function):
        @staticmethod
        def forward(ctx, loss):
            calls["n"] += 1
            return loss.clone()

        @staticmethod
        def backward(ctx, g):
            return g * (torch.nan if calls["n"] % 7 == 3 else 1.0)

    original = cartesian.CartesianObjective.forward

    def trapped(self, *args):
        loss, metrics = original(self, *args)
        return Trap.apply(loss), metrics

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cartesian.CartesianObjective, "forward", trapped)
        done = train(small, settings(stages={}, steps=20), tmp_path / "run", quiet=True)
    assert done.skipped == 3
    assert done.history[-1]["validation_loss"] < done.history[0]["validation_loss"]
    assert read_json(tmp_path / "run" / "summary.json")["skipped_steps"] == 3


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_precisions(precision, small, tmp_path):
    """Networks compute in another precision; energies and log ratios are in double precision in all of them."""
    seen = []

    def watched(positions, molecule):
        seen.append((positions.dtype, torch.is_autocast_enabled("cpu")))
        return elastic(positions, molecule)

    rows = {}
    for chosen in ("32-true", precision):
        out = tmp_path / chosen
        done = train(small, settings(precision=chosen), out, reduced_energy=lambda device: watched, quiet=True)
        rows[chosen] = done.history
        assert load_network(describe_weights(out / "model.toml"), METHANOL).log_scale_position.dtype == torch.float32
    assert set(seen) == {(torch.float64, False)}
    for plain, other in zip(rows["32-true"], rows[precision], strict=True):
        assert other["validation_loss"] == pytest.approx(plain["validation_loss"], abs=1.0)
        assert other["training_loss"] == pytest.approx(plain["training_loss"], abs=1.0)


@pytest.mark.parametrize("frame", ["molecule", "bonds"])
def test_mixed_precision_rounds_networks_and_not_positions(frame):
    """Turning into axes of the molecule and back is no matter for bfloat16."""
    torch.manual_seed(0)
    flow = CartesianFlow(MOLECULES[1], CartesianFlowConfig(**TINY, frame=frame, initial_scale=0.0))
    x = SHAPES[1].float()[None]
    latents = torch.randn(2, 1, *x.shape)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        candidate, log_q = flow.transform(*latents, flow.encode(x))
    expected, expected_log_q = flow.transform(*latents, flow.encode(x))
    torch.testing.assert_close(candidate.positions, expected.positions, atol=1e-6, rtol=0)
    torch.testing.assert_close(log_q, expected_log_q, atol=1e-3, rtol=0)


# --- several processes ------------------------------------------------------------------------------------------------


def environment() -> dict[str, str]:
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parent), *filter(None, sys.path)])
    kept = {k: v for k, v in os.environ.items() if k not in ("LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")}
    return {**kept, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}


def test_two_processes_give_the_gradients_of_one(runs, tmp_path):
    """All three losses, on a batch of two molecules of different size, shared between two processes."""
    gradients([str(run) for run in runs], 1, tmp_path / "one.safetensors")
    script = str(Path(__file__).parent / "share_batch.py")
    command = [sys.executable, script, *map(str, runs), "2", str(tmp_path / "two.safetensors")]
    subprocess.run(command, check=True, env=environment(), timeout=600)
    one, two = (load_file(tmp_path / f"{name}.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    scale = max(float(g.abs().max()) for name, g in one.items() if name != "loss")
    assert scale > 0.1
    for name in one:
        torch.testing.assert_close(
            two[name], one[name], rtol=1e-3, atol=1e-5 * scale, msg=lambda m, name=name: f"{name}: {m}"
        )


CONFIG = """
[training]
family = "A"
batch_size = 16
validation_every = 4
validation_frames = 32
warmup_steps = 0
learning_rate = 1e-3
lag_ps = 6.0

[training.flow]
n_couplings = 2
n_layers = 1
width = 8
feed_forward = 16
mlp_hidden = 8
embedding = 4

[training.stages.likelihood]
steps = 8
likelihood = 1.0
"""


@pytest.mark.slow
def test_the_command_trains_on_two_processes_as_on_one(runs, tmp_path, capsys):
    config = tmp_path / "tiny.toml"
    config.write_text(CONFIG)
    arguments = ["train", *map(str, runs), "--config", str(config), "--threads", "1", "--quiet", "--out"]
    assert main([*arguments, str(tmp_path / "one")]) == 0
    said = capsys.readouterr().out
    assert "trained    A for 2 molecules" in said
    command = [sys.executable, "-m", "timewarp", *arguments, str(tmp_path / "two"), "--devices", "2"]
    done = subprocess.run(command, check=True, env=environment(), timeout=600, capture_output=True, text=True)
    assert done.stdout.count("trained    A for 2 molecules") == 1
    one, two = (read_json(tmp_path / name / "curves.json")["rows"] for name in ("one", "two"))
    assert len(one) == len(two) == 2
    for a, b in zip(one, two, strict=True):
        assert b["training_loss"] == pytest.approx(a["training_loss"], rel=1e-3)
        assert b["validation_loss"] == pytest.approx(a["validation_loss"], rel=1e-3)
    flow = load_network(describe_weights(tmp_path / "two" / "model.toml"), MOLECULES[1])
    assert flow.atoms == MOLECULES[1]
    assert read_toml(tmp_path / "two" / "config.toml")["training"]["stages"]["likelihood"]["steps"] == 8


def test_a_batch_must_divide_among_devices(small, tmp_path):
    with pytest.raises(ValueError, match=r"batch_size \(16\) must be a multiple of the number of devices \(3\)"):
        train(small, settings(), tmp_path / "run", reduced_energy=energy, devices=3, quiet=True)


def test_threads_with_parts_of_the_batch_give_the_gradients_of_one(small, tmp_path):
    before = torch.get_num_threads()
    learnt = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            out = tmp_path / str(threads)
            train(small, settings(), out, reduced_energy=energy, quiet=True)
            learnt.append((load_file(out / "model.safetensors"), read_json(out / "curves.json")["rows"]))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    (one, one_rows), (two, two_rows) = learnt
    for name in one:
        torch.testing.assert_close(two[name], one[name], atol=1e-4, rtol=1e-3)
    for name in ("training_loss", "training_log_ratio", "training_nonfinite"):
        assert two_rows[-1][name] == pytest.approx(one_rows[-1][name], rel=1e-3)


def test_a_batch_is_split_into_parts_of_the_same_rows(small):
    task = cartesian.PairTask(small, settings(), energy)
    batch = task.batch(0, (0, 1), None, (1.0, 0.0, 0.0))
    first, second = task.split(batch, 2)
    assert len(first[0]) == 8
    for whole, a, b, dim in zip(batch[:5], first, second, (0, 0, 0, 1, 1), strict=False):
        assert torch.equal(torch.cat([a, b], dim), whole)
    assert task.split(batch, 3) == [batch]  # 16 pairs cannot be shared equally
