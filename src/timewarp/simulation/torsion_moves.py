"""Metropolised single-torsion moves between stretches of MD: they cross slow barriers and keep the distribution.

A move turns one rotatable bond by a uniform random angle. Bond lengths and angles stay, so that the Jacobian is 1, and
the candidate is accepted with min(1, exp(-dU / kT)). In the canonical ensemble velocities are Maxwell's whatever the
positions, so that any rotation of them is exact too: those of the turned atoms turn along. Two precautions against
heat, which a finite time step would otherwise bring in with each accepted move:

- velocities of the leapfrog-like LangevinMiddle scheme are half a step behind the positions and carry half a kick of
  the old forces; it is completed before a round and undone with the new forces after it;
- at a finite step stiff vibrations have a little less kinetic energy than soft ones; turned along, the velocities of
  each bond keep their part along that bond.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import openmm

from ..geometry import beyond, neighbours
from ..state import Atoms


@dataclass(frozen=True, eq=False)
class Branch:
    """The atoms that turn about a bond.

    Attributes:
        origin: atom on the axis, on the far side of the bond.
        end: atom on the axis, whose branch turns.
        atoms: those that move.
        side: those and ``end``, whose velocities turn.
    """

    origin: int
    end: int
    atoms: np.ndarray
    side: np.ndarray


def branch_of(atoms: Atoms, j: int, k: int) -> Branch:
    """The smaller of the two branches of the bond j-k, to be turned about it.

    Raises:
        ValueError: there is no such bond, or it is in a ring.
    """
    if not bool(atoms.adjacency[j, k]):
        raise ValueError(f"atoms {j} and {k} are not bonded")
    adjacent = neighbours(atoms.n_atoms, atoms.bonds)
    behind, ahead = beyond(adjacent, j, k), beyond(adjacent, k, j)
    if j in behind:
        raise ValueError(f"the bond between atoms {j} and {k} is in a ring and cannot be turned")
    origin, end, side = (k, j, ahead) if len(ahead) < len(behind) else (j, k, behind)
    return Branch(origin, end, *(np.array(sorted(which), dtype=np.intp) for which in (side - {end}, side)))


def rotatable_branches(atoms: Atoms) -> list[Branch]:
    """The branch of each rotatable bond, in the order of ``atoms.tree.rotatable``.

    Raises:
        ValueError: the molecule has no rotatable bond.
    """
    if not atoms.tree.rotatable:
        raise ValueError("this molecule has no rotatable bond: run it without torsion moves")
    return [branch_of(atoms, b, a) for _, a, b, _ in atoms.tree.torsions.tolist()]


def rotation(positions: np.ndarray, branch: Branch, angle: float) -> np.ndarray:
    """Matrix (3, 3), to multiply row vectors from the right, of the turn by ``angle`` (rad) about the branch's bond.

    Velocities turn by it as positions do.
    """
    x, y, z = (positions[branch.end] - positions[branch.origin]).tolist()
    norm = math.sqrt(x * x + y * y + z * z)
    x, y, z = x / norm, y / norm, z / norm
    c, s = math.cos(angle), math.sin(angle)
    d = 1.0 - c
    return np.array(  # Rodrigues, transposed
        (
            (c + x * x * d, y * x * d + z * s, z * x * d - y * s),
            (x * y * d - z * s, c + y * y * d, z * y * d + x * s),
            (x * z * d + y * s, y * z * d - x * s, c + z * z * d),
        )
    )


def turned(positions: np.ndarray, branch: Branch, matrix: np.ndarray) -> np.ndarray:
    """A copy of positions (atoms, 3) in which a branch is turned by a matrix of :func:`rotation`."""
    origin = positions[branch.end]
    there = positions.copy()
    there[branch.atoms] = (positions[branch.atoms] - origin) @ matrix + origin
    return there


class TorsionMoves:
    """Rounds of moves over the rotatable bonds of a molecule.

    Args:
        atoms: the molecule.
        masses: in Da, those of the dynamics.
        kT: thermal energy in kJ/mol.
        timestep_ps: of the integrator, in ps.

    Attributes:
        attempts: moves tried, per rotatable torsion (in the order of ``atoms.tree.rotatable``).
        accepts: moves accepted.

    Raises:
        ValueError: the molecule has no rotatable bond.
    """

    def __init__(self, atoms: Atoms, masses: np.ndarray, kT: float, timestep_ps: float) -> None:
        self.branches = rotatable_branches(atoms)
        self.kT = kT
        self.half_kick = 0.5 * timestep_ps / masses[:, None]
        self.attempts = np.zeros(len(self.branches), dtype=np.int64)
        self.accepts = np.zeros(len(self.branches), dtype=np.int64)

    def round(self, context: openmm.Context, n: int, rng: np.random.Generator) -> int:
        """Try ``n`` moves on the state of a context; return how many were accepted."""
        which = rng.integers(len(self.branches), size=n).tolist()
        angles = rng.uniform(-math.pi, math.pi, size=n).tolist()
        thresholds = np.log(1.0 - rng.random(n)).tolist()
        state = context.getState(positions=True, velocities=True, forces=True, energy=True)
        positions, energy = state.getPositions(asNumpy=True)._value, state.getPotentialEnergy()._value
        velocities = state.getVelocities(asNumpy=True)._value + self.half_kick * _forces(state)
        in_context, accepted = positions, 0
        for which_branch, angle, threshold in zip(which, angles, thresholds, strict=True):
            branch = self.branches[which_branch]
            matrix = rotation(positions, branch, angle)
            candidate = turned(positions, branch, matrix)
            context.setPositions(candidate)
            in_context = candidate
            candidate_energy = context.getState(energy=True).getPotentialEnergy()._value
            self.attempts[which_branch] += 1
            if self.accept(candidate_energy - energy, threshold):
                positions, energy = candidate, candidate_energy
                velocities[branch.side] = velocities[branch.side] @ matrix
                self.accepts[which_branch] += 1
                accepted += 1
        if in_context is not positions:
            context.setPositions(positions)
        if accepted:
            context.setVelocities(velocities - self.half_kick * _forces(context.getState(forces=True)))
        return accepted

    def accept(self, difference: float, log_uniform: float) -> bool:
        """Metropolis: whether an energy difference in kJ/mol is accepted. NaN is not."""
        return log_uniform < -difference / self.kT

    def statistics(self, atoms: Atoms) -> dict[str, dict[str, float]]:
        """Per torsion (``CA-C``, ...): attempts, accepts and their ratio."""
        table = {}
        for k, (_, a, b, _) in enumerate(atoms.tree.torsions.tolist()):
            name = f"{atoms.residue_names[b]}{atoms.residue_numbers[b]}:{atoms.names[b]}-{atoms.names[a]}"
            tried, taken = int(self.attempts[k]), int(self.accepts[k])
            table[name] = {"attempts": tried, "accepts": taken, "acceptance": taken / max(tried, 1)}
        return table


def _forces(state: openmm.State) -> np.ndarray:
    return state.getForces(asNumpy=True)._value
