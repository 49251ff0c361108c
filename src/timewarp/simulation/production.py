"""A production run: replicas side by side, or in processes of their own with OpenMM; progress, resume, summary."""

from __future__ import annotations

import platform as host
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from .. import native
from ..energies import OpenMMEvaluator, Parameters, Potential, UnknownForceError, compile_system
from ..executors import LocalProcesses, Outcome, Task
from ..files import write_atomically
from ..machine import available_cores, versions
from ..molecules import PRESETS, SYSTEM_FILE, Molecule
from ..progress import Progress
from ..restriction import Restriction
from ..settings.simulation import SimulationSettings
from ..starts import start_positions
from ..state import repartition_hydrogen_mass
from ..trajectories import ENERGY_FILE, ClosedSteps, RunFolder, superchains_of_starts
from ..units import FEMTOSECONDS_PER_PICOSECOND, PICOSECONDS_PER_NANOSECOND, SECONDS_PER_DAY, kT
from .batched import STREAM, BatchedRun
from .engines import choose_engine
from .replica import ReplicaJob, SimulationError, replica_task, run_replica
from .system import choose_platform, with_masses
from .torsion_moves import TorsionMoves

SUMMARY_INTERVAL_S = 30.0
STARTS_FILE = "starts.safetensors"


def simulate(
    molecule: Molecule,
    run_folder_path: Path | str,
    settings: SimulationSettings | None = None,
    *,
    quiet: bool = False,
    processes: int | None = None,
    heartbeat: Callable[[], None] | None = None,
) -> RunFolder:
    """Run Langevin MD of a molecule: minimise, burn in, produce; its compiled energy is kept beside the frames.

    The batched engine runs all replicas side by side in the compiled kernel and writes them as the chains of stream 0;
    with OpenMM, each replica is a stream of its own, written by a process of its own. A run that was killed goes on
    from its last closed segments and equals the uninterrupted one bit for bit (same machine, same versions); a finished
    run is extended by a larger ``length_ns``.

    With OpenMM in several processes, call it from under ``if __name__ == "__main__":`` (they are spawned).

    Args:
        molecule: what to simulate.
        run_folder_path: a new folder, or that of the run to go on with.
        settings: of the run; the defaults if None.
        quiet: no progress lines.
        processes: threads of the batched engine, or how many of OpenMM's replicas run at once; all cores by default.
        heartbeat: called about twice a second; what it raises ends the run, which keeps its closed segments.

    Returns:
        The run folder.

    Raises:
        ValueError: settings that make no sense for this molecule.
        FileExistsError: the folder holds something else, or another process is writing to it.
        SimulationError: a replica exploded; the others were finished.
    """
    path = Path(run_folder_path)
    choice = choose_engine(molecule, SimulationSettings() if settings is None else settings, path)
    settings = choice.settings
    if choice.note and not quiet:
        print(f"timewarp: {choice.note}", file=sys.stderr, flush=True)
    temperature_K = molecule.preset.temperature_K if settings.temperature_K is None else settings.temperature_K
    platform = choose_platform(molecule.system, settings.platform)
    masses = repartition_hydrogen_mass(molecule.atoms, settings.resolved_hydrogen_mass_Da).numpy()
    system = with_masses(molecule.system, masses)
    if settings.torsion_moves_per_round:
        TorsionMoves(molecule.atoms, masses, 1.0, 1.0)  # raises early where there is nothing to turn
    config = settings.resolved(
        molecule=molecule.name,
        preset=molecule.preset.name,
        temperature_K=temperature_K,
        n_atoms=molecule.atoms.n_atoms,
        platform=platform,
    )
    if not choice.recorded:
        del config["engine"]
    _check_not_shorter(path, settings)
    parameters = _compiled(molecule) if choice.parameters is None else choice.parameters
    if molecule.preset.name not in PRESETS and parameters is not None:
        config["energy"] = parameters.digest
    starts = None
    if not (path / "config.toml").exists():  # find bad starts before anything is written
        starts = replica_starts(molecule, settings, temperature_K, parameters)
    run = RunFolder.create(
        path,
        kind="md",
        name=molecule.name,
        atoms=molecule.atoms,
        topology_pdb=molecule.pdb,
        config=config,
        may_change=("length_ns",),
    )
    with run.lock():
        if parameters is not None and not (path / ENERGY_FILE).exists():
            parameters.save(path / ENERGY_FILE)
        if molecule.has_own_force_field and not (path / SYSTEM_FILE).exists():
            write_atomically(path / SYSTEM_FILE, molecule.system_xml)
        if not (path / STARTS_FILE).exists():
            if starts is None:
                starts = replica_starts(molecule, settings, temperature_K, parameters)
            write_atomically(path / STARTS_FILE, save({"positions": torch.from_numpy(starts)}))
        starts = _load_starts(path, settings.n_replicas, molecule.atoms.n_atoms)
        workers = processes or available_cores()
        if choice.parameters is not None:
            batched = BatchedRun(run, choice.parameters, masses, settings, temperature_K, starts, workers)
            _produce_batched(run, batched, workers, quiet, heartbeat)
        else:
            system_xml = openmm.XmlSerializer.serialize(system)
            jobs = [
                ReplicaJob(path, stream, system_xml, start, settings, temperature_K, platform)
                for stream, start in enumerate(starts)
            ]
            _produce(run, jobs, min(workers, len(jobs)), quiet, heartbeat, choice.note)
    return run


def replica_starts(
    molecule: Molecule, settings: SimulationSettings, temperature_K: float, parameters: Parameters | None = None
) -> np.ndarray:
    """Start positions (replicas, atoms, 3) in nm; see :mod:`timewarp.starts`.

    Args:
        molecule: what is simulated.
        settings: ``starts``, ``replicas`` and ``seed`` count.
        temperature_K: in K.
        parameters: the compiled energy; without it OpenMM computes the energies.

    Raises:
        ValueError: a start cannot be understood or made.
        FileNotFoundError: no such PDB file.
    """
    positions = start_positions(
        OpenMMEvaluator(molecule.system) if parameters is None else Potential(parameters, torch.float64),
        molecule.atoms,
        molecule.start_positions,
        settings.starts,
        settings.n_replicas,
        torch.Generator().manual_seed(settings.seed),
        kT=kT(temperature_K),
        restriction=Restriction(molecule.start_positions, molecule.atoms),
        superchains=superchains_of_starts(len(settings.starts)),
    )
    return positions.numpy()


def _compiled(molecule: Molecule) -> Parameters | None:
    """The compiled energy of a molecule, or None where a force is not known."""
    try:
        return compile_system(molecule.system)
    except UnknownForceError:
        return None


def _produce_batched(
    run: RunFolder, batched: BatchedRun, threads: int, quiet: bool, heartbeat: Callable[[], None] | None
) -> None:
    n = batched.settings.n_replicas
    done, total = n * run.n_frames(STREAM), n * batched.settings.frames_per_replica

    def summarise() -> None:
        going = n - len(batched.stopped)
        how = {
            "threads": threads,
            "precision": batched.settings.precision,
            "instruction_set": native.instruction_set(),
            "stopped": batched.describe_stopped(),
        }
        _summarise(run, batched.settings, going * run.n_frames(STREAM), batched.wall_s, how)

    try:
        with _Reporter(run, batched.settings, done, total, quiet, heartbeat, summarise) as report:
            batched.produce(report)
    finally:
        summarise()


def _produce(
    run: RunFolder,
    jobs: list[ReplicaJob],
    processes: int,
    quiet: bool,
    heartbeat: Callable[[], None] | None,
    note: str,
) -> None:
    settings = jobs[0].settings
    done = sum(run.n_frames(job.stream) for job in jobs)
    total = settings.frames_per_replica * len(jobs)
    waiting = [job for job in jobs if run.n_frames(job.stream) < settings.frames_per_replica]
    failures: list[str] = []

    def summarise() -> None:
        run.refresh()
        frames = sum(run.n_frames(job.stream) for job in jobs)
        states = [state for job in jobs if (state := run.last_state(job.stream)) is not None]
        stream_s = sum(float(state["wall_s"]) for state in states)
        steps = frames * settings.frame_steps
        how = {
            "steps_per_second_per_process": steps / stream_s if stream_s else None,
            "processes": processes,
            **({"engine_note": note} if note else {}),
        }
        _summarise(run, settings, frames, stream_s / max(1, min(processes, len(jobs))), how)

    try:
        with _Reporter(run, settings, done, total, quiet, heartbeat, summarise) as report:
            if processes == 1:
                for job in waiting:
                    try:
                        run_replica(job, report)
                    except SimulationError as error:
                        failures.append(str(error))
            elif waiting:
                closed = ClosedSteps(run.path)
                expected = (SimulationError, ValueError, OSError)
                tasks = [Task(f"replica {job.stream}", replica_task, (job,), expected) for job in waiting]

                def on_outcome(outcome: Outcome) -> None:
                    if outcome.error is not None:
                        named = outcome.error.startswith(outcome.name)
                        failures.append(outcome.error if named else f"{outcome.name}: {outcome.error}")

                def on_poll() -> None:
                    report(closed.count() // settings.frame_steps - done - report.made)

                LocalProcesses(processes).run(tasks, on_outcome, on_poll)
                on_poll()
    finally:
        summarise()
    if failures:
        others = f" ({len(failures)} of {len(jobs)} replicas stopped)" if len(jobs) > 1 else ""
        raise SimulationError(failures[0] + others)


class _Reporter:
    """Progress in ns, with the summary written anew now and then; called with numbers of new frames."""

    def __init__(
        self,
        run: RunFolder,
        settings: SimulationSettings,
        done: int,
        total: int,
        quiet: bool,
        heartbeat: Callable[[], None] | None,
        summarise: Callable[[], None],
    ) -> None:
        self.frame_ns = settings.frame_spacing_ps / PICOSECONDS_PER_NANOSECOND
        self.progress = Progress(
            f"MD of {run.name}", total * self.frame_ns, done=done * self.frame_ns, unit="ns", quiet=quiet
        )
        self.heartbeat, self.summarise = heartbeat, summarise
        self.began = self.saved = time.monotonic()
        self.made = 0

    def __enter__(self) -> _Reporter:
        self.progress.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.progress.__exit__(*error)

    def __call__(self, frames: int) -> None:
        if self.heartbeat is not None:
            self.heartbeat()
        self.made += frames
        rate = self.made * self.frame_ns / max(time.monotonic() - self.began, 1e-9) * SECONDS_PER_DAY
        self.progress.advance(frames * self.frame_ns, note=f"{rate:,.0f} ns/day" if self.made else "burn-in")
        if time.monotonic() - self.saved > SUMMARY_INTERVAL_S:
            self.saved = time.monotonic()
            self.summarise()


# --- files beside the segments --------------------------------------------------------------------------------------


def _load_starts(path: Path, replicas: int, n_atoms: int) -> np.ndarray:
    """The start positions that the run was created with: what it resumes from must not depend on rebuilding."""
    try:
        with safe_open(path / STARTS_FILE, framework="np") as handle:
            starts = handle.get_tensor("positions")
    except (SafetensorError, OSError, TypeError) as error:
        raise ValueError(f"{path / STARTS_FILE} cannot be read ({error}); it is damaged") from None
    expected = (replicas, n_atoms, 3)
    if starts.dtype != np.float64 or starts.shape != expected or not np.isfinite(starts).all():
        raise ValueError(
            f"{path / STARTS_FILE} must hold finite positions of type float64 and shape {expected}, got {starts.dtype} "
            f"{starts.shape}; it is damaged"
        )
    return starts


def _check_not_shorter(path: Path, settings: SimulationSettings) -> None:
    if (path / "config.toml").exists():
        stored = RunFolder.open(path).config.get("length_ns")
        if isinstance(stored, float) and settings.length_ns < stored:
            raise FileExistsError(
                f"{path} holds a run whose length_ns is {stored:g}, not {settings.length_ns:g}; "
                f"a run can be extended, not shortened"
            )


def _summarise(run: RunFolder, settings: SimulationSettings, frames: int, wall_s: float, how: dict[str, Any]) -> None:
    """Write ``summary.json`` from what the closed segments say."""
    done_ns = frames * settings.frame_spacing_ps / PICOSECONDS_PER_NANOSECOND
    steps = frames * settings.frame_steps
    each = [run.n_frames(stream) for stream in run.streams]
    streams = 1 if settings.engine == "batched" else settings.n_replicas
    summary: dict[str, Any] = {
        "schema": 1,
        **run.config,
        "engine": settings.engine,
        "complete": len(each) == streams and min(each) == settings.frames_per_replica and not how.get("stopped"),
        "length_ns": settings.length_ns,
        "done_ns": done_ns,
        "frames": frames,
        "wall_s": wall_s,
        "ns_per_day": done_ns / wall_s * SECONDS_PER_DAY if wall_s else None,
        "steps_per_second": steps / wall_s if wall_s else None,
        **how,
        "versions": versions(),
        "machine": {"processor": host.machine(), "system": host.system(), "cores": available_cores()},
    }
    if settings.torsion_moves_per_round and (
        states := [s for k in run.streams if (s := run.last_state(k)) is not None]
    ):
        interval_ps = settings.torsion_interval_steps * settings.timestep_fs / FEMTOSECONDS_PER_PICOSECOND
        moves = TorsionMoves(run.atoms, np.ones(run.atoms.n_atoms), 1.0, 1.0)
        for state in states:  # one row, or one for each replica of the batched engine
            moves.attempts += state["torsion_attempts"].numpy().reshape(-1, len(moves.attempts)).sum(0)
            moves.accepts += state["torsion_accepts"].numpy().reshape(-1, len(moves.accepts)).sum(0)
        summary["torsion_moves"] = {
            "interval_ps": interval_ps,
            "moves_per_round": settings.torsion_moves_per_round,
            "attempts": int(moves.attempts.sum()),
            "accepts": int(moves.accepts.sum()),
            "torsions": moves.statistics(run.atoms),
        }
    run.write_summary(summary)
