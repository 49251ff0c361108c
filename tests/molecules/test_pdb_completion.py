"""PDB files: what is added, what is kept, and what the notes say."""

from functools import cache

import openmm
import pytest
import torch
from openmm import unit

from timewarp.geometry import dihedrals, signed_volumes
from timewarp.molecules import Molecule, build_molecule
from timewarp.molecules.sequences import RESIDUES
from timewarp.molecules.stereochemistry import unusual_geometry

BACKBONE = {"N", "CA", "C", "O", "OXT", "CH3"}


@cache
def built(name: str) -> Molecule:
    return build_molecule(name, minimise=False)


def atom_lines(text: str, keep) -> str:
    """The PDB text with those atoms for which ``keep(name, element, residue number)``; no CONECT."""
    lines = []
    for line in text.splitlines():
        if line.startswith("CONECT"):
            continue
        if line.startswith(("ATOM", "HETATM")) and not keep(line[12:16].strip(), line[76:78].strip(), int(line[22:26])):
            continue
        lines.append(line)
    return "\n".join(lines) + "\n"


@pytest.fixture
def read(tmp_path):
    def read_text(text: str, preset: str = "amber14-obc2", *, minimise: bool = False) -> Molecule:
        path = tmp_path / "given.pdb"
        path.write_text(text)
        return build_molecule(path, preset, minimise=minimise)

    return read_text


@pytest.mark.parametrize("name", ["Ace-A-Nme", "HPR", "DEKC", "WYFM", "Ace-NQST", "ILV-Nme"])
def test_hydrogens_are_added_for_ph_7(name, read):
    whole = built(name)
    molecule = read(atom_lines(whole.pdb, lambda atom, element, number: element != "H"))
    assert molecule.atoms == whole.atoms
    torch.testing.assert_close(molecule.start_positions, whole.start_positions, atol=1e-3, rtol=0)
    n = whole.atoms.elements.count("H")
    assert f"added {n} hydrogens (pH 7)" in molecule.notes
    assert any("ring nitrogens of HIS 1: took HIE" in note for note in molecule.notes) == ("H" in name)


def test_a_few_missing_hydrogens_are_added_and_the_others_stay(read):
    whole = built("AG")
    lost = {("HA", 1), ("HB2", 1), ("HA3", 2)}
    molecule = read(atom_lines(whole.pdb, lambda atom, element, number: (atom, number) not in lost))
    assert molecule.notes == ("added 3 hydrogens (pH 7)",)
    assert sorted(molecule.atoms.names) == sorted(whole.atoms.names)
    where = {
        (n, r): x
        for n, r, x in zip(molecule.atoms.names, molecule.atoms.residue_numbers, molecule.start_positions, strict=True)
    }
    order = zip(whole.atoms.names, whole.atoms.residue_numbers, strict=True)
    torch.testing.assert_close(torch.stack([where[key] for key in order]), whole.start_positions, atol=0.002, rtol=0)


@pytest.mark.parametrize("with_cb", [True, False])
@pytest.mark.parametrize("letter", [letter for letter in RESIDUES if letter not in "GP"])
def test_side_chains_are_completed_in_the_natural_form(letter, with_cb, read):
    whole = built(f"A{letter}A")
    keep = BACKBONE | ({"CB"} if with_cb else set())
    text = atom_lines(whole.pdb, lambda atom, element, number: number != 2 or atom in keep)
    molecule = read(text)
    lost = [n for n, r in zip(whole.atoms.names, whole.atoms.residue_numbers, strict=True) if r == 2 and n not in keep]
    heavy = [name for name in lost if not name.startswith("H")]
    if heavy:
        label = f"missing atom{'s' * (len(heavy) > 1)} {', '.join(heavy)} of {RESIDUES[letter]} 2"
        assert any(label in note for note in molecule.notes)
    assert sorted(molecule.atoms.names) == sorted(whole.atoms.names)
    assert not any("inverted" in note for note in molecule.notes)
    separation = torch.cdist(molecule.start_positions, molecule.start_positions)
    separation.fill_diagonal_(1.0)
    assert separation.min() > 0.09


def test_one_missing_branch_goes_where_the_other_leaves_room(read):
    whole = built("AVA")
    molecule = read(atom_lines(whole.pdb, lambda atom, element, number: atom != "CG2" and not atom.startswith("HG2")))
    assert molecule.notes == ("added missing atom CG2 of VAL 2", "added 3 hydrogens (pH 7)")
    by_name = {
        (n, r): i for i, (n, r) in enumerate(zip(molecule.atoms.names, molecule.atoms.residue_numbers, strict=True))
    }
    index = torch.tensor([[by_name["CG1", 2], by_name["CB", 2], by_name["CA", 2], by_name["CG2", 2]]])
    expected = {n: i for i, n in enumerate(whole.atoms.names) if whole.atoms.residue_numbers[i] == 2}
    other = torch.tensor([[expected["CG1"], expected["CB"], expected["CA"], expected["CG2"]]])
    both = (
        signed_volumes(molecule.start_positions, index.roll(-1, 1)),
        signed_volumes(whole.start_positions, other.roll(-1, 1)),
    )
    torch.testing.assert_close(*both, atol=2e-4, rtol=0)


def test_a_missing_proline_ring_atom_and_terminal_oxygen_are_added(read):
    whole = built("APA")
    text = atom_lines(whole.pdb, lambda atom, element, number: atom not in ("CG", "HG2", "HG3", "OXT"))
    molecule = read(text, minimise=True)
    assert molecule.notes[:2] == (
        "added missing atom CG of PRO 2",
        "added the terminal OXT of ALA 3: the end is a carboxylate (charge -1, not 0)",
    )
    assert sorted(molecule.atoms.names) == sorted(whole.atoms.names)


@pytest.mark.parametrize(
    ("letter", "lost"),
    [("H", "CG"), ("F", "CZ"), ("F", "CG"), ("W", "CE2"), ("L", "CG"), ("R", "CZ"), ("M", "SD"), ("P", "CB")],
)
def test_an_atom_missing_between_others_is_put_back_between_them(letter, lost, read):
    whole = built(f"Ace-{letter}-Nme")
    molecule = read(atom_lines(whole.pdb, lambda atom, element, number: element != "H" and atom != lost))
    assert molecule.notes[0] == f"added missing atom {lost} of {RESIDUES[letter]} 1"
    place = dict(zip(whole.atoms.names, whole.start_positions, strict=True))
    assert (molecule.start_positions[molecule.atoms.names.index(lost)] - place[lost]).norm() < 0.05
    assert torch.cdist(molecule.start_positions, molecule.start_positions)[molecule.atoms.adjacency].max() < 0.2


def test_hydrogens_without_their_heavy_atom_come_back_with_it(read):
    molecule = read(atom_lines(built("AVA").pdb, lambda atom, element, number: atom != "CG2"))
    assert molecule.notes == ("added missing atom CG2 of VAL 2", "added 3 hydrogens (pH 7)")
    assert sorted(molecule.atoms.names) == sorted(built("AVA").atoms.names)


@pytest.mark.parametrize(
    ("residue_name", "hydrogens", "charge"),
    [
        ("HID", {"HD1"}, 0),
        ("HIE", {"HE2"}, 0),
        ("HIP", {"HD1", "HE2"}, 1),
        ("HSD", {"HD1"}, 0),
        ("HSP", {"HD1", "HE2"}, 1),
    ],
)
def test_histidine_keeps_its_tautomer(residue_name, hydrogens, charge, read):
    bare = atom_lines(built("Ace-H-Nme").pdb, lambda atom, element, number: element != "H")
    molecule = read(bare.replace("HIS", residue_name))
    assert {"HD1", "HE2"} & set(molecule.atoms.names) == hydrogens
    assert round(sum(molecule.atoms.charges)) == charge
    again = read(molecule.pdb)  # its hydrogens say which, under the plain name
    assert "HIS" in molecule.pdb
    assert again.atoms == molecule.atoms
    assert again.notes == ()


@pytest.mark.parametrize(
    ("letter", "residue_name", "charge"),
    [("D", "ASH", 0), ("E", "GLH", 0), ("K", "LYN", 0), ("D", "ASP", -1), ("K", "LYS", 1)],
)
def test_other_protonation_states_are_kept(letter, residue_name, charge, read):
    bare = atom_lines(built(f"Ace-{letter}-Nme").pdb, lambda atom, element, number: element != "H")
    molecule = read(bare.replace(RESIDUES[letter], residue_name))
    assert round(sum(molecule.atoms.charges)) == charge
    again = read(molecule.pdb)
    assert again.atoms == molecule.atoms
    assert again.notes == ()


def test_names_of_other_programs_are_understood(read):
    text = built("Ace-A-Nme").pdb
    for standard, other in [
        (" H1  ACE", "HH31 ACE"),
        (" C   NME", " CH3 NME"),
        (" H   ALA", " HN  ALA"),
        (" HB1 ALA", "1HB  ALA"),
    ]:
        assert standard in text
        text = text.replace(standard, other)
    assert read(text).atoms == built("Ace-A-Nme").atoms


def test_a_disulphide_bond_is_kept(read):
    open_chain = build_molecule("Ace-CGGC-Nme", "amber14-vacuum", minimise=False)
    sulphurs = [i for i, name in enumerate(open_chain.atoms.names) if name == "SG"]
    pull = openmm.HarmonicBondForce()
    pull.addBond(*sulphurs, 0.204, 5e5)
    open_chain.system.addForce(pull)
    (nonbonded,) = (force for force in open_chain.system.getForces() if isinstance(force, openmm.NonbondedForce))
    for i in range(open_chain.atoms.n_atoms):
        charge, sigma, _ = nonbonded.getParticleParameters(i)
        nonbonded.setParticleParameters(i, 0 * charge, sigma, 0.0)
    for i in range(nonbonded.getNumExceptions()):
        one, other, charge, sigma, _ = nonbonded.getExceptionParameters(i)
        nonbonded.setExceptionParameters(i, one, other, 0 * charge, sigma, 0.0)
    context = openmm.Context(
        open_chain.system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )
    context.setPositions(open_chain.start_positions.numpy())
    openmm.LocalEnergyMinimizer.minimize(context)
    positions = torch.tensor(context.getState(getPositions=True).getPositions(asNumpy=True) / unit.nanometer)
    closed = type(open_chain)(
        **{name: getattr(open_chain, name) for name in ("name", "preset", "topology", "system", "atoms")},
        start_positions=positions,
    )
    molecule = read(atom_lines(closed.pdb, lambda atom, element, number: atom != "HG"))
    assert "disulphide bond between CYS 1 and CYS 4" in molecule.notes
    assert "HG" not in molecule.atoms.names
    bridge = [b for b in molecule.atoms.bonds if {molecule.atoms.names[i] for i in b} == {"SG"}]
    assert len(bridge) == 1
    assert molecule.atoms.in_ring[bridge[0][0]]
    again = read(molecule.pdb)
    assert again.atoms == molecule.atoms
    assert round(sum(molecule.atoms.charges)) == 0


def test_a_mirror_image_is_read_and_said(read):
    molecule = built("Ace-I-Nme")
    mirrored = "\n".join(
        f"{line[:30]}{-float(line[30:38]):8.3f}{line[38:]}" if line.startswith(("ATOM", "HETATM")) else line
        for line in molecule.pdb.splitlines()
    )
    twin = read(mirrored, minimise=True)
    assert twin.atoms == molecule.atoms
    assert [note for note in twin.notes if "inverted" in note] == [
        "CA of ILE 1 is inverted (not the natural L form)",
        "CB of ILE 1 is inverted (not the natural form)",
    ]


def test_a_cis_peptide_bond_is_said():
    molecule = built("AP")
    atoms, positions = molecule.atoms, molecule.start_positions
    first = torch.tensor([number == 1 for number in atoms.residue_numbers])
    (row,) = atoms.peptide_bonds.tolist()
    axis = positions[row[2]] - positions[row[1]]
    axis = axis / axis.norm()
    turned = positions.clone()  # half a turn of the first residue about C-N
    arm = positions[first] - positions[row[1]]
    turned[first] = positions[row[1]] - arm + 2 * (arm @ axis)[:, None] * axis
    assert abs(float(dihedrals(turned, atoms.peptide_bonds))) < 0.1
    assert unusual_geometry(atoms, positions) == []
    assert unusual_geometry(atoms, turned) == ["the peptide bond between ALA 1 and PRO 2 is cis"]


def test_residues_are_renumbered_from_1_and_that_is_said(read):
    text = atom_lines(built("AG").pdb, lambda *_: True)
    text = "".join(
        f"{line[:22]}{int(line[22:26]) + 40:4d}{line[26:]}" if line.startswith("ATOM") else line
        for line in text.splitlines(keepends=True)
    )
    molecule = read("HEADER    PEPTIDE\nCRYST1   50.000   50.000   50.000  90.00  90.00  90.00 P 1\n" + text)
    assert molecule.notes == ("renumbered residues 41-42 to 1-2",)
    assert molecule.atoms == built("AG").atoms
    assert not molecule.system.usesPeriodicBoundaryConditions()


def test_an_alternate_location_mark_without_an_alternative_is_harmless(read):
    lines = built("AG").pdb.splitlines(keepends=True)
    text = "".join(f"{line[:16]}A{line[17:]}" if line[12:16] == " CB " else line for line in lines)
    assert read(text).atoms == built("AG").atoms
