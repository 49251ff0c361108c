"""MD of a list of peptides: one run folder each, any number of workers, resumable per peptide."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..energies import compile_system
from ..executors import Executor, Heartbeat, Outcome, Task
from ..files import exclusive, read_json, write_json
from ..molecules import build_molecule, get_preset
from ..progress import Progress
from ..trajectories import RunFolder, open_campaign, run_in_campaign
from ..units import FEMTOSECONDS_PER_PICOSECOND, SECONDS_PER_DAY
from .engines import resolve_for_presets
from .production import SUMMARY_INTERVAL_S, simulate, versions
from .replica import SimulationError
from .settings import SimulationSettings
from .watching import ClosedTime

SUMMARY_FILE = "summary.json"
ENERGY_FILE = "energy.safetensors"


def peptide_seed(seed: int, sequence: str) -> int:
    """The seed of one peptide's run, from the campaign's seed and the sequence alone: its place in the list is nothing.

    It fits ``--seed``, so that ``timewarp simulate SEQUENCE`` can repeat the run.

    >>> peptide_seed(0, "AG")
    769748423
    """
    return int.from_bytes(hashlib.sha256(f"{seed}:{sequence}".encode()).digest()[:4], "big")


def simulate_campaign(
    sequences: Sequence[str],
    out: Path | str,
    settings: SimulationSettings,
    executor: Executor,
    *,
    preset: str = "amber14-obc2",
    quiet: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Run MD of each peptide in a folder of its own under ``out``, named by its sequence.

    Finished peptides are skipped, unfinished ones go on from their last closed segment, failed ones are tried again; a
    peptide that fails does not stop the others. Each is bit for bit what :func:`simulate` makes of it alone, under the
    seed :func:`peptide_seed`. A larger ``settings.length_ns``, which is that of each peptide, extends all.

    Args:
        sequences: in standard spelling, without duplicates (see :func:`timewarp.molecules.read_sequences`).
        out: a new folder, or that of the campaign to go on with.
        settings: of each peptide's run; its seed is the campaign's.
        executor: where to run.
        preset: name of the force-field preset.
        quiet: no progress line.
        say: called with a line for each peptide that fails.

    Returns:
        The summary, as in ``out/summary.json``; its ``failed`` counts the peptides that have failed.

    Raises:
        FileExistsError: the folder holds something else or another campaign, or another process is writing to it.
        ConnectionError: a cluster cannot be reached, or was lost.
    """
    if not sequences or len(set(sequences)) != len(sequences):
        raise ValueError(f"sequences must be one or more, each once; got {len(sequences)}")
    settings = resolve_for_presets(settings)
    out = Path(out).resolve()  # workers have other working directories
    open_campaign(out, {"campaign": {"schema": 1}, **_shared_config(settings, preset)}, may_grow="length_ns")
    with exclusive(out):
        campaign = _Campaign(out, sequences, settings, preset, executor)
        campaign.run(quiet, say)
        return campaign.summary()


def simulate_peptide(
    sequence: str, preset: str, folder: Path, settings: SimulationSettings, *, heartbeat: Heartbeat
) -> None:
    """Body of a peptide's task, in a worker: build the molecule, and simulate or go on.

    Raises:
        FileNotFoundError: this machine does not see the campaign's folder.
        SimulationError: the dynamics failed.
    """
    molecule = build_molecule(sequence, preset)

    def keep_energy(run: RunFolder) -> None:
        if not (run.path / ENERGY_FILE).exists():
            compile_system(molecule.system).save(run.path / ENERGY_FILE)

    def body() -> None:
        simulate(molecule, folder, settings, quiet=True, processes=1, prepare=keep_energy, heartbeat=heartbeat)

    run_in_campaign(folder, body, heartbeat)


# --- one campaign ---------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class _Peptide:
    sequence: str
    folder: Path
    settings: SimulationSettings
    state: str = "waiting"
    message: str | None = None

    def read(self) -> dict[str, Any]:
        """The summary of its run; empty before there is one."""
        try:
            return read_json(self.folder / SUMMARY_FILE)
        except (OSError, ValueError):
            return {}

    def is_finished(self) -> bool:
        """Whether its run says that it is complete, and is the one that this campaign would make."""
        found = self.read()
        same = all(found.get(key) == getattr(self.settings, key) for key in ("seed", "timestep_fs"))
        return same and found.get("complete") is True and found.get("length_ns", 0.0) >= self.settings.length_ns


class _Campaign:
    def __init__(
        self, out: Path, sequences: Sequence[str], settings: SimulationSettings, preset: str, executor: Executor
    ) -> None:
        self.out, self.settings, self.preset, self.executor = out, settings, preset, executor
        self.peptides = {
            sequence: _Peptide(
                sequence, out / sequence, dataclasses.replace(settings, seed=peptide_seed(settings.seed, sequence))
            )
            for sequence in sequences
        }
        for peptide in self.peptides.values():
            peptide.state = "done" if peptide.is_finished() else "waiting"
        self.wall_before_s = 0.0
        with contextlib.suppress(OSError, ValueError):
            self.wall_before_s = float(read_json(out / SUMMARY_FILE).get("wall_s") or 0.0)
        self.began = self.saved = time.monotonic()
        self.closed = {
            sequence: ClosedTime(peptide.folder, settings.timestep_fs / FEMTOSECONDS_PER_PICOSECOND)
            for sequence, peptide in self.peptides.items()
        }

    def run(self, quiet: bool, say: Callable[[str], None]) -> None:
        """Run what is not finished."""
        waiting = [peptide for peptide in self.peptides.values() if peptide.state != "done"]
        expected = (ValueError, OSError, NotImplementedError, SimulationError)
        tasks = [
            Task(p.sequence, simulate_peptide, (p.sequence, self.preset, p.folder, p.settings), expected)
            for p in waiting
        ]
        total_ns = self.settings.length_ns * len(self.peptides)
        first_ns = shown_ns = self._done_ns()
        progress = Progress(f"{len(self.peptides)} peptides", total_ns, done=first_ns, unit="ns", quiet=quiet)
        looked = took = 0.0

        def on_outcome(outcome: Outcome) -> None:
            peptide = self.peptides[outcome.name]
            peptide.message = outcome.error
            peptide.state = "done" if outcome.error is None else "failed"
            if outcome.error is not None:
                say(f"{outcome.name} failed: {outcome.error}")
            on_poll(force=True)

        def on_poll(force: bool = False) -> None:
            nonlocal shown_ns, looked, took
            began = time.monotonic()
            if not force and began - looked < 20 * took:  # on a slow file system, look less often
                return
            done_ns = self._done_ns()
            rate = (done_ns - first_ns) / max(began - self.began, 1e-9) * SECONDS_PER_DAY
            states = [peptide.state for peptide in self.peptides.values()]
            failed = f", {states.count('failed')} failed" if "failed" in states else ""
            note = f"{states.count('done')} done{failed}; {done_ns:,.4g} of {total_ns:,.4g} ns, {rate:,.0f} ns/day"
            progress.advance(done_ns - shown_ns, note)
            shown_ns, looked = done_ns, time.monotonic()
            took = looked - began
            if looked - self.saved > SUMMARY_INTERVAL_S:
                self.saved = looked
                write_json(self.out / SUMMARY_FILE, self.summary())

        try:
            if tasks:
                with progress:
                    self.executor.run(tasks, on_outcome, on_poll)
                    on_poll(force=True)
        finally:
            write_json(self.out / SUMMARY_FILE, self.summary())

    def _done_ns(self) -> float:
        """Time so far; a run whose length is rounded up to whole frames counts what was asked for."""
        length_ns = self.settings.length_ns
        return sum(
            length_ns if peptide.state == "done" else min(self.closed[sequence].ns(), length_ns)
            for sequence, peptide in self.peptides.items()
        )

    def summary(self) -> dict[str, Any]:
        """What ``summary.json`` holds."""
        rows = [self._row(peptide) for peptide in self.peptides.values()]
        states = [row["state"] for row in rows]
        wall_s = self.wall_before_s + time.monotonic() - self.began
        done_ns = sum(row["done_ns"] for row in rows)
        return {
            "schema": 1,
            **_shared_config(self.settings, self.preset),
            "complete": states.count("done") == len(states),
            "peptides": len(rows),
            "done": states.count("done"),
            "failed": states.count("failed"),
            "done_ns": done_ns,
            "wall_s": wall_s,
            "ns_per_day": done_ns / wall_s * SECONDS_PER_DAY if wall_s else None,
            "executor": self.executor.description,
            "versions": versions(),
            "table": rows,
        }

    def _row(self, peptide: _Peptide) -> dict[str, Any]:
        found = peptide.read()
        return {
            "sequence": peptide.sequence,
            "folder": peptide.folder.name,
            "state": peptide.state,
            "message": peptide.message,
            "seed": peptide.settings.seed,
            "done_ns": found.get("done_ns", 0.0) if peptide.state == "done" else self.closed[peptide.sequence].ns(),
            "wall_s": found.get("wall_s"),
            "ns_per_day": found.get("ns_per_day"),
        }


def _shared_config(settings: SimulationSettings, preset: str) -> dict[str, Any]:
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in vars(settings).items()}
    if plain["temperature_K"] is None:
        plain["temperature_K"] = get_preset(preset).temperature_K
    return {"preset": preset, **plain}
