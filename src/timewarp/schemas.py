"""What the files of the program must hold: types and ranges of each entry that is read, checked where a file is opened.

Entries that are not named here may be there, and are not looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Count = Annotated[int, Field(ge=0, lt=2**63)]
Seconds = Annotated[float, Field(ge=0, lt=1e12, allow_inf_nan=False)]
Number = Annotated[float, Field(gt=-1e300, lt=1e300, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Text = Annotated[str, Field(max_length=10_000)]
Label = Annotated[str, Field(max_length=100)]


class _Checked(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class AtomsFile(_Checked):
    """``atoms.json``."""

    elements: list[Label]
    names: list[Label]
    residue_names: list[Label]
    residue_numbers: list[Annotated[int, Field(ge=-100_000, le=100_000)]]
    masses: list[Annotated[float, Field(ge=0, lt=1e4, allow_inf_nan=False)]]
    charges: list[Annotated[float, Field(gt=-1e3, lt=1e3, allow_inf_nan=False)]]
    bonds: list[Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=2, max_length=2)]]


class KernelRow(_Checked):
    """A kernel in ``summary.json``."""

    proposed: Count
    accepted: Count
    acceptance: Probability | None = None
    nonfinite: Count = 0
    restricted: Count = 0
    jump: Number | None = None
    acceptance_per_chain: list[Number | None] = []


class ReachedRow(_Checked):
    """A state in the summary of an exploration."""

    step: Count
    seconds: Seconds | None = None


class SummaryFile(_Checked):
    """``summary.json`` of a run."""

    schema_: Annotated[int, Field(alias="schema")] = 1
    molecule: Text | None = None
    preset: Text | None = None
    model: Text | None = None
    wall_s: Seconds | None = None
    warmup_wall_s: Seconds | None = None
    n_chains: Count | None = None
    n_samples: Count | None = None
    frames: Count | None = None
    seed: Count | None = None
    thin: Count | None = None
    temperature_K: Annotated[float, Field(gt=0, lt=1e6, allow_inf_nan=False)] | None = None
    kernels: dict[str, KernelRow] = {}
    rhat: dict[str, Number | None] = {}
    ess: dict[str, Number | None] = {}
    ess_per_second: dict[str, Number | None] = {}
    tuning: dict[str, dict[str, Number]] | None = None
    versions: dict[str, Any] = {}
    engines: dict[str, Any] = {}


class HistoryRow(_Checked):
    """A validation of a training."""

    step: Count
    stage: Text = ""
    learning_rate: Number | None = None
    training_loss: float | None = None
    validation_loss: float | None
    validation_acceptance: float | None = None
    validation_acceptance_error: float | None = None


class ProgressionData(_Checked):
    """What a checkpoint says of the training."""

    model_config = ConfigDict(strict=True, extra="forbid")

    step: Count
    wall_s: Seconds
    history: list[HistoryRow]
    best: HistoryRow | None
    stage: Annotated[int, Field(ge=0, le=1000)]
    step_of_stage: Count
    stale: Count
    skipped: Count = 0


class CompactRow(_Checked):
    """A molecule of a packed training set."""

    name: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^/\x00-\x1f]+$")]
    split: Annotated[str, Field(pattern="^(train|validation)$")]
    preset: Text
    temperature_K: Annotated[float, Field(gt=0, lt=1e6, allow_inf_nan=False)]
    atoms: dict[str, Any]


class ModelFile(_Checked):
    """``model.toml``."""

    name: Text
    family: Label
    residues: Annotated[str, Field(max_length=1_000_000)]
    fingerprint: Label
    weights_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    config: dict[str, Any]
    training: dict[str, Any] = {}


def check(model: type[BaseModel], data: Any, source: Path | str) -> None:
    """Check what was read.

    Args:
        model: the schema.
        data: plain data.
        source: the file, for the message.

    Raises:
        ValueError: the first entry that is missing, of another type, or out of range, by its name.
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"{source} must hold a table, got {_short(data)}")
    try:
        model.model_validate(dict(data))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))[:200]
        what = first["msg"][:1].lower() + first["msg"][1:]
        got = "" if first["type"] == "missing" else f", got {_short(first.get('input'))}"
        raise ValueError(f"{source}: {where}: {what}{got}; the file is damaged or was edited") from None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
