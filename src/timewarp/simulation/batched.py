"""A run of the batched engine: all replicas side by side in stream 0, a closed segment at a time.

A segment holds a frame of every replica at each time. A replica that explodes, or leaves the molecule's chirality or
cis/trans pattern, is stopped: from that segment on its frames stand still, the segment's header names it, and readers
leave it out. The others never notice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from ..energies import Parameters
from ..restriction import Restriction
from ..settings.simulation import SimulationSettings
from ..trajectories import RunFolder
from ..units import FEMTOSECONDS_PER_PICOSECOND
from .langevin import BatchedLangevin, Replicas
from .replica import HIGHEST_ENERGY, REPORT_INTERVAL_S, SimulationError

STREAM = 0
GOING, EXPLODED, CROSSED = -1, 0, 1
"""What became of a replica."""
BURN_IN_CHECK_STEPS = 500
MOST_STEPS = 5000
"""Steps in one call of the kernel, between which progress is shown and an interrupt is seen."""


class BatchedRun:
    """Replicas, where they are, and what became of them.

    Args:
        run: the run folder, opened.
        parameters: compiled force field.
        masses: (atoms,) in Da.
        settings: of the run.
        temperature_K: in K.
        starts: positions (replicas, atoms, 3) in nm, used where no segment is closed yet.
        threads: to use.

    Attributes:
        replicas: where the replicas are.
        stopped_at: (replicas,), the step at whose frame a replica was found to be lost, or -1.
        fate: (replicas,), one of the constants above.
    """

    def __init__(
        self,
        run: RunFolder,
        parameters: Parameters,
        masses: np.ndarray,
        settings: SimulationSettings,
        temperature_K: float,
        starts: np.ndarray,
        threads: int,
    ) -> None:
        self.run, self.settings, self.starts = run, settings, starts
        self.engine = BatchedLangevin(
            parameters,
            run.atoms,
            masses,
            temperature_K=temperature_K,
            friction_per_ps=settings.friction_per_ps,
            timestep_fs=settings.timestep_fs,
            seed=settings.seed,
            precision=settings.precision,
            torsion_interval_steps=settings.torsion_interval_steps,
            torsion_moves_per_round=settings.torsion_moves_per_round,
            threads=threads,
        )
        self.restriction = Restriction(torch.from_numpy(starts[0]), run.atoms)
        self.energy_limits = self.engine.energies(starts) + HIGHEST_ENERGY
        self.replicas = self.engine.start(starts)
        self.energies = self.engine.energies(starts)
        self.stopped_at = np.full(len(starts), -1, dtype=np.int64)
        self.fate = np.full(len(starts), GOING, dtype=np.int64)
        self.wall_s = 0.0
        state = run.last_state(STREAM)
        self.is_new = state is None
        if state is not None:
            self._restore(state)

    @property
    def frames_left(self) -> int:
        """Frames of each replica still to make."""
        return self.settings.frames_per_replica - self.run.n_frames(STREAM)

    @property
    def stopped(self) -> list[int]:
        """Replicas that were stopped."""
        return np.flatnonzero(self.fate != GOING).tolist()

    def produce(self, report: Callable[[int], None]) -> None:
        """Run to the end from the last closed segment.

        Args:
            report: called about twice a second with the number of frames, over all replicas, since the last call.

        Raises:
            SimulationError: replicas were stopped; the others were finished.
        """
        if self.is_new and self.frames_left > 0:
            self._burn_in(report)
        while self.frames_left > 0:
            self._segment(report)
        if stopped := self.stopped:
            raise self._error(stopped)

    def _burn_in(self, report: Callable[[int], None]) -> None:
        last = self.settings.burn_in_steps
        while (step := self.replicas.step) < last:
            self._advance(1, min(BURN_IN_CHECK_STEPS, last - step), None, report)
        lost = np.flatnonzero((self.fate == GOING) & self._crossed(self.replicas.positions))
        self._stop(lost, CROSSED, np.zeros(len(lost)))
        self._raise_if_all_stopped()
        self.stopped_at[self.stopped] = 0
        self.replicas.step = 0
        self.replicas.attempts[:] = self.replicas.accepts[:] = 0
        self.is_new = False

    def _segment(self, report: Callable[[int], None]) -> None:
        """Make, check and close the next segment."""
        began = time.monotonic()
        settings, run = self.settings, self.run
        n_frames = min(settings.segment_frames(run.atoms.n_atoms), self.frames_left)
        n_replicas = len(self.starts)
        positions = np.empty((n_frames, *self.replicas.positions.shape), dtype=np.float32)
        energies = np.empty((n_frames, n_replicas))
        first, made, chunk = self.replicas.step, 0, 1
        going, before, energies_before = self._going(), self.replicas.take(np.arange(n_replicas)), self.energies.copy()
        while made < n_frames:
            stretch = min(chunk, n_frames - made)
            started = time.monotonic()
            self._advance(stretch, settings.frame_steps, (positions[made:], energies[made:]), report)
            took = time.monotonic() - started
            made += stretch
            if settings.frame_steps <= MOST_STEPS:
                chunk = max(1, min(4 * chunk, round(stretch * REPORT_INTERVAL_S / max(took, 1e-6))))
        # How long the stretches were depends on the clock, and so must not what is stored.
        for lost in set(going) - set(self._going()):
            for now, then in zip(_arrays(self.replicas), _arrays(before), strict=True):
                now[lost] = then[lost]
            self.energies[lost] = energies_before[lost]
            positions[:, lost], energies[:, lost] = before.positions[lost], energies_before[lost]
        steps = torch.arange(first + settings.frame_steps, self.replicas.step + 1, settings.frame_steps)
        self.wall_s += time.monotonic() - began
        arrays = torch.from_numpy(positions), torch.from_numpy(energies)
        run.append(STREAM, *arrays, steps, self._state(), stopped=self.stopped)

    def _advance(
        self,
        n_frames: int,
        frame_steps: int,
        out: tuple[np.ndarray, np.ndarray] | None,
        report: Callable[[int], None],
    ) -> None:
        """Move what is going by some frames, stop what is lost, and fill arrays (frames, replicas, ...)."""
        going = self._going()
        moving = self.replicas.take(going)
        left = frame_steps
        while left > MOST_STEPS:  # of one frame: see _segment
            self.engine.advance(moving, 1, MOST_STEPS)
            left -= MOST_STEPS
            report(0)
        frames = self.engine.advance(moving, n_frames, left, burn_in=self.is_new)
        fine = np.isfinite(frames.energies) & (frames.energies <= self.energy_limits[going])
        fine &= np.isfinite(frames.positions).all((-1, -2))
        crossed = np.zeros_like(fine)
        if out is not None:
            crossed = self._crossed(frames.positions)
        good = (fine & ~crossed).all(0)
        first_bad = (~(fine & ~crossed)).argmax(0)
        exploded = ~good & ~fine[first_bad, np.arange(len(going))]
        kept = going[good]
        if out is not None:
            out[0][:n_frames], out[1][:n_frames] = self.replicas.positions, self.energies
            out[0][:n_frames, kept], out[1][:n_frames, kept] = frames.positions[:, good], frames.energies[:, good]
        replicas = self.replicas
        for whole, part in zip(_arrays(replicas), _arrays(moving), strict=True):
            whole[kept] = part[good]
        self.energies[kept] = frames.energies[-1, good]
        at = replicas.step + (first_bad + 1) * frame_steps
        for which, fate in ((exploded, EXPLODED), (~good & ~exploded, CROSSED)):
            self._stop(going[which], fate, at[which])
        self._raise_if_all_stopped()
        replicas.step = moving.step
        report(0 if out is None else n_frames * len(self.starts))

    def _crossed(self, positions: np.ndarray) -> np.ndarray:
        return self.restriction.crossed(torch.from_numpy(positions)).numpy()

    def _going(self) -> np.ndarray:
        return np.flatnonzero(self.fate == GOING)

    def _stop(self, replicas: np.ndarray, fate: int, steps: np.ndarray) -> None:
        self.fate[replicas], self.stopped_at[replicas] = fate, steps

    def _raise_if_all_stopped(self) -> None:
        if len(self._going()) == 0:
            raise self._error(self.stopped)

    def _error(self, stopped: Sequence[int]) -> SimulationError:
        first = stopped[int(np.argmin(self.stopped_at[list(stopped)]))]
        message = f"replica {first} {self._what(first)}"
        if len(self.starts) > 1:
            message += f" ({len(stopped)} of {len(self.starts)} replicas stopped)"
        return SimulationError(message)

    def _what(self, replica: int) -> str:
        in_burn_in = self.is_new or self.stopped_at[replica] == 0
        when = "the burn-in" if in_burn_in else f"{self._ps(replica):g} ps"
        if self.fate[replica] == CROSSED:
            return (
                f"changed a stereocentre or a peptide bond's cis/trans state within {when}; "
                "try a shorter --timestep or a lower --temperature"
            )
        return f"exploded within {when}; try a shorter --timestep or another start"

    def _ps(self, replica: int) -> float:
        return float(self.stopped_at[replica]) * self.settings.timestep_fs / FEMTOSECONDS_PER_PICOSECOND

    def describe_stopped(self) -> list[dict[str, Any]]:
        """For the summary: which replicas were stopped, when (in ps; 0 for the burn-in) and why."""
        names = {EXPLODED: "exploded", CROSSED: "left the chirality or cis/trans pattern"}
        return [{"replica": r, "ps": self._ps(r), "why": names[int(self.fate[r])]} for r in self.stopped]

    def _state(self) -> dict[str, torch.Tensor]:
        replicas = self.replicas
        return {
            "positions": torch.from_numpy(replicas.positions.copy()),
            "velocities": torch.from_numpy(replicas.velocities.copy()),
            "energies": torch.from_numpy(self.energies.copy()),
            "step": torch.tensor(replicas.step),
            "wall_s": torch.tensor(self.wall_s, dtype=torch.float64),
            "torsion_attempts": torch.from_numpy(replicas.attempts.copy()),
            "torsion_accepts": torch.from_numpy(replicas.accepts.copy()),
            "stopped_at": torch.from_numpy(self.stopped_at.copy()),
            "fate": torch.from_numpy(self.fate.copy()),
        }

    def _restore(self, state: dict[str, torch.Tensor]) -> None:
        expected = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in self._state().items()}
        self.run.check_state(STREAM, state, expected)
        arrays = {name: tensor.numpy().copy() for name, tensor in state.items()}
        self.replicas = Replicas(
            self.replicas.ids,
            arrays["positions"],
            arrays["velocities"],
            int(arrays["step"]),
            arrays["torsion_attempts"],
            arrays["torsion_accepts"],
        )
        self.energies, self.stopped_at, self.fate = arrays["energies"], arrays["stopped_at"], arrays["fate"]
        self.wall_s = float(arrays["wall_s"])


def _arrays(replicas: Replicas) -> tuple[np.ndarray, ...]:
    return replicas.positions, replicas.velocities, replicas.attempts, replicas.accepts
