"""Measured values beside a run: a table of them, chi-squared for each kind, and the average's distance from each."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .series import Observed

COLUMNS = "observable, value, error (may be empty where the relation has its own), bound (empty, upper or lower)"
BOUNDS = ("", "upper", "lower")


@dataclass(frozen=True)
class Measured:
    """One measured value.

    Attributes:
        observable: its name, as the run's own: ``3J(HN,HA) 2``, ``noe=2:HA,3:H``.
        value: in the observable's unit.
        error: of the measurement, one standard deviation; 0 where only the relation's own error counts.
        bound: empty for a value, ``upper`` or ``lower`` for a limit.
    """

    observable: str
    value: float
    error: float
    bound: str = ""

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ValueError(f"the value of {self.observable} must be a number, got {self.value!r}")
        if not (math.isfinite(self.error) and self.error >= 0):
            raise ValueError(f"the error of {self.observable} must be a number of at least 0, got {self.error!r}")
        if self.bound not in BOUNDS:
            raise ValueError(f"the bound of {self.observable} must be empty, upper or lower, got {self.bound!r}")


def read_experiment(path: Path | str) -> list[Measured]:
    """Measured values from a CSV file with a head line: columns observable, value, error and (optionally) bound.

    Lines that begin with ``#`` are comments.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a column is missing, a line cannot be read, or an observable is there twice; the line is named.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file of measured values {path}; it is a CSV with columns {COLUMNS}")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text file: {error}") from None
    numbered = [(n, line) for n, line in enumerate(lines, 1) if line.strip() and not line.lstrip().startswith("#")]
    if not numbered:
        raise ValueError(f"{path} is empty; expected a CSV with columns {COLUMNS}")
    rows = list(csv.reader(io.StringIO("\n".join(line for _, line in numbered)), skipinitialspace=True))
    head = [name.strip().lower() for name in rows[0]]
    if missing := [name for name in ("observable", "value") if name not in head]:
        raise ValueError(
            f"{path} has no column {missing[0]!r} in its first line ({', '.join(head)}); columns: {COLUMNS}"
        )
    found: dict[str, Measured] = {}
    for (number, _), row in zip(numbered[1:], rows[1:], strict=False):
        cells = dict(zip(head, (cell.strip() for cell in row), strict=False))
        name = cells.get("observable", "")
        try:
            measured = Measured(
                name, float(cells.get("value", "")), float(cells.get("error") or 0.0), cells.get("bound", "").lower()
            )
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}; columns are {COLUMNS}") from None
        if not name or name in found:
            what = f"{name} is there twice" if name else "no observable is named"
            raise ValueError(f"{path}, line {number}: {what}")
        found[name] = measured
    if not found:
        raise ValueError(f"{path} has a head line and no values")
    return list(found.values())


@dataclass(frozen=True)
class Compared:
    """A measured value beside the run's.

    Attributes:
        name: of the observable; ``kind`` and ``unit`` are its own too.
        measured: the measured value.
        bound: as of :class:`Measured`.
        computed: of the run.
        sampling_error: of the run's average.
        sigma: error of the comparison: that of the measurement and that of the relation, added in squares.
        deviation: (computed - measured) / sigma; 0 within a bound.
        status: of the run's average, as of :class:`Observed`.
    """

    name: str
    kind: str
    unit: str
    measured: float
    bound: str
    computed: float
    sampling_error: float
    sigma: float
    deviation: float
    status: str

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def compare_measured(observed: Sequence[Observed], measured: Sequence[Measured]) -> list[Compared]:
    """Each measured value beside the run's.

    Raises:
        ValueError: the run has no such observable, or a value has no error of any kind.
    """
    known = {row.name: row for row in observed}
    found = []
    for m in measured:
        if m.observable not in known:
            raise ValueError(f"the run has no observable {m.observable!r}; it has {', '.join(known)}")
        row = known[m.observable]
        sigma = math.hypot(m.error, row.model_error)
        if not sigma > 0:
            raise ValueError(
                f"{m.observable} has no error: give one in the column error (its relation to the structure has none)"
            )
        gap = row.value - m.value
        inside = (m.bound == "upper" and gap <= 0) or (m.bound == "lower" and gap >= 0)
        found.append(
            Compared(
                row.name, row.kind, row.unit, m.value, m.bound, row.value, row.error, sigma,
                0.0 if inside else gap / sigma, row.status,
            )
        )  # fmt: skip
    return found


def chi_squared(rows: Sequence[Compared]) -> dict[str, float]:
    """Mean squared deviation in units of sigma, by kind of observable (couplings by coupling), and of ``all``.

    1 is agreement within errors; the errors of Karplus relations are partly the same for all residues.
    """
    groups: dict[str, list[float]] = {}
    for row in rows:
        kind = row.name.rsplit(" ", 1)[0] if row.kind == "coupling" else row.kind
        groups.setdefault(kind, []).append(row.deviation**2)
    means = {kind: float(np.mean(values)) for kind, values in groups.items()}
    if rows:
        means["all"] = float(np.mean([row.deviation**2 for row in rows]))
    return means
