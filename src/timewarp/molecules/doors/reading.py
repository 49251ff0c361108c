"""From files with a force field to a :class:`~timewarp.molecules.molecule.Molecule`."""

from __future__ import annotations

from pathlib import Path

import openmm

from ..molecule import Molecule, assemble
from ..presets import Preset
from .checks import mend_system
from .kinds import Files, Kind, kind_of
from .readers import read_amber, read_charmm, read_gromacs, read_openmm
from .rings import describe_rings

TEMPERATURE_K = 310.0
"""Of files, which do not say one: that of the default preset."""
LARGEST_CHARGE_RESIDUE = 0.01
_READERS = {
    Kind.AMBER: read_amber,
    Kind.GROMACS: read_gromacs,
    Kind.CHARMM: read_charmm,
    Kind.SYSTEM: read_openmm,
}


def read_molecule(path: Path, files: Files, *, minimise: bool = True) -> Molecule:
    """Read a topology of AMBER, GROMACS or CHARMM, or a System of OpenMM, with the files that belong to it.

    The force field is the file's own; atoms keep their order. Constraints and repartitioned hydrogen masses are undone,
    and what was found beside the file or taken for granted is said in the notes.

    Args:
        path: the topology, or the System's XML.
        files: what was given beside it.
        minimise: whether to move the start positions to a local minimum of the energy.

    Raises:
        FileNotFoundError: a file that was named is not there.
        ValueError: something cannot be read, does not fit, or is not one molecule without a box; one line says what to
            do.
    """
    kind = kind_of(path)
    read = _READERS[kind](path, files)
    notes = [*read.notes, *mend_system(path, read.system, read.topology)]
    read.topology.setPeriodicBoxVectors(None)
    solvent = read.solvent
    if solvent == "own":
        born = [f for f in read.system.getForces() if isinstance(f, openmm.GBSAOBCForce | openmm.CustomGBForce)]
        if not born:
            notes.append(f"{path.name} has no implicit solvent: the molecule is in vacuum")
    name = kind.value if solvent == "own" else f"{kind.value}-{'vacuum' if solvent == 'none' else solvent}"
    preset = Preset(
        name=name,
        description=f"the force field of {path.name}",
        temperature_K=TEMPERATURE_K,
        force_field=(),
        solvent="own" if solvent == "own" else "vacuum" if solvent == "none" else solvent,
    )
    try:
        molecule = assemble(
            path.stem, preset, read.topology, read.coordinates.positions, tuple(notes), minimise, system=read.system
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    more = [line for line in describe_rings(molecule.atoms) if line not in molecule.notes]
    charge = sum(molecule.atoms.charges)
    if abs(charge - round(charge)) > LARGEST_CHARGE_RESIDUE:
        more.append(f"the charge is {charge:.3f} and not a whole number: check the file's charges")
    return molecule.with_notes(more)
