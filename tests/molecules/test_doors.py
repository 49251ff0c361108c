"""Molecules with a force field of their own: the energies are those of OpenMM reading the same files."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import door_systems as made
import numpy as np
import openmm
import parmed
import pytest
import torch
from openmm import app, unit

from timewarp.analysis import named_torsions, ring_torsions
from timewarp.energies import Potential, compile_system
from timewarp.molecules import Files, Kind, build_molecule, kind_of
from timewarp.molecules.doors.kinds import split_model
from timewarp.molecules.doors.system_xml import read_system

MODELS = {"hct": app.HCT, "obc1": app.OBC1, "obc2": app.OBC2, "gbn": app.GBn, "gbn2": app.GBn2}
BARE = {"constraints": None, "rigidWater": False, "removeCMMotion": False}
AMBER, GROMACS, CHARMM, XML = ("prmtop", "rst7"), ("top", "gro"), ("psf", "prm", "crd"), ("xml", "pdb")
CASES = {
    "prmtop, capped": (lambda: made.peptide("Ace-AK-Nme"), AMBER, "none"),
    "prmtop, hct": (lambda: made.peptide("Ace-AK-Nme"), AMBER, "hct"),
    "prmtop, obc1": (lambda: made.peptide("Ace-AK-Nme"), AMBER, "obc1"),
    "prmtop, obc2": (lambda: made.peptide("Ace-AK-Nme"), AMBER, "obc2"),
    "prmtop, gbn": (lambda: made.peptide("Ace-AK-Nme"), AMBER, "gbn"),
    "prmtop, gbn2": (lambda: made.peptide("Ace-AK-Nme"), AMBER, "gbn2"),
    "prmtop, zwitterion": (lambda: made.peptide("KVE"), AMBER, "obc2"),
    "prmtop, rings of side chains": (lambda: made.peptide("WHP"), AMBER, "obc2"),
    "prmtop, ff99SB-ILDN": (lambda: made.peptide("DNI", made.AMBER99), AMBER, "obc1"),
    "prmtop, ring": (made.ring, AMBER, "obc2"),
    "prmtop, ligand": (made.ligand, AMBER, "obc2"),
    "prmtop, chloride": (made.halide, AMBER, "obc2"),
    "prmtop, RNA": (made.dinucleotide, AMBER, "obc2"),
    "top, capped": (lambda: made.peptide("Ace-AK-Nme"), GROMACS, "none"),
    "top, obc1": (lambda: made.peptide("MRS", made.AMBER99), GROMACS, "obc1"),
    "top, gbn2": (lambda: made.peptide("KVE"), GROMACS, "gbn2"),
    "top, RNA": (lambda: made.dinucleotide("G", "U"), GROMACS, "obc2"),
    "top, fluoride": (lambda: made.halide("F"), GROMACS, "obc2"),
    "psf, capped": (lambda: made.peptide("Ace-AK-Nme"), CHARMM, "none"),
    "psf, obc2": (lambda: made.peptide("CTY"), CHARMM, "obc2"),
    "psf, gbn2": (lambda: made.peptide("Ace-AK-Nme"), CHARMM, "gbn2"),
    "xml, capped": (lambda: made.peptide("Ace-AK-Nme"), XML, None),
    "xml, DNA": (lambda: made.dinucleotide("DA", "DT"), XML, None),
    "xml, ligand": (lambda: made.ligand("Ace-W-Nme"), XML, None),
}


def openmm_reads(path: Path, solvent: str | None) -> openmm.System:
    """The system that OpenMM makes of the same files, written out here without the code under test."""
    model = MODELS.get(solvent or "none")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if path.suffix == ".prmtop":
            return app.AmberPrmtopFile(str(path)).createSystem(implicitSolvent=model, **BARE)
        if path.suffix == ".psf":
            parameters = app.CharmmParameterSet(str(path.with_suffix(".prm")))
            return app.CharmmPsfFile(str(path)).createSystem(parameters, implicitSolvent=model, **BARE)
        if path.suffix == ".xml":
            return openmm.XmlSerializer.deserialize(path.read_text())
        top = app.GromacsTopFile(str(path))
        system = top.createSystem(rigidWater=False, removeCMMotion=False)
        if model is not None:
            kind = getattr(app.internal.customgbforces, f"GBSA{model}Force")
            force = kind(SA="ACE")
            charges = [system.getForce(i) for i in range(system.getNumForces())]
            (nonbonded,) = [f for f in charges if isinstance(f, openmm.NonbondedForce)]
            for i, row in enumerate(kind.getStandardParameters(top.topology)):
                force.addParticle([nonbonded.getParticleParameters(i)[0], *row])
            force.finalize()
            system.addForce(force)
        return system


@pytest.mark.parametrize("case", CASES)
def test_energies_are_those_of_openmm_reading_the_same_files(case: str, tmp_path: Path) -> None:
    make, suffixes, solvent = CASES[case]
    path = make().save(tmp_path, *suffixes)
    molecule = build_molecule(path, files=Files(solvent=solvent), minimise=False)
    noise = torch.randn(3, *molecule.start_positions.shape, generator=torch.Generator().manual_seed(1))
    positions = molecule.start_positions + 0.005 * noise.double()
    energies = Potential(compile_system(molecule.system), dtype=torch.float64).energy(positions)
    reference = openmm_reads(path, solvent)
    expected = [made.reference_energy(reference, x.numpy()) for x in positions]
    assert np.allclose(energies.numpy(), expected, atol=0.01, rtol=0)
    assert len(set(np.round(expected, 1))) == 3  # the configurations differ, so that a constant would not pass


def test_a_prmtop_of_a_peptide_is_the_sequence_under_the_same_force_field(tmp_path: Path) -> None:
    path = made.peptide("Ace-AK-Nme").save(tmp_path, *AMBER)
    door = build_molecule(path, files=Files(solvent="obc2"), minimise=False)
    built = build_molecule("Ace-AK-Nme", minimise=False)
    assert door.atoms.residues == built.atoms.residues == "ACE-ALA-LYS-NME"
    assert door.atoms.residue_numbers == built.atoms.residue_numbers
    assert set(named_torsions(door.atoms)) == set(named_torsions(built.atoms))
    x = built.start_positions[None]
    one, other = (Potential(compile_system(m.system), dtype=torch.float64).energy(x) for m in (door, built))
    assert float((one - other).abs()) < 0.01


# --- what is taken for granted, undone, and said ---------------------------------------------------------------------


def test_what_was_not_said_is_said(tmp_path: Path) -> None:
    path = made.peptide("Ace-AK-Nme").save(tmp_path, *GROMACS)
    molecule = build_molecule(path, minimise=False)
    assert molecule.preset.name == "top-obc2"
    notes = "; ".join(molecule.notes)
    assert "no solvent was named: took implicit water obc2" in notes
    assert "coordinates: mol.gro, found beside mol.top" in notes
    assert "no solvent" not in "; ".join(build_molecule(path, files=Files(solvent="none"), minimise=False).notes)


def test_radii_of_another_solvent_are_kept_and_said(tmp_path: Path) -> None:
    path = made.peptide("KVE").save(tmp_path, *AMBER, radii="bondi")
    notes = "; ".join(build_molecule(path, files=Files(solvent="obc2"), minimise=False).notes)
    assert "are not mbondi2, with which obc2 was made" in notes
    assert "radii" not in "; ".join(build_molecule(path, files=Files(solvent="gbn"), minimise=False).notes)


def test_constraints_and_moved_masses_are_undone(tmp_path: Path) -> None:
    peptide = made.peptide("Ace-A-Nme")
    system = made.create(
        peptide.topology,
        made.AMBER14,
        constraints=app.HBonds,
        flexibleConstraints=True,
        hydrogenMass=3 * unit.dalton,
        removeCMMotion=True,
    )
    changed = made.Made(peptide.topology, system, peptide.positions)
    molecule = build_molecule(changed.save(tmp_path, *XML), minimise=False)
    assert molecule.system.getNumConstraints() == 0
    notes = "; ".join(molecule.notes)
    assert "undid 12 constraints" in notes
    assert "the mass that 12 hydrogens carried" in notes
    usual = build_molecule(peptide.save(tmp_path, *XML, name="usual"), minimise=False)
    assert np.allclose(molecule.atoms.masses, usual.atoms.masses, atol=1e-3)
    assert (
        abs(
            made.reference_energy(molecule.system, peptide.positions)
            - made.reference_energy(usual.system, peptide.positions)
        )
        < 1e-6
    )


def test_constraints_that_replaced_their_bonds_are_refused(tmp_path: Path) -> None:
    peptide = made.peptide("Ace-A-Nme")
    system = made.create(peptide.topology, made.AMBER14, constraints=app.HBonds)
    path = made.Made(peptide.topology, system, peptide.positions).save(tmp_path, *XML)
    with pytest.raises(ValueError, match="cannot be undone: make it with constraints=None"):
        build_molecule(path)


def test_the_bonds_of_a_system_do_not_hang_on_conect_records(tmp_path: Path) -> None:
    path = made.ligand().save(tmp_path, *XML)
    lines = path.with_suffix(".pdb").read_text().splitlines()
    path.with_suffix(".pdb").write_text("\n".join(line for line in lines if not line.startswith("CONECT")))
    molecule = build_molecule(path, minimise=False)
    assert len(molecule.atoms.bonds) == made.ligand().topology.getNumBonds()


def test_a_ring_of_residues_is_named_and_has_all_its_torsions(tmp_path: Path) -> None:
    molecule = build_molecule(made.ring().save(tmp_path, *AMBER))
    assert "ring: C of GLY 6 is bonded to N of ALA 1, head to tail" in molecule.notes
    names = named_torsions(molecule.atoms)
    assert {f"{kind}_{n}" for kind in ("phi", "psi", "omega") for n in range(1, 7)} == set(names)
    closing = [molecule.atoms.names[i] for i in names["omega_6"]]
    assert closing == ["CA", "C", "N", "CA"]
    assert molecule.atoms.residue_numbers[names["omega_6"][2]] == 1
    assert set(ring_torsions(molecule.atoms)) == set(names)
    assert len(molecule.atoms.peptide_bonds) == 6


# --- molecules without amino acids -----------------------------------------------------------------------------------


def test_torsions_of_a_ligand_do_not_pretend_to_be_of_a_peptide(tmp_path: Path) -> None:
    atoms = build_molecule(made.ligand().save(tmp_path, *AMBER), minimise=False).atoms
    names = named_torsions(atoms)
    assert names
    assert not [name for name in names if name.split("_")[0] in ("phi", "psi", "omega", "chi1")]
    assert all(name == "-".join(atoms.names[i] for i in row) for name, row in names.items())
    assert atoms.n_amino_acids == 0
    peptide = build_molecule("Ace-F-Nme", minimise=False).atoms
    assert {frozenset(row[1:3]) for row in names.values()} == {
        frozenset(row[1:3]) for row in named_torsions(peptide).values()
    }
    assert torch.equal(atoms.stereocentres, peptide.stereocentres)
    bonds = {frozenset(row[1:3]) for row in peptide.peptide_bonds.tolist()}
    assert {frozenset(row[1:3]) for row in atoms.peptide_bonds.tolist()} == bonds


def test_torsions_of_nucleotides_carry_their_residue(tmp_path: Path) -> None:
    atoms = build_molecule(made.dinucleotide().save(tmp_path, *GROMACS), minimise=False).atoms
    names = named_torsions(atoms)
    assert {"C4'-C3'-O3'-P_1", "C3'-O3'-P-O5'_1", "O3'-P-O5'-C5'_2", "O4'-C1'-N9-C8_1"} <= names.keys()
    assert not len(atoms.peptide_bonds)


@pytest.mark.parametrize("sequence", ["ACDEFGHIK", "LMNPQRSTV", "Ace-WYG-Nme"])
def test_peptides_have_no_torsions_beside_the_named_ones(sequence: str) -> None:
    atoms = build_molecule(sequence, minimise=False).atoms
    assert not [name for name in named_torsions(atoms) if "-" in name]
    assert [tuple(row) for row in atoms.peptide_bonds.tolist()] == list(atoms.main_chain_bonds)


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.fixture
def amber(tmp_path: Path) -> Path:
    return made.peptide("Ace-A-Nme").save(tmp_path, *AMBER)


def refused(path: Path, match: str, **files: object) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=match) as caught:
        build_molecule(path, files=Files(**files))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_companions_that_are_missing_ambiguous_or_of_another_molecule(amber: Path, tmp_path: Path) -> None:
    other = made.peptide("KVE").save(tmp_path, "rst7", name="other")
    refused(amber, "has 22 atoms, and .*other.rst7 has 56", coordinates=other)
    made.peptide("Ace-A-Nme").save(tmp_path, "gro", "inpcrd" if False else "pdb")
    refused(amber, "several files beside it that may hold its coordinates: mol.rst7, mol.pdb")
    build_molecule(amber, files=Files(coordinates=tmp_path / "mol.gro"), minimise=False)
    refused(amber, "there is no file .*gone.rst7", coordinates=tmp_path / "gone.rst7")
    for suffix in ("rst7", "pdb"):
        (tmp_path / f"mol.{suffix}").unlink()
    refused(amber, "has no coordinates beside it .*give the file as `coordinates`")
    refused(tmp_path / "mol.gro", "holds coordinates, and no force field")


def test_coordinates_in_another_order_are_refused(amber: Path, tmp_path: Path) -> None:
    swapped = made.peptide("Ace-A-Nme").positions.copy()
    swapped[[1, 8]] = swapped[[8, 1]]
    peptide = made.peptide("Ace-A-Nme")
    other = made.Made(peptide.topology, peptide.system, swapped).save(tmp_path, "rst7", name="swapped")
    refused(amber, "the bonded atoms .* nm apart; the coordinates are of another molecule", coordinates=other)


def test_damaged_files(amber: Path, tmp_path: Path) -> None:
    text = amber.read_text()
    cut = tmp_path / "cut.prmtop"
    cut.write_text(text[: len(text) // 2])
    refused(cut, "cut.prmtop cannot be read as AMBER prmtop", coordinates=tmp_path / "mol.rst7")
    short = tmp_path / "short.rst7"
    short.write_text("\n".join((tmp_path / "mol.rst7").read_text().splitlines()[:-3]))
    refused(amber, "short.rst7 cannot be read as coordinates", coordinates=short)
    binary = tmp_path / "binary.rst7"
    binary.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    refused(amber, "NetCDF's version 4 .*cpptraj", coordinates=binary)
    (tmp_path / "empty.prmtop").write_text("")
    refused(tmp_path / "empty.prmtop", "is empty")


def test_netcdf_restart_and_velocities_are_read(amber: Path, tmp_path: Path) -> None:
    parm = parmed.load_file(str(amber), str(tmp_path / "mol.rst7"))
    restart = parmed.amber.NetCDFRestart.open_new(str(tmp_path / "other.ncrst"), 22, False, True, False)
    restart.coordinates = parm.coordinates
    restart.velocities = np.zeros((22, 3))
    restart.close()
    molecule = build_molecule(amber, files=Files(coordinates=tmp_path / "other.ncrst"), minimise=False)
    assert np.allclose(molecule.start_positions, parm.coordinates / 10, atol=1e-4)
    assert "the velocities of other.ncrst are left out" in molecule.notes


def test_water_is_refused_and_the_advice_works(amber: Path, tmp_path: Path) -> None:
    peptide = made.peptide("Ace-A-Nme")
    modeller = app.Modeller(peptide.topology, peptide.positions * unit.nanometer)
    field = app.ForceField("amber14-all.xml", "amber14/tip3p.xml")
    modeller.addSolvent(field, boxSize=openmm.Vec3(2, 2, 2), neutralize=False)
    system = field.createSystem(
        modeller.topology, constraints=None, rigidWater=False, nonbondedMethod=app.PME, nonbondedCutoff=0.8
    )
    structure = parmed.openmm.load_topology(modeller.topology, system, modeller.positions)
    structure.save(str(tmp_path / "wet.prmtop"))
    structure.save(str(tmp_path / "wet.rst7"))
    refused(tmp_path / "wet.prmtop", "periodic box.*`strip :WAT,Na.,Cl- nobox`")
    parm = parmed.load_file(str(tmp_path / "wet.prmtop"), str(tmp_path / "wet.rst7"))
    parmed.tools.strip(parm, ":WAT,HOH,Na+,Cl-", "nobox").execute()
    parmed.tools.changeRadii(parm, "mbondi2").execute()
    parmed.tools.outparm(parm, str(tmp_path / "dry.prmtop"), str(tmp_path / "dry.rst7")).execute()
    assert build_molecule(tmp_path / "dry.prmtop", minimise=False).atoms.n_atoms == 22
    structure.box = None
    structure.save(str(tmp_path / "wet.top"))
    structure.save(str(tmp_path / "wet.gro"))
    refused(tmp_path / "wet.top", "explicit water or ions .*delete their lines under . molecules .")


def test_two_molecules_are_refused(tmp_path: Path) -> None:
    peptide = made.peptide("Ace-A-Nme")
    two = peptide.structure() * 2
    two.coordinates = np.concatenate([10 * peptide.positions, 10 * peptide.positions + 30])
    two.save(str(tmp_path / "two.top"))
    two.save(str(tmp_path / "two.gro"))
    refused(tmp_path / "two.top", "holds 2 molecules .*ACE-ALA-NME of 22 atoms")


def test_includes_are_looked_up_where_they_are_said_to_be(tmp_path: Path) -> None:
    path = made.peptide("Ace-A-Nme").save(tmp_path, *GROMACS)
    text = path.read_text()
    start = text.index("[ moleculetype ]")
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "types.itp").write_text(text[:start])
    path.write_text('#include "types.itp"\n' + text[start:])
    refused(path, "Could not locate #include file: types.itp; give the folder that it lies in as `include`")
    one = build_molecule(path, files=Files(include=(tmp_path, tmp_path / "parts"), solvent="none"), minimise=False)
    assert one.atoms.n_atoms == 22
    path.write_text('#include "mol.top"\n' + text)
    refused(path, "includes itself")


def test_missing_charmm_parameters(tmp_path: Path) -> None:
    path = made.peptide("Ace-A-Nme").save(tmp_path, "psf", "crd")
    refused(path, "has no parameters beside it .*give those of its force field as `parameters`")
    (tmp_path / "few.prm").write_text("* none\n*\nBONDS\n\nEND\n")
    refused(path, "psf with the parameters of few.prm", parameters=(tmp_path / "few.prm",))


def test_settings_that_mean_nothing_are_refused(amber: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`parameters` means nothing for a prmtop"):
        build_molecule(amber, files=Files(parameters=(tmp_path / "x.prm",)))
    with pytest.raises(ValueError, match="`coordinates` means nothing for a sequence"):
        build_molecule("AG", files=Files(coordinates=tmp_path / "mol.rst7"))
    with pytest.raises(ValueError, match="brings its own force field"):
        build_molecule(amber, "amber14-vacuum")


# --- XML of unknown origin -------------------------------------------------------------------------------------------


def test_a_system_that_holds_code_is_not_read(tmp_path: Path) -> None:
    system = openmm.System()
    for _ in range(4):
        system.addParticle(1.0)
    system.addForce(openmm.PythonForce(_leave_a_trace))
    os.environ["TIMEWARP_TRACE"] = str(tmp_path / "trace")
    path = tmp_path / "code.xml"
    path.write_text(openmm.XmlSerializer.serialize(system))
    with pytest.raises(ValueError, match="holds a PythonForce, which is not read"):
        read_system(path)
    text = path.read_text().replace('type="PythonForce"', 'type="PythonForce" hidden="1"')
    path.write_text(text)
    with pytest.raises(ValueError, match="PythonForce"):
        read_system(path)


def _leave_a_trace(state: object) -> tuple[float, np.ndarray]:
    return 0.0, np.zeros((4, 3))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("<ForceField/>", "holds a force field: give it with a sequence"),
        ('<State type="State" version="1"/>', "holds a State; expected a System"),
        ('<System type="System" version="1"><Forces>', "is not whole XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><System/>', "declares a document type"),
        ('<System type="System" version="999"/>', "cannot be read as a System"),
    ],
)
def test_xml_that_is_no_system(text: str, match: str, tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(ValueError, match=match):
        read_system(tmp_path / "a.xml")


def test_what_is_meant_is_told_by_name_and_content(tmp_path: Path) -> None:
    path = made.peptide("Ace-A-Nme").save(tmp_path, "prmtop")
    named = tmp_path / "amber.top"
    named.write_text(path.read_text())
    assert kind_of(named) is Kind.AMBER  # tleap's users call it so
    assert kind_of("AG") is Kind.SEQUENCE
    assert kind_of("a.pdb#2") is Kind.PDB
    assert kind_of("a.cif") is Kind.CIF
    assert kind_of(tmp_path / "nothing.gro") is Kind.COORDINATES
    assert split_model("my#1.pdb#12") == (Path("my#1.pdb"), 12)
