"""The state of a training run in one safetensors file: weights, moving average, optimiser, history. No pickle."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ..files import write_atomically
from ..flows import Network
from ..flows.weights import check_tensors
from ..schemas import ProgressionData, check
from .optimisers import Muon

FILE = "checkpoint.safetensors"
OPTIMISER_STATE = ("step", "exp_avg", "exp_avg_sq")


@dataclass
class Progression:
    """What a training run has reached.

    Attributes:
        step: optimiser steps done.
        wall_s: seconds spent, over all resumes.
        history: one row per validation: step, stage, training loss, learning rate, validation loss, acceptance.
        best: the best validation's row, or None.
        stage: number of the stage that goes on; the number of stages once all are done.
        step_of_stage: steps done in it.
        stale: validations since the best, or since the stage began.
        skipped: steps without a finite gradient.
    """

    step: int = 0
    wall_s: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Any] | None = None
    stage: int = 0
    step_of_stage: int = 0
    stale: int = 0
    skipped: int = 0


def save_checkpoint(
    folder: Path,
    progression: Progression,
    flow: Network,
    averaged: Network,
    best: Network,
    optimiser: torch.optim.Optimizer,
) -> None:
    """Write everything that a resumed run needs to equal the uninterrupted one."""
    tensors: dict[str, torch.Tensor] = {}
    for prefix, module in (("flow", flow), ("averaged", averaged), ("best", best)):
        tensors |= {f"{prefix}.{k}": v for k, v in module.state_dict().items()}
    for name, state in _optimiser_states(flow, optimiser).items():
        tensors |= {f"optimiser.{name}.{key}": state[key] for key in OPTIMISER_STATE if key in state}
    metadata = {"progression": json.dumps(vars(progression)), "format": "timewarp-training-1"}
    contiguous = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    write_atomically(folder / FILE, save(contiguous, metadata))


def load_checkpoint(
    folder: Path, flow: Network, averaged: Network, best: Network, optimiser: torch.optim.Optimizer
) -> Progression:
    """Read :func:`save_checkpoint`'s file into the modules and the optimiser.

    Raises:
        ValueError: the file is damaged or of another network.
    """
    path = folder / FILE
    try:
        with safe_open(path, framework="pt") as handle:
            metadata = handle.metadata() or {}
            tensors = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118
        data = json.loads(metadata["progression"])
        check(ProgressionData, data, "the progression in its metadata")
        progression = Progression(**data)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is damaged or not a training checkpoint ({type(error).__name__}: {error}); "
            "delete it to start this training again"
        ) from None
    for prefix, module in (("flow", flow), ("averaged", averaged), ("best", best)):
        own = {k.removeprefix(f"{prefix}."): v for k, v in tensors.items() if k.startswith(f"{prefix}.")}
        check_tensors(own, module.state_dict(), f"{path} ({prefix})")
        module.load_state_dict(own)
    # A stage begins with an optimiser that remembers nothing, and so do steps that were all skipped.
    remembers = any(key.startswith("optimiser.") for key in tensors)
    for name, parameter in flow.named_parameters():
        state = {key: tensors.get(f"optimiser.{name}.{key}") for key in OPTIMISER_STATE}
        if isinstance(optimiser, Muon) and state["exp_avg_sq"] is None:
            del state["exp_avg_sq"]  # Muon's own step has momentum alone
        if remembers and any(value is None for value in state.values()):
            raise ValueError(f"{path} is damaged: it lacks the optimiser's state of {name!r}")
        shapes = {"step": torch.Size([])}
        for key, value in state.items():
            if value is not None and (
                value.shape != shapes.get(key, parameter.shape)
                or not value.is_floating_point()
                or not value.isfinite().all()
            ):
                raise ValueError(f"{path} is damaged: the optimiser's {key} of {name!r} is {tuple(value.shape)}")
        if remembers:
            optimiser.state[parameter] = {
                key: value.to(parameter.device) if key != "step" else value
                for key, value in state.items()
                if value is not None
            }
    return progression


def _optimiser_states(flow: Network, optimiser: torch.optim.Optimizer) -> dict[str, dict[str, torch.Tensor]]:
    return {name: optimiser.state[p] for name, p in flow.named_parameters() if p in optimiser.state}
