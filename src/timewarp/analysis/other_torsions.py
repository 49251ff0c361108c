"""Torsions that have no name of their own: those of ligands, nucleotides, modified residues, named by their atoms."""

from __future__ import annotations

from collections.abc import Iterable

from ..geometry import automorphism_classes, beyond, neighbours, ring_bonds, ring_size
from ..state import CAPS, Atoms

Quadruple = tuple[int, int, int, int]

SMALLEST_LARGE_RING = 8
"""Rings of an amino acid's own side chain are smaller (proline), and their torsions are left out."""
_MAIN_CHAIN = frozenset({"N", "CA", "C"})


def other_torsions(atoms: Atoms, known: Iterable[Quadruple]) -> dict[str, Quadruple]:
    """Torsions about the bonds that turn or bend and that ``known`` ones do not cover, named by their atoms.

    A name is that of the four atoms, ``C3-C4-O5-P1``, followed in a molecule of several residues by the number of the
    second atom's residue, as for named ones: ``C3'-O3'-P-O5'_1``. Left out are bonds to a group of like atoms (methyl,
    carboxylate, NH3+), whose turn changes nothing, double bonds and aromatic rings, and bonds next to a linear carbon.
    In amino acids, bonds to single hydrogens, small rings and disulphides are left out too.

    Args:
        atoms: the molecule.
        known: torsions that have a name.
    """
    adjacent = neighbours(atoms.n_atoms, atoms.bonds)
    rings = ring_bonds(atoms.n_atoms, atoms.bonds)
    colours = automorphism_classes(atoms.elements, atoms.bonds)
    covered = {frozenset(row[1:3]) for row in known}
    amino = _amino_acids(atoms)
    several = len(set(atoms.residue_numbers)) > 1
    found: dict[str, Quadruple] = {}
    for b, c in sorted(tuple(sorted(bond)) for bond in atoms.bonds):
        bond = frozenset((b, c))
        ends = [[i for i in adjacent[x] if i != y] for x, y in ((b, c), (c, b))]
        if bond in covered or not all(ends):
            continue
        in_amino = atoms.residue_numbers[b] in amino and atoms.residue_numbers[c] in amino
        if any(_is_symmetric(atoms, colours, adjacent, side) for side in ends) or _is_linear(atoms, adjacent, b, c):
            continue
        if bond in rings:
            stiff = _is_flat(atoms, adjacent, b) and _is_flat(atoms, adjacent, c)
            small = ring_size(adjacent, b, c) < SMALLEST_LARGE_RING
            if (stiff and small) or (in_amino and (small or _is_bridge(atoms, adjacent, b, c))):
                continue
        elif _is_double(atoms, adjacent, b, c):
            continue
        a, d = (
            min(side, key=lambda i: (atoms.elements[i] == "H", -len(beyond(adjacent, centre, i)), i))
            for side, centre in zip(ends, (b, c), strict=True)
        )
        if in_amino and "H" in (atoms.elements[a], atoms.elements[d]):
            continue
        name = "-".join(atoms.names[i].replace(",", ".").replace("=", ".") for i in (a, b, c, d))
        name = f"{name}_{atoms.residue_numbers[b]}" if several else name
        found[name if name not in found else f"{name}:{b + 1}-{c + 1}"] = (a, b, c, d)
    return found


def _amino_acids(atoms: Atoms) -> set[int]:
    """Numbers of the residues that name a main chain of an amino acid, and of caps."""
    names: dict[int, set[str]] = {}
    for number, name in zip(atoms.residue_numbers, atoms.names, strict=True):
        names.setdefault(number, set()).add(name)
    caps = {n for n, name in zip(atoms.residue_numbers, atoms.residue_names, strict=True) if name in CAPS}
    return {number for number, have in names.items() if have >= _MAIN_CHAIN} | caps


def _is_symmetric(atoms: Atoms, colours: list[int], adjacent: list[list[int]], side: list[int]) -> bool:
    """Whether a side of a bond is a group of like atoms at the chain's end."""
    return len(side) > 1 and len({colours[i] for i in side}) == 1 and all(len(adjacent[i]) == 1 for i in side)


def _is_linear(atoms: Atoms, adjacent: list[list[int]], b: int, c: int) -> bool:
    return any(atoms.elements[i] in "CN" and len(adjacent[i]) == (2 if atoms.elements[i] == "C" else 1) for i in (b, c))


def _is_flat(atoms: Atoms, adjacent: list[list[int]], i: int) -> bool:
    return atoms.elements[i] in ("C", "N") and len(adjacent[i]) <= 3


def _is_double(atoms: Atoms, adjacent: list[list[int]], b: int, c: int) -> bool:
    """Whether a bond outside rings is a double bond of carbons: neither has another atom to share one with."""

    def partners(i: int, other: int) -> bool:
        return any(j != other and _may_be_double(atoms, adjacent, j) for j in adjacent[i])

    flat = all(atoms.elements[i] == "C" and len(adjacent[i]) == 3 for i in (b, c))
    return flat and not (partners(b, c) and partners(c, b))


def _may_be_double(atoms: Atoms, adjacent: list[list[int]], i: int) -> bool:
    bonds = {"C": 3, "N": 2, "O": 1, "S": 1}
    return len(adjacent[i]) <= bonds.get(atoms.elements[i], 0)


def _is_bridge(atoms: Atoms, adjacent: list[list[int]], b: int, c: int) -> bool:
    """Whether a bond is that of a disulphide or next to it."""
    in_bridge = {i for i in (b, c) if atoms.elements[i] == "S" and any(atoms.elements[j] == "S" for j in adjacent[i])}
    return bool(in_bridge)
