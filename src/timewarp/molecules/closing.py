"""Build peptides that are closed to rings, head to tail or by disulphides, from random torsions and restraints.

As in structure calculation from distances (Guntert, Mumenthaler & Wuthrich 1997), a chain with ideal bonds and angles
and trans peptide bonds and with random phi and psi is drawn together: harmonic distances hold what is stiff, improper
torsions hold chirality and planes, atoms that are not bonded repel each other, and the distances across the closure are
those of an open chain that goes on with the first residue once more. No force field takes part.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import openmm
import torch
from openmm.app import Topology
from torch import Tensor

from ..geometry import dihedrals, neighbours, ring_bonds
from ..shapes import Float
from ..state import Atoms
from .peptides import build_heavy_atoms, extended
from .sequences import Sequence

_SS, _CB_SS = 0.2038, 0.3045
"""Distances in nm of a disulphide: S-S, and CB to the other sulphur (104 degrees)."""
_ATTEMPTS = 24
_ENOUGH = 4
"""Chains that are drawn together, and good ones after which no more are."""
_WORST = 200.0
"""Most restraint energy of a good one, kJ/mol for each residue."""


@dataclass(frozen=True)
class _Restraints:
    """What holds a chain: pairs with their distances, those across a closure, and improper torsions."""

    pairs: dict[tuple[int, int], float]
    closing: dict[tuple[int, int], float]
    impropers: list[tuple[tuple[int, ...], float]]
    bridges: list[tuple[int, int, int, int]]


def closed_chains(sequence: Sequence) -> Iterator[tuple[Topology, np.ndarray]]:
    """Topology without hydrogens, with its closing bonds, and positions (atoms, 3) in nm: the least strained first.

    The same sequence gives the same chains each time.

    Raises:
        ValueError: no attempt closed the ring.
    """
    chain = replace(sequence, cyclic=False, disulphides=())
    if sequence.cyclic:
        chain = replace(chain, names=(*sequence.names, sequence.names[0]))
    found = []
    for attempt in range(_ATTEMPTS):
        topology, positions = build_heavy_atoms(chain, _random_torsions(chain, np.random.default_rng(attempt)))
        closed, kept, restraints = _close(topology, positions, sequence)
        energy, positions = _draw_together(positions[kept], restraints)
        if energy < _WORST * len(sequence.names):
            found.append((energy, attempt, closed, positions))
        if len(found) >= _ENOUGH:
            break
    if not found:
        raise ValueError(
            f"no ring of {sequence} with trans peptide bonds was found in {_ATTEMPTS} attempts; give it as a PDB file"
        )
    for _, _, closed, positions in sorted(found, key=lambda row: row[:2]):
        yield closed, positions


def worst_omega(atoms: Atoms, positions: Float[Tensor, "atoms 3"]) -> float:
    """Least angle in degrees of the peptide bonds, that of the closure too: 180 where all are trans and flat."""
    places = {key: i for i, key in enumerate(zip(atoms.residue_numbers, atoms.names, strict=True))}
    least = 180.0
    for pair in atoms.bonds:
        for c, n in (pair, pair[::-1]):
            ends = [places.get((atoms.residue_numbers[i], "CA")) for i in (c, n)]
            is_peptide = (atoms.names[c], atoms.names[n]) == ("C", "N") and None not in ends and ends[0] != ends[1]
            if is_peptide:
                row = torch.tensor([[ends[0], c, n, ends[1]]])
                least = min(least, abs(math.degrees(float(dihedrals(positions, row)))))
    return least


def _random_torsions(chain: Sequence, generator: np.random.Generator) -> list[tuple[float, float]]:
    """Phi and psi in degrees from the broad basins of peptides; proline's phi is its ring's."""
    torsions = []
    for kind, (phi, _) in zip(chain.residues, extended(chain.residues), strict=True):
        sign = -1.0 if kind.handedness == "D" else 1.0
        if kind.amino_acid == "GLY":
            sign = generator.choice([-1.0, 1.0])
        if kind.amino_acid != "PRO":
            phi = sign * generator.uniform(-150.0, -55.0)
        psi = sign * (generator.choice([-40.0, 130.0]) + generator.uniform(-30.0, 30.0))
        torsions.append((phi, psi))
    return torsions


def _close(topology: Topology, positions: np.ndarray, sequence: Sequence) -> tuple[Topology, np.ndarray, _Restraints]:
    """The closed topology, the atoms of the open chain that it keeps, and the restraints by its indices."""
    residues = list(topology.residues())
    index = [{atom.name: atom.index for atom in residue.atoms()} for residue in residues]
    image = np.arange(topology.getNumAtoms())
    dropped: set[int] = set()
    if sequence.cyclic:
        for name, i in index[-1].items():
            dropped.add(i)
            image[i] = index[0].get(name, -1)
    kept = np.array([i for i in range(len(image)) if i not in dropped])
    place = np.full(len(image), -1)
    place[kept] = np.arange(len(kept))
    onto = np.where(image >= 0, place[image], -1)

    closed = Topology()
    chain = closed.addChain("A")
    for residue in residues[: len(residues) - sequence.cyclic]:
        copy = closed.addResidue(residue.name, chain, residue.id)
        for atom in residue.atoms():
            closed.addAtom(atom.name, atom.element, copy)
    closed.createStandardBonds()
    atoms = list(closed.atoms())
    bridges = []
    first = int(bool(sequence.front))
    for pair in sequence.disulphides:
        (cb, sg), (other_sg, other_cb) = (
            [int(place[index[number - 1 + first][name]]) for name in names]
            for number, names in zip(pair, (("CB", "SG"), ("SG", "CB")), strict=True)
        )
        closed.addBond(atoms[sg], atoms[other_sg])
        bridges.append((cb, sg, other_sg, other_cb))
    if sequence.cyclic:
        ends = (place[index[-2]["C"]], place[index[0]["N"]])
        closed.addBond(atoms[ends[0]], atoms[ends[1]])

    pairs: dict[tuple[int, int], float] = {}
    closing: dict[tuple[int, int], float] = {}
    bonds = [(one.index, other.index) for one, other in topology.bonds()]
    for i, j in _stiff_pairs(topology, bonds):
        a, b = sorted((int(onto[i]), int(onto[j])))
        if a < 0 or a == b or (i in dropped and j in dropped):
            continue
        distance = float(np.linalg.norm(positions[i] - positions[j]))
        (closing if i in dropped or j in dropped else pairs)[a, b] = distance
    for cb, sg, other_sg, other_cb in bridges:
        closing[_sorted(sg, other_sg)] = _SS
        closing[_sorted(cb, other_sg)] = closing[_sorted(other_cb, sg)] = _CB_SS
    impropers = []
    for centre, row in enumerate(neighbours(len(image), bonds)):
        if len(row) >= 3:
            four = (centre, *row[:3])
            mapped = tuple(int(onto[i]) for i in four)
            if min(mapped) >= 0 and len(set(mapped)) == 4 and not all(i in dropped for i in four):
                impropers.append((mapped, _dihedral(positions[list(four)])))
    return closed, kept, _Restraints(pairs, closing, impropers, bridges)


def _sorted(i: int, j: int) -> tuple[int, int]:
    return (i, j) if i < j else (j, i)


def _stiff_pairs(topology: Topology, bonds: list[tuple[int, int]]) -> set[tuple[int, int]]:
    """Pairs of atoms whose distance no soft torsion changes: 1-2, 1-3, and 1-4 about peptide, ring and double bonds."""
    atoms = list(topology.atoms())
    adjacent = neighbours(len(atoms), bonds)
    in_ring = ring_bonds(len(atoms), bonds)
    pairs = {_sorted(i, j) for i, j in bonds}
    for row in adjacent:
        pairs |= {_sorted(i, j) for i, j in itertools.combinations(row, 2)}
    for i, j in bonds:
        names = {atoms[i].name, atoms[j].name}
        if names == {"C", "N"} or names == {"NE", "CZ"} or frozenset((i, j)) in in_ring:
            pairs |= {_sorted(a, b) for a in adjacent[i] for b in adjacent[j] if len({a, b, i, j}) == 4}
    return pairs


def _dihedral(four: np.ndarray) -> float:
    a, b, c = np.diff(four, axis=0)
    left, right = np.cross(a, b), np.cross(b, c)
    return math.atan2(float(np.dot(np.cross(left, right), b / np.linalg.norm(b))), float(np.dot(left, right)))


def _draw_together(positions: np.ndarray, restraints: _Restraints) -> tuple[float, np.ndarray]:
    """Energy of the restraints (kJ/mol) and positions at a minimum, on OpenMM's Reference platform."""
    system = openmm.System()
    for _ in range(len(positions)):
        system.addParticle(12.0)
    for pairs, strength in ((restraints.pairs, "200000"), (restraints.closing, "200000*pull")):
        force = openmm.CustomBondForce(f"{strength}*(r-r0)^2")
        force.addPerBondParameter("r0")
        if "pull" in strength:
            force.addGlobalParameter("pull", 1e-4)
        for (i, j), distance in pairs.items():
            force.addBond(i, j, [distance])
        system.addForce(force)
    improper = openmm.CustomTorsionForce("800*(1-cos(theta-theta0))")
    improper.addPerTorsionParameter("theta0")
    for four, angle in restraints.impropers:
        improper.addTorsion(*four, [angle])
    system.addForce(improper)
    bridge = openmm.CustomTorsionForce("20*cos(theta)^2")
    for four in restraints.bridges:
        bridge.addTorsion(*four)
    system.addForce(bridge)
    repulsion = openmm.CustomNonbondedForce("push*step(0.31-r)*(0.31-r)^2")
    repulsion.addGlobalParameter("push", 1e3)
    for _ in range(len(positions)):
        repulsion.addParticle()
    for pair in _within_three(len(positions), restraints):
        repulsion.addExclusion(*pair)
    system.addForce(repulsion)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions)
    for pull, push in ((1e-4, 1e3), (1e-3, 1e3), (1e-2, 3e3), (0.1, 1e4), (1.0, 3e4)):
        context.setParameter("pull", pull)
        context.setParameter("push", push)
        openmm.LocalEnergyMinimizer.minimize(context, 10.0, 2000)
    state = context.getState(getEnergy=True, getPositions=True)
    return state.getPotentialEnergy()._value, np.array(state.getPositions(asNumpy=True)._value)


def _within_three(n_atoms: int, restraints: _Restraints) -> set[tuple[int, int]]:
    """Pairs that must not repel each other: those with a distance, and their ends one stiff step on."""
    pairs = {*restraints.pairs, *restraints.closing}
    short = [pair for pair, distance in (restraints.pairs | restraints.closing).items() if distance < 0.215]
    adjacent = neighbours(n_atoms, short)
    for i, j in short:
        pairs |= {_sorted(a, b) for a in adjacent[i] for b in adjacent[j] if a != b}
    return pairs
