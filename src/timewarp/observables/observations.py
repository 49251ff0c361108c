"""The observables of a run: averages with errors, beside measured values, under other weights."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..trajectories import Source, mdtraj_topology
from .experiment import Compared, Measured, chi_squared, compare_measured, read_experiment
from .karplus import DEFAULT as DEFAULT_KARPLUS
from .library import Frames, Own, own_series, series_of
from .requests import DEFAULT, PLAIN, WITH_ATOMS, parse
from .reweighting import Reweighting, reweight
from .series import Observed, Series, average

SCHEMA = 1


class Observations(Mapping[str, Observed]):
    """Observables of a run by name, such as ``found["3J(HN,HA) 2"].value``.

    Args:
        name: of the molecule.
        series: every observable in every frame.
        superchains: the label of each chain.

    Attributes:
        series: as given, by name.
    """

    def __init__(self, name: str, series: Sequence[Series], superchains: Sequence[int] | None = None) -> None:
        self.name = name
        self.series = {s.name: s for s in series}
        self._rows = {s.name: average(s, superchains) for s in self.series.values()}

    def __getitem__(self, name: str) -> Observed:
        return self._rows[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        late = sum(row.status == "not converged" for row in self._rows.values())
        return f"Observations({self.name}: {len(self)} observables, {late} not converged)"

    def compare(self, measured: Sequence[Measured] | Path | str) -> list[Compared]:
        """Each measured value beside the run's.

        Args:
            measured: values, or a CSV file of :func:`timewarp.observables.read_experiment`.

        Raises:
            ValueError: the run has no such observable, or the file cannot be read.
            FileNotFoundError: there is no such file.
        """
        return compare_measured(list(self.values()), _measured(measured))

    def chi_squared(self, measured: Sequence[Measured] | Path | str) -> dict[str, float]:
        """Mean squared deviation from measured values in units of their errors, by kind; see :meth:`compare`."""
        return chi_squared(self.compare(measured))

    def reweight(
        self, measured: Sequence[Measured] | Path | str, *, theta: float | None = None, seed: int = 0
    ) -> Reweighting:
        """Weights of the frames that agree with measured values; see :func:`timewarp.observables.reweight`."""
        return reweight(list(self.series.values()), _measured(measured), theta=theta, seed=seed)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"schema": SCHEMA, "molecule": self.name, "observables": [row.to_json() for row in self.values()]}

    def to_csv(self) -> str:
        """A table with one line for each observable."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        columns = ["name", "kind", "unit", "value", "error", "model_error", "ess", "rhat", "status"]
        writer.writerow(columns)
        for row in self.values():
            data = row.to_json()
            writer.writerow(["" if _is_nan(data[c]) else data[c] for c in columns])
        return buffer.getvalue()


def observe(
    source: Source,
    requests: Sequence[str] = (),
    *,
    own: Mapping[str, Own] | None = None,
    experiment: Sequence[Measured] | Path | str | None = None,
    karplus: str = DEFAULT_KARPLUS,
    discard: int = 0,
    stride: int = 1,
    progress: Callable[[str], None] | None = None,
) -> Observations:
    """Observables of a run, each with a standard error from its own effective sample size.

    Args:
        source: the run.
        requests: what is asked for; the usual ones where nothing is.
        own: further ones: functions of an MDTraj trajectory that give one number for each frame, by name.
        experiment: measured values; the observables that they name are computed too.
        karplus: set of Karplus relations.
        discard: frames dropped from the start of each chain.
        stride: every ``stride``-th frame is used.
        progress: called with the name of each part before it is computed.

    Raises:
        ValueError: a request cannot be understood, or the run is biased or has no frames.
        FileNotFoundError: a structure's or the experiment's file is not there.
    """
    source.check_unbiased()
    wanted = list(dict.fromkeys(requests)) or list(DEFAULT)
    if experiment is not None:
        experiment = _measured(experiment)
        named = [m.observable for m in experiment]
        wanted += [name for name in named if name.split("=")[0] in (*WITH_ATOMS, "rmsd") and name not in wanted]
        if any("J(" in name for name in named) and "couplings" not in wanted:
            wanted.insert(0, "couplings")
        wanted += [name for name in named if name in PLAIN and name not in wanted]
    parsed = [parse(text) for text in wanted]
    trajectory = source.trajectory(stride=stride, discard=discard)
    frames = Frames(trajectory.atoms, trajectory.positions.numpy(), mdtraj_topology(source))
    found: list[Series] = []
    for request in parsed:
        if progress is not None:
            progress(request.text)
        found += series_of(frames, request, karplus)
    if own:
        found += own_series(frames, own)
    return Observations(source.name, found, trajectory.superchains)


def _measured(given: Sequence[Measured] | Path | str) -> list[Measured]:
    return read_experiment(given) if isinstance(given, Path | str) else list(given)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
