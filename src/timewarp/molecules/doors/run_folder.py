"""A molecule with a force field of its own from a run folder, once the files that it came from are gone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from openmm import unit
from openmm.app import Element, PDBFile, Topology

from ...files import read_json, read_toml
from ...state import Atoms
from ..molecule import Molecule
from ..presets import Preset
from .kinds import check_readable
from .system_xml import read_system

SYSTEM_FILE = "system.xml"
"""OpenMM's System of a molecule that no preset names, beside the frames."""


def read_run_molecule(path: Path) -> Molecule:
    """The molecule of a run folder that holds its System.

    Raises:
        FileNotFoundError: the folder holds no System.
        ValueError: its files do not fit each other.
    """
    if not (path / SYSTEM_FILE).is_file():
        raise ValueError(
            f"{path} is a run folder without {SYSTEM_FILE}: its molecule is a sequence or a PDB file under a preset: "
            "give that"
        )
    system = read_system(path / SYSTEM_FILE)
    atoms = Atoms.from_json(read_json(path / "atoms.json"))
    config = read_toml(path / "config.toml")
    pdb = PDBFile(str(check_readable(path / "topology.pdb", "the PDB file of a run")))
    positions = np.array(pdb.getPositions(asNumpy=True).value_in_unit(unit.nanometer), dtype=float)
    if not system.getNumParticles() == len(positions) == atoms.n_atoms:
        raise ValueError(f"{path}: {SYSTEM_FILE}, atoms.json and topology.pdb are of different molecules")
    return Molecule(
        name=str(config.get("run", {}).get("name", path.name)),
        preset=Preset(
            name=str(config.get("preset")),
            description=f"the force field of {path}",
            temperature_K=float(config.get("temperature_K", 310.0)),
            force_field=(),
            solvent="own",
        ),
        topology=topology_of(atoms),
        system=system,
        start_positions=torch.from_numpy(positions),
        atoms=atoms,
    )


def topology_of(atoms: Atoms) -> Topology:
    """OpenMM's topology of some atoms."""
    topology = Topology()
    chain, residues = topology.addChain("A"), {}
    own = []
    for i in range(atoms.n_atoms):
        number = atoms.residue_numbers[i]
        if number not in residues:
            residues[number] = topology.addResidue(atoms.residue_names[i], chain, str(number))
        own.append(topology.addAtom(atoms.names[i], Element.getBySymbol(atoms.elements[i]), residues[number]))
    for i, j in atoms.bonds:
        topology.addBond(own[i], own[j])
    return topology
