"""The output folder of a training: taken for one set of settings and data, and closed with a model."""

from __future__ import annotations

import contextlib
import math
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import torch

from ..files import exclusive, make_folder, read_toml, remove_temporaries, write_json, write_toml
from ..flows import Network
from ..flows.weights import save_network
from ..trajectories.claiming import strangers
from .checkpoint import FILE, Progression
from .settings import TrainingSettings

MODEL_NAME = "model"


def claim(out: Path, settings: TrainingSettings, identity: dict[str, Any], hold: contextlib.ExitStack) -> bool:
    """Take the output folder for this training, or refuse it. True where there is a checkpoint to go on from.

    Args:
        out: the folder.
        settings: of the training.
        identity: of what it learns from.
        hold: keeps the folder's lock until it is closed.

    Raises:
        FileExistsError: it holds something else, or a training with other settings or data; or another process is
            writing to it.
    """
    table = {"kind": "training", **identity, "training": settings.to_table()}
    config = out / "config.toml"
    _check(out, table)
    make_folder(out)
    hold.enter_context(exclusive(out))
    _check(out, table)
    remove_temporaries(out)
    if config.is_file():
        return (out / FILE).is_file()
    write_toml(config, table)
    return False


def _check(out: Path, table: dict[str, Any]) -> None:
    config = out / "config.toml"
    if config.is_file():
        found = read_toml(config)
        if found.get("kind") != table["kind"]:
            raise FileExistsError(f"{out} is not a training run; choose another --out")
        # A setting that came after the folder was made has its default there.
        defaults = {f.name: f.default for f in fields(TrainingSettings) if f.default is not MISSING}
        found["training"] = {**defaults, **found.get("training", {})}
        if difference := _difference(found, table):
            raise FileExistsError(f"{out} holds another training: {difference}; choose another --out")
    elif out.exists() and (not out.is_dir() or strangers(out, {})):
        raise FileExistsError(f"{out} exists and is not a training run; choose another --out")


def finish(
    out: Path,
    progression: Progression,
    settings: TrainingSettings,
    identity: dict[str, Any],
    best: Network,
    provenance: dict[str, Any],
    device: str,
) -> None:
    """Write the model and the summary.

    Raises:
        ValueError: no validation had a finite loss, so that there is no model to keep.
    """
    assert progression.best is not None
    chosen = progression.best
    loss = chosen.get("validation_loss")
    if not isinstance(loss, int | float) or not math.isfinite(loss):
        raise ValueError(
            f"the training diverged: no validation up to step {progression.step} has a finite loss, so no model is "
            "written; train into another folder with a lower learning_rate"
        )
    lag: dict[str, Any] = {"lag_ps": settings.lag_ps} if settings.lag_ps else {}
    skipped: dict[str, Any] = {"skipped_steps": progression.skipped} if progression.skipped else {}
    size: dict[str, Any] = {name: identity[name] for name in ("frames", "pairs") if name in identity}
    scores: dict[str, Any] = {name: value for name, value in chosen.items() if name.startswith("validation_")}
    training: dict[str, Any] = {
        **provenance,
        **size,
        **lag,
        "steps": progression.step,
        "best_step": chosen["step"],
        **scores,
        **skipped,
        "wall_s": round(progression.wall_s, 1),
        "device": device,
        "torch": torch.__version__,
    }
    described = save_network(out, MODEL_NAME, best.float(), training, identity["residues"])
    summary = {
        "schema": 1,
        "molecule": identity["residues"],
        "family": settings.family,
        "parameters": sum(p.numel() for p in best.parameters()),
        "seed": settings.seed,
        "weights_sha256": described.sha256,
        **training,
    }
    write_json(out / "summary.json", summary)


def _difference(found: dict[str, Any], wanted: dict[str, Any], prefix: str = "") -> str:
    """The first difference of two tables, or nothing; the order of stages is part of what they are."""
    if prefix.endswith("stages.") and list(found) != list(wanted):
        return f"{prefix[:-1]} are {', '.join(found)} there, {', '.join(wanted)} here"
    for key in sorted(set(found) | set(wanted)):
        a, b = found.get(key), wanted.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            if difference := _difference(a, b, f"{prefix}{key}."):
                return difference
        elif a != b:
            return f"{prefix}{key} is {a!r} there, {b!r} here"
    return ""
