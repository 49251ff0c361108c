"""What the bond graph alone says: neighbours, rings, equivalent atoms, stereocentres."""

from __future__ import annotations

from collections.abc import Sequence

Bonds = Sequence[tuple[int, int]]


def neighbours(n_atoms: int, bonds: Bonds) -> list[list[int]]:
    """Neighbours of each atom, in increasing order."""
    lists: list[list[int]] = [[] for _ in range(n_atoms)]
    for i, j in bonds:
        lists[i].append(j)
        lists[j].append(i)
    return [sorted(row) for row in lists]


def ring_bonds(n_atoms: int, bonds: Bonds) -> set[frozenset[int]]:
    """Bonds that lie in a ring: those whose removal leaves their ends connected (all but the bridges).

    >>> len(ring_bonds(4, [(0, 1), (1, 2), (2, 0), (2, 3)]))
    3
    """
    adjacent = neighbours(n_atoms, bonds)
    return {frozenset((i, j)) for i, j in bonds if j in beyond(adjacent, j, i)}


def beyond(adjacent: Sequence[Sequence[int]], origin: int, end: int) -> set[int]:
    """Atoms reached from ``end`` when its bond to ``origin`` is cut, ``end`` included; ``origin`` too in a ring.

    >>> sorted(beyond(neighbours(4, [(0, 1), (1, 2), (2, 3)]), 1, 2))
    [2, 3]
    """
    seen, stack = {end}, [end]
    while stack:
        here = stack.pop()
        for there in adjacent[here]:
            if {here, there} != {origin, end} and there not in seen:
                seen.add(there)
                stack.append(there)
    return seen


def automorphism_classes(elements: Sequence[str], bonds: Bonds) -> list[int]:
    """Colour atoms so that exchangeable ones (the hydrogens of a methyl) share a colour (Weisfeiler-Leman 1968).

    >>> automorphism_classes(["C", "H", "H", "O"], [(0, 1), (0, 2), (0, 3)])
    [0, 1, 1, 2]
    """
    adjacent = neighbours(len(elements), bonds)
    colours = _renumber(list(elements))
    while True:
        signatures = [(colours[i], tuple(sorted(colours[j] for j in row))) for i, row in enumerate(adjacent)]
        refined = _renumber(signatures)
        if len(set(refined)) == len(set(colours)):
            return refined
        colours = refined


def find_stereocentres(elements: Sequence[str], bonds: Bonds) -> list[tuple[int, int, int, int]]:
    """Carbons with four neighbours that can all be told apart, as (centre, a, b, c).

    In peptides: every CA but glycine's, and CB of isoleucine and threonine.
    """
    adjacent = neighbours(len(elements), bonds)
    colours = automorphism_classes(elements, bonds)
    return [
        (i, row[0], row[1], row[2])
        for i, row in enumerate(adjacent)
        if elements[i] == "C" and len(row) == 4 and len({colours[j] for j in row}) == 4
    ]


def amide_bonds(elements: Sequence[str], bonds: Bonds) -> list[tuple[int, int, int, int]]:
    """Amide bonds between a carbonyl carbon and a nitrogen, each as the four atoms whose torsion is cis or trans.

    The nitrogen has two substituents that can be told apart: of a secondary amide the one that is no hydrogen counts,
    of a tertiary amide the larger (then the earlier) one. Primary amides, those with two like substituents, and bonds
    in rings of fewer than eight atoms have no choice and are left out.

    Returns:
        Atoms (beyond the carbonyl, carbonyl carbon, nitrogen, beyond the nitrogen).

    >>> formamide = [(0, 1), (0, 2), (2, 3), (2, 4), (0, 5)]
    >>> amide_bonds(["C", "O", "N", "C", "H", "C"], formamide)
    [(5, 0, 2, 3)]
    """
    adjacent = neighbours(len(elements), bonds)
    colours = automorphism_classes(elements, bonds)
    found = []
    for c, n in sorted(pair for i, j in bonds for pair in ((i, j), (j, i))):
        if (elements[c], len(adjacent[c])) != ("C", 3) or (elements[n], len(adjacent[n])) != ("N", 3):
            continue
        oxygens = [i for i in adjacent[c] if elements[i] == "O" and len(adjacent[i]) == 1]
        beyond_c = [i for i in adjacent[c] if i != n and i not in oxygens]
        beyond_n = [i for i in adjacent[n] if i != c]
        if len(oxygens) != 1 or len(beyond_c) != 1 or len({colours[i] for i in beyond_n}) == 1:
            continue
        if 0 < ring_size(adjacent, c, n) < SMALLEST_TURNING_RING:
            continue
        size = {i: len(beyond(adjacent, n, i)) for i in beyond_n}
        last = min(beyond_n, key=lambda i: (elements[i] == "H", -size[i], i))
        found.append((beyond_c[0], c, n, last))
    return found


SMALLEST_TURNING_RING = 8
"""A double bond in a ring of fewer atoms has only its cis form."""


def ring_size(adjacent: Sequence[Sequence[int]], origin: int, end: int) -> int:
    """Atoms of the smallest ring through a bond, 0 for a bond in no ring.

    >>> ring_size(neighbours(4, [(0, 1), (1, 2), (2, 0), (2, 3)]), 0, 1)
    3
    """
    distance, queue = {origin: 1}, [origin]
    for here in queue:
        for there in adjacent[here]:
            if there not in distance and {here, there} != {origin, end}:
                distance[there] = distance[here] + 1
                queue.append(there)
    return distance.get(end, 0)


def interchangeable_leaves(elements: Sequence[str], bonds: Bonds) -> list[tuple[tuple[int, int, int], tuple[int, ...]]]:
    """Like atoms at a chain's end that turns about one bond interchange: hydrogens of CH3 and NH3+, oxygens of COO-.

    Returns:
        For each group three atoms (reference, neighbour, centre) and the leaves: those bonded to the centre, which
        turn about its bond to the neighbour; the reference is another atom bonded to the neighbour.

    >>> ethane = [(0, 1), (0, 2), (0, 3), (0, 4), (1, 5), (1, 6), (1, 7)]
    >>> interchangeable_leaves(["C", "C", *"HHHHHH"], ethane)
    [((5, 1, 0), (2, 3, 4)), ((2, 0, 1), (5, 6, 7))]
    """
    adjacent = neighbours(len(elements), bonds)
    groups = []
    for centre, row in enumerate(adjacent):
        leaves = [i for i in row if len(adjacent[i]) == 1]
        others = [i for i in row if i not in leaves]
        kinds = {elements[i] for i in leaves}
        # The two hydrogens of an amide are stiff, and those of a pyramidal amine no turn interchanges.
        if len(others) == 1 and (len(leaves), kinds) in ((3, {"H"}), (2, {"O"})):
            references = [i for i in adjacent[others[0]] if i != centre]
            if references:
                groups.append(((references[0], others[0], centre), tuple(leaves)))
    return groups


def _renumber(values: Sequence) -> list[int]:
    first_seen: dict = {}
    return [first_seen.setdefault(value, len(first_seen)) for value in values]
