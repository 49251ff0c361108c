"""The tree, the rotatable bonds and the stereocentres of all 20 residues, in a dipeptide and capped."""

import itertools
import math
from functools import cache

import pytest
import torch

from timewarp.geometry import dihedrals, distances, neighbours, signed_volumes, to_internal, to_positions
from timewarp.molecules import Molecule, build_molecule
from timewarp.molecules.sequences import RESIDUES
from timewarp.state import Atoms

LETTERS = tuple(RESIDUES)
FORMS = ("A{}", "Ace-{}-Nme")

SIDE_CHAIN_ROTORS = {
    "A": "CA-CB",
    "C": "CA-CB CB-SG",
    "D": "CA-CB CB-CG",
    "E": "CA-CB CB-CG CG-CD",
    "F": "CA-CB CB-CG",
    "G": "",
    "H": "CA-CB CB-CG",
    "I": "CA-CB CB-CG1 CG1-CD1 CB-CG2",
    "K": "CA-CB CB-CG CG-CD CD-CE CE-NZ",
    "L": "CA-CB CB-CG CG-CD1 CG-CD2",
    "M": "CA-CB CB-CG CG-SD SD-CE",
    "N": "CA-CB CB-CG",
    "P": "",
    "Q": "CA-CB CB-CG CG-CD",
    "R": "CA-CB CB-CG CG-CD CD-NE",
    "S": "CA-CB CB-OG",
    "T": "CA-CB CB-OG1 CB-CG2",
    "V": "CA-CB CB-CG1 CB-CG2",
    "W": "CA-CB CB-CG",
    "Y": "CA-CB CB-CG CZ-OH",
}
"""Side-chain bonds that turn: chi, CH3, NH3+, OH, SH and COO-; no amide, guanidinium or ring."""

SIDE_CENTRES = {"I": ("CB",), "T": ("CB",)}


@cache
def built(name: str) -> Molecule:
    return build_molecule(name, minimise=False)


def label(atoms: Atoms, *indices: int) -> tuple[str, ...]:
    return tuple(f"{atoms.residue_numbers[i]}:{atoms.names[i]}" for i in indices)


def bond(number: int, text: str) -> frozenset[str]:
    return frozenset(f"{number}:{name}" for name in text.split("-"))


def expected_rotors(form: str, letter: str) -> set[frozenset[str]]:
    number = 2 if form == "A{}" else 1
    rotors = {bond(number, text) for text in SIDE_CHAIN_ROTORS[letter].split()}
    rotors.add(bond(number, "CA-C"))  # psi, or the carboxylate
    if letter != "P":
        rotors.add(bond(number, "N-CA"))  # phi
    if form == "A{}":
        rotors |= {bond(1, "N-CA"), bond(1, "CA-CB"), bond(1, "CA-C")}
    else:
        rotors |= {bond(0, "CH3-C"), bond(2, "N-C")}
    return rotors


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("letter", LETTERS)
def test_internal_coordinates_of_every_residue(letter, form, generator):
    molecule = built(form.format(letter))
    atoms, tree = molecule.atoms, molecule.atoms.tree
    n_atoms = atoms.n_atoms
    positions = molecule.start_positions

    # The tree covers the molecule along bonds, with 3 N - 6 coordinates.
    assert sorted(tree.order) == list(range(n_atoms))
    assert int(tree.defined.sum()) == 3 * n_atoms - 6
    bonds = {frozenset(b) for b in atoms.bonds}
    assert all(frozenset((i, tree.references[i][0])) in bonds for i in tree.order[1:])

    # The rotatable bonds, each once.
    middles = [frozenset(label(atoms, b, c)) for _, b, c, _ in tree.torsions.tolist()]
    assert set(middles) == expected_rotors(form, letter)
    assert len(middles) == len(set(middles))

    # There and back, in both directions.
    internal = to_internal(positions, tree)
    torch.testing.assert_close(to_positions(internal, tree, positions), positions, atol=1e-12, rtol=0)

    # Turning every rotatable bond leaves bonds, angles, rings, planes and chirality as they were.
    turned = internal.repeat(16, 1, 1)
    soft = list(tree.rotatable)
    turned[:, soft, 2] = (torch.rand(16, len(soft), generator=generator, dtype=internal.dtype) * 2 - 1) * math.pi
    moved = to_positions(turned, tree, positions.expand_as(turned))
    adjacent = neighbours(n_atoms, atoms.bonds)
    pairs = list(atoms.bonds) + [pair for row in adjacent for pair in itertools.combinations(row, 2)]
    stiff = torch.tensor(pairs)
    torch.testing.assert_close(distances(moved, stiff), distances(positions, stiff).expand(16, -1), atol=1e-9, rtol=0)
    omega = dihedrals(moved, atoms.peptide_bonds)
    torch.testing.assert_close(omega.cos(), dihedrals(positions, atoms.peptide_bonds).cos().expand_as(omega))
    centres = atoms.stereocentres
    torch.testing.assert_close(signed_volumes(moved, centres), signed_volumes(positions, centres).expand(16, -1))
    stiff_torsions = torch.tensor([(i, *tree.references[i]) for i in tree.proper if i not in tree.rotatable])
    if len(stiff_torsions):
        before = dihedrals(positions, stiff_torsions).expand(16, -1)
        torch.testing.assert_close((dihedrals(moved, stiff_torsions) - before).cos(), torch.ones_like(before))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("letter", LETTERS)
def test_stereocentres_and_peptide_bonds_of_every_residue(letter, form):
    atoms = built(form.format(letter)).atoms
    number = 2 if form == "A{}" else 1
    centres = {label(atoms, i)[0] for i in atoms.stereocentres[:, 0].tolist()}
    expected = {f"{number}:{name}" for name in SIDE_CENTRES.get(letter, ())}
    expected |= {"1:CA"} if form == "A{}" else set()
    expected |= {f"{number}:CA"} if letter != "G" else set()
    assert centres == expected
    omegas = [label(atoms, *row) for row in atoms.peptide_bonds.tolist()]
    if form == "A{}":
        assert omegas == [("1:CA", "1:C", "2:N", "2:CA")]
    else:
        assert omegas == [("0:CH3", "0:C", "1:N", "1:CA"), ("1:CA", "1:C", "2:N", "2:C")]


CIP_PRIORITY = {  # neighbours of the centre, highest priority first (Cahn, Ingold & Prelog 1966), and the descriptor
    ("any", "CA"): (("N", "C", "CB"), "S"),
    ("CYS", "CA"): (("N", "CB", "C"), "R"),
    ("ILE", "CB"): (("CA", "CG1", "CG2"), "S"),
    ("THR", "CB"): (("OG1", "CA", "CG2"), "R"),
}


@pytest.mark.parametrize("name", ["ACDEFG", "HIKLM", "NPQR", "STVWY"])
def test_residues_are_the_natural_ones_before_and_after_minimisation(name):
    for molecule in (built(name), build_molecule(name)):
        atoms, positions = molecule.atoms, molecule.start_positions
        checked = 0
        for number in range(1, len(name) + 1):
            index = {atoms.names[i]: i for i in range(atoms.n_atoms) if atoms.residue_numbers[i] == number}
            residue = atoms.residue_names[index["CA"]]
            for centre in ("CA", "CB"):
                row = CIP_PRIORITY.get((residue, centre), CIP_PRIORITY.get(("any", centre)))
                if row is None or residue == "GLY":
                    continue
                priorities, descriptor = row
                quadruple = torch.tensor([[index[atom] for atom in (centre, *priorities)]])
                counterclockwise = float(signed_volumes(positions, quadruple)) > 0  # seen with hydrogen behind: S
                assert ("S" if counterclockwise else "R") == descriptor, (residue, centre)
                checked += 1
        assert checked == len(atoms.stereocentres)
        assert dihedrals(positions, atoms.peptide_bonds).cos().max() < -0.9  # trans
        assert not molecule.notes


@pytest.mark.parametrize("name", ["WWWWWWWWWWWW", "RRRRRRRRRRRR", "PPPPPPPPPPPP", "GPGPIVTYFHKM", "Ace-W-Nme"])
def test_built_geometry_has_no_clashes_and_ordinary_bonds(name):
    molecule = built(name)
    atoms, positions = molecule.atoms, molecule.start_positions
    separation = torch.cdist(positions, positions)
    bonded = atoms.adjacency
    near = bonded | ((bonded.float() @ bonded.float()) > 0) | torch.eye(atoms.n_atoms, dtype=torch.bool)
    assert separation[~near].min() > 0.13
    assert separation[bonded].min() > 0.09
    assert separation[bonded].max() < 0.19


def test_hydrogens_are_placed_at_ideal_geometry():
    molecule = built("Ace-N-Nme")
    atoms = molecule.atoms
    index = {f"{atoms.residue_numbers[i]}:{atoms.names[i]}": i for i in range(atoms.n_atoms)}
    planar = torch.tensor([[index["1:HD21"], index["1:ND2"], index["1:CG"], index["1:OD1"]]])
    assert abs(float(dihedrals(molecule.start_positions, planar).sin())) < 0.05
    amide = torch.tensor([[index["1:H"], index["1:N"], index["0:C"], index["0:O"]]])
    assert float(dihedrals(molecule.start_positions, amide).cos()) < -0.99


@pytest.mark.parametrize(
    ("letter", "centre", "before", "after", "hydrogen"),
    [
        ("G", "CA", "N", "C", "HA2"),
        ("L", "CB", "CA", "CG", "HB2"),
        ("D", "CB", "CA", "CG", "HB2"),
        ("S", "CB", "CA", "OG", "HB2"),
        ("Q", "CG", "CB", "CD", "HG2"),
        ("K", "CD", "CG", "CE", "HD2"),
        ("K", "CE", "CD", "NZ", "HE2"),
        ("R", "CD", "CG", "NE", "HD2"),
        ("P", "CB", "CA", "CG", "HB2"),
        ("P", "CD", "CG", "N", "HD2"),
    ],
)
def test_prochiral_hydrogens_are_named_as_in_pdb_files(letter, centre, before, after, hydrogen):
    """As in the NMR structure of the villin headpiece (with hydrogens) that PDBFixer's tests hold."""
    molecule = built(f"Ace-{letter}-Nme")
    index = {n: i for i, n in enumerate(molecule.atoms.names) if molecule.atoms.residue_numbers[i] == 1}
    row = torch.tensor([[index[name] for name in (centre, before, after, hydrogen)]])
    assert float(signed_volumes(molecule.start_positions, row)) < 0
