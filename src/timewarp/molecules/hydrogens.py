"""Place hydrogens from ideal geometry: the same positions every time, which OpenMM's random placement is not."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import openmm
from openmm import unit as units
from openmm.app import Atom, Modeller, Topology

from ..geometry import neighbours

BOND_LENGTH_NM = {"C": 0.109, "N": 0.101, "O": 0.096, "S": 0.134}
_HALF_TETRAHEDRAL = math.radians(109.47 / 2)


def add_hydrogens(
    topology: Topology, positions: np.ndarray, variants: Sequence[str | list[tuple[str, str]] | None]
) -> tuple[Topology, np.ndarray, int]:
    """Add the hydrogens that are missing at pH 7.

    Args:
        topology: complete heavy atoms; hydrogens that it has stay.
        positions: (atoms, 3) in nm.
        variants: per residue, the protonation state in OpenMM's naming (``HIE``, ``ASH``, ...), or None, or all its
            hydrogens as (name, name of the heavy atom).

    Returns:
        topology, positions and the number of hydrogens added (0: the topology is as it was, in its order).
    """
    before = {(atom.residue.index, atom.name) for atom in topology.atoms()}
    modeller = Modeller(topology, positions * units.nanometer)
    modeller.addHydrogens(pH=7.0, variants=list(variants), platform=openmm.Platform.getPlatformByName("Reference"))
    if extra := _hydrogens_of_no_end(modeller.topology, before):
        modeller.delete(extra)
    complete = modeller.topology
    atoms = list(complete.atoms())
    for residue, variant in zip(complete.residues(), variants, strict=True):
        if variant == "LYN":  # the one state that a reader of our PDB text could not tell from missing hydrogens
            residue.name = variant
    missing = [atom.index for atom in atoms if (atom.residue.index, atom.name) not in before]
    if not missing and len(atoms) == topology.getNumAtoms():
        return complete, positions, 0
    bonds = [(one.index, other.index) for one, other in complete.bonds()]
    kept = np.array(modeller.getPositions().value_in_unit(units.nanometer), dtype=float)
    placed = place_hydrogens([atom.element.symbol for atom in atoms], bonds, kept, missing)
    return complete, placed, len(missing)


def _hydrogens_of_no_end(topology: Topology, before: set[tuple[int, str]]) -> list[Atom]:
    """Hydrogens that were added to the first nitrogen as to a free end, where it is bonded to the last carbonyl."""
    first = next(topology.residues())
    joined = any(
        {one.name, other.name} == {"C", "N"}
        and first in (one.residue, other.residue)
        and one.residue is not other.residue
        and next(atom for atom in (one, other) if atom.residue is first).name == "N"
        for one, other in topology.bonds()
    )
    names = {"H2", "H3"} if joined else set()
    return [atom for atom in first.atoms() if atom.name in names and (0, atom.name) not in before]


def is_hydrogen(atom: Atom) -> bool:
    """Whether an OpenMM atom is a hydrogen (an atom of unknown element is not)."""
    return atom.element is not None and atom.element.symbol == "H"


def place_atom(a: np.ndarray, b: np.ndarray, c: np.ndarray, length: float, angle: float, dihedral: float) -> np.ndarray:
    """Position bonded to ``a`` at ``length``, with ``angle`` against b and IUPAC ``dihedral`` against c (rad)."""
    forward = unit(a - b)
    normal = unit(np.cross(b - c, forward))
    across = np.cross(normal, forward)
    step = -math.cos(angle) * forward + math.sin(angle) * (math.cos(dihedral) * across + math.sin(dihedral) * normal)
    return a + length * step


def unit(vector: np.ndarray) -> np.ndarray:
    """The vector scaled to length 1."""
    return vector / np.linalg.norm(vector)


def place_hydrogens(
    elements: Sequence[str], bonds: Sequence[tuple[int, int]], positions: np.ndarray, missing: Sequence[int]
) -> np.ndarray:
    """Positions (atoms, 3) in nm with the hydrogens ``missing`` placed from their surroundings; the others stay.

    Trigonal nitrogen (three neighbours: amides, guanidinium) is planar, all else tetrahedral or bent.
    """
    placed = np.array(positions, dtype=float)
    adjacent = neighbours(len(elements), bonds)
    absent = set(missing)
    parents = sorted({adjacent[h][0] for h in missing})
    for parent in parents:
        new = [h for h in adjacent[parent] if h in absent]
        known = [i for i in adjacent[parent] if i not in absent]
        known.sort(key=lambda i: (i > parent, abs(i - parent)))  # first the one that comes before, in PDB order
        reference = _reference(parent, known[0], adjacent, absent, elements)
        directions = _directions(parent, known, reference, len(new), elements, placed)
        for hydrogen, direction in zip(new, directions, strict=True):
            placed[hydrogen] = placed[parent] + BOND_LENGTH_NM.get(elements[parent], 0.1) * direction
    return placed


def _reference(parent: int, onto: int, adjacent: list[list[int]], absent: set[int], elements: Sequence[str]) -> int:
    """An atom beyond ``onto`` to measure a dihedral from, heavy if there is one."""
    beyond = [i for i in adjacent[onto] if i != parent and i not in absent]
    return min(beyond, key=lambda i: (elements[i] == "H", i), default=-1)


def _directions(
    parent: int, known: list[int], reference: int, n_new: int, elements: Sequence[str], positions: np.ndarray
) -> list[np.ndarray]:
    here = positions[parent]
    inward = [unit(positions[i] - here) for i in known]
    degree = len(known) + n_new
    trigonal = degree == 3 and elements[parent] in ("C", "N")
    if len(known) >= 2 and n_new == 1:
        away = -np.sum(inward, axis=0)
        is_flat = np.linalg.norm(away) < 0.1  # three neighbours in a plane: upright on it
        return [unit(np.cross(inward[0], inward[1]) if is_flat else away)]
    if len(known) == 2 and n_new == 2:
        # side points to the lower-numbered one, by the PDB's convention for prochiral hydrogens
        middle, side = unit(-(inward[0] + inward[1])), unit(np.cross(inward[1], inward[0]))
        spread = math.sin(_HALF_TETRAHEDRAL) * side
        return [math.cos(_HALF_TETRAHEDRAL) * middle + spread, math.cos(_HALF_TETRAHEDRAL) * middle - spread]
    beyond = positions[reference] if reference >= 0 else positions[known[0]] + np.array([0.1, 0.05, 0.02])
    angle = math.radians(120.0 if trigonal else 109.47)
    turns = (0.0, 180.0) if trigonal else (180.0, 60.0, -60.0)
    return [
        place_atom(here, positions[known[0]], beyond, 1.0, angle, math.radians(turn)) - here for turn in turns[:n_new]
    ]
