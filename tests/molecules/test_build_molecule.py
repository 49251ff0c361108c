"""Molecules: start positions, description, PDB text and the way back from it."""

import dataclasses
import io
import re

import mdtraj
import numpy as np
import openmm
import pytest
import torch
from openmm import unit

from timewarp.files import read_json, write_json
from timewarp.molecules import PRESETS, Molecule, build_molecule
from timewarp.state import Atoms


def energy_and_forces(molecule: Molecule, positions: torch.Tensor) -> tuple[float, np.ndarray]:
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(molecule.system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(positions.numpy())
    state = context.getState(getEnergy=True, getForces=True)
    return state.getPotentialEnergy() / unit.kilojoule_per_mole, state.getForces(asNumpy=True)._value


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", ["Ace-A-Nme", "AG"])
def test_start_positions_are_a_minimum_and_the_same_each_time(name, preset):
    molecule = build_molecule(name, preset)
    energy, forces = energy_and_forces(molecule, molecule.start_positions)
    assert np.sqrt((forces**2).sum(-1).mean()) < 10.0
    assert energy < energy_and_forces(molecule, build_molecule(name, preset, minimise=False).start_positions)[0]
    assert molecule.start_positions.dtype == torch.float64
    again = build_molecule(name, preset)
    assert torch.equal(molecule.start_positions, again.start_positions)
    assert molecule.atoms == again.atoms
    assert molecule.notes == ()


def test_alanine_dipeptide_is_described_in_full():
    molecule = build_molecule("Ace-A-Nme")
    atoms = molecule.atoms
    assert (molecule.name, molecule.preset.name, atoms.formula) == ("Ace-A-Nme", "amber14-obc2", "C6H12N2O2")
    assert atoms.residues == "ACE-ALA-NME"
    assert sorted(set(atoms.residue_numbers)) == [0, 1, 2]
    assert sum(atoms.masses) == pytest.approx(144.17, abs=0.01)
    assert atoms.charges[atoms.names.index("N")] == pytest.approx(-0.4157)  # ff14SB
    assert len(atoms.bonds) == 21
    assert "Ace-A-Nme" in repr(molecule)
    assert "22 atoms, charge +0, preset 'amber14-obc2'" in repr(molecule)
    assert len(repr(molecule)) < 200
    with pytest.raises(dataclasses.FrozenInstanceError):
        molecule.name = "other"


def test_residue_numbers_count_amino_acids_only():
    numbers = {name: build_molecule(name, minimise=False).atoms.residue_numbers for name in ("AG", "Ace-AG", "AG-Nme")}
    assert {name: sorted(set(row)) for name, row in numbers.items()} == {
        "AG": [1, 2],
        "Ace-AG": [0, 1, 2],
        "AG-Nme": [1, 2, 3],
    }


def test_histidine_of_a_sequence_is_the_epsilon_tautomer():
    atoms = build_molecule("AH", minimise=False).atoms
    assert "HE2" in atoms.names
    assert "HD1" not in atoms.names


def test_atoms_survive_their_file(tmp_path):
    atoms = build_molecule("Ace-W-Nme", minimise=False).atoms
    write_json(tmp_path / "atoms.json", atoms.to_json())
    assert Atoms.from_json(read_json(tmp_path / "atoms.json")) == atoms


@pytest.mark.parametrize("preset", ["amber14-obc2", "amber99sbildn-obc"])
@pytest.mark.parametrize("name", ["Ace-A-Nme", "AG", "HPR", "CWKD", "Ace-MY", "TI-Nme", "EQFNSVL"])
def test_a_molecule_is_rebuilt_from_its_own_pdb_text(name, preset, tmp_path):
    molecule = build_molecule(name, preset, minimise=False)
    path = tmp_path / f"{name}.pdb"
    path.write_text(molecule.pdb)
    again = build_molecule(path, preset, minimise=False)
    assert again.notes == ()
    assert again.name == name
    assert again.atoms == molecule.atoms
    assert again.atoms.fingerprint == molecule.atoms.fingerprint
    torch.testing.assert_close(again.start_positions, molecule.start_positions, atol=5.1e-5, rtol=0)  # 0.001 angstrom
    expected, forces = energy_and_forces(molecule, molecule.start_positions)
    energy, again_forces = energy_and_forces(again, molecule.start_positions)
    assert energy == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(again_forces, forces, atol=1e-7)
    path.write_text(again.pdb)
    assert build_molecule(str(path), preset, minimise=False).pdb == again.pdb


def test_pdb_text_is_read_by_mdtraj_with_all_its_bonds(tmp_path):
    molecule = build_molecule("Ace-CW-Nme", minimise=False)
    path = tmp_path / "molecule.pdb"
    path.write_text(molecule.pdb)
    trajectory = mdtraj.load(path)
    assert [atom.name for atom in trajectory.topology.atoms] == list(molecule.atoms.names)
    assert {tuple(sorted((a.index, b.index))) for a, b in trajectory.topology.bonds} == set(molecule.atoms.bonds)
    np.testing.assert_allclose(trajectory.xyz[0], molecule.start_positions, atol=6e-5)
    columns = [line for line in molecule.pdb.splitlines() if line.startswith(("ATOM", "HETATM"))]
    assert all(re.fullmatch(r".{76} [A-Z]", line[:78]) for line in columns)


def test_openmm_reads_the_pdb_text_without_doubling_bonds():
    molecule = build_molecule("Ace-CW-Nme", minimise=False)
    pdb = openmm.app.PDBFile(io.StringIO(molecule.pdb))
    assert pdb.topology.getNumBonds() == len(molecule.atoms.bonds)
