"""Files of chemists that were refused or changed without a word: what each must be."""

from __future__ import annotations

import io
import re
from functools import cache
from pathlib import Path

import numpy as np
import openmm
import pytest
from openmm.app import ForceField, Modeller, NoCutoff, PDBFile, PDBxFile, Topology

from timewarp.molecules import Molecule, build_molecule
from timewarp.molecules.pdb_reading import read_pdb
from timewarp.molecules.sequences import parse_sequence

STRUCTURES = Path(__file__).parent.parent / "structures"


def built(name: str) -> Molecule:
    return build_molecule(STRUCTURES / name, minimise=False)


def energy_of(system: openmm.System, positions) -> float:
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions)
    return context.getState(getEnergy=True).getPotentialEnergy()._value


def charge_of(molecule: Molecule) -> int:
    return round(sum(molecule.atoms.charges))


@cache
def force_field() -> ForceField:
    return ForceField("amber14-all.xml", "implicit/obc2.xml")


def openmm_energy(text: str, bonds: tuple[tuple[int, int], ...] = ()) -> float:
    """Of a file that OpenMM reads, with more bonds by atom number."""
    pdb = PDBFile(io.StringIO(text))
    atoms = list(pdb.topology.atoms())
    for i, j in bonds:
        pdb.topology.addBond(atoms[i], atoms[j])
    system = force_field().createSystem(pdb.topology, nonbondedMethod=NoCutoff)
    return energy_of(system, pdb.positions)


@pytest.mark.parametrize(
    ("file", "n_atoms", "charge", "energy"),
    [
        ("case03_amide.pdb", 22, 1, -434.509),
        ("case03b_nhe.pdb", 22, 1, -434.509),
        ("case04g_lyn.pdb", 44, 0, None),
        ("case06d_hisb_lysh.pdb", 92, 0, None),
        ("case06f_nile_cleu.pdb", 92, 0, None),
        ("case12a.cif", 38, 0, None),
        ("case13e_DPN.pdb", 53, 0, None),
        ("case16d_nma.pdb", 22, 0, None),
    ],
)
def test_a_file_is_read_as_it_is(file, n_atoms, charge, energy):
    molecule = built(file)
    assert (molecule.atoms.n_atoms, charge_of(molecule)) == (n_atoms, charge)
    assert not any("added" in note for note in molecule.notes)
    value = energy_of(molecule.system, molecule.start_positions.numpy())
    if energy is not None:
        assert value == pytest.approx(energy, abs=0.001)
    standard = molecule.pdb.replace("DPN", "PHE").replace("LYN", "LYS")  # OpenMM knows neither name
    assert value == pytest.approx(openmm_energy(standard), abs=0.02)
    given = (STRUCTURES / file).read_text()
    if file in ("case03_amide.pdb", "case04g_lyn.pdb"):  # OpenMM reads these too
        assert value == pytest.approx(openmm_energy(given.replace("LYN", "LYS")), abs=0.01)
    if file.endswith(".cif"):
        pdbx = PDBxFile(io.StringIO(given))
        system = force_field().createSystem(pdbx.topology, nonbondedMethod=NoCutoff)
        assert value == pytest.approx(energy_of(system, pdbx.positions), abs=0.01)


def test_names_of_two_programs_are_one_molecule():
    one, other = built("case06d_hisb_lysh.pdb"), built("case06f_nile_cleu.pdb")
    assert one.atoms == other.atoms
    assert one.atoms.residues == "ILE-HIS-LYS-ASP-LEU"
    energies = [energy_of(m.system, m.start_positions.numpy()) for m in (one, other)]
    assert energies[0] == pytest.approx(energies[1], abs=0.01)


def test_d_names_are_kept_and_are_no_surprise():
    molecule = built("case13e_DPN.pdb")
    assert molecule.atoms.residues == "ALA-DPN-ALA-ALA"
    assert molecule.notes == ()


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("case04f_lys_hz23.pdb", r"LYS 2 has 2 hydrogens on NZ \(HZ2, HZ3\), .*charge 0.*charge \+1"),
        ("case04k_nterm_nh2.pdb", r"N of ALA 1 has 2 hydrogens, .*charge 0.*charge \+1.*: remove H, H2"),
        ("case04l_cooh_hxt.pdb", r"HXT of ALA 3 .*charge 0.*charge -1.*: remove HXT"),
        (
            "case05f_cyx_open.pdb",
            r"CYX 2 is named as the cysteine of a disulphide .* CYSH .*the sequence (\S+) is built",
        ),
        ("case05g_cyx_open_conect.pdb", r"SG of CYX 2 and SG of CYX 5, which are 1.32 nm apart.*the sequence (\S+) is"),
        ("case07a_nmr3.pdb", r"holds 3 models; expected one: choose it by its number \(1, 2, 3\)"),
        ("case10c_sep.pdb", r"OG of SEP 2 and O1P of SEP 2 are 0.054 nm apart"),
        ("case10d_DAL.pdb", r"DAL 2 is D-alanine by its name, but its CA has the L form; rename it ALA"),
        ("case11f_two_copies.pdb", r"2 molecules, parted by TER records \(ACE 1 to NME 4, ACE 1 to NME 4; .*line 40\)"),
    ],
)
def test_a_refusal_names_what_it_means(file, message):
    with pytest.raises(ValueError, match=message) as caught:
        built(file)
    assert "remove what is not the peptide" not in str(caught.value)
    if sequence := re.search(r"the sequence (\S+) is built", str(caught.value)):
        assert parse_sequence(sequence[1]).disulphides == ((2, 5),)


def test_thiols_are_what_the_file_says_when_it_says_so(tmp_path):
    given = tmp_path / "thiols.pdb"
    given.write_text((STRUCTURES / "case05f_cyx_open.pdb").read_text().replace("CYX A", "CYSHA"))
    molecule = build_molecule(given, minimise=False)
    assert molecule.atoms.n_atoms == 59
    assert "added 2 hydrogens (pH 7)" in molecule.notes


def test_hydroxyproline_is_completed():
    molecule = built("case10d_HYP.pdb")
    assert molecule.atoms.residues == "ALA-HYP-ALA"
    assert "added missing atoms CG, CD, OD1 of HYP 2" in molecule.notes
    assert charge_of(molecule) == 0


def test_a_phosphate_is_completed(tmp_path):
    lines = (STRUCTURES / "case10c_sep.pdb").read_text().splitlines(keepends=True)
    given = tmp_path / "sep.pdb"
    given.write_text("".join(line for line in lines if line[12:16].strip() not in ("P", "O1P", "O2P", "O3P")))
    topology, _, notes = read_pdb(given)
    assert [residue.name for residue in topology.residues()] == ["ALA", "SEP", "ALA"]
    assert "added missing atoms P, O1P, O2P, O3P of SEP 2" in notes
    assert topology.getNumAtoms() == 37


@pytest.mark.parametrize("model", [1, 2, 3])
def test_a_model_is_chosen(model):
    topology, positions, notes = read_pdb(STRUCTURES / "case07a_nmr3.pdb", model=model)
    text = (STRUCTURES / "case07a_nmr3.pdb").read_text().split("ENDMDL")[model - 1]
    first = next(line for line in text.splitlines() if line.startswith("ATOM"))
    assert positions[0] * 10 == pytest.approx([float(first[at : at + 8]) for at in (30, 38, 46)], abs=1e-3)
    assert (topology.getNumAtoms(), notes) == (138, ())


def test_a_model_that_is_not_there_is_said():
    with pytest.raises(ValueError, match=r"has no model 7, the models 1, 2, 3; choose one as case07a_nmr3.pdb#1"):
        read_pdb(STRUCTURES / "case07a_nmr3.pdb", model=7)
    with pytest.raises(ValueError, match=r"has no model 2, only model 1"):
        read_pdb(STRUCTURES / "case03_amide.pdb", model=2)
    with pytest.raises(ValueError, match=r"has no alternate locations, but altloc is 'A'; leave it out"):
        read_pdb(STRUCTURES / "case03_amide.pdb", altloc="A")


def doubled(text: str, number: str, marks: str) -> str:
    """The atoms of a residue in several places, marked; the places after the first are moved by 0.3 angstrom."""
    lines = []
    for line in text.splitlines(keepends=True):
        if line.startswith("ATOM") and line[22:26].strip() == number:
            for i, mark in enumerate(marks):
                x = float(line[30:38]) + 0.3 * i
                lines.append(f"{line[:16]}{mark}{line[17:30]}{x:8.3f}{line[38:56]}{0.6 - 0.1 * i:4.2f}{line[60:]}")
        elif not line.startswith("CONECT"):
            lines.append(line)
    return "".join(lines)


def test_alternate_locations_of_other_letters(tmp_path):
    given = tmp_path / "given.pdb"
    plain = build_molecule("AVKG", minimise=False).pdb
    given.write_text(doubled(doubled(plain, "2", "AB"), "3", "BC"))
    with pytest.raises(ValueError, match=r"'A' and 'B' of atom N of VAL 2 .*--altloc A"):
        read_pdb(given)
    with pytest.raises(ValueError, match=r"has no alternate location 'D', only A, B, C; choose one of them"):
        read_pdb(given, altloc="D")
    *_, notes = read_pdb(given, altloc="A")
    assert notes == ("LYS 3 has no alternate location A: took B", "took alternate location A of A, B, C")
    given.write_text(doubled(plain, "2", " A"))  # an unmarked place and another
    with pytest.raises(ValueError, match=r"alternate locations 'A' of atom N of VAL 2"):
        read_pdb(given)
    *_, notes = read_pdb(given, altloc="A")
    assert notes == ("took alternate location A of A",)


def test_models_of_one_number_are_counted(tmp_path):
    given = tmp_path / "given.pdb"
    whole = "".join(line + "\n" for line in build_molecule("AG", minimise=False).pdb.splitlines() if "ATOM" in line)
    given.write_text(f"MODEL        1\n{whole}ENDMDL\n" * 2)
    with pytest.raises(ValueError, match=r"holds 2 models; .*\(1, 2\), such as given.pdb#1"):
        read_pdb(given)
    assert read_pdb(given, model=2)[0].getNumAtoms() == 20


@pytest.mark.parametrize("name", ["HIS1", "TYO", "AIB", "PCA", "FOR", "QQQ"])
def test_no_residue_of_the_peptide_is_asked_to_go(name, tmp_path):
    given = tmp_path / "given.pdb"
    lines = build_molecule("AVG", minimise=False).pdb.splitlines(keepends=True)
    given.write_text("".join(f"{line[:17]}{name:<4}{line[21:]}" if " VAL " in line else line for line in lines))
    with pytest.raises(ValueError, match=rf"{name} 2 .*is part of the peptide, .*prmtop .*OpenMM System") as caught:
        read_pdb(given)
    assert not re.search(r"delete|remove what", str(caught.value))


def without_conect(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("CONECT"))


LINK = "LINK         C   LEU A   6                 N   ALA A   1     1555   1555  1.33\n"


@pytest.mark.parametrize("how", ["conect", "link", "distance"])
def test_a_head_to_tail_ring_is_read_and_named(how, tmp_path):
    text = (STRUCTURES / "case15a_cyclic.pdb").read_text()
    given = tmp_path / "ring.pdb"
    given.write_text({"conect": text, "link": LINK + without_conect(text), "distance": without_conect(text)}[how])
    molecule = build_molecule(given, minimise=False)
    assert molecule.notes[0] == "closed head to tail: LEU 6 is bonded to ALA 1"
    assert (molecule.atoms.n_atoms, charge_of(molecule)) == (73, 0)
    names = list(zip(molecule.atoms.names, molecule.atoms.residue_numbers, strict=True))
    c, n = names.index(("C", 6)), names.index(("N", 1))
    assert (min(c, n), max(c, n)) in molecule.atoms.bonds
    value = energy_of(molecule.system, molecule.start_positions.numpy())
    assert value == pytest.approx(openmm_energy(without_conect(text), ((58, 0),)), abs=0.01)
    again = tmp_path / "again.pdb"
    again.write_text(molecule.pdb)
    assert build_molecule(again, minimise=False).atoms == molecule.atoms


def test_a_ring_without_hydrogens_gets_those_of_a_ring(tmp_path):
    text = (STRUCTURES / "case15a_cyclic.pdb").read_text()
    given = tmp_path / "ring.pdb"
    given.write_text("".join(line for line in text.splitlines(keepends=True) if line[76:78].strip() != "H"))
    assert build_molecule(given, minimise=False).atoms == built("case15a_cyclic.pdb").atoms


@pytest.mark.parametrize("file", ["ring_02.pdb", "disulphide_ring.pdb"])
def test_a_disulphide_ring_is_read_and_named(file):
    molecule = built(file)
    assert any(re.match(r"disulphide bond between CYS \d and CYS \d", note) for note in molecule.notes)
    text = (STRUCTURES / file).read_text()
    value = energy_of(molecule.system, molecule.start_positions.numpy())
    assert value == pytest.approx(openmm_energy(text), abs=0.01)


def test_a_cross_link_is_refused_by_name(tmp_path):
    """The side chain of lysine bonded to that of aspartate, as a file of a lactam has it."""
    lines = without_conect(build_molecule("AKDA", minimise=False).pdb).splitlines(keepends=True)
    nz = next(line for line in lines if line[12:16].strip() == "NZ")
    cg = next(line for line in lines if line[12:20] == " CG  ASP")
    near = f"{float(cg[30:38]) + 1.33:8.3f}{cg[38:54]}"
    text = "".join(line[:30] + near + line[54:] if line is nz else line for line in lines)
    given = tmp_path / "lactam.pdb"
    given.write_text(text.replace("END\n", f"CONECT{nz[6:11]}{cg[6:11]}\nEND\n"))
    with pytest.raises(ValueError, match=r"NZ of LYS 2 and CG of ASP 3 are bonded \(CONECT\), a link .* prmtop"):
        build_molecule(given)


def test_a_charge_that_is_taken_is_said(tmp_path):
    """One residue and one end without their hydrogens, among others that have them."""
    lines = build_molecule("AKG", minimise=False).pdb.splitlines(keepends=True)
    bare = [line for line in lines if line[12:26].strip()[:1] != "H" or line[22:26] != "   2"]
    given = tmp_path / "bare.pdb"
    given.write_text("".join(line for line in bare if line[12:16] not in (" H2 ", " H3 ") and line[:6] != "CONECT"))
    *_, notes = read_pdb(given)
    assert notes == (
        "N of ALA 1 had 1 hydrogen: added 2, the charged amine (charge +1, not 0)",
        "NZ of LYS 2 had no hydrogen: added 3, the form of charge +1 (not 0)",
        "added 15 hydrogens (pH 7)",
    )


def test_a_chain_without_hydrogens_is_what_openmm_makes_of_it(tmp_path):
    """The states that pH 7 gives, from OpenMM's own Modeller."""
    molecule = build_molecule("AKDERYCG", minimise=False)
    text = "".join(
        line + "\n" for line in molecule.pdb.splitlines() if line[76:78].strip() != "H" and "CONECT" not in line
    )
    pdb = PDBFile(io.StringIO(text))
    modeller = Modeller(pdb.topology, pdb.positions)
    modeller.addHydrogens(pH=7.0)
    given = tmp_path / "bare.pdb"
    given.write_text(text)
    topology, positions, _ = read_pdb(given)
    assert _composition(topology) == _composition(modeller.topology)
    assert np.isfinite(positions).all()


def _composition(topology: Topology) -> list[tuple[str, list[str]]]:
    return [(residue.name, sorted(atom.name for atom in residue.atoms())) for residue in topology.residues()]
