"""Observables of a run, beside measured values where there are any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..files import write_atomically, write_json
from ..observables import Compared, Measured, Observations, Reweighting, chi_squared, read_experiment
from ..observables import observe as observe_source
from ..observables.karplus import DEFAULT as DEFAULT_KARPLUS
from ..observables.library import Own
from ..progress import Listener
from ..publishing import publishing
from ..trajectories.identity import run_identity
from .sources import Given, source_of, teller

NAMES = ("observables.json", "observables.csv")


@dataclass(frozen=True, eq=False)
class Observation:
    """Observables of a run, and how they agree with an experiment.

    Attributes:
        observables: averages with errors, by name.
        compared: each measured value beside the run's; empty without an experiment.
        reweighting: weights that agree better; None where they were not asked for.
    """

    observables: Observations
    compared: tuple[Compared, ...] = ()
    reweighting: Reweighting | None = None

    @property
    def chi_squared(self) -> dict[str, float]:
        """Mean squared deviation from the measured values in units of their errors, by kind; empty for none."""
        return chi_squared(self.compared)

    def to_json(self) -> dict[str, Any]:
        """What ``observables.json`` holds."""
        return {
            **self.observables.to_json(),
            "experiment": [row.to_json() for row in self.compared],
            "chi_squared": self.chi_squared,
            "reweighting": None if self.reweighting is None else self.reweighting.to_json(),
        }


def observe(
    run: Given,
    observables: Sequence[str] = (),
    *,
    out: Path | str | None = None,
    own: Mapping[str, Own] | None = None,
    experiment: Sequence[Measured] | Path | str | None = None,
    reweight: bool = False,
    theta: float | None = None,
    karplus: str = DEFAULT_KARPLUS,
    discard: int = 0,
    stride: int = 1,
    top: Path | str | None = None,
    spacing_ps: float | None = None,
    force: bool = False,
    progress: bool | Listener = False,
) -> Observation:
    """Observables of a run: averages with standard errors of their own, beside measured values.

    Args:
        run: a run, its folder, or frames of another program.
        observables: what is asked for, such as ``"couplings"``, ``"rg"``, ``"noe=2:HA,3:H"``; see
            :mod:`timewarp.observables.requests`. The usual ones where nothing is.
        out: folder for ``observables.json``, ``observables.csv`` and a figure; None: nothing is written.
        own: observables of one's own: functions from an MDTraj trajectory to one number for each frame, by name.
        experiment: measured values, or a CSV file of them.
        reweight: whether to find weights of the frames that agree with the measured values.
        theta: trust in the simulation in the reweighting; None: chosen by cross-validation.
        karplus: set of Karplus relations.
        discard: frames dropped from the start of each chain.
        stride: every ``stride``-th frame is used.
        top: topology, of a trajectory file of another program.
        spacing_ps: time between its frames.
        force: replace files in ``out`` that are not of this run.
        progress: True for a note of each part on standard error, or a function called with a
            :class:`timewarp.progress.Report`.

    Raises:
        ValueError: a request, the experiment or the run cannot be used.
        FileNotFoundError: a file is not there.
        FileExistsError: ``out`` holds something else, and ``force`` is not given.

    Example:
        >>> run = sample("AG", samples=320, chains=8, warmup=10, out=folder / "run")
        >>> found = observe(run, ["couplings", "distance=1:CA,2:CA"])
        >>> found.observables["distance=1:CA,2:CA"].unit
        'nm'
    """
    if (reweight or theta is not None) and experiment is None:
        raise ValueError("`reweight` and `theta` need measured values: give `experiment`")
    measured = read_experiment(experiment) if isinstance(experiment, Path | str) else experiment
    source = source_of(run, top=top, spacing_ps=spacing_ps) if isinstance(run, Path | str) else source_of(run)
    found = observe_source(
        source,
        observables,
        own=own,
        experiment=measured,
        karplus=karplus,
        discard=discard,
        stride=stride,
        progress=teller(progress, "observing"),
    )
    compared = () if measured is None else tuple(found.compare(measured))
    weights = None if measured is None or not (reweight or theta) else found.reweight(measured, theta=theta)
    result = Observation(found, compared, weights)
    if out is not None:
        _write(result, Path(out), run_identity(source), force)
    return result


def _write(found: Observation, folder: Path, of: str, force: bool) -> None:
    """Write ``observables.json``, ``observables.csv`` and, beside an experiment, ``experiment.png``."""
    with publishing(folder, f"observables of {of}", names=NAMES, force=force) as outputs:
        write_json(outputs.work / NAMES[0], found.to_json())
        write_atomically(outputs.work / NAMES[1], found.observables.to_csv().encode())
        if found.compared:
            from ..report import experiment_figure

            experiment_figure(found.compared, found.reweighting).savefig(outputs.work / "experiment.png")
