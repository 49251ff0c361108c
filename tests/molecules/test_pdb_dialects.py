"""Peptide files of other programs: each is the same molecule, or refused with a mend that makes it so."""

from __future__ import annotations

import io
import re
from functools import cache
from pathlib import Path

import numpy as np
import openmm
import pytest
from dialect_forms import FORMS
from dialect_names import NAMES
from dialect_refusals import REFUSALS
from dialects import rows_of
from openmm.app import ForceField, NoCutoff, PDBFile

from timewarp.molecules import Molecule, build_molecule, get_preset
from timewarp.molecules.force_fields import create_system
from timewarp.molecules.molecule import describe_atoms
from timewarp.molecules.pdb_reading import read_pdb
from timewarp.state import Atoms

PRESET = get_preset("amber14-obc2")
HARMLESS = "atoms put in the program's order"
DIALECTS = {dialect.name: dialect for dialect in (*NAMES, *FORMS)}
OPENMM_READS = ("IHKDL", "Ace-AVK-Nme", "A[ASH][GLH]G", "AK-NH2")


@cache
def force_field() -> ForceField:
    return ForceField("amber14-all.xml", "implicit/obc2.xml")


@cache
def built(sequence: str) -> Molecule:
    return build_molecule(sequence, PRESET, minimise=False)


def energy_of(system: openmm.System, positions) -> float:
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions)
    return context.getState(getEnergy=True).getPotentialEnergy()._value


@cache
def energy(sequence: str) -> float:
    """Of the canonical file in kJ/mol, its positions rounded as there."""
    (positions,) = (np.array([row.xyz for row in rows_of(built(sequence).pdb)]) / 10,)
    return energy_of(built(sequence).system, positions)


def read(path: Path, text: str, **options) -> tuple[Atoms, np.ndarray, tuple[str, ...], float]:
    path.write_bytes(text.encode("utf-8" if text.startswith("\ufeff") else "latin-1"))
    topology, positions, notes = read_pdb(path, **options)
    system = create_system(topology, PRESET)
    return describe_atoms(topology, system), positions, notes, energy_of(system, positions)


@pytest.mark.parametrize("sequence", OPENMM_READS)
def test_the_canonical_energies_are_openmms(sequence):
    pdb = PDBFile(io.StringIO(built(sequence).pdb))
    system = force_field().createSystem(pdb.topology, nonbondedMethod=NoCutoff)
    assert energy_of(system, pdb.positions) == pytest.approx(energy(sequence), abs=0.01)


@pytest.mark.parametrize("name", DIALECTS)
def test_a_dialect_is_the_same_molecule(name, tmp_path):
    dialect = DIALECTS[name]
    whole = built(dialect.of)
    text = dialect.write(rows_of(whole.pdb))
    atoms, positions, notes, value = read(tmp_path / f"given{dialect.suffix}", text, **dialect.options)
    assert atoms == whole.atoms
    said = [note for note in notes if not re.search(HARMLESS, note)]
    assert bool(said) == bool(dialect.notes), said
    assert all(re.search(dialect.notes, note) for note in said), said
    if not dialect.rebuilds:
        heavy = [i for i, element in enumerate(atoms.elements) if element != "H"]
        assert np.abs(positions - whole.start_positions.numpy())[heavy].max() < 1e-4
        assert value == pytest.approx(energy(dialect.of), abs=0.01)


@pytest.mark.parametrize("sequence", sorted({dialect.of for dialect in DIALECTS.values()}))
def test_what_is_written_is_read_back(sequence, tmp_path):
    whole = built(sequence)
    atoms, _, notes, _ = read(tmp_path / "again.pdb", whole.pdb)
    assert (atoms, notes) == (whole.atoms, ())


def test_there_are_sixty():
    assert len(DIALECTS) == len(NAMES) + len(FORMS) >= 60


@pytest.mark.parametrize("name", [refusal.name for refusal in REFUSALS])
def test_a_refused_file_is_mended_as_the_message_says(name, tmp_path):
    (refusal,) = [refusal for refusal in REFUSALS if refusal.name == name]
    text = refusal.write(rows_of(built(refusal.base or refusal.of).pdb))
    path = tmp_path / "given.pdb"
    path.write_text(text)
    with pytest.raises(ValueError, match=refusal.message) as caught:
        read_pdb(path)
    assert "\n" not in str(caught.value)
    assert "remove what is not" not in str(caught.value)
    atoms, *_, value = read(path, refusal.mend(text), **refusal.options)
    assert atoms == built(refusal.of).atoms
    assert np.isfinite(value)
