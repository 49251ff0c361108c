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
from openmm.app import ForceField, NoCutoff, PDBFile, Topology

from timewarp.molecules import Molecule, build_molecule, get_preset
from timewarp.molecules.molecule import describe_atoms
from timewarp.molecules.pdb_reading import read_pdb

PRESET = get_preset("amber14-obc2")
HARMLESS = r"atoms put in the program's order|closed head to tail|disulphide bond between \w+ 2 and \w+ 5"
DIALECTS = {dialect.name: dialect for dialect in (*NAMES, *FORMS)}
MENDS = {refusal.name: refusal for refusal in REFUSALS}
OPENMM_READS = ("IHKDL", "Ace-AVK-Nme", "A[ASH][GLH]G", "AK-NH2")
DOCS = Path(__file__).parents[2] / "docs" / "pdb-dialects.md"


@cache
def built(sequence: str) -> Molecule:
    return build_molecule(sequence, PRESET, minimise=False)


@cache
def context(sequence: str) -> openmm.Context:
    system = built(sequence).system
    return openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))


def energy(sequence: str, positions) -> float:
    """In kJ/mol."""
    context(sequence).setPositions(positions)
    return context(sequence).getState(getEnergy=True).getPotentialEnergy()._value


def canonical_positions(sequence: str) -> np.ndarray:
    """In nm, rounded as in the canonical file."""
    return np.array([row.xyz for row in rows_of(built(sequence).pdb)]) / 10


def read(path: Path, text: str, **options) -> tuple[Topology, np.ndarray, tuple[str, ...]]:
    path.write_bytes(text.encode("utf-8" if text.startswith("\ufeff") else "latin-1"))
    return read_pdb(path, **options)


def check_molecule(topology: Topology, sequence: str) -> None:
    """The atoms are those of the sequence: names, elements, residues, order and bonds."""
    whole = built(sequence)
    assert [atom.name for atom in topology.atoms()] == list(whole.atoms.names)
    assert describe_atoms(topology, whole.system) == whole.atoms


@pytest.mark.parametrize("sequence", OPENMM_READS)
def test_the_canonical_energies_are_openmms(sequence):
    pdb = PDBFile(io.StringIO(built(sequence).pdb))
    system = force_field().createSystem(pdb.topology, nonbondedMethod=NoCutoff)
    reference = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    reference.setPositions(pdb.positions)
    value = reference.getState(getEnergy=True).getPotentialEnergy()._value
    assert energy(sequence, canonical_positions(sequence)) == pytest.approx(value, abs=0.01)


@cache
def force_field() -> ForceField:
    return ForceField("amber14-all.xml", "implicit/obc2.xml")


@pytest.mark.parametrize("name", DIALECTS)
def test_a_dialect_is_the_same_molecule(name, tmp_path):
    dialect = DIALECTS[name]
    text = dialect.write(rows_of(built(dialect.of).pdb))
    topology, positions, notes = read(tmp_path / f"given{dialect.suffix}", text, **dialect.options)
    check_molecule(topology, dialect.of)
    said = [note for note in notes if not re.search(HARMLESS, note)]
    assert bool(said) == bool(dialect.notes), said
    assert all(re.search(dialect.notes, note) for note in said), said
    if not dialect.rebuilds:
        canonical = canonical_positions(dialect.of)
        heavy = [i for i, element in enumerate(built(dialect.of).atoms.elements) if element != "H"]
        assert np.abs(positions - canonical)[heavy].max() < 1e-5
        assert energy(dialect.of, positions) == pytest.approx(energy(dialect.of, canonical), abs=0.01)


@pytest.mark.parametrize("sequence", sorted({dialect.of for dialect in DIALECTS.values()}))
def test_what_is_written_is_read_back(sequence, tmp_path):
    topology, positions, notes = read(tmp_path / "again.pdb", built(sequence).pdb)
    check_molecule(topology, sequence)
    assert notes == built(sequence).notes
    assert np.abs(positions - canonical_positions(sequence)).max() < 1e-5


@pytest.mark.parametrize("name", MENDS)
def test_a_refused_file_is_mended_as_the_message_says(name, tmp_path):
    refusal = MENDS[name]
    text = refusal.write(rows_of(built(refusal.base or refusal.of).pdb))
    path = tmp_path / "given.pdb"
    path.write_text(text)
    with pytest.raises(ValueError, match=refusal.message) as caught:
        read_pdb(path)
    assert "\n" not in str(caught.value)
    assert "remove what is not" not in str(caught.value)
    topology, positions, _ = read(path, refusal.mend(text), **refusal.options)
    check_molecule(topology, refusal.of)
    assert np.isfinite(energy(refusal.of, positions))


def test_the_documentation_lists_them():
    assert len(DIALECTS) == len(NAMES) + len(FORMS)
    assert len(MENDS) == len(REFUSALS)
    assert len(DIALECTS) + len(MENDS) >= 60
    listed = re.findall(r"^\| ([^|]+?) \|", DOCS.read_text(), re.M)
    assert {*DIALECTS, *MENDS} == {*listed} - {"file", "---"}
