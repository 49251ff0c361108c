"""Choose the spanning tree of a bond graph that defines the internal coordinates."""

from __future__ import annotations

from collections.abc import Sequence

from .graph import Bonds, neighbours, ring_bonds
from .internal import InternalTree


def build_tree(elements: Sequence[str], bonds: Bonds) -> InternalTree:
    """Spanning tree from the middle of the molecule outwards, heavy and large branches first.

    The root bond is at the graph's centre. The first child placed on a bond carries the proper torsion
    of that bond; its siblings are placed relative to it, so that turning the torsion turns them all.
    A proper torsion is *rotatable* (soft) unless its bond is in a ring or joins two trigonal atoms
    (amide, guanidinium, aromatic); see ``docs/method.md``.

    Args:
        elements: element symbols, one per atom.
        bonds: pairs of atom indices; the graph must be connected.

    Raises:
        ValueError: fewer than four atoms, or the molecule is in several pieces.
    """
    n_atoms = len(elements)
    if n_atoms < 4:
        raise ValueError(f"a molecule needs at least 4 atoms for internal coordinates, got {n_atoms}")
    adjacent = neighbours(n_atoms, bonds)
    distance = [_distances_from(i, adjacent) for i in range(n_atoms)]
    unreachable = [i for i, d in enumerate(distance[0]) if d < 0]
    if unreachable:
        raise ValueError(f"the molecule is in several pieces: atom {unreachable[0]} is not bonded to atom 0's piece")
    root, second, third = _root(elements, adjacent, distance)

    size = _subtree_sizes(root, adjacent, distance)

    def children(atom: int, placed: set[int]) -> list[int]:
        free = [j for j in adjacent[atom] if j not in placed]
        return sorted(free, key=lambda j: (elements[j] == "H", -size[j], j))

    parent = [-1] * n_atoms
    references = [(-1, -1, -1)] * n_atoms
    first_sibling = [-1] * n_atoms
    level = [0] * n_atoms
    parent[second], parent[third] = root, second
    references[second], references[third] = (root, -1, -1), (second, root, -1)
    order, placed = [root, second, third], {root, second, third}
    proper: list[int] = []

    def place(atom: int, onto: int, angle_with: int, dihedral_with: int, sibling: int) -> None:
        parent[atom] = onto
        references[atom] = (onto, angle_with, dihedral_with)
        first_sibling[atom] = sibling
        level[atom] = 1 + max(level[r] for r in references[atom])
        order.append(atom)
        placed.add(atom)
        if sibling == atom:
            proper.append(atom)

    queue = [second, root, third]
    for onto in queue:
        if onto == second:  # these are placed relative to `third`, which has no dihedral of its own
            for atom in children(second, placed):
                place(atom, second, root, third, third)
                queue.append(atom)
            continue
        angle_with = second if onto == root else parent[onto]
        dihedral_with = third if second in (onto, angle_with) and root in (onto, angle_with) else parent[angle_with]
        if dihedral_with == -1:  # onto hangs on the root
            dihedral_with = second
        first = -1
        for atom in children(onto, placed):
            first = atom if first < 0 else first
            place(atom, onto, angle_with, dihedral_with, first)
            queue.append(atom)

    rings = ring_bonds(n_atoms, bonds)
    trigonal = [is_trigonal(elements[i], len(adjacent[i])) for i in range(n_atoms)]
    rotatable = []
    for atom in proper:
        a, b, _ = references[atom]
        if frozenset((a, b)) not in rings and not (trigonal[a] and trigonal[b]):
            rotatable.append(atom)
    return InternalTree(
        order=tuple(order),
        references=tuple(references),
        first_sibling=tuple(first_sibling),
        level=tuple(level),
        proper=tuple(proper),
        rotatable=tuple(rotatable),
    )


def is_trigonal(element: str, degree: int) -> bool:
    """Whether an atom with so many neighbours is taken for planar: carbon and nitrogen with three at most."""
    return (element == "C" and degree <= 3) or (element == "N" and degree <= 3)


def _distances_from(start: int, adjacent: list[list[int]]) -> list[int]:
    distance = [-1] * len(adjacent)
    distance[start] = 0
    queue = [start]
    for here in queue:
        for there in adjacent[here]:
            if distance[there] < 0:
                distance[there] = distance[here] + 1
                queue.append(there)
    return distance


def _root(elements: Sequence[str], adjacent: list[list[int]], distance: list[list[int]]) -> tuple[int, int, int]:
    """Three bonded atoms: the most central branching atom, and its most central heavy neighbours."""

    def peripheral(i: int) -> tuple:
        return (elements[i] == "H", max(distance[i]), sum(distance[i]), i)

    inner = [i for i in range(len(elements)) if len(adjacent[i]) > 1]
    root = min(inner, key=peripheral)
    second = min((j for j in adjacent[root] if len(adjacent[j]) > 1), key=peripheral, default=-1)
    if second < 0:
        raise ValueError("the molecule is a star around one atom: it has no bond to turn")
    third = min((k for k in adjacent[second] if k != root), key=peripheral)
    return root, second, third


def _subtree_sizes(root: int, adjacent: list[list[int]], distance: list[list[int]]) -> list[int]:
    """How many atoms are at least as far from the root through each atom (rings count on both sides)."""
    size = [1] * len(adjacent)
    for i in sorted(range(len(adjacent)), key=lambda atom: -distance[root][atom]):
        for j in adjacent[i]:
            if distance[root][j] == distance[root][i] - 1:
                size[j] += size[i]
    return size
