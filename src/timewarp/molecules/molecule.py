"""From a sequence or a PDB file to a :class:`Molecule`: topology, system, minimised start positions."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import openmm
import torch
from openmm import unit
from openmm.app import Topology
from torch import Tensor

from ..shapes import Float
from ..state import Atoms
from .closing import closed_chains, worst_omega
from .force_fields import create_system
from .hydrogens import add_hydrogens
from .minimisation import minimise_positions
from .pdb_reading import read_pdb
from .pdb_text import write_pdb
from .peptides import build_heavy_atoms
from .presets import Preset, get_preset
from .sequences import Sequence, parse_sequence
from .stereochemistry import unusual_geometry

_FILE_SUFFIXES = (".pdb", ".ent", ".cif", ".mmcif", ".pdbx", ".gz", ".mol2", ".sdf", ".gro", ".xyz")


@dataclass(frozen=True, eq=False)
class Molecule:
    """A molecule under a force-field preset, ready to simulate and to sample.

    Attributes:
        name: as given (``Ace-A-Nme``, ``AIVL``), or the PDB file's stem.
        preset: the force-field preset.
        topology: OpenMM topology.
        system: OpenMM system, without constraints and without a centre-of-mass motion remover.
        start_positions: in nm, float64.
        atoms: the description that needs no OpenMM.
        notes: what was added, changed or is unusual, one line each.
    """

    name: str
    preset: Preset
    topology: Topology = field(repr=False)
    system: openmm.System = field(repr=False)
    start_positions: Float[Tensor, "atoms 3"] = field(repr=False)
    atoms: Atoms
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        notes = f"; {'; '.join(self.notes)}" if self.notes else ""
        return (
            f"Molecule({self.name!r}: {self.atoms.residues}, {self.atoms.formula}, {self.atoms.n_atoms} atoms, "
            f"charge {round(sum(self.atoms.charges)):+d}, preset {self.preset.name!r}{notes})"
        )

    @property
    def pdb(self) -> str:
        """PDB text of the start positions, with every bond as CONECT; :func:`build_molecule` reads it back."""
        return write_pdb(self.atoms, self.start_positions)


def build_molecule(source: str | Path, preset: str | Preset = "amber14-obc2", *, minimise: bool = True) -> Molecule:
    """Build a molecule from a sequence or a PDB file.

    The same source gives the same positions each time. Sequences become extended L-peptides with trans peptide
    bonds and histidine as HIE; a PDB file keeps its conformation, chirality, tautomers and cis bonds.

    Args:
        source: one-letter codes (``AIVL``, zwitterionic), with caps (``Ace-A-Nme``), or the path of a PDB file.
        preset: name of a force-field preset, or a :class:`Preset`.
        minimise: whether to move the start positions to a local minimum of the energy.

    Raises:
        ValueError: the sequence, the file or the preset cannot be used; one line says why and what to do.
        FileNotFoundError: there is no such PDB file.
    """
    preset = get_preset(preset)
    if not _is_file(source):
        sequence = parse_sequence(str(source))
        return _of_sequence(sequence, preset, minimise)
    path = Path(source)
    topology, positions, notes = read_pdb(path)
    try:
        return _assemble(path.stem, preset, topology, positions, notes, minimise)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _of_sequence(sequence: Sequence, preset: Preset, minimise: bool) -> Molecule:
    notes = [f"{sequence.letters} is in lower case: its residues are D amino acids"] * sequence.letters.islower()
    if not (sequence.cyclic or sequence.disulphides):
        return _with_hydrogens(sequence, preset, *build_heavy_atoms(sequence), tuple(notes), minimise)
    residues = [
        f"{residue.label} {number}" for number, residue in enumerate(sequence.residues, int(not sequence.front))
    ]
    at = 0 if sequence.front else -1
    notes += [f"closed head to tail: {residues[-1]} is bonded to {residues[0]}"] * sequence.cyclic
    notes += [f"disulphide bond between {residues[i + at]} and {residues[j + at]}" for i, j in sequence.disulphides]
    best: tuple[float, Molecule] | None = None
    why = ""
    for topology, positions in closed_chains(sequence):
        try:
            molecule = _with_hydrogens(sequence, preset, topology, positions, tuple(notes), minimise)
        except ValueError as error:
            if "minimisation" not in (why := str(error)):  # the force field lacks something: no other chain helps
                raise
            continue
        omega = worst_omega(molecule.atoms, molecule.start_positions)
        if best is None or omega > best[0]:
            best = (omega, molecule)
        if omega > 150:
            break
    if best is None:
        raise ValueError(f"{sequence}: no ring could be built: {why}; give it as a PDB file")
    return best[1]


def _with_hydrogens(
    sequence: Sequence,
    preset: Preset,
    topology: Topology,
    positions: np.ndarray,
    notes: tuple[str, ...],
    minimise: bool,
) -> Molecule:
    topology, positions, _ = add_hydrogens(topology, positions, [kind.variant for kind in sequence.residues])
    for residue, kind in zip(topology.residues(), sequence.residues, strict=True):
        residue.name = kind.label
    return _assemble(str(sequence), preset, topology, positions, notes, minimise)


def _assemble(
    name: str, preset: Preset, topology: Topology, positions: np.ndarray, notes: tuple[str, ...], minimise: bool
) -> Molecule:
    system = create_system(topology, preset, positions)
    atoms = describe_atoms(topology, system)
    if minimise:
        positions = minimise_positions(system, positions, atoms)
    start_positions = torch.tensor(positions, dtype=torch.float64)
    return Molecule(
        name=name,
        preset=preset,
        topology=topology,
        system=system,
        start_positions=start_positions,
        atoms=atoms,
        notes=(*notes, *_renumbered(topology, atoms), *unusual_geometry(atoms, start_positions)),
    )


def describe_atoms(topology: Topology, system: openmm.System) -> Atoms:
    """The OpenMM-free description: masses and charges from the system, residues counted without caps."""
    (nonbonded,) = [force for force in system.getForces() if isinstance(force, openmm.NonbondedForce)]
    residues = list(topology.residues())
    first = int(residues[0].name != "ACE")
    atoms = list(topology.atoms())
    charges = [nonbonded.getParticleParameters(i)[0] for i in range(len(atoms))]
    return Atoms(
        elements=tuple(atom.element.symbol for atom in atoms),
        names=tuple(atom.name for atom in atoms),
        residue_names=tuple(atom.residue.name for atom in atoms),
        residue_numbers=tuple(atom.residue.index + first for atom in atoms),
        masses=tuple(system.getParticleMass(i).value_in_unit(unit.dalton) for i in range(len(atoms))),
        charges=tuple(charge.value_in_unit(unit.elementary_charge) for charge in charges),
        bonds=tuple(sorted((min(a.index, b.index), max(a.index, b.index)) for a, b in topology.bonds())),
    )


def _is_file(source: str | Path) -> bool:
    text = str(source)
    return isinstance(source, Path) or "/" in text or "\\" in text or text.lower().endswith(_FILE_SUFFIXES)


def _renumbered(topology: Topology, atoms: Atoms) -> list[str]:
    given = [f"{residue.id}{residue.insertionCode.strip()}" for residue in topology.residues()]
    now = [str(n) for n in dict.fromkeys(atoms.residue_numbers)]
    if given == now:
        return []
    return [f"renumbered residues {given[0]}-{given[-1]} to {now[0]}-{now[-1]}"]
