"""What a molecule's files may hold: one molecule of known elements, and no water, ions, box or virtual sites."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import openmm
from openmm import unit
from openmm.app import Atom, Element, Topology

from ...geometry import neighbours
from ..pdb_records import IONS, WATER
from .kinds import Kind

MOST_ATOMS, FEWEST_ATOMS = 300, 4
HEAVIEST_HYDROGEN_DA = 1.1
"""A hydrogen above it carries mass of the atom that it is bonded to."""
_DEUTERIUM_DA = (1.9, 2.1)
_STRIP = {
    Kind.AMBER: "in ParmEd write `strip {mask} nobox` and `outparm dry.prmtop dry.rst7`, and give these",
    Kind.GROMACS: "delete their lines under [ molecules ] in the top, and their atoms in the gro (gmx trjconv writes "
    "one group), and give these",
    Kind.CHARMM: "in ParmEd or psfgen delete their segments, write psf and coordinates anew, and give these",
    Kind.SYSTEM: "take the molecule alone (openmm.app.Modeller.delete), make its System without a box and with an "
    "implicit solvent, and give that",
}


def check_contents(path: Path, topology: Topology, kind: Kind) -> None:
    """Refuse anything but one molecule of 4 to 300 atoms.

    Raises:
        ValueError: it is something else; the line says what to do.
    """
    atoms = list(topology.atoms())
    pieces = _pieces(topology)
    solvent = Counter(
        name
        for residue in topology.residues()
        if (name := residue.name.strip().upper()) in WATER or (name in IONS and len(list(residue.atoms())) <= 5)
    )
    if solvent and len(pieces) > 1:
        listed = ", ".join(f"{n} {name}" for name, n in solvent.most_common(4))
        mask = ":" + ",".join(dict.fromkeys(r.name for r in topology.residues() if r.name.strip().upper() in solvent))
        raise ValueError(
            f"{path} holds explicit water or ions ({listed}), and the solvent here is implicit: "
            f"{_STRIP[kind].format(mask=mask)}"
        )
    virtual = [atom for atom in atoms if atom.element is None]
    if virtual:
        raise ValueError(
            f"{path}: particle {virtual[0].index + 1} ({virtual[0].name} of {virtual[0].residue.name}) has no element: "
            "virtual sites, lone pairs and Drude particles are not supported; use a force field without them"
        )
    if len(pieces) > 1:
        shown = ", ".join(_describe(piece) for piece in pieces[:4])
        raise ValueError(
            f"{path} holds {len(pieces)} molecules ({shown}{', ...' if len(pieces) > 4 else ''}); expected one: "
            + _STRIP[kind].format(mask=f":{_span(pieces[1])}")
        )
    if not FEWEST_ATOMS <= len(atoms) <= MOST_ATOMS:
        raise ValueError(f"{path} has {len(atoms)} atoms; molecules of {FEWEST_ATOMS} to {MOST_ATOMS} are supported")


def _pieces(topology: Topology) -> list[list[Atom]]:
    """Atoms of each molecule, the largest first."""
    atoms = list(topology.atoms())
    adjacent = neighbours(len(atoms), [(one.index, other.index) for one, other in topology.bonds()])
    pieces, seen = [], [False] * len(atoms)
    for start in range(len(atoms)):
        if seen[start]:
            continue
        seen[start], piece = True, [start]
        for here in piece:
            for there in adjacent[here]:
                if not seen[there]:
                    seen[there] = True
                    piece.append(there)
        pieces.append([atoms[i] for i in sorted(piece)])
    return sorted(pieces, key=len, reverse=True)


def _describe(piece: list[Atom]) -> str:
    residues = list(dict.fromkeys(atom.residue for atom in piece))
    names = "-".join(residue.name for residue in residues[:3]) + ("-..." if len(residues) > 3 else "")
    return f"{names} of {len(piece)} atom{'s' * (len(piece) > 1)}"


def _span(piece: list[Atom]) -> str:
    first, last = piece[0].residue.index + 1, piece[-1].residue.index + 1
    return str(first) if first == last else f"{first}-{last}"


def mend_system(path: Path, system: openmm.System, topology: Topology) -> list[str]:
    """Undo constraints, moved or missing masses and the remover of drift, in place; one note for each kind.

    Raises:
        ValueError: a constraint has no bond whose place it takes, a particle is a virtual site, or a force is periodic.
    """
    notes = []
    for index in reversed(range(system.getNumForces())):
        force = system.getForce(index)
        if isinstance(force, openmm.CMMotionRemover):
            system.removeForce(index)
        elif force.usesPeriodicBoundaryConditions():
            raise ValueError(
                f"{path}: {type(force).__name__} has a periodic box, and the solvent here is implicit: make the System "
                "with NoCutoff, of the molecule alone"
            )
    sites = [i for i in range(system.getNumParticles()) if system.isVirtualSite(i)]
    if sites:
        raise ValueError(f"{path}: particle {sites[0] + 1} is a virtual site, which is not supported; make it without")
    if n := system.getNumConstraints():
        _remove_constraints(path, system, topology)
        notes.append(f"undid {n} constraint{'s' * (n > 1)}: all bonds vibrate")
    return notes + _mend_masses(system, topology)


def _remove_constraints(path: Path, system: openmm.System, topology: Topology) -> None:
    bonded = set()
    for force in system.getForces():
        if isinstance(force, openmm.HarmonicBondForce):
            for k in range(force.getNumBonds()):
                i, j, *_ = force.getBondParameters(k)
                bonded.add(frozenset((i, j)))
    atoms = list(topology.atoms())
    for k in range(system.getNumConstraints()):
        i, j, _ = system.getConstraintParameters(k)
        if frozenset((i, j)) not in bonded:
            raise ValueError(
                f"{path} holds a constraint between {atoms[i].name} and {atoms[j].name} without the bond whose place "
                "it takes, so that it cannot be undone: make it with constraints=None or flexibleConstraints=True; in "
                "GROMACS without [ constraints ]"
            )
    for k in reversed(range(system.getNumConstraints())):
        system.removeConstraint(k)


def _mend_masses(system: openmm.System, topology: Topology) -> list[str]:
    """Give back the mass that hydrogens carry of their neighbours, and a mass to particles that were held fixed."""
    mass = [system.getParticleMass(i).value_in_unit(unit.dalton) for i in range(system.getNumParticles())]
    usual = [atom.element.mass.value_in_unit(unit.dalton) for atom in topology.atoms()]
    hydrogen = Element.getBySymbol("H")
    moved = 0
    for bond in topology.bonds():
        for here, there in (bond, bond[::-1]):
            i, j = here.index, there.index
            if here.element != hydrogen or there.element == hydrogen or mass[i] <= HEAVIEST_HYDROGEN_DA:
                continue
            if _DEUTERIUM_DA[0] < mass[i] < _DEUTERIUM_DA[1] and mass[j] > usual[j] - 0.5:
                continue
            mass[j] += mass[i] - usual[i]
            mass[i] = usual[i]
            moved += 1
    fixed = [i for i, m in enumerate(mass) if m <= 0]
    for i in fixed:
        mass[i] = usual[i]
    for i, m in enumerate(mass):
        system.setParticleMass(i, m)
    notes = []
    if moved:
        notes.append(f"gave the mass that {moved} hydrogen{'s' * (moved > 1)} carried back to the atoms bonded to them")
    if fixed:
        notes.append(f"gave {len(fixed)} particles without mass that of their element: nothing is held fixed")
    return notes
