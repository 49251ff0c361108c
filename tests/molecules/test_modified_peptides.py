"""Residues beyond the twenty, D forms, caps and rings: geometry, charges, energies, and the force fields of each."""

import math
from functools import cache
from pathlib import Path

import numpy as np
import openmm
import pytest
import torch
from openmm import app, unit

from timewarp.geometry import dihedrals, signed_volumes
from timewarp.molecules import PRESETS, Molecule, build_molecule
from timewarp.molecules.force_fields import DATA, create_reference_system, create_system, load_force_field
from timewarp.molecules.residues import RESIDUES, find_residue, states_of
from timewarp.state import Atoms

LEAP = Path(__file__).parent / "leap"
AMBER = Path(app.__file__).parent / "data"


@cache
def built(name: str, preset: str = "amber14-obc2") -> Molecule:
    return build_molecule(name, preset, minimise=False)


def energies(system: openmm.System, positions) -> dict[str, float]:
    for group, force in enumerate(system.getForces()):
        force.setForceGroup(group)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(positions)
    return {
        force.getName(): context.getState(getEnergy=True, groups={group}).getPotentialEnergy()._value
        for group, force in enumerate(system.getForces())
    }


def test_the_table_has_the_atoms_and_charges_of_the_force_field():
    templates = load_force_field(("amber14/protein.ff14SB.xml", "timewarp:phosaa14SB.xml"))._templates
    own_names = {"Y1P": {"OG": "OH"}, "ACE": {"HH31": "H1", "HH32": "H2", "HH33": "H3"}}
    own_names["LYN"] = {"HZ3": "HZ1"}
    own_names["NME"] = {"CH3": "C"} | own_names["ACE"]
    for name, residue in RESIDUES.items():
        template = templates.get(name)
        if template is None:
            assert residue.handedness == "D"
            continue
        names = own_names.get(name, {})
        assert {names.get(atom.name, atom.name) for atom in template.atoms} == set(residue.atoms), name
        charge = sum(atom.parameters["charge"] for atom in template.atoms)
        assert charge == pytest.approx(residue.charge, abs=1e-4), name
    assert {residue.name for residue in states_of("HIS")} == {"HIE", "HID", "HIP"}
    assert [find_residue(name).name for name in ("NILE", "HISB", "NMA", "NH2")] == ["ILE", "HIE", "NME", "NHE"]


@pytest.mark.parametrize(
    ("name", "labels", "charge", "n_atoms"),
    [
        ("AG-NH2", "ALA-GLY-NH2", 1, 22),
        ("Ace-[HID]-Nme", "ACE-HIS-NME", 0, 29),
        ("Ace-[HIP]-Nme", "ACE-HIS-NME", 1, 30),
        ("Ace-[ASH]-Nme", "ACE-ASP-NME", 0, 25),
        ("Ace-[GLH]-Nme", "ACE-GLU-NME", 0, 28),
        ("Ace-[LYN]-Nme", "ACE-LYN-NME", 0, 33),
        ("Ace-[CYM]-Nme", "ACE-CYM-NME", -1, 22),
        ("Ace-[HYP]-NH2", "ACE-HYP-NH2", 0, 24),
        ("Ace-[SEP]-Nme", "ACE-SEP-NME", -2, 26),
        ("Ace-[T1P]-Nme", "ACE-T1P-NME", -1, 30),
        ("Ace-[PTR]-Nme", "ACE-PTR-NME", -2, 36),
        ("Ace-[H2D]-Nme", "ACE-H2D-NME", -1, 33),
        ("Ace-k[hip]-Nme", "ACE-DLY-DHI-NME", 2, 52),
    ],
)
def test_what_is_built(name, labels, charge, n_atoms):
    molecule = built(name)
    atoms = molecule.atoms
    assert (molecule.name, atoms.residues, atoms.n_atoms) == (name, labels, n_atoms)
    assert sum(atoms.charges) == pytest.approx(charge, abs=1e-4)
    weights = {"H": 1.008, "C": 12.01, "N": 14.01, "O": 16.0, "P": 30.97, "S": 32.06}
    assert sum(atoms.masses) == pytest.approx(sum(weights[element] for element in atoms.elements), abs=0.02)
    separation = torch.cdist(molecule.start_positions, molecule.start_positions)
    bonded = atoms.adjacency.float()
    near = (bonded + bonded @ bonded > 0) | torch.eye(atoms.n_atoms, dtype=torch.bool)
    assert separation[~near].min() > 0.15
    assert separation[bonded > 0].max() < 0.19


def test_an_amidated_dipeptide_has_openmms_energy():
    """case03_amide.pdb under ForceField("amber14-all.xml", "implicit/obc2.xml"): -434.509 kJ/mol."""
    molecule = build_molecule(Path(__file__).parents[1] / "structures" / "case03_amide.pdb", minimise=False)
    energy = sum(energies(molecule.system, molecule.start_positions.numpy()).values())
    assert energy == pytest.approx(-434.509, abs=0.002)
    assert molecule.atoms == built("AG-NH2").atoms


@pytest.mark.parametrize("name", ["Ace-[HYP]-Nme", "A[LYN]A", "G[CYM]G", "AG-NH2", "A[HIP][GLH]A", "CAAC:1-4"])
def test_energies_are_those_of_openmm_reading_the_same_atoms(name):
    molecule = built(name)
    topology = app.PDBFile(_as_file(molecule.pdb)).topology
    force_field = app.ForceField("amber14-all.xml", "implicit/obc2.xml")
    expected = energies(force_field.createSystem(topology), molecule.start_positions.numpy())
    mine = energies(molecule.system, molecule.start_positions.numpy())
    assert sum(mine.values()) == pytest.approx(sum(expected.values()), abs=0.001)


def _as_file(text: str):
    import io

    return io.StringIO(text)


@pytest.mark.parametrize("preset", ["amber14-obc2", "ff14SBonlysc-gbn2", "ff19SB-gbn2", "charmm36-gbn2"])
@pytest.mark.parametrize("name", [("Ace-A-Nme", "Ace-a-Nme"), ("Ace-VTR-NH2", "Ace-vtr-NH2")])
def test_a_mirror_image_has_the_same_energy(name, preset, generator):
    left, right = built(name[0], preset), built(name[1], preset)
    assert left.atoms.names == right.atoms.names
    noise = 0.005 * torch.randn(left.start_positions.shape, generator=generator, dtype=torch.float64)
    x = (left.start_positions + noise).numpy()
    expected = sum(energies(left.system, x).values())
    turned = x * np.array([1.0, 1.0, -1.0])
    assert sum(energies(right.system, turned).values()) == pytest.approx(expected, abs=1e-6)
    if preset in ("ff19SB-gbn2", "charmm36-gbn2"):  # whose CMAPs are not symmetric, so that L maps would be seen
        wrong = create_system(right.topology, PRESETS[preset], left.start_positions.numpy())
        assert sum(energies(wrong, turned).values()) != pytest.approx(expected, abs=1e-3)


CIP = {
    "i": [("CA", ("N", "C", "CB"), "R"), ("CB", ("CA", "CG1", "CG2"), "R")],
    "t": [("CA", ("N", "C", "CB"), "R"), ("CB", ("OG1", "CA", "CG2"), "S")],
    "[HYP]": [("CA", ("N", "C", "CB"), "S"), ("CG", ("OD1", "CD", "CB"), "R")],
    "[hyp]": [("CA", ("N", "C", "CB"), "R"), ("CG", ("OD1", "CD", "CB"), "S")],
    "[TPO]": [("CA", ("N", "C", "CB"), "S"), ("CB", ("OG1", "CA", "CG2"), "R")],
    "c": [("CA", ("N", "CB", "C"), "S")],
}
"""Neighbours by falling priority (Cahn, Ingold & Prelog 1966), and the descriptor."""


@pytest.mark.parametrize("token", CIP)
def test_chirality_is_that_of_the_name(token):
    for molecule in (built(f"Ace-{token}-Nme"), build_molecule(f"Ace-{token}-Nme")):
        index = _residue(molecule.atoms, 1)
        for centre, priorities, descriptor in CIP[token]:
            row = torch.tensor([[index[atom] for atom in (centre, *priorities)]])
            counterclockwise = float(signed_volumes(molecule.start_positions, row)) > 0
            assert ("S" if counterclockwise else "R") == descriptor
    assert not (token.isupper() or len(token) == 1) or molecule.notes == () or "lower case" in molecule.notes[0]


def _residue(atoms: Atoms, number: int) -> dict[str, int]:
    return {atoms.names[i]: i for i in range(atoms.n_atoms) if atoms.residue_numbers[i] == number}


@pytest.mark.parametrize(
    "name", ["cyclo(AaA)", "cyclo(GRGDSP)", "cyclo(RGDfV)", "CYIQNCPLG-NH2:1-6", "cyclo(GCAAAC):2-6"]
)
def test_rings_are_closed_without_clashes_and_trans(name):
    molecule = build_molecule(name)
    atoms, positions = molecule.atoms, molecule.start_positions
    separation, bonded = torch.cdist(positions, positions), atoms.adjacency
    near = bonded | ((bonded.float() @ bonded.float()) > 0) | torch.eye(atoms.n_atoms, dtype=torch.bool)
    assert separation[~near].min() > 0.16
    assert separation[bonded].max() < 0.21
    places = {(n, name): i for i, (n, name) in enumerate(zip(atoms.residue_numbers, atoms.names, strict=True))}
    omegas = []
    for i, j in atoms.bonds:
        for c, n in ((i, j), (j, i)):
            if (atoms.names[c], atoms.names[n]) == ("C", "N") and atoms.residue_numbers[c] != atoms.residue_numbers[n]:
                ends = places.get((atoms.residue_numbers[c], "CA")), places.get((atoms.residue_numbers[n], "CA"))
                omegas.append((ends[0], c, n, ends[1]))
    omegas = [row for row in omegas if None not in row]  # the amide has no omega
    assert len(omegas) == len([number for number in set(atoms.residue_numbers) if (number, "CA") in places]) - (
        0 if name.startswith("cyclo") else 1
    )
    limit = 100 if "AaA" in name else 130 if "GCAAAC" in name else 140  # small rings are strained
    assert dihedrals(positions, torch.tensor(omegas)).cos().max() < math.cos(math.radians(limit))
    for number in set(atoms.residue_numbers):
        index = _residue(atoms, number)
        if {"CA", "CB"} <= index.keys():
            row = torch.tensor([[index[atom] for atom in ("CA", "N", "C", "CB")]])
            is_d = atoms.residue_names[index["CA"]] in ("DAL", "DPN")
            assert (float(signed_volumes(positions, row)) < 0) == is_d
    again = build_molecule(name)
    assert torch.equal(again.start_positions, positions)


def test_rings_have_their_bonds_and_nothing_of_an_end():
    ring = built("cyclo(GRGDSP)").atoms
    assert (ring.n_atoms, ring.formula) == (75, "C22H35N9O9")
    assert sum(ring.charges) == pytest.approx(0.0, abs=1e-4)
    assert not {"OXT", "H2", "H3"} & set(ring.names)
    assert any("closed head to tail: PRO 6 is bonded to GLY 1" in note for note in built("cyclo(GRGDSP)").notes)
    oxytocin = built("CYIQNCPLG-NH2:1-6").atoms
    assert oxytocin.formula == "C43H67N12O12S2"  # its ammonium form
    assert any("disulphide bond between CYS 1 and CYS 6" in note for note in built("CYIQNCPLG-NH2:1-6").notes)


def test_thirty_residues_are_built_without_clashes():
    molecule = built("KWpACDEFGHIk[HYP]LMNPQRSTVWYRRPPGA")
    separation = torch.cdist(molecule.start_positions, molecule.start_positions)
    bonded = molecule.atoms.adjacency
    near = bonded | ((bonded.float() @ bonded.float()) > 0) | torch.eye(molecule.atoms.n_atoms, dtype=torch.bool)
    assert molecule.atoms.n_amino_acids == 30
    assert separation[~near].min() > 0.13


@pytest.mark.parametrize(
    ("preset", "name", "tolerance"),
    [
        ("amber14-vacuum", "a14_TPO", 0.002),
        ("amber14-vacuum", "a14_H2E", 0.002),
        ("ff14SBonlysc-gbn2", "a14_P2", 0.002),
        ("ff19SB-gbn2", "a19_PTR", 0.002),
        ("ff19SB-gbn2", "a19_P2", 0.002),
    ],
)
def test_force_fields_are_those_of_leap(preset, name, tolerance):
    """Ace-X-Nme by AmberTools' tleap (mbondi3 radii), P2 being Ace-[LYS][GLH][ASH][LYN]-Nme."""
    prmtop = app.AmberPrmtopFile(str(LEAP / f"{name}.prmtop"))
    positions = app.AmberInpcrdFile(str(LEAP / f"{name}.inpcrd")).positions
    solvent = app.GBn2 if preset.endswith("gbn2") else None
    expected = energies(prmtop.createSystem(implicitSolvent=solvent, removeCMMotion=False), positions)
    mine = energies(create_system(prmtop.topology, PRESETS[preset]), positions)
    for force, energy in expected.items():
        assert mine.get(force, 0.0) == pytest.approx(energy, abs=tolerance), force
    if name.endswith("P2"):  # OpenMM alone takes C=O of an acid for a carboxylate's oxygen
        plain = energies(create_reference_system(prmtop.topology, PRESETS[preset]), positions)
        assert abs(plain["CustomGBForce"] - expected["CustomGBForce"]) > 1


def test_ff14sbonlysc_is_ff14sb_with_the_phi_of_ff99sb():
    """Side chains as in ff14SB, the backbone as in ff99SB (all twenty: tleap's prmtops and these)."""
    differing = set()
    files = ((str(DATA / "ff14SBonlysc.xml"), "amber14/protein.ff14SB.xml"), ("amber14-all.xml",), ("amber99sb.xml",))
    force_fields = [load_force_field(names) for names in files]
    for letter in "AGKTV":
        molecule = built(f"Ace-{letter}-Nme", "amber14-vacuum")
        only, ff14, ff99 = (_torsions(force_field.createSystem(molecule.topology)) for force_field in force_fields)
        names = molecule.atoms.names
        for quadruple in only.keys() | ff14.keys() | ff99.keys():
            row = tuple(names[i] for i in quadruple)
            row = min(row, row[::-1])
            mine = only.get(quadruple)
            if mine != ff14.get(quadruple):
                differing.add(row)
            if row in (("C", "N", "CA", "CB"), ("C", "CA", "N", "C"), ("C", "N", "CA", "C"), ("N", "C", "CA", "N")):
                assert mine == ff99.get(quadruple), row
            if row == ("CB", "CA", "C", "N") or row == ("N", "C", "CA", "CB"):
                assert mine == ff99.get(quadruple), row
    assert differing == {("C", "N", "CA", "CB")}


def _torsions(system: openmm.System) -> dict[tuple[int, ...], frozenset]:
    (force,) = (force for force in system.getForces() if isinstance(force, openmm.PeriodicTorsionForce))
    found: dict[tuple[int, ...], set] = {}
    for i in range(force.getNumTorsions()):
        *atoms, periodicity, phase, k = force.getTorsionParameters(i)
        strength = round(k.value_in_unit(unit.kilojoule_per_mole), 4)
        if strength:
            key = min(tuple(atoms), tuple(atoms[::-1]))
            found.setdefault(key, set()).add((periodicity, round(phase._value, 3), strength))
    return {key: frozenset(value) for key, value in found.items()}


def test_charmm36_is_that_of_the_whole_file():
    molecule = built("AK", "charmm36-gbn2")
    whole = app.ForceField(str(AMBER / "charmm36.xml"), "implicit/gbn2.xml")
    expected = energies(whole.createSystem(molecule.topology, removeCMMotion=False), molecule.start_positions.numpy())
    mine = energies(molecule.system, molecule.start_positions.numpy())
    assert mine == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "preset", "message"),
    [
        ("[SEP]AA", "amber14-obc2", r"no template of SEP 1 in front of a chain; cap that end \(Ace-"),
        ("A[GLH]", "amber14-obc2", r"no template of GLU 2 at the end of a chain; cap that end .* -NH2 behind"),
        ("A[SEP]A", "amber96-obc", "no parameters of the phosphorylated residue SEP 2; .* ff14SB and ff19SB"),
        ("Ace-[SEP]-Nme", "charmm36-gbn2", "no parameters of the phosphorylated residue SEP 1"),
        ("A[HYP]A", "amber99sbildn-obc", "HYP 2 has no template .* choose another preset, or give .* prmtop"),
    ],
)
def test_what_a_force_field_lacks_is_refused_by_name(name, preset, message):
    with pytest.raises(ValueError, match=message) as caught:
        build_molecule(name, preset)
    assert "\n" not in str(caught.value)


BACK = [
    "aVK",
    "Ace-A-NH2",
    "A[HYP]A",
    "A[lyn]A",
    "A[GLH]A",
    "A[cym]A",
    "A[T1P]A",
    "A[H1D]A",
    "cyclo(GRGDSP)",
    "CAAC:1-4",
]


@pytest.mark.parametrize("name", BACK)
def test_own_pdb_text_is_read_back(name, tmp_path):
    molecule = built(name)
    (tmp_path / "molecule.pdb").write_text(molecule.pdb)
    again = build_molecule(tmp_path / "molecule.pdb", minimise=False)
    assert again.atoms == molecule.atoms
    assert set(again.notes) <= set(molecule.notes)
