"""Molecules under force fields that OpenMM ships, written as AMBER, GROMACS, CHARMM and OpenMM files by ParmEd."""

from __future__ import annotations

import io
import itertools
import warnings
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
import openmm
import parmed
from openmm import app, unit

from timewarp.molecules import build_molecule
from timewarp.molecules.hydrogens import place_atom

AMBER14, AMBER99 = ("amber14-all.xml",), ("amber99sbildn.xml",)
CUSTOM_TYPES = 9
"""ParmEd's types of generated molecules: each atom has its own."""


@dataclass(frozen=True, eq=False)
class Made:
    """A molecule under a force field in vacuum: its topology, system and positions (atoms, 3) in nm."""

    topology: app.Topology
    system: openmm.System
    positions: np.ndarray

    def structure(self) -> parmed.Structure:
        """As ParmEd has it, each atom of a type of its own, so that no two parameters share a name."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            structure = parmed.openmm.load_topology(self.topology, self.system, xyz=10 * self.positions)
            for i, atom in enumerate(structure.atoms):
                own = parmed.AtomType(f"X{i}", i + 1, atom.mass, atom.element)
                own.set_lj_params(atom.epsilon, atom.rmin, atom.epsilon_14, atom.rmin_14)
                atom.atom_type, atom.type = own, own.name
        structure.box = None
        return structure

    def save(self, folder: Path, *suffixes: str, name: str = "mol", radii: str = "mbondi2") -> Path:
        """Write files of these suffixes; the first one's path."""
        structure = self.structure()
        for suffix in suffixes:
            path = folder / f"{name}.{suffix}"
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if suffix == "prm":
                    parmed.charmm.CharmmParameterSet.from_structure(structure).write(par=str(path))
                elif suffix == "xml":
                    path.write_text(openmm.XmlSerializer.serialize(self.system))
                elif suffix == "pdb":
                    with path.open("w") as file:
                        app.PDBFile.writeFile(self.topology, self.positions * unit.nanometer, file, keepIds=True)
                elif suffix == "prmtop":
                    parm = parmed.amber.AmberParm.from_structure(structure)
                    parmed.tools.changeRadii(parm, radii).execute()
                    parm.save(str(path), overwrite=True)
                elif suffix == "crd":
                    structure.save(str(path), overwrite=True, format="charmmcrd")
                else:
                    structure.save(str(path), overwrite=True)
        return folder / f"{name}.{suffixes[0]}"


def relaxed(system: openmm.System, positions: np.ndarray, iterations: int = 50) -> np.ndarray:
    """Some steps downhill, so that no two atoms overlap."""
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions)
    openmm.LocalEnergyMinimizer.minimize(context, 10.0, iterations)
    return context.getState(getPositions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer)


def create(topology: app.Topology, files: tuple[str, ...], **arguments: object) -> openmm.System:
    """The system of a topology under OpenMM's force-field files."""
    options = {"constraints": None, "rigidWater": False, "removeCMMotion": False, **arguments}
    return app.ForceField(*files).createSystem(topology, **options)


@cache
def peptide(sequence: str, files: tuple[str, ...] = AMBER14) -> Made:
    """A peptide from its sequence."""
    molecule = build_molecule(sequence, minimise=False)
    system = create(molecule.topology, files)
    return Made(molecule.topology, system, relaxed(system, molecule.start_positions.numpy()))


def _renamed(topology: app.Topology, residue_name: str) -> app.Topology:
    """All atoms as one residue, named by element and number, as in the files of a ligand."""
    copy = app.Topology()
    residue = copy.addResidue(residue_name, copy.addChain("A"))
    atoms, count = [], itertools.count(1)
    for atom in topology.atoms():
        atoms.append(copy.addAtom(f"{atom.element.symbol}{next(count)}", atom.element, residue))
    for one, other in topology.bonds():
        copy.addBond(atoms[one.index], atoms[other.index])
    return copy


@cache
def ligand(sequence: str = "Ace-F-Nme", residue_name: str = "LIG") -> Made:
    """The same atoms as a peptide's with names that say nothing of residues."""
    made = peptide(sequence)
    return Made(_renamed(made.topology, residue_name), made.system, made.positions)


@cache
def halide(element: str = "Cl", sequence: str = "Ace-F-Nme") -> Made:
    """A ligand with a halogen in place of a hydrogen of its ring; charges and radii of such an atom, roughly."""
    import copy

    made = ligand(sequence)
    old = next(
        one.index
        for one, other in (pair for bond in made.topology.bonds() for pair in (bond, bond[::-1]))
        if one.element.symbol == "H"
        and sum(other in bond for bond in made.topology.bonds()) == 3
        and other.element.symbol == "C"
    )
    system = copy.deepcopy(made.system)
    halogen = app.Element.getBySymbol(element)
    system.setParticleMass(old, halogen.mass)
    length = {"F": 0.135, "Cl": 0.174, "Br": 0.19}[element]
    for force in system.getForces():
        if isinstance(force, openmm.HarmonicBondForce):
            for k in range(force.getNumBonds()):
                i, j, _, stiffness = force.getBondParameters(k)
                if old in (i, j):
                    force.setBondParameters(k, i, j, length, stiffness)
        if isinstance(force, openmm.NonbondedForce):
            force.setParticleParameters(old, force.getParticleParameters(old)[0], 0.3 + length / 3, 1.0)
            sizes = [force.getParticleParameters(i)[1:] for i in range(force.getNumParticles())]
            for k in range(force.getNumExceptions()):
                i, j, product, _, depth = force.getExceptionParameters(k)
                if old in (i, j) and depth._value:
                    depth = 0.5 * (sizes[i][1] * sizes[j][1]).sqrt()
                    force.setExceptionParameters(k, i, j, product, (sizes[i][0] + sizes[j][0]) / 2, depth)
    topology = app.Topology()
    residue = topology.addResidue("LIG", topology.addChain("A"))
    atoms = [
        topology.addAtom(
            f"{element.upper()}1" if atom.index == old else atom.name,
            halogen if atom.index == old else atom.element,
            residue,
        )
        for atom in made.topology.atoms()
    ]
    for one, other in made.topology.bonds():
        topology.addBond(atoms[one.index], atoms[other.index])
    return Made(topology, system, relaxed(system, made.positions))


@cache
def dinucleotide(first: str = "A", second: str = "C") -> Made:
    """Two nucleotides (RNA: ``A``, ``C``; DNA: ``DA``, ``DT``) from PDBFixer's templates, joined and protonated."""
    residues = []
    for name in (first, second):
        text = (resources.files("pdbfixer") / "templates" / f"{name}.pdb").read_text()
        pdb = app.PDBFile(io.StringIO(text))
        positions = pdb.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
        residues.append({atom.name: np.array(positions[atom.index]) for atom in pdb.topology.atoms()})
    head, tail = residues
    head = {name: x for name, x in head.items() if name not in ("P", "OP1", "OP2", "OP3")}
    tail = {name: x for name, x in tail.items() if name != "OP3"}
    phosphorus = place_atom(head["O3'"], head["C3'"], head["C4'"], 0.161, np.radians(119), np.radians(200))
    inward = -sum((tail[n] - tail["P"]) / np.linalg.norm(tail[n] - tail["P"]) for n in ("OP1", "OP2", "O5'"))
    onto = (head["O3'"] - phosphorus) / 0.161
    best, clearance = tail, -1.0
    for degrees in range(0, 360, 15):
        turn = _rotation(onto, np.radians(degrees)) @ _aligning(inward / np.linalg.norm(inward), onto)
        moved = {name: turn @ (x - tail["P"]) + phosphorus for name, x in tail.items()}
        far = [x for name, x in moved.items() if name not in ("P", "OP1", "OP2", "O5'")]
        least = min(float(np.linalg.norm(x - y)) for x in far for y in head.values())
        if least > clearance:
            best, clearance = moved, least
    topology = app.Topology()
    chain = topology.addChain("A")
    rows = []
    for name, atoms in ((first, head), (second, best)):
        residue = topology.addResidue(name, chain)
        for atom, x in atoms.items():
            topology.addAtom(atom, app.Element.getBySymbol(atom[0]), residue)
            rows.append(x)
    topology.createStandardBonds()
    modeller = app.Modeller(topology, np.array(rows) * unit.nanometer)
    reference = openmm.Platform.getPlatformByName("Reference")
    modeller.addHydrogens(app.ForceField(*AMBER14), platform=reference)
    system = create(modeller.topology, AMBER14)
    positions = np.array(modeller.getPositions().value_in_unit(unit.nanometer))
    return Made(modeller.topology, system, relaxed(system, positions, 200))


@cache
def ring(sequence: str = "AGAGAG") -> Made:
    """A peptide closed head to tail."""
    open_chain = build_molecule(sequence, minimise=False)
    drop = [
        atom
        for atom in open_chain.topology.atoms()
        if atom.name == "OXT" or (atom.residue.index == 0 and atom.name in ("H2", "H3"))
    ]
    modeller = app.Modeller(open_chain.topology, open_chain.start_positions.numpy() * unit.nanometer)
    modeller.delete(drop)
    topology = app.Topology()
    chain = topology.addChain("A")
    atoms = {}
    for residue in modeller.topology.residues():
        copy = topology.addResidue(residue.name, chain)
        for atom in residue.atoms():
            name = "H" if residue.index == 0 and atom.name == "H1" else atom.name
            atoms[residue.index, name] = topology.addAtom(name, atom.element, copy)
    own = list(topology.atoms())
    for one, other in modeller.topology.bonds():
        topology.addBond(own[one.index], own[other.index])
    topology.addBond(atoms[len(list(topology.residues())) - 1, "C"], atoms[0, "N"])
    system = create(topology, AMBER14)
    positions = np.array(modeller.getPositions().value_in_unit(unit.nanometer))
    return Made(topology, system, _closed(system, positions))


def _closed(system: openmm.System, positions: np.ndarray) -> np.ndarray:
    """Follow the chain's bond as it closes, by dynamics with friction: a minimiser would stop at the first knot."""
    integrator = openmm.LangevinMiddleIntegrator(600, 5, 0.0005)
    integrator.setRandomNumberSeed(3)
    slow = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(system))
    (bonds,) = [force for force in slow.getForces() if isinstance(force, openmm.HarmonicBondForce)]
    far = max(
        range(bonds.getNumBonds()),
        key=lambda k: np.linalg.norm(
            positions[bonds.getBondParameters(k)[0]] - positions[bonds.getBondParameters(k)[1]]
        ),
    )
    i, j, length, _ = bonds.getBondParameters(far)
    for force in slow.getForces():  # angles and torsions at the open bond wait until it has closed
        if isinstance(force, openmm.HarmonicAngleForce):
            for k in range(force.getNumAngles()):
                a, b, c, angle, stiffness = force.getAngleParameters(k)
                if {i, j} <= {a, b, c}:
                    force.setAngleParameters(k, a, b, c, angle, 0.0 * stiffness)
        if isinstance(force, openmm.PeriodicTorsionForce):
            for k in range(force.getNumTorsions()):
                *quadruple, periodicity, phase, stiffness = force.getTorsionParameters(k)
                if {i, j} <= set(quadruple):
                    force.setTorsionParameters(k, *quadruple, periodicity, phase, 0.0 * stiffness)
    bonds.setBondParameters(far, i, j, length, 2000.0)
    context = openmm.Context(slow, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions)
    openmm.LocalEnergyMinimizer.minimize(context, 50.0, 300)
    integrator.step(4000)
    openmm.LocalEnergyMinimizer.minimize(context, 50.0, 500)
    here = context.getState(getPositions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer)
    return relaxed(system, here, 2000)


def _rotation(axis: np.ndarray, angle: float) -> np.ndarray:
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def _aligning(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    axis = np.cross(start, end)
    size = np.linalg.norm(axis)
    return _rotation(axis / size, float(np.arctan2(size, start @ end)))


def reference_energy(system: openmm.System, positions: np.ndarray) -> float:
    """Energy in kJ/mol on OpenMM's Reference platform."""
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions)
    return context.getState(getEnergy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
