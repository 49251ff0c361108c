"""Name the large rings and cross-links of a molecule: what torsion moves do not turn."""

from __future__ import annotations

from collections.abc import Sequence

from ...geometry import neighbours, ring_bonds
from ...state import Atoms

SMALLEST_MACROCYCLE = 8


def shortest_cycle(adjacent: Sequence[Sequence[int]], origin: int, end: int) -> tuple[int, ...]:
    """Atoms of the shortest ring through a bond, from ``origin`` to ``end``; empty for a bond in no ring.

    >>> shortest_cycle([[1, 2], [0, 2], [0, 1]], 0, 1)
    (0, 2, 1)
    """
    before, queue = {origin: -1}, [origin]
    for here in queue:
        for there in adjacent[here]:
            if there not in before and {here, there} != {origin, end}:
                before[there] = here
                queue.append(there)
    if end not in before:
        return ()
    path = [end]
    while path[-1] != origin:
        path.append(before[path[-1]])
    return tuple(reversed(path))


def describe_rings(atoms: Atoms) -> list[str]:
    """One line for each cross-link between residues and each large ring within one, by what closes it."""
    adjacent = neighbours(atoms.n_atoms, atoms.bonds)
    rings = ring_bonds(atoms.n_atoms, atoms.bonds)
    number = atoms.residue_numbers
    lines, seen = [], set()
    for i, j in sorted(tuple(sorted(bond)) for bond in rings):
        cycle = shortest_cycle(adjacent, i, j)
        if len(cycle) < SMALLEST_MACROCYCLE:
            continue
        if number[i] != number[j]:
            follows = abs(number[i] - number[j]) == 1 and {atoms.names[i], atoms.names[j]} in ({"C", "N"}, {"O3'", "P"})
            if follows:
                continue
            names = {atoms.names[i], atoms.names[j]}
            if atoms.elements[i] == atoms.elements[j] == "S":
                lines.append(f"disulphide bond between {_residue(atoms, i)} and {_residue(atoms, j)}")
            elif names == {"C", "N"}:
                c, n = (i, j) if atoms.names[i] == "C" else (j, i)
                lines.append(f"ring: C of {_residue(atoms, c)} is bonded to N of {_residue(atoms, n)}, head to tail")
            else:
                lines.append(f"ring: {_atom(atoms, i)} is bonded to {_atom(atoms, j)}")
        elif len({number[k] for k in cycle}) == 1 and (number[i], len(cycle)) not in seen:
            seen.add((number[i], len(cycle)))
            lines.append(
                f"ring of {len(cycle)} atoms in {_residue(atoms, i)}, through {atoms.names[i]} and {atoms.names[j]}"
            )
    return lines


def _residue(atoms: Atoms, index: int) -> str:
    return f"{atoms.residue_names[index]} {atoms.residue_numbers[index]}"


def _atom(atoms: Atoms, index: int) -> str:
    return f"{atoms.names[index]} of {_residue(atoms, index)}"
