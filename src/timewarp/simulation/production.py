"""A production run: replicas in processes of their own, one per core, with progress, resume and a summary."""

from __future__ import annotations

import multiprocessing
import os
import platform as machine
import signal
import time
from collections.abc import Callable
from importlib import metadata
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import torch
from safetensors import safe_open
from safetensors.torch import save

from ..executors import interrupts_ignored
from ..files import write_atomically
from ..molecules import Molecule
from ..progress import Progress
from ..trajectories import RunFolder
from ..units import FEMTOSECONDS_PER_PICOSECOND, PICOSECONDS_PER_NANOSECOND, SECONDS_PER_DAY
from .replica import ReplicaJob, SimulationError, run_replica
from .settings import SimulationSettings
from .starts import start_positions
from .system import choose_platform, repartitioned_masses, with_masses
from .torsion_moves import TorsionMoves

SUMMARY_INTERVAL_S = 30.0
STARTS_FILE = "starts.safetensors"


def simulate(
    molecule: Molecule,
    run_folder_path: Path | str,
    settings: SimulationSettings | None = None,
    *,
    resume: bool = True,
    quiet: bool = False,
    processes: int | None = None,
    prepare: Callable[[RunFolder], None] | None = None,
    heartbeat: Callable[[], None] | None = None,
) -> RunFolder:
    """Run Langevin MD of a molecule: minimise, burn in, produce.

    Each replica is a stream of the run folder, written by a process of its own. A run that was killed goes on from its
    last closed segments and equals the uninterrupted one bit for bit (same machine, same OpenMM); a finished
    run is extended by a larger ``length_ns``.

    With several processes, call it from under ``if __name__ == "__main__":`` (they are spawned).

    Args:
        molecule: what to simulate.
        run_folder_path: a new folder, or that of the run to go on with.
        settings: of the run; the defaults if None.
        resume: go on with a run that has frames; otherwise refuse it.
        quiet: no progress lines.
        processes: how many replicas run at once; all cores by default.
        prepare: called once with the run folder before the MD, to put further files beside the segments.
        heartbeat: called about twice a second; what it raises ends the run, which keeps its closed segments.

    Returns:
        The run folder.

    Raises:
        ValueError: settings that make no sense for this molecule.
        FileExistsError: the folder holds something else, or another process is writing to it.
        SimulationError: a replica exploded; the others were finished.
    """
    settings = SimulationSettings() if settings is None else settings
    temperature_K = molecule.preset.temperature_K if settings.temperature_K is None else settings.temperature_K
    platform = choose_platform(molecule.system, settings.platform)
    masses = repartitioned_masses(molecule.atoms, settings.resolved_hydrogen_mass_Da)
    if settings.torsion_moves_per_round:
        TorsionMoves(molecule.atoms, masses, 1.0, 1.0)  # raises early where there is nothing to turn
    config = settings.to_config(
        molecule=molecule.name,
        preset=molecule.preset.name,
        temperature_K=temperature_K,
        n_atoms=molecule.atoms.n_atoms,
        platform=platform,
    )
    path = Path(run_folder_path)
    _check_not_shorter(path, settings)
    if not (path / "config.toml").exists():  # find bad starts before anything is written
        starts = start_positions(molecule, settings.starts, settings.replicas, platform)
    run = RunFolder.create(
        path,
        kind="md",
        name=molecule.name,
        atoms=molecule.atoms,
        topology_pdb=molecule.pdb,
        config=config,
        may_change=("length_ns",),
    )
    if run.streams and not resume:
        raise FileExistsError(f"{path} already has frames; choose another folder, or allow resuming")
    with run.lock():
        if prepare is not None:
            prepare(run)
        if not (path / STARTS_FILE).exists():
            starts = start_positions(molecule, settings.starts, settings.replicas, platform)
            write_atomically(path / STARTS_FILE, save({"positions": torch.from_numpy(starts)}))
        system_xml = openmm.XmlSerializer.serialize(with_masses(molecule.system, masses))
        jobs = [
            ReplicaJob(path, stream, system_xml, start, settings, temperature_K, platform)
            for stream, start in enumerate(_load_starts(path, settings.replicas))
        ]
        _produce(run, jobs, min(processes or _cores(), len(jobs)), quiet, heartbeat)
    return run


def _produce(
    run: RunFolder, jobs: list[ReplicaJob], processes: int, quiet: bool, heartbeat: Callable[[], None] | None
) -> None:
    settings = jobs[0].settings
    frame_ns = settings.frame_spacing_ps / PICOSECONDS_PER_NANOSECOND
    done = sum(run.n_frames(job.stream) for job in jobs)
    total = settings.frames_per_replica * len(jobs)
    waiting = [job for job in jobs if run.n_frames(job.stream) < settings.frames_per_replica]
    began = saved = time.monotonic()
    made, failures = 0, []
    progress = Progress(f"MD of {run.name}", total * frame_ns, done=done * frame_ns, unit="ns", quiet=quiet)

    def report(frames: int) -> None:
        nonlocal made, saved
        if heartbeat is not None:
            heartbeat()
        made += frames
        rate = made * frame_ns / max(time.monotonic() - began, 1e-9) * SECONDS_PER_DAY
        progress.advance(frames * frame_ns, note=f"{rate:,.0f} ns/day")
        if time.monotonic() - saved > SUMMARY_INTERVAL_S:
            saved = time.monotonic()
            _summarise(run, jobs, processes)

    try:
        with progress:
            if processes == 1:
                for job in waiting:
                    try:
                        run_replica(job, report)
                    except SimulationError as error:
                        failures.append(str(error))
            else:
                failures = _run_processes(waiting, processes, report)
    finally:
        _summarise(run, jobs, processes)
    if failures:
        others = f" ({len(failures)} of {len(jobs)} replicas stopped)" if len(jobs) > 1 else ""
        raise SimulationError(failures[0] + others)


# --- processes ------------------------------------------------------------------------------------------------------


def _run_processes(jobs: list[ReplicaJob], most: int, report: Callable[[int], None]) -> list[str]:
    """Run each job in a process of its own, at most ``most`` at once; return what went wrong."""
    context = multiprocessing.get_context("spawn")
    queue, failures = list(jobs), []
    running: dict[Connection, tuple[ReplicaJob, Any]] = {}
    try:
        while queue or running:
            while queue and len(running) < most:
                job = queue.pop(0)
                ours, theirs = context.Pipe(duplex=False)
                process = context.Process(target=_work, args=(job, theirs, os.getpid()), daemon=True)
                with interrupts_ignored():  # inherited: Ctrl-C reaches the whole group, and we stop the replicas
                    process.start()
                theirs.close()
                running[ours] = (job, process)
            for ready in wait(list(running), timeout=1.0):
                assert isinstance(ready, Connection)
                job, process = running[ready]
                try:
                    message = ready.recv()
                except EOFError:
                    process.join()
                    message = f"replica {job.stream} ended without a word (exit code {process.exitcode})"
                if isinstance(message, int):
                    report(message)
                    continue
                if message is not None:
                    failures.append(message)
                process.join()
                ready.close()
                del running[ready]
    finally:
        for connection, (_, process) in running.items():
            process.terminate()
            process.join()
            connection.close()
    return failures


def _work(job: ReplicaJob, connection: Connection, parent: int) -> None:
    """Body of a replica's process: sends frame counts, then None or what went wrong."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)

    def report(frames: int) -> None:
        if os.getppid() != parent:  # killed: do not go on writing to its run
            os._exit(1)
        connection.send(frames)

    try:
        run_replica(job, report)
        connection.send(None)
    except BrokenPipeError:
        os._exit(1)
    except Exception as error:
        plain = isinstance(error, (SimulationError, ValueError, OSError))
        connection.send(str(error) if plain else f"replica {job.stream} failed: {type(error).__name__}: {error}")


# --- files beside the segments --------------------------------------------------------------------------------------


def _load_starts(path: Path, replicas: int) -> np.ndarray:
    """The start positions that the run was created with: what it resumes from must not depend on rebuilding."""
    with safe_open(path / STARTS_FILE, framework="np") as handle:
        starts = handle.get_tensor("positions")
    if len(starts) != replicas:
        raise ValueError(f"{path / STARTS_FILE} has {len(starts)} starts for {replicas} replicas; it is damaged")
    return starts


def _check_not_shorter(path: Path, settings: SimulationSettings) -> None:
    if (path / "config.toml").exists():
        stored = RunFolder.open(path).config.get("length_ns")
        if isinstance(stored, float) and settings.length_ns < stored:
            raise FileExistsError(
                f"{path} holds a run whose length_ns is {stored:g}, not {settings.length_ns:g}; "
                f"a run can be extended, not shortened"
            )


def _summarise(run: RunFolder, jobs: list[ReplicaJob], processes: int) -> None:
    """Write ``summary.json`` from what the closed segments say."""
    run.refresh()
    settings = jobs[0].settings
    frames = sum(run.n_frames(job.stream) for job in jobs)
    states = [state for job in jobs if (state := run.last_state(job.stream)) is not None]
    stream_s = sum(float(state["wall_s"]) for state in states)
    wall_s = stream_s / max(1, min(processes, len(jobs)))
    done_ns = frames * settings.frame_spacing_ps / PICOSECONDS_PER_NANOSECOND
    steps = frames * settings.frame_steps
    summary: dict[str, Any] = {
        "schema": 1,
        **run.config,
        "complete": frames == settings.frames_per_replica * len(jobs),
        "length_ns": settings.length_ns,
        "done_ns": done_ns,
        "frames": frames,
        "wall_s": wall_s,
        "ns_per_day": done_ns / wall_s * SECONDS_PER_DAY if wall_s else None,
        "steps_per_second": steps / wall_s if wall_s else None,
        "steps_per_second_per_process": steps / stream_s if stream_s else None,
        "processes": processes,
        "versions": versions(),
        "machine": {"processor": machine.machine(), "system": machine.system(), "cores": _cores()},
    }
    if settings.torsion_moves_per_round and states:
        interval_ps = settings.torsion_interval_steps * settings.timestep_fs / FEMTOSECONDS_PER_PICOSECOND
        moves = TorsionMoves(run.atoms, np.ones(run.atoms.n_atoms), 1.0, 1.0)
        moves.attempts += sum(state["torsion_attempts"].numpy() for state in states)
        moves.accepts += sum(state["torsion_accepts"].numpy() for state in states)
        summary["torsion_moves"] = {
            "interval_ps": interval_ps,
            "moves_per_round": settings.torsion_moves_per_round,
            "attempts": int(moves.attempts.sum()),
            "accepts": int(moves.accepts.sum()),
            "torsions": moves.statistics(run.atoms),
        }
    run.write_summary(summary)


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    found = {"python": machine.python_version(), "openmm": openmm.Platform.getOpenMMVersion()}
    for package in ("timewarp-md", "torch", "numpy"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "unknown"
    return found


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        return os.cpu_count() or 1
