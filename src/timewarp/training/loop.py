"""The training loop with Lightning Fabric; killed at any moment, it resumes from its checkpoint."""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..files import write_json
from ..flows import Network, network_class
from ..flows.threads import backward, one_thread_each
from ..progress import Progress
from .cartesian import PairTask
from .checkpoint import Progression, load_checkpoint, save_checkpoint
from .folder import claim, finish
from .growth import GrowthTask
from .optimisers import make_optimiser
from .parallel import make_fabric, on_main
from .score import Score
from .settings import TrainingSettings
from .stages import Stage
from .tasks import FrameTask, Metrics, Task

TASKS: dict[str, type] = {"frames": FrameTask, "pairs": PairTask, "peptides": GrowthTask}
"""Trainings (:class:`~timewarp.training.Task`), by :attr:`timewarp.flows.Network.trained_on`."""
MOST_SKIPPED = 10
"""So many steps in a row without a finite gradient end the training."""


def train(
    data: Any,
    settings: TrainingSettings,
    out: Path | str,
    *,
    reduced_energy: Callable[[torch.device], Any] | None = None,
    provenance: dict[str, Any] | None = None,
    accelerator: str = "cpu",
    devices: int = 1,
    minutes: float | None = None,
    start_from: Network | None = None,
    quiet: bool = False,
) -> Progression:
    """Train a flow; the folder then holds ``model.safetensors`` and ``model.toml``.

    The best moving average by validation acceptance (by likelihood, without an energy) is kept. Started again on the
    same folder with the same settings, it goes on from the last checkpoint, step for step as if never stopped:
    frames and noise of a step depend on the seed and the step's number alone. With several devices each process takes
    an equal part of the same batch, so that the number of devices does not change what is computed (but for rounding).

    Args:
        data: what the kind of network learns from: :class:`TrainingData`, :class:`PairData` or :class:`GrowthData`.
        settings: how to train.
        out: the output folder; created if missing.
        reduced_energy: makes the energy in kT on a device: of positions, or of positions and molecules for pairs.
            With it, validations estimate the acceptance; stages that weigh acceptance need it.
        provenance: what the model's description should say of its data.
        accelerator: of Lightning Fabric: ``cpu``, ``cuda``, ``auto``.
        devices: GPUs, or processes on a CPU, that share each batch.
        minutes: stop after so long, with a checkpoint and the best model so far; the same call goes on.
        start_from: a network of the same kind and size, whose weights the training starts from.
        quiet: show no progress.

    Raises:
        FileExistsError: the folder holds something else, or a training with other settings.
        ValueError: data and network do not fit, the energy is missing, or loss and gradient are not finite.
    """
    with contextlib.ExitStack() as hold:
        return _train(
            data,
            settings,
            Path(out),
            hold,
            reduced_energy=reduced_energy,
            provenance=provenance,
            accelerator=accelerator,
            devices=devices,
            minutes=minutes,
            start_from=start_from,
            quiet=quiet,
        )


def _train(
    data: Any,
    settings: TrainingSettings,
    out: Path,
    hold: contextlib.ExitStack,
    *,
    reduced_energy: Callable[[torch.device], Any] | None,
    provenance: dict[str, Any] | None,
    accelerator: str,
    devices: int,
    minutes: float | None,
    start_from: Network | None,
    quiet: bool,
) -> Progression:
    stages = settings.schedule()
    kind: Any = TASKS[network_class(settings.family).trained_on]
    if not isinstance(data, kind.data_type):
        raise ValueError(f"family {settings.family} learns from {kind.data_hint}")
    task: Task = kind(data, settings, reduced_energy)
    if settings.batch_size % devices:
        raise ValueError(f"batch_size ({settings.batch_size}) must be a multiple of the number of devices ({devices})")
    fabric = make_fabric(accelerator, devices, settings.precision)
    torch.manual_seed(settings.seed)
    flow = task.flow()
    if start_from is not None:
        flow.begin_with(start_from)
    # Only now: what fails before must not leave a folder behind.
    resuming = on_main(fabric, lambda: claim(out, settings, task.identity(), hold))
    optimiser = make_optimiser(flow, settings)
    model, wrapped = fabric.setup(task.objective(flow), optimiser)
    averaged, best = copy.deepcopy(flow).eval(), copy.deepcopy(flow).eval()
    progression = load_checkpoint(out, flow, averaged, best, optimiser) if resuming else Progression()
    task.to(fabric.device)

    # Gradients that processes average are made in one piece.
    threads = torch.get_num_threads() if fabric.world_size == 1 else 1
    speaks = fabric.is_global_zero
    started, before, skipped_in_a_row = time.monotonic(), progression.wall_s, 0
    figures = _Figures()
    with Progress(
        "training", settings.total_steps, done=progression.step, unit="step", quiet=quiet or not speaks
    ) as bar:
        while progression.stage < len(stages):
            stage, step = stages[progression.stage], progression.step
            rate = settings.learning_rate_at(progression.step_of_stage, stage)
            for group in optimiser.param_groups:
                group["lr"] = rate
            shard = (fabric.global_rank, fabric.world_size)
            parts = task.split(task.batch(step, shard, flow, stage.weights), threads)
            wrapped.zero_grad()
            metrics = _learn(fabric, model, parts)
            norm = fabric.clip_gradients(model, wrapped, max_norm=settings.gradient_clip, error_if_nonfinite=False)
            # The norm is of the averaged gradient, so that all processes decide alike.
            if torch.isfinite(norm):
                wrapped.step()
                _average(averaged, flow, settings.ema_decay, progression.step_of_stage)
                skipped_in_a_row = 0
            else:
                skipped_in_a_row += 1
                progression.skipped += 1
                if skipped_in_a_row == MOST_SKIPPED:
                    raise ValueError(
                        f"loss or gradient is not finite in {MOST_SKIPPED} steps up to {step}; lower learning_rate "
                        f"({rate:g}), or look for broken frames"
                    )
            figures.add(metrics)
            progression.step += 1
            progression.step_of_stage += 1
            if progression.step_of_stage % settings.validation_every == 0 or progression.step_of_stage == stage.steps:
                found = on_main(fabric, partial(task.row, averaged, figures.means(fabric)))
                row = {"step": progression.step, "stage": stage.name, "learning_rate": rate, **found}
                _judge(row, progression, settings, stages, flow, averaged, best, optimiser)
                progression.wall_s = before + time.monotonic() - started
                if speaks:
                    save_checkpoint(out, progression, flow, averaged, best, optimiser)
                    write_json(out / "curves.json", {"schema": 1, "rows": progression.history})
            bar.advance(1, note=_note(progression))
            if minutes is not None and time.monotonic() - started > 60 * minutes and progression.best is not None:
                progression.wall_s = before + time.monotonic() - started
                on_main(fabric, lambda: save_checkpoint(out, progression, flow, averaged, best, optimiser))
                break
    on_main(
        fabric,
        lambda: finish(out, progression, settings, task.identity(), best, provenance or {}, str(fabric.device)),
    )
    return progression


def _learn(fabric: Any, model: Any, parts: Sequence[tuple[Any, ...]]) -> Metrics:
    """Gradients of the loss, a thread for each part of the batch; figures of the whole batch."""
    if len(parts) == 1:
        loss, metrics = model(*parts[0])
        fabric.backward(loss)
        return metrics
    seen: list[Metrics] = []

    def share(part: tuple[Any, ...]) -> Tensor:
        loss, metrics = model(*part)
        seen.append(metrics)
        return loss / len(parts)

    with one_thread_each():
        backward([partial(share, part) for part in parts], model.parameters(), len(parts))
    return {name: torch.stack([m[name] for m in seen]).mean() for name in seen[0]}


def _judge(
    row: dict[str, Any],
    progression: Progression,
    settings: TrainingSettings,
    stages: Sequence[Stage],
    flow: Network,
    averaged: Network,
    best: Network,
    optimiser: torch.optim.Optimizer,
) -> None:
    """Keep the best; end the stage where its steps are done or nothing has got better for long."""
    progression.history.append(row)
    if progression.best is None or Score.of(row).is_better_than(Score.of(progression.best)):
        progression.best = row
        progression.stale = 0
        best.load_state_dict(averaged.state_dict())
    else:
        progression.stale += 1
    done = progression.step_of_stage == stages[progression.stage].steps
    if done or (settings.patience and progression.stale >= settings.patience):
        progression.stage += 1
        progression.step_of_stage = progression.stale = 0
        if progression.stage < len(stages):
            # Old moments are of another objective.
            for module in (flow, averaged):
                module.load_state_dict(best.state_dict())
            optimiser.state.clear()


class _Figures:
    """Means of the objective's figures over the steps since the last validation, and over the processes."""

    def __init__(self) -> None:
        self._rows: list[Metrics] = []

    def add(self, row: Metrics) -> None:
        self._rows.append(row)

    def means(self, fabric: Any) -> dict[str, float]:
        names = self._rows[0].keys()
        means = {name: torch.stack([row[name] for row in self._rows]).mean() for name in names}
        self._rows = []
        return {name: float(fabric.all_reduce(value, reduce_op="mean")) for name, value in means.items()}


@torch.no_grad()
def _average(averaged: nn.Module, flow: nn.Module, decay: float, step: int) -> None:
    decay = min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(averaged.parameters()), list(flow.parameters()), 1 - decay)


def _note(progression: Progression) -> str:
    if not progression.history:
        return ""
    last = progression.history[-1]
    note = f"{last['stage']}: " if "stage" in last else ""
    note += f"validation loss {last['validation_loss']:.3f}"
    if last["validation_acceptance"] is not None:
        note += f", acceptance {100 * last['validation_acceptance']:.2g} %"
    return note
