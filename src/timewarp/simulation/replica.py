"""MD of one replica, a closed segment at a time.

Each segment begins from positions and velocities alone, in a context made afresh with random numbers seeded by (seed,
stream, segment). So it is a function of what the segment before it stored, and a resumed run is bit for bit the
uninterrupted one (on the same machine and OpenMM), whatever a platform's checkpoints hold. No seed is used twice.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openmm
import torch

from ..restriction import Restriction
from ..settings.simulation import SimulationSettings
from ..trajectories import RunFolder
from ..units import FEMTOSECONDS_PER_PICOSECOND, kT
from .system import make_context
from .torsion_moves import TorsionMoves

REPORT_INTERVAL_S = 0.5
HIGHEST_ENERGY = 1e5
"""Energy above the start's, in kJ/mol, at which a replica is given up as exploded."""


class SimulationError(RuntimeError):
    """A replica cannot go on."""


@dataclass(frozen=True, eq=False)
class ReplicaJob:
    """What a process needs to run one replica; all of it can be pickled.

    Attributes:
        run_path: the run folder.
        stream: the replica's number.
        system_xml: the OpenMM system, with the masses of the dynamics.
        start: positions (atoms, 3) in nm, used where no segment is closed yet.
        settings: of the run.
        temperature_K: in K.
        platform: OpenMM platform.
    """

    run_path: Path
    stream: int
    system_xml: str
    start: np.ndarray
    settings: SimulationSettings
    temperature_K: float
    platform: str


def run_replica(job: ReplicaJob, report: Callable[[int], None]) -> None:
    """Run a replica from its last closed segment to its end.

    Args:
        job: what to run.
        report: called now and then with the number of frames made since the last call.

    Raises:
        SimulationError: the dynamics exploded, or left the molecule's chirality or cis/trans pattern.
    """
    run = RunFolder.open(job.run_path)
    replica = Replica(job, run)
    while replica.frames_left > 0:
        replica.segment(report)


def replica_task(job: ReplicaJob, *, heartbeat: Callable[[], None]) -> None:
    """Body of a replica's task in a process of its own; see :func:`run_replica`."""
    run_replica(job, lambda frames: heartbeat())


class Replica:
    """One replica: an OpenMM context, its torsion moves, and where it is.

    Args:
        job: what to run.
        run: the run folder, opened.
    """

    def __init__(self, job: ReplicaJob, run: RunFolder) -> None:
        self.job, self.run = job, run
        settings = job.settings
        self.system = openmm.XmlSerializer.deserialize(job.system_xml)
        n_atoms = self.system.getNumParticles()
        self.masses = np.array([self.system.getParticleMass(i)._value for i in range(n_atoms)])
        self.kT = kT(job.temperature_K)
        self.timestep_ps = settings.timestep_fs / FEMTOSECONDS_PER_PICOSECOND
        self.integrator = openmm.LangevinMiddleIntegrator(job.temperature_K, settings.friction_per_ps, self.timestep_ps)
        self.context = make_context(self.system, self.integrator, job.platform)
        self.moves: TorsionMoves | None = None
        if settings.torsion_moves_per_round:
            self.moves = TorsionMoves(run.atoms, self.masses, self.kT, self.timestep_ps)
        self.restriction = Restriction(torch.from_numpy(job.start), run.atoms)
        self.energy_limit = self._energy_of(job.start) + HIGHEST_ENERGY
        self.wall_s = 0.0
        state = run.last_state(job.stream)
        if state is None:
            self.step = 0
            self.positions, self.velocities = self._burn_in()
        else:
            n = (self.run.atoms.n_atoms, 3)
            expected: dict[str, tuple[torch.dtype | None, tuple[int, ...]]] = {
                "positions": (torch.float64, n),
                "velocities": (torch.float64, n),
                "step": (torch.int64, ()),
                "wall_s": (torch.float64, ()),
            }
            if self.moves is not None:
                counts = (torch.int64, self.moves.attempts.shape)
                expected |= {"torsion_attempts": counts, "torsion_accepts": counts}
            self.run.check_state(job.stream, state, expected)
            self.step = int(state["step"])
            self.positions, self.velocities = state["positions"].numpy(), state["velocities"].numpy()
            self.wall_s = float(state["wall_s"])
            if self.moves is not None:
                self.moves.attempts += state["torsion_attempts"].numpy()
                self.moves.accepts += state["torsion_accepts"].numpy()

    @property
    def frames_left(self) -> int:
        """Frames still to make."""
        return self.job.settings.frames_per_replica - self.run.n_frames(self.job.stream)

    def segment(self, report: Callable[[int], None]) -> None:
        """Make, check and close the next segment."""
        began = time.monotonic()
        settings, stream = self.job.settings, self.job.stream
        rng = self._begin(self.run.n_segments(stream) + 1)
        n_frames = min(settings.segment_frames(self.run.atoms.n_atoms), self.frames_left)
        positions = np.empty((n_frames, 1, self.run.atoms.n_atoms, 3))
        energies = np.empty((n_frames, 1))
        first, step = self.step, self.step
        reported, said = 0, began
        for frame in range(n_frames):
            step = self._advance(step, settings.frame_steps, rng)
            state = self.context.getState(positions=True, energy=True)
            energies[frame, 0] = self._check(state.getPotentialEnergy()._value, step)
            positions[frame, 0] = state.getPositions(asNumpy=True)._value
            if time.monotonic() - said > REPORT_INTERVAL_S:
                report(frame + 1 - reported)
                reported, said = frame + 1, time.monotonic()
        self._check_patterns(positions[:, 0])
        self._end(step)
        self.wall_s += time.monotonic() - began
        steps = torch.arange(first + settings.frame_steps, step + 1, settings.frame_steps)
        self.run.append(stream, torch.from_numpy(positions), torch.from_numpy(energies), steps, self._state())
        report(n_frames - reported)

    def _state(self) -> dict[str, torch.Tensor]:
        state = {
            "positions": torch.from_numpy(self.positions),
            "velocities": torch.from_numpy(self.velocities),
            "step": torch.tensor(self.step),
            "wall_s": torch.tensor(self.wall_s, dtype=torch.float64),
        }
        if self.moves is not None:
            state["torsion_attempts"] = torch.from_numpy(self.moves.attempts.copy())
            state["torsion_accepts"] = torch.from_numpy(self.moves.accepts.copy())
        return state

    def _burn_in(self) -> tuple[np.ndarray, np.ndarray]:
        """Positions and velocities after the burn-in, which is segment 0 as far as seeds are concerned."""
        rng = np.random.default_rng([self.job.settings.seed, self.job.stream])
        thermal = rng.standard_normal(self.job.start.shape) * np.sqrt(self.kT / self.masses)[:, None]
        self.positions, self.velocities = self.job.start, thermal
        rng = self._begin(0)
        interval = self.job.settings.torsion_interval_steps
        step, last = 0, self.job.settings.burn_in_steps
        while step < last:
            step = self._advance(step, min(interval, last - step), rng)
            self._check(self.context.getState(energy=True).getPotentialEnergy()._value, step)
        self._end(0)
        if self.moves is not None:
            self.moves.attempts[:] = self.moves.accepts[:] = 0
        self._check_patterns(self.positions[None])
        return self.positions, self.velocities

    def _begin(self, segment: int) -> np.random.Generator:
        """Start a segment afresh from ``positions`` and ``velocities``; return the generator of its torsion moves."""
        moves, thermostat = np.random.SeedSequence([self.job.settings.seed, self.job.stream, segment]).spawn(2)
        self.integrator.setRandomNumberSeed(1 + int(thermostat.generate_state(1)[0]) % (2**31 - 1))  # 0 means "random"
        self.context.reinitialize()
        self.context.setPositions(self.positions)
        self.context.setVelocities(self.velocities)
        return np.random.default_rng(moves)

    def _advance(self, step: int, n_steps: int, rng: np.random.Generator) -> int:
        """MD with a round of torsion moves wherever the step is a multiple of their interval."""
        interval = self.job.settings.torsion_interval_steps if self.moves is not None else n_steps
        last = step + n_steps
        while step < last:
            chunk = min(interval - step % interval, last - step) if self.moves is not None else n_steps
            self.integrator.step(chunk)
            step += chunk
            if self.moves is not None and step % interval == 0:
                self.moves.round(self.context, self.job.settings.torsion_moves_per_round, rng)
        return step

    def _end(self, step: int) -> None:
        state = self.context.getState(positions=True, velocities=True)
        self.positions = np.array(state.getPositions(asNumpy=True)._value)
        self.velocities = np.array(state.getVelocities(asNumpy=True)._value)
        self.step = step

    def _energy_of(self, positions: np.ndarray) -> float:
        self.context.setPositions(positions)
        energy = self.context.getState(energy=True).getPotentialEnergy()._value
        return self._finite(energy, 0)

    def _check(self, energy: float, step: int) -> float:
        if self._finite(energy, step) > self.energy_limit:
            raise SimulationError(self._advice(f"the energy rose to {energy:.3g} kJ/mol", step))
        return energy

    def _finite(self, energy: float, step: int) -> float:
        if not math.isfinite(energy):
            raise SimulationError(self._advice("the energy is not finite", step))
        return energy

    def _check_patterns(self, positions: np.ndarray) -> None:
        if bool(self.restriction.crossed(torch.from_numpy(positions)).any()):
            raise SimulationError(
                f"replica {self.job.stream} changed a stereocentre or a peptide bond's cis/trans state after step "
                f"{self.step}; its closed segments are kept; try a shorter --timestep or a lower --temperature"
            )

    def _advice(self, what: str, step: int) -> str:
        ps = step * self.timestep_ps
        return f"replica {self.job.stream} exploded after {ps:g} ps ({what}); try a shorter --timestep or another start"
