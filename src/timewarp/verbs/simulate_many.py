"""MD of a list of peptides."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..executors import Executor, Heartbeat, make_executor
from ..files import read_json
from ..machine import available_cores, versions
from ..molecules import build_molecule, get_preset, read_sequences
from ..settings.simulation import SimulationSettings
from ..simulation import SimulationError, resolve_for_presets, simulate
from ..trajectories import ClosedSteps, RunFolder
from ..units import FEMTOSECONDS_PER_PICOSECOND, PICOSECONDS_PER_NANOSECOND, SECONDS_PER_DAY
from .many import DONE, WAITING, peptide_seed, run_list


def simulate_many(
    sequences: Sequence[str] | Path,
    out: Path | str,
    *,
    preset: str = "amber14-obc2",
    scheduler: str | None = None,
    workers: int | None = None,
    executor: Executor | None = None,
    progress: bool = False,
    say: Callable[[str], None] = lambda line: None,
    **settings: Any,
) -> dict[str, Any]:
    """MD of each peptide of a list, in a folder of its own under ``out``; see :func:`run_list`.

    Each is bit for bit what :func:`timewarp.simulation.simulate` makes of it alone, under the seed
    :func:`peptide_seed`. A larger ``settings.length_ns``, which is that of each peptide, extends all.

    Args:
        sequences: in standard spelling, each once; or a file of them (:func:`timewarp.molecules.read_sequences`).
        out: a new folder, or that of the list to go on with.
        settings: of each peptide's run; its seed is the list's.
        executor: where to run.
        preset: name of the force-field preset.
        progress: show a line with the rate and the time left.
        say: called with a line for each peptide that fails.
        settings: fields of :class:`~timewarp.settings.simulation.SimulationSettings`, the same for all but the seed.

    Returns:
        The summary, as in ``out/summary.json``.

    Raises:
        ValueError: there is no sequence, or one is there twice.
        FileExistsError: the folder holds something else or another list, or another process is writing to it.
        ConnectionError: a cluster cannot be reached, or was lost.
    """
    if isinstance(sequences, Path):
        sequences = read_sequences(sequences)
    chosen = resolve_for_presets(SimulationSettings.make(settings))
    shared = chosen.to_config()
    if chosen.temperature_K is None:
        shared["temperature_K"] = get_preset(preset).temperature_K
    closed: dict[Path, ClosedSteps] = {}

    def of(sequence: str) -> SimulationSettings:
        return dataclasses.replace(chosen, seed=peptide_seed(chosen.seed, sequence))

    def stored_ns(sequence: str, folder: Path) -> float:
        steps = closed.setdefault(folder, ClosedSteps(folder)).count()
        return steps * chosen.timestep_fs / FEMTOSECONDS_PER_PICOSECOND / PICOSECONDS_PER_NANOSECOND

    def row(sequence: str, folder: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError):
            found = read_json(folder / "summary.json")
        mine = of(sequence)
        same = found.get("seed") == mine.seed and found.get("timestep_fs") == mine.timestep_fs
        long_enough = isinstance(found.get("length_ns"), int | float) and found["length_ns"] >= mine.length_ns
        done = same and found.get("complete") is True and long_enough
        if done:  # what is there counts, not what is said of it
            with contextlib.suppress(OSError, ValueError):
                run = RunFolder.open(folder)
                frames = [run.n_frames(stream) for stream in run.streams]
                done = bool(frames) and min(frames) >= mine.frames_per_replica
        return {
            "state": DONE if done else WAITING,
            "seed": mine.seed,
            "done_ns": found.get("done_ns", 0.0) if done else stored_ns(sequence, folder),
            "wall_s": found.get("wall_s"),
            "ns_per_day": found.get("ns_per_day"),
        }

    def totals(rows: list[dict[str, Any]], wall_s: float) -> dict[str, Any]:
        done_ns = sum(row["done_ns"] for row in rows)
        rate = done_ns / wall_s * SECONDS_PER_DAY if wall_s else None
        return {"done_ns": done_ns, "ns_per_day": rate, "versions": versions()}

    return run_list(
        sequences,
        out,
        work=partial(simulate_peptide, preset=preset),
        settings=of,
        row=row,
        shared={"campaign": {"schema": 1}, "preset": preset, **shared},
        may_grow="length_ns",
        executor=executor or make_executor(scheduler, min(workers or available_cores(), len(sequences))),
        expected=(ValueError, OSError, NotImplementedError, SimulationError),
        amount=stored_ns,
        each=chosen.length_ns,
        unit="ns",
        totals=totals,
        progress=progress,
        say=say,
    )


def simulate_peptide(
    sequence: str, folder: Path, settings: SimulationSettings, *, preset: str, heartbeat: Heartbeat
) -> None:
    """Build one peptide and simulate it, or go on.

    Raises:
        SimulationError: the dynamics failed.
    """
    simulate(build_molecule(sequence, preset), folder, settings, quiet=True, processes=1, heartbeat=heartbeat)
