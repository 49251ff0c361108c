"""The training loop: maximum likelihood with Lightning Fabric; killed at any moment, it resumes from its checkpoint."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..files import read_toml, write_json, write_toml
from ..flows.weights import Flow, build_flow, save_flow
from ..progress import Progress
from ..shapes import Float
from .checkpoint import FILE, Progression, load_checkpoint, save_checkpoint
from .data import TrainingData
from .settings import TrainingSettings
from .validation import ReducedEnergy, Score, negative_log_likelihood, validate

MODEL_NAME = "model"


class _Likelihood(nn.Module):
    """Mean -log q of a batch, as a module, so that Fabric can wrap it."""

    def __init__(self, flow: Flow) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, internal: Tensor, conditioning: Tensor) -> Tensor:
        return negative_log_likelihood(self.flow, internal, conditioning).mean()


def train(
    data: TrainingData,
    settings: TrainingSettings,
    out: Path,
    *,
    reduced_energy: Callable[[torch.device], ReducedEnergy] | None = None,
    provenance: dict[str, Any] | None = None,
    accelerator: str = "cpu",
    quiet: bool = False,
) -> Progression:
    """Train a flow; the folder then holds ``model.safetensors`` and ``model.toml``.

    The best moving average by validation acceptance (by likelihood, without an energy) is kept. Started again on the
    same folder with the same settings, it goes on from the last checkpoint, step for step as if never stopped:
    frames and noise of a step depend on the seed and the step's number alone.

    Args:
        data: frames.
        settings: how to train.
        out: the output folder; created if missing.
        reduced_energy: makes the energy in kT on a device; with it, validations estimate the acceptance.
        provenance: what the model's description should say of its data.
        accelerator: of Lightning Fabric: ``cpu``, ``cuda``, ``auto``.
        quiet: show no progress.

    Raises:
        FileExistsError: the folder holds something else, or a training with other settings.
        ValueError: the loss is not finite.
    """
    out = Path(out)
    fabric = _fabric(accelerator, settings.precision)
    torch.manual_seed(settings.seed)
    flow = build_flow(data.atoms, settings.family, settings.flow)
    flow.fit_standardiser(data.train)
    resuming = _claim(out, settings, data)  # only now: what fails before must not leave a folder behind
    averaged, best = copy.deepcopy(flow).eval(), copy.deepcopy(flow).eval()
    optimiser = torch.optim.AdamW(
        flow.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, betas=(0.9, 0.99)
    )
    model, wrapped = fabric.setup(_Likelihood(flow), optimiser)
    for module in (averaged, best):
        module.to(fabric.device)
    progression = load_checkpoint(out, flow, averaged, best, optimiser) if resuming else Progression()
    energy = reduced_energy(fabric.device) if reduced_energy is not None else None
    frames = data.train.to(fabric.device) if len(data.train) < 5_000_000 else data.train
    held_out = _spread(data.validation, settings.validation_frames).to(fabric.device)

    started, losses = time.monotonic(), []
    before = progression.wall_s
    with Progress("training", settings.steps, done=progression.step, unit="step", quiet=quiet) as bar:
        while progression.step < settings.steps:
            step = progression.step
            for group in optimiser.param_groups:
                group["lr"] = settings.learning_rate_at(step)
            batch = frames[frame_indices(len(frames), settings.batch_size, step, settings.seed).to(frames.device)]
            batch = batch.to(fabric.device)
            loss = model(batch, _noisy(batch, flow, settings, step))
            if not torch.isfinite(loss):
                raise ValueError(
                    f"the loss is not finite at step {step}; lower learning_rate ({settings.learning_rate:g})"
                )
            wrapped.zero_grad()
            fabric.backward(loss)
            fabric.clip_gradients(model, wrapped, max_norm=settings.gradient_clip, error_if_nonfinite=False)
            wrapped.step()
            _average(averaged, flow, min(settings.ema_decay, (1 + step) / (10 + step)))
            progression.step += 1
            losses.append(loss.detach())
            if progression.step % settings.validation_every == 0 or progression.step == settings.steps:
                generator = torch.Generator(fabric.device).manual_seed(settings.seed + 1)
                score = validate(averaged, held_out, energy, generator)
                row = {
                    "step": progression.step,
                    "learning_rate": settings.learning_rate_at(step),
                    "training_loss": float(torch.stack(losses).mean()),
                    "validation_loss": score.loss,
                    "validation_acceptance": score.acceptance,
                }
                losses = []
                progression.history.append(row)
                if progression.best is None or score.is_better_than(_score(progression.best)):
                    progression.best = row
                    best.load_state_dict(averaged.state_dict())
                progression.wall_s = before + time.monotonic() - started
                save_checkpoint(out, progression, flow, averaged, best, optimiser)
                write_json(out / "curves.json", {"schema": 1, "rows": progression.history})
            bar.advance(1, note=_note(progression))
    _finish(out, progression, settings, data, best, provenance or {}, str(fabric.device))
    return progression


def frame_indices(n_frames: int, batch_size: int, step: int, seed: int) -> Tensor:
    """Which frames a step learns from: every epoch is a new permutation, drawn from the seed and the epoch's number.

    >>> first, second = (frame_indices(4, 2, step, 0) for step in (0, 1))
    >>> sorted(torch.cat([first, second]).tolist())
    [0, 1, 2, 3]
    """
    batch_size = min(batch_size, n_frames)
    per_epoch = n_frames // batch_size
    epoch, place = divmod(step, per_epoch)
    key = (n_frames, seed, epoch)
    if _permutation.get("key") != key:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        _permutation.update(key=key, order=torch.randperm(n_frames, generator=generator))
    return _permutation["order"][place * batch_size : (place + 1) * batch_size]


_permutation: dict[str, Any] = {}


def _noisy(batch: Float[Tensor, "batch atoms 3"], flow: Flow, settings: TrainingSettings, step: int) -> Tensor:
    if not settings.stiff_noise or flow.family != "C":
        return batch
    generator = torch.Generator(batch.device).manual_seed((settings.seed + 7) * 1_000_003 + step)
    standardiser = flow.standardiser
    noise = torch.randn(len(batch), standardiser.n_coordinates, generator=generator, device=batch.device)
    noisy = batch.clone()
    noisy[:, standardiser.stiff] += settings.stiff_noise * noise * standardiser.scale
    return noisy


@torch.no_grad()
def _average(averaged: nn.Module, flow: nn.Module, decay: float) -> None:
    for slow, fast in zip(averaged.parameters(), flow.parameters(), strict=True):
        slow.lerp_(fast, 1 - decay)


def _spread(frames: Tensor, n: int) -> Tensor:
    """At most ``n`` frames, evenly spread."""
    if len(frames) <= n:
        return frames
    return frames[torch.linspace(0, len(frames) - 1, n).long()]


def _score(row: dict[str, Any]) -> Score:
    return Score(row["validation_loss"], row["validation_acceptance"])


def _note(progression: Progression) -> str:
    if not progression.history:
        return ""
    last = progression.history[-1]
    note = f"validation loss {last['validation_loss']:.3f}"
    if last["validation_acceptance"] is not None:
        note += f", acceptance {100 * last['validation_acceptance']:.1f} %"
    return note


def _fabric(accelerator: str, precision: Any) -> Any:
    try:
        from lightning_fabric import Fabric
    except ImportError:
        from lightning.fabric import Fabric  # type: ignore[assignment, no-redef]
    return Fabric(accelerator=accelerator, devices=1, precision=precision)


def _claim(out: Path, settings: TrainingSettings, data: TrainingData) -> bool:
    """Take the output folder for this training, or refuse it. True where there is a checkpoint to go on from."""
    table = {
        "kind": "training",
        "residues": data.atoms.residues,
        "fingerprint": data.atoms.fingerprint,
        "frames": len(data.train),
        "held_out": len(data.validation),
        "training": settings.to_table(),
    }
    config = out / "config.toml"
    if config.is_file():
        found = read_toml(config)
        if found.get("kind") != table["kind"]:
            raise FileExistsError(f"{out} is not a training run; choose another --out")
        if found != table:
            raise FileExistsError(f"{out} holds another training: {_difference(found, table)}; choose another --out")
        return (out / FILE).is_file()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"{out} exists and is not a training run; choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    write_toml(config, table)
    return False


def _difference(found: dict[str, Any], wanted: dict[str, Any], prefix: str = "") -> str:
    for key in sorted(set(found) | set(wanted)):
        a, b = found.get(key), wanted.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            if a != b:
                return _difference(a, b, f"{prefix}{key}.")
        elif a != b:
            return f"{prefix}{key} is {a!r} there, {b!r} here"
    return "no difference"


def _finish(
    out: Path,
    progression: Progression,
    settings: TrainingSettings,
    data: TrainingData,
    best: Flow,
    provenance: dict[str, Any],
    device: str,
) -> None:
    assert progression.best is not None
    training = {
        **provenance,
        "frames": len(data.train),
        "steps": progression.step,
        "best_step": progression.best["step"],
        "validation_loss": progression.best["validation_loss"],
        "validation_acceptance": progression.best["validation_acceptance"],
        "wall_s": round(progression.wall_s, 1),
        "device": device,
        "torch": torch.__version__,
    }
    described = save_flow(out, MODEL_NAME, best, training)
    summary = {
        "schema": 1,
        "molecule": data.atoms.residues,
        "family": settings.family,
        "parameters": sum(p.numel() for p in best.parameters()),
        "seed": settings.seed,
        "weights_sha256": described.sha256,
        **training,
    }
    write_json(out / "summary.json", summary)


__all__: Sequence[str] = ["frame_indices", "train"]
