"""An OpenMM ``System`` from XML of unknown origin, and the bonds that it implies."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import openmm
from openmm import unit
from openmm.app import Element, Topology

from .kinds import check_readable

LARGEST_XML = 64 * 2**20
"""In bytes: a System of 300 atoms has less than one megabyte."""
FORCES = frozenset(
    {
        "HarmonicBondForce",
        "HarmonicAngleForce",
        "PeriodicTorsionForce",
        "RBTorsionForce",
        "CMAPTorsionForce",
        "NonbondedForce",
        "GBSAOBCForce",
        "CustomGBForce",
        "CustomBondForce",
        "CustomAngleForce",
        "CustomTorsionForce",
        "CustomNonbondedForce",
        "CMMotionRemover",
    }
)
"""Kinds of force that are read. Others are refused unread: a ``PythonForce``, say, holds pickled code, which OpenMM's
reader would run, and plugins' forces may open files."""
_ONE_THREE_NM, _ONE_THREE_H_NM = 0.17, 0.13


def read_system(path: Path) -> openmm.System:
    """Read a ``System`` with ``openmm.XmlSerializer``, after a look at what the file holds.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not XML, not a ``System``, or holds a force that is not read.
    """
    check_readable(path, "the XML of an OpenMM System")
    if path.stat().st_size > LARGEST_XML:
        raise ValueError(f"{path} is larger than {LARGEST_XML >> 20} MB; expected the System of one molecule")
    text = path.read_text(encoding="utf-8", errors="replace")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError(f"{path} declares a document type or entities, which a System does not have; write it anew")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not whole XML ({error}); it may be cut short: write it anew") from None
    if root.tag != "System":
        what = "a force field: give it with a sequence or PDB file" if root.tag == "ForceField" else f"a {root.tag}"
        raise ValueError(f"{path} holds {what}; expected a System, as openmm.XmlSerializer.serialize(system) writes it")
    # OpenMM's reader makes an object of every element with an attribute "type", wherever it stands.
    kinds = {str(element.get("type")) for element in root.iter() if element.get("type") is not None}
    kinds -= {"System"}
    plain = {kind for kind in kinds if not kind[:1].isalpha()}
    allowed = FORCES | _FUNCTIONS | _SITES
    if unknown := sorted(kinds - plain - allowed):
        raise ValueError(
            f"{path} holds a {unknown[0][:40]}, which is not read: it may run code or open files, or has no term here; "
            f"write the System with forces of the kinds {', '.join(sorted(FORCES))}"
        )
    try:
        system = openmm.XmlSerializer.deserialize(text)
    except Exception as error:  # OpenMM raises its own kinds
        raise ValueError(f"{path} cannot be read as a System: {' '.join(str(error).split())}") from None
    if not isinstance(system, openmm.System):
        raise ValueError(f"{path} holds a {type(system).__name__}; expected a System")
    return system


_FUNCTIONS = frozenset(f"{kind}{n}DFunction" for kind in ("Continuous", "Discrete") for n in (1, 2, 3))
_SITES = frozenset({"TwoParticleAverageSite", "ThreeParticleAverageSite", "OutOfPlaneSite", "LocalCoordinatesSite"})


def bonded_topology(path: Path, system: openmm.System, names: Topology) -> Topology:
    """Names and residues of a PDB file with the bonds of the System, which knows them better than CONECT records.

    Pairs that an angle spans as well and that are too far apart for a bond are Urey-Bradley terms, and left out.

    Raises:
        ValueError: the element of an atom is unknown.
    """
    masses = [system.getParticleMass(i).value_in_unit(unit.dalton) for i in range(system.getNumParticles())]
    lengths = _bond_lengths(system)
    given = {tuple(sorted((one.index, other.index))) for one, other in names.bonds()}
    topology = Topology()
    chain = topology.addChain("A")
    atoms = []
    for residue in names.residues():
        copy = topology.addResidue(residue.name, chain, residue.id, residue.insertionCode)
        for atom in residue.atoms():
            element = atom.element or (Element.getByMass(masses[atom.index]) if masses[atom.index] > 0.5 else None)
            atoms.append(topology.addAtom(atom.name, element, copy))
    order = [atom.index for residue in names.residues() for atom in residue.atoms()]
    if order != sorted(order):
        raise ValueError(f"{path}: the atoms of a residue are not together in the file of names; write them together")
    spanned = _spanned_pairs(system)
    for i, j in sorted(lengths) if lengths else sorted(given):
        longest = _ONE_THREE_H_NM if "H" in (_symbol(atoms[i]), _symbol(atoms[j])) else _ONE_THREE_NM
        if lengths and (i, j) in spanned and lengths[i, j] > longest:
            continue
        topology.addBond(atoms[i], atoms[j])
    return topology


def _symbol(atom) -> str:
    return "" if atom.element is None else atom.element.symbol


def _bond_lengths(system: openmm.System) -> dict[tuple[int, int], float]:
    found: dict[tuple[int, int], float] = {}
    for force in system.getForces():
        if isinstance(force, openmm.HarmonicBondForce):
            for k in range(force.getNumBonds()):
                i, j, length, _ = force.getBondParameters(k)
                found[min(i, j), max(i, j)] = length.value_in_unit(unit.nanometer)
    for k in range(system.getNumConstraints() if found else 0):
        i, j, length = system.getConstraintParameters(k)
        found.setdefault((min(i, j), max(i, j)), length.value_in_unit(unit.nanometer))
    return found


def _spanned_pairs(system: openmm.System) -> set[tuple[int, int]]:
    found = set()
    for force in system.getForces():
        if isinstance(force, openmm.HarmonicAngleForce):
            for k in range(force.getNumAngles()):
                i, _, j, *_ = force.getAngleParameters(k)
                found.add((min(i, j), max(i, j)))
    return found
