"""Which atom of a file is which of a molecule: by bonds, by handedness, by names where these leave a choice."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..geometry import automorphism_classes, dihedrals, neighbours, signed_volumes
from ..shapes import Float, Int
from ..state import Atoms

_LONGEST_NM = {frozenset("S"): 0.25, frozenset("SC"): 0.215}
"""Longest distance of two bonded heavy atoms; the next neighbours are farther apart. All other pairs: 0.19 nm."""
_LONGEST_TO_H_NM = 0.14
_OXYGENS = {"OT1": "O", "OC1": "O", "O1": "O", "OT2": "OXT", "OC2": "OXT", "O2": "OXT"}


@dataclass(frozen=True)
class FileAtoms:
    """The atoms of a file, in its order and with its names.

    Attributes:
        elements: element symbols.
        names: atom names of any dialect.
        residues: number of the residue of each atom, from 0, in the file's order.
        residue_names: of each residue, with its number in the file, as messages name it: ``("ALA", "ALA 2")``.
        bonds: pairs of atoms.
    """

    elements: tuple[str, ...]
    names: tuple[str, ...]
    residues: tuple[int, ...]
    residue_names: tuple[tuple[str, str], ...]
    bonds: tuple[tuple[int, int], ...]

    @property
    def sequence(self) -> str:
        """Residue names joined by hyphens, cut short after twelve."""
        names = [name for name, _ in self.residue_names]
        return "-".join(names[:12]) + (f"-... ({len(names)} residues)" if len(names) > 12 else "")


def match_atoms(
    atoms: Atoms, start: Float[Tensor, "atoms 3"] | None, file: FileAtoms, first: Float[Tensor, "file_atoms 3"]
) -> Int[Tensor, " atoms"]:
    """For each atom of the molecule the number of the file's atom.

    The two bond graphs, with elements on their atoms, are matched by colour refinement (Weisfeiler & Leman 1968). What
    it cannot tell apart are groups of like neighbours of one atom, such as the hydrogens of a methylene. They are
    assigned so that the group has the same handedness as in ``start`` (so a pro-R hydrogen stays pro-R); on a stiff
    planar group (amides, guanidinium) the same side; and otherwise by names.

    Args:
        atoms: the molecule.
        start: positions of the molecule, whose handedness counts; None leaves groups to their names.
        file: the atoms of the file.
        first: positions of these, of a molecule that is whole.

    Raises:
        ValueError: the file holds another molecule, more, or less; the message names the atoms.
    """
    if message := difference(atoms, file):
        raise ValueError(message)
    n = atoms.n_atoms
    labels = [*atoms.elements, *file.elements]
    graph = [*atoms.bonds, *((i + n, j + n) for i, j in file.bonds)]
    adjacent = neighbours(2 * n, graph)
    names = [*atoms.names, *map(_plain, file.names)]
    while True:
        colours = automorphism_classes(labels, graph)
        if Counter(colours[:n]) != Counter(colours[n:]):
            raise ValueError(_bonded_otherwise(atoms, file))
        once = Counter(colours[:n])
        where = {colour: i for i, colour in enumerate(colours[n:], n)}
        matched = {i: where[colours[i]] for i in range(n) if once[colours[i]] == 1}
        if len(matched) == n:
            break
        chosen: dict[int, int] = {}
        for centre, other in matched.items():
            group = _undecided(centre, adjacent, colours, matched)
            # The two sides of a phenyl ring meet in two groups: the first one decides the other.
            if group and not (atoms.in_ring[group[0]] and any(atoms.in_ring[i] for i in chosen)):
                like = [j for j in adjacent[other] if colours[j] == colours[group[0]]]
                chosen |= _assign(group, like, centre, matched, adjacent, names, start, first)
        if not chosen:
            raise ValueError(f"the atoms of {atoms.residues} cannot be told apart: it is symmetric as a whole")
        for i, j in chosen.items():
            labels[i] = labels[j] = f"pair {i}"
    index = torch.tensor([matched[i] - n for i in range(n)])
    if {frozenset((int(index[i]), int(index[j]))) for i, j in atoms.bonds} != set(map(frozenset, file.bonds)):
        raise ValueError(_bonded_otherwise(atoms, file))
    return index


def bonds_by_distance(elements: Sequence[str], distance: Float[Tensor, "atoms atoms"]) -> tuple[tuple[int, int], ...]:
    """Bonds of one molecule from distances in nm: each hydrogen to its nearest heavy atom, heavy atoms within reach."""
    heavy = [i for i, element in enumerate(elements) if element != "H"]
    bonds = [
        pair
        for pair in itertools.combinations(heavy, 2)
        if distance[pair] < _LONGEST_NM.get(frozenset((elements[pair[0]], elements[pair[1]])), 0.19)
    ]
    for i, element in enumerate(elements):
        if element == "H" and heavy:
            near = heavy[int(distance[i, heavy].argmin())]
            if distance[i, near] < _LONGEST_TO_H_NM:
                bonds.append((near, i))
    return tuple((min(bond), max(bond)) for bond in bonds)


def pieces(n_atoms: int, bonds: Sequence[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """The molecules of a graph: of each the bonds by which its atoms are reached, from its first one outwards.

    >>> pieces(4, [(1, 2), (0, 2)])
    [[(0, 2), (2, 1)], []]
    """
    adjacent = neighbours(n_atoms, bonds)
    seen: set[int] = set()
    found = []
    for first in range(n_atoms):
        if first in seen:
            continue
        seen.add(first)
        order, outwards = [first], []
        for here in order:
            for there in adjacent[here]:
                if there not in seen:
                    seen.add(there)
                    order.append(there)
                    outwards.append((here, there))
        found.append(outwards)
    return found


def difference(atoms: Atoms, file: FileAtoms) -> str:
    """What a file has too many or too few of, by residue and name; empty where the elements are the same."""
    if Counter(atoms.elements) == Counter(file.elements):
        return ""
    numbers = list(dict.fromkeys(atoms.residue_numbers))
    if len(numbers) != len(file.residue_names):
        return f"the file holds {file.sequence}, expected {atoms.residues}"
    for row, number in enumerate(numbers):
        ours = [i for i in range(atoms.n_atoms) if atoms.residue_numbers[i] == number]
        theirs = [i for i, residue in enumerate(file.residues) if residue == row]
        mine, other = Counter(atoms.elements[i] for i in ours), Counter(file.elements[i] for i in theirs)
        if mine == other:
            continue
        name, label = file.residue_names[row]
        expected = f"{atoms.residue_names[ours[0]]} {number}"
        if name != atoms.residue_names[ours[0]] and mine - Counter(H=mine["H"]) != other - Counter(H=other["H"]):
            return f"the file has {label} where {expected} of {atoms.residues} was expected"
        my_names, their_names = {atoms.names[i] for i in ours}, {file.names[i] for i in theirs}
        fewer, more = mine - other, other - mine
        lacking = [atoms.names[i] for i in ours if fewer[atoms.elements[i]] and atoms.names[i] not in their_names]
        extra = [file.names[i] for i in theirs if more[file.elements[i]] and file.names[i] not in my_names]
        parts = [
            f"{verb} {', '.join(f'{count} {element}' for element, count in counted.items())}"
            + (f" (such as {', '.join(named[:6])})" if named else "")
            for verb, counted, named in (("lacks", fewer, lacking), ("has too many", more, extra))
            if counted
        ]
        return f"{label} of the file {' and '.join(parts)}; expected all atoms of {expected}, and no others"
    return f"the file holds other atoms than {atoms.residues}"


def _bonded_otherwise(atoms: Atoms, file: FileAtoms) -> str:
    """How two molecules of the same atoms differ: where an atom has neighbours of other elements, if there is one."""
    n = atoms.n_atoms
    elements = [*atoms.elements, *file.elements]
    kinds = [
        (elements[i], tuple(sorted(elements[j] for j in row)))
        for i, row in enumerate(neighbours(2 * n, [*atoms.bonds, *((i + n, j + n) for i, j in file.bonds)]))
    ]
    too_many = Counter(kinds[n:]) - Counter(kinds[:n])
    odd = next((i for i in range(n) if too_many[kinds[n + i]]), None)
    where = ""
    if odd is not None:
        around = ", ".join(kinds[n + odd][1]) or "nothing"
        where = f": {file.names[odd]} of {file.residue_names[file.residues[odd]][1]} is bonded to {around}"
    return (
        f"the file holds {file.sequence}, whose atoms are bonded otherwise than those of {atoms.residues}{where} "
        "(another molecule, protonation or tautomer)"
    )


def _undecided(centre: int, adjacent: list[list[int]], colours: list[int], matched: dict[int, int]) -> list[int]:
    """Neighbours of an atom that share a colour: the first such group."""
    open_ones = [i for i in adjacent[centre] if i not in matched]
    if not open_ones:
        return []
    return [i for i in open_ones if colours[i] == colours[open_ones[0]]]


def _assign(
    group: list[int],
    like: list[int],
    centre: int,
    matched: dict[int, int],
    adjacent: list[list[int]],
    names: list[str],
    start: Tensor | None,
    first: Tensor,
) -> dict[int, int]:
    """Pairs of a group of like neighbours: of those with the right handedness, the pairs that keep most names."""
    n = len(names) - len(first)
    rest = [i for i in adjacent[centre] if i not in group]
    anchors = [i for i in rest if i in matched]
    rows: list[list[int]] = []  # quadruples whose sign must be the same in both
    measure: Callable[[Tensor, Tensor], Tensor] = signed_volumes
    if start is None:
        pass
    elif len(group) == 3:
        rows = [[centre, *group]]
    elif len(group) == 2 and len(adjacent[centre]) == 4 and anchors:
        rows = [[centre, anchors[0], *group]]
    elif len(group) == 2 and len(adjacent[centre]) == 3 and anchors and len(adjacent[anchors[0]]) == 3:
        beyond = [i for i in adjacent[anchors[0]] if i in matched and i != centre]
        rows = [[beyond[0], anchors[0], centre, member] for member in group] if beyond else []
        measure = _sides
    best: tuple[tuple[bool, int], dict[int, int]] | None = None
    for order in itertools.permutations(like):
        pairs = dict(zip(group, order, strict=True))
        there = [[(pairs.get(i) or matched[i]) - n for i in row] for row in rows]
        good = (
            start is None
            or not rows
            or _same_signs(measure(start, torch.tensor(rows)), measure(first, torch.tensor(there)))
        )
        kept = sum(names[i] == names[j] for i, j in pairs.items())
        if best is None or (good, kept) > best[0]:
            best = ((good, kept), pairs)
    assert best is not None
    return best[1]


def _plain(name: str) -> str:
    """A name with its leading digit at the end (``1HB`` is HB1), oxygens of a C-terminus as PDB names them."""
    digits = len(name) - len(name.lstrip("0123456789"))
    return _OXYGENS.get(name, name[digits:] + name[:digits])


def _same_signs(one: Tensor, other: Tensor) -> bool:
    return bool(((one > 0) == (other > 0)).all())


def _sides(positions: Tensor, quadruples: Tensor) -> Tensor:
    """Positive where the outer atoms are cis."""
    return dihedrals(positions, quadruples).cos()
