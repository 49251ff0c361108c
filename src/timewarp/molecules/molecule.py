"""From a sequence or a PDB file to a :class:`Molecule`: topology, system, minimised start positions."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import openmm
import torch
from openmm import unit
from openmm.app import Modeller, Topology
from torch import Tensor

from ..shapes import Float
from ..state import Atoms
from .force_fields import create_system
from .hydrogens import place_hydrogens
from .pdb_text import write_pdb
from .peptides import build_heavy_atoms
from .presets import Preset, get_preset
from .sequences import parse_sequence


@dataclass(frozen=True, eq=False)
class Molecule:
    """A molecule under a force-field preset, ready to simulate and to sample.

    Attributes:
        name: as given (``Ace-A-Nme``, ``AIVL``), or the PDB file's stem.
        preset: the force-field preset.
        topology: OpenMM topology.
        system: OpenMM system, without constraints.
        start_positions: in nm, float64.
        atoms: the description that needs no OpenMM.
        notes: what was added or changed, one line each.
    """

    name: str
    preset: Preset
    topology: Topology = field(repr=False)
    system: openmm.System = field(repr=False)
    start_positions: Float[Tensor, "atoms 3"] = field(repr=False)
    atoms: Atoms
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        notes = f", notes: {'; '.join(self.notes)}" if self.notes else ""
        return (
            f"Molecule({self.name!r}: {self.atoms.residues}, {self.atoms.formula}, {self.atoms.n_atoms} atoms, "
            f"preset {self.preset.name!r}{notes})"
        )

    @property
    def pdb(self) -> str:
        """PDB text of the start positions, with a CONECT record for every bond."""
        return write_pdb(self.atoms, self.start_positions)


def build_molecule(source: str | Path, preset: str | Preset = "amber14-obc2", *, minimise: bool = True) -> Molecule:
    """Build a molecule from a sequence or a PDB file.

    Args:
        source: one-letter codes (``AIVL``), with caps (``Ace-A-Nme``), or the path of a PDB file.
        preset: name of a force-field preset, or a :class:`Preset`.
        minimise: whether the start positions are a local minimum of the energy.

    Raises:
        ValueError: the sequence, the file or the preset cannot be used; one line says why and what to do.
        FileNotFoundError: there is no such PDB file.
    """
    preset = get_preset(preset)
    sequence = parse_sequence(str(source))
    topology, positions = build_heavy_atoms(sequence)
    topology, positions = add_hydrogens(topology, positions)
    name = str(sequence)
    system = create_system(topology, preset)
    if minimise:
        positions = minimise_positions(system, positions)
    return Molecule(
        name=name,
        preset=preset,
        topology=topology,
        system=system,
        start_positions=torch.tensor(positions, dtype=torch.float64),
        atoms=describe_atoms(topology, system),
    )


def add_hydrogens(topology: Topology, positions: np.ndarray) -> tuple[Topology, np.ndarray]:
    modeller = Modeller(topology, positions * unit.nanometer)
    variants = ["HIE" if residue.name == "HIS" else None for residue in topology.residues()]
    modeller.addHydrogens(pH=7.0, variants=variants, platform=openmm.Platform.getPlatformByName("Reference"))
    placed = np.array(modeller.getPositions().value_in_unit(unit.nanometer), dtype=float)
    atoms = list(modeller.topology.atoms())
    missing = [a.index for a in atoms if a.element.symbol == "H"]
    bonds = [(a.index, b.index) for a, b in modeller.topology.bonds()]
    return modeller.topology, place_hydrogens([a.element.symbol for a in atoms], bonds, placed, missing)


def minimise_positions(system: openmm.System, positions: np.ndarray, tolerance: float = 1.0) -> np.ndarray:
    """Positions (atoms, 3) in nm of a local energy minimum, on the double-precision Reference platform."""
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions)
    openmm.LocalEnergyMinimizer.minimize(context, tolerance)
    return context.getState(getPositions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer)


def describe_atoms(topology: Topology, system: openmm.System) -> Atoms:
    """The OpenMM-free description: masses and charges from the system, residues counted without caps."""
    (nonbonded,) = [force for force in system.getForces() if isinstance(force, openmm.NonbondedForce)]
    residues = list(topology.residues())
    first = int(residues[0].name != "ACE")
    atoms = list(topology.atoms())
    return Atoms(
        elements=tuple(a.element.symbol for a in atoms),
        names=tuple(a.name for a in atoms),
        residue_names=tuple(a.residue.name for a in atoms),
        residue_numbers=tuple(a.residue.index + first for a in atoms),
        masses=tuple(system.getParticleMass(i).value_in_unit(unit.dalton) for i in range(len(atoms))),
        charges=tuple(
            nonbonded.getParticleParameters(i)[0].value_in_unit(unit.elementary_charge) for i in range(len(atoms))
        ),
        bonds=tuple((a.index, b.index) for a, b in topology.bonds()),
    )
