"""Atoms are found whatever their order and names are; like neighbours keep their handedness."""

import itertools
from random import Random

import pytest
import torch
from foreign_files import molecule

from timewarp.geometry import neighbours, signed_volumes
from timewarp.state import Atoms
from timewarp.trajectories.matching import FileAtoms, bonds_by_distance, match_atoms, pieces

SEQUENCES = ("AG", "Ace-P-Nme", "RWF", "HILM", "CYT", "NQVE", "KSD-Nme")


def as_file(atoms: Atoms, order: list[int], names: list[str]) -> FileAtoms:
    """The atoms in another order, under other names (those of the molecule's atoms, in its order)."""
    place = {i: k for k, i in enumerate(order)}
    numbers = sorted(set(atoms.residue_numbers))
    labels = {n: atoms.residue_names[atoms.residue_numbers.index(n)] for n in numbers}
    return FileAtoms(
        elements=tuple(atoms.elements[i] for i in order),
        names=tuple(names[i] for i in order),
        residues=tuple(numbers.index(atoms.residue_numbers[i]) for i in order),
        residue_names=tuple((name, f"{name} {n}") for n, name in labels.items()),
        bonds=tuple((place[i], place[j]) for i, j in atoms.bonds),
    )


@pytest.mark.parametrize("sequence", SEQUENCES)
@pytest.mark.parametrize("seed", [0, 1])
def test_any_order_is_undone_by_names(sequence, seed):
    m = molecule(sequence)
    random = Random(seed)
    order = list(range(m.atoms.n_atoms))
    random.shuffle(order)
    index = match_atoms(
        m.atoms, m.start_positions, as_file(m.atoms, order, list(m.atoms.names)), m.start_positions[order]
    )
    assert [order[k] for k in index.tolist()] == list(range(m.atoms.n_atoms))


@pytest.mark.parametrize("sequence", SEQUENCES)
@pytest.mark.parametrize("seed", [0, 1])
def test_without_names_bonds_and_handedness_decide(sequence, seed):
    m = molecule(sequence)
    random = Random(seed)
    order = list(range(m.atoms.n_atoms))
    random.shuffle(order)
    names = [f"{element}{random.randrange(100)}" for element in m.atoms.elements]
    index = match_atoms(m.atoms, m.start_positions, as_file(m.atoms, order, names), m.start_positions[order])
    back = torch.tensor(order)[index]
    assert tuple(m.atoms.elements[i] for i in back) == m.atoms.elements
    bonds = {frozenset(bond) for bond in m.atoms.bonds}
    assert {frozenset((int(back[i]), int(back[j]))) for i, j in m.atoms.bonds} == bonds
    centres = tetrahedral(m.atoms)
    before, after = signed_volumes(m.start_positions, centres), signed_volumes(m.start_positions[back], centres)
    assert torch.equal(before > 0, after > 0)
    free = set(itertools.chain(*planar_and_free(m.atoms), *methyls(m.atoms)))
    assert all(int(back[i]) == i for i in range(m.atoms.n_atoms) if i not in free), "all else is where it was"


def test_wrong_names_do_not_invert_a_methylene():
    m = molecule("Ace-P-Nme")
    names = list(m.atoms.names)
    for one, other in (("HB2", "HB3"), ("HG2", "HG3"), ("HD2", "HD3")):
        i, j = names.index(one), names.index(other)
        names[i], names[j] = names[j], names[i]
    order = list(range(m.atoms.n_atoms))
    index = match_atoms(m.atoms, m.start_positions, as_file(m.atoms, order, names), m.start_positions)
    assert index.tolist() == order
    by_names = match_atoms(m.atoms, None, as_file(m.atoms, order, names), m.start_positions)
    assert by_names.tolist() != order, "names are followed where no structure says better"


def test_isopropyl_groups_and_amides_keep_their_sides():
    m = molecule("NQVE")
    names = {name: i for i, name in enumerate(m.atoms.names) if m.atoms.residue_names[i] in ("VAL", "ASN")}
    swapped = list(m.atoms.names)
    for one, other in (("CG1", "CG2"), ("HD21", "HD22")):
        i, j = names[one], names[other]
        swapped[i], swapped[j] = swapped[j], swapped[i]
    order = list(range(m.atoms.n_atoms))
    index = match_atoms(m.atoms, m.start_positions, as_file(m.atoms, order, swapped), m.start_positions)
    for name in ("CG1", "CG2", "HD21", "HD22"):
        assert int(index[names[name]]) == names[name]


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_bonds_by_distance(sequence):
    m = molecule(sequence)
    distance = torch.cdist(m.start_positions, m.start_positions)
    assert set(bonds_by_distance(m.atoms.elements, distance)) == {tuple(sorted(bond)) for bond in m.atoms.bonds}


def test_pieces_of_two_molecules():
    atoms = molecule("AG").atoms
    n = atoms.n_atoms
    twice = [*atoms.bonds, *((i + n, j + n) for i, j in atoms.bonds)]
    assert [len(piece) for piece in pieces(2 * n, twice)] == [n - 1, n - 1]


def tetrahedral(atoms: Atoms) -> torch.Tensor:
    adjacent = neighbours(atoms.n_atoms, atoms.bonds)
    return torch.tensor([(i, *row[:3]) for i, row in enumerate(adjacent) if len(row) == 4])


def planar_and_free(atoms: Atoms) -> list[list[int]]:
    """Carboxylate oxygens, and the two sides of a phenyl ring: turning about one bond exchanges them."""
    oxygens = (("O", "OXT"), ("OD1", "OD2"), ("OE1", "OE2"))
    pairs = (*oxygens, ("CD1", "CD2"), ("CE1", "CE2"), ("HD1", "HD2"), ("HE1", "HE2"))
    found = []
    for number in set(atoms.residue_numbers):
        index = {atoms.names[i]: i for i in range(atoms.n_atoms) if atoms.residue_numbers[i] == number}
        residue = atoms.residue_names[next(iter(index.values()))]
        for pair in pairs:
            if index.keys() >= set(pair) and (pair in oxygens or residue in ("PHE", "TYR")):
                found.append([index[name] for name in pair])
    return found


def methyls(atoms: Atoms) -> list[list[int]]:
    adjacent = neighbours(atoms.n_atoms, atoms.bonds)
    rows = [[j for j in row if atoms.elements[j] == "H"] for row in adjacent]
    return [row for row in rows if len(row) == 3]
