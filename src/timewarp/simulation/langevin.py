"""Langevin MD of many replicas side by side, one in each SIMD lane, in the compiled kernel.

The integrator is LangevinMiddle as in OpenMM. All random numbers are functions of (seed, replica, step): the trajectory
of a replica does not depend on how many others there are, on the number of threads, or on where it was interrupted. It
does depend, in the last bits of its numbers and so in the long run, on the instruction set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .. import native
from ..energies import Parameters, native_potential
from ..state import Atoms
from ..units import FEMTOSECONDS_PER_PICOSECOND, kT
from .torsion_moves import rotatable_branches

FIRST_VELOCITIES = 3  # a purpose of random numbers, see src/native/random.hpp


@dataclass(eq=False)
class Replicas:
    """Where replicas are. :meth:`BatchedLangevin.advance` moves them in place.

    Attributes:
        ids: number of each replica, (replicas,), of which its random numbers are a function.
        positions: (replicas, atoms, 3) in nm; each molecule is moved back to the origin now and then.
        velocities: (replicas, atoms, 3) in nm/ps, half a step behind the positions.
        step: steps made.
        attempts: torsion moves tried, (replicas, torsions).
        accepts: torsion moves accepted, (replicas, torsions).
    """

    ids: np.ndarray
    positions: np.ndarray
    velocities: np.ndarray
    step: int
    attempts: np.ndarray
    accepts: np.ndarray

    def take(self, rows: np.ndarray) -> Replicas:
        """A copy of some of them."""
        arrays = (self.ids, self.positions, self.velocities, self.attempts, self.accepts)
        ids, positions, velocities, attempts, accepts = (np.ascontiguousarray(a[rows]) for a in arrays)
        return Replicas(ids, positions, velocities, self.step, attempts, accepts)


@dataclass(frozen=True, eq=False)
class Frames:
    """What :meth:`BatchedLangevin.advance` returns.

    Attributes:
        positions: (frames, replicas, atoms, 3) in nm, each centred on the origin.
        energies: potential energies (frames, replicas) in kJ/mol.
        kinetic: kinetic energies (frames, replicas) in kJ/mol, of the velocities half a step behind.
    """

    positions: np.ndarray
    energies: np.ndarray
    kinetic: np.ndarray


class BatchedLangevin:
    """The integrator of one molecule, for any number of replicas.

    Args:
        parameters: compiled force field.
        atoms: the molecule.
        masses: (atoms,) in Da, those of the dynamics.
        temperature_K: in K.
        friction_per_ps: in 1/ps.
        timestep_fs: in fs.
        seed: of all random numbers, below 2^64.
        precision: ``"float32"`` or ``"float64"``.
        torsion_interval_steps: steps between rounds of Metropolised torsion moves (see :mod:`.torsion_moves`).
        torsion_moves_per_round: moves in a round; 0 for none.
        threads: to use.

    Raises:
        RuntimeError: the compiled kernels are not there; the message says why.
        ValueError: torsion moves are wanted and the molecule has no rotatable bond.
    """

    def __init__(
        self,
        parameters: Parameters,
        atoms: Atoms,
        masses: np.ndarray,
        *,
        temperature_K: float,
        friction_per_ps: float,
        timestep_fs: float,
        seed: int = 0,
        precision: str = "float32",
        torsion_interval_steps: int = 1,
        torsion_moves_per_round: int = 0,
        threads: int = 1,
    ) -> None:
        self.potential = native_potential(parameters)
        self.masses = np.ascontiguousarray(masses, dtype=np.float64)
        self.dtype = np.dtype(precision)
        self.kT, self.seed, self.threads = kT(temperature_K), seed, threads
        branches = rotatable_branches(atoms) if torsion_moves_per_round else []
        self.n_torsions = len(branches)
        self._axis = np.array([(b.origin, b.end) for b in branches], dtype=np.int32).reshape(-1, 2)
        sides = [np.array([b.end, *b.atoms], dtype=np.int32) for b in branches]
        self._side_first = np.cumsum([0, *map(len, sides)], dtype=np.int32)
        self._side = np.concatenate([np.zeros(0, dtype=np.int32), *sides])
        self._settings = {
            "kT": self.kT,
            "timestep_ps": timestep_fs / FEMTOSECONDS_PER_PICOSECOND,
            "friction_per_ps": friction_per_ps,
            "seed": seed,
            "torsion_interval": torsion_interval_steps,
            "moves_per_round": torsion_moves_per_round,
        }

    def start(self, positions: np.ndarray, ids: Sequence[int] | None = None) -> Replicas:
        """Replicas at positions (replicas, atoms, 3) in nm with thermal velocities; numbered from 0 without ``ids``."""
        n = len(positions)
        numbers = np.arange(n, dtype=np.uint32) if ids is None else np.array(ids, dtype=np.uint32)
        velocities = self.normals(0, FIRST_VELOCITIES, numbers) * np.sqrt(self.kT / self.masses)[:, None]
        counts = np.zeros((n, self.n_torsions), dtype=np.int64)
        return Replicas(
            numbers,
            np.array(positions, dtype=self.dtype, order="C"),
            np.ascontiguousarray(velocities, dtype=self.dtype),
            0,
            counts,
            counts.copy(),
        )

    def advance(self, replicas: Replicas, n_frames: int, frame_steps: int, *, burn_in: bool = False) -> Frames:
        """Move replicas by ``n_frames`` times ``frame_steps`` steps, in place, and return a frame after each stretch.

        Whether in one call or in several, the trajectory is the same. ``burn_in`` draws other random numbers, so that
        steps can be counted from 0 again after it.
        """
        n, n_atoms = replicas.positions.shape[:2]
        frames = Frames(
            np.empty((n_frames, n, n_atoms, 3), dtype=self.dtype), np.empty((n_frames, n)), np.empty((n_frames, n))
        )
        native.core().langevin(
            self.potential,
            self.masses,
            replicas.ids,
            replicas.positions,
            replicas.velocities,
            frames.positions,
            frames.energies,
            frames.kinetic,
            replicas.attempts,
            replicas.accepts,
            self._axis,
            self._side_first,
            self._side,
            **self._settings,
            burn_in=burn_in,
            first_step=replicas.step,
            frame_steps=frame_steps,
            n_threads=self.threads,
        )
        replicas.step += n_frames * frame_steps
        return frames

    def energies(self, positions: np.ndarray) -> np.ndarray:
        """Potential energies (replicas,) in kJ/mol of positions (replicas, atoms, 3) in nm, in double precision."""
        x = np.array(positions, dtype=np.float64, order="C")
        energies = np.empty(len(x))
        self.potential.evaluate(x, energies, np.empty((0, 1, 3)), False, False, self.threads)
        return energies

    def normals(self, step: int, purpose: int, ids: np.ndarray) -> np.ndarray:
        """The standard normals (replicas, atoms, 3) of a step and purpose (0: the thermostat)."""
        out = np.empty((len(ids), 3 * len(self.masses)), dtype=self.dtype)
        native.core().normals(self.seed, step, purpose, ids, out)
        return out.reshape(len(ids), -1, 3)
