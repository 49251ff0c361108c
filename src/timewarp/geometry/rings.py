"""Rings, and paths through chains, that concerted rotations turn: found by the bond graph alone."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from .graph import Bonds, neighbours
from .tree import is_trigonal

LONGEST_SPAN = 7
"""Corners within the moving part of a window, at most: longer parts of a ring or chain hardly move at once."""
FEWEST_TURNS = 7
"""Bonds that must turn: one that drives and six that follow."""


@dataclass(frozen=True)
class Loop:
    """A ring, or a path through a chain, by its atoms in order.

    Attributes:
        atoms: of a ring, the last bonded to the first.
        turns: for each atom, whether the bond from it to the next one turns.
        closed: whether it is a ring. Of a path, the first and the last atom stay in place.
    """

    atoms: tuple[int, ...]
    turns: tuple[bool, ...]
    closed: bool

    @property
    def bonds(self) -> list[tuple[int, int]]:
        """Pairs of neighbours that turn."""
        following = (*self.atoms[1:], self.atoms[0])
        return [(a, b) for a, b, turns in zip(self.atoms, following, self.turns, strict=True) if turns]

    @property
    def corners(self) -> list[int]:
        """Places in ``atoms`` of those whose two bonds turn."""
        return [k for k in range(len(self.atoms)) if self.turns[k - 1] and self.turns[k]]


def find_rings(elements: Sequence[str], bonds: Bonds) -> list[Loop]:
    """Rings with enough bonds that turn, so that they can be closed in more than one way.

    Two bonds turn against each other if the molecule falls apart when both are cut, and only then; so the bonds of
    rings fall into classes, of which each lies on one ring, in order, with rigid parts between them. A bond turns
    unless it joins two trigonal atoms, as in :func:`~timewarp.geometry.build_tree`. Proline's ring and aromatic ones
    have too few and are rigid parts of larger rings.
    """
    adjacent = neighbours(len(elements), bonds)
    parent, order = _spanning(adjacent)
    depth = {-1: -1}
    for atom in order:
        depth[atom] = depth[parent[atom]] + 1
    covered: dict[frozenset[int], set[int]] = {}
    cycles: list[list[int]] = []
    for i, j in bonds:
        if parent[i] == j or parent[j] == i:
            continue
        left, right = [i], [j]
        while left[-1] != right[-1]:
            side = left if depth[left[-1]] > depth[right[-1]] else right
            side.append(parent[side[-1]])
        cycle = left + right[-2::-1]
        for k in range(len(cycle)):
            covered.setdefault(frozenset((cycle[k - 1], cycle[k])), set()).add(len(cycles))
        cycles.append(cycle)
    classes = {frozenset(ids): min(ids) for ids in covered.values()}
    loops = []
    for members, number in sorted(classes.items(), key=lambda item: sorted(item[0])):
        cycle = cycles[number]
        pairs = list(zip(cycle, (*cycle[1:], cycle[0]), strict=True))
        turns = tuple(covered[frozenset(p)] == members and _turns(elements, adjacent, *p) for p in pairs)
        loops.append(Loop(tuple(cycle), turns, closed=True))
    return [loop for loop in loops if windows(loop)]


def find_path(elements: Sequence[str], bonds: Bonds) -> Loop | None:
    """The path through a molecule that has the most bonds that turn and are in no ring; None if it has too few."""
    adjacent = neighbours(len(elements), bonds)

    def farthest(start: int) -> list[int]:
        parent, order = _spanning(adjacent, start)
        score = {start: (0, 0)}
        for atom in order[1:]:
            turning = _turns(elements, adjacent, parent[atom], atom) and not _in_ring(adjacent, parent[atom], atom)
            score[atom] = (score[parent[atom]][0] + turning, score[parent[atom]][1] + 1)
        end = max(order, key=lambda atom: (*score[atom], -atom))
        path = [end]
        while path[-1] != start:
            path.append(parent[path[-1]])
        return path

    path = farthest(farthest(0)[0])
    turns = tuple(
        _turns(elements, adjacent, a, b) and not _in_ring(adjacent, a, b) for a, b in itertools.pairwise(path)
    )
    loop = Loop(tuple(path), (*turns, False), closed=False)
    return loop if windows(loop) else None


@dataclass(frozen=True)
class Window:
    """Three corners, and the bond that drives them: places in the loop's atoms.

    Attributes:
        corners: increasing; segment i is between corner i and the next one.
        driver: the bond from this place to the next.
        driven: the segment that it is in.
        fixed: the segment that stays in place.
    """

    corners: tuple[int, int, int]
    driver: int
    driven: int
    fixed: int


def windows(loop: Loop) -> list[Window]:
    """All choices of three corners that share no bond, and of a driver between them."""
    n, corners = len(loop.atoms), loop.corners
    if sum(loop.turns) < FEWEST_TURNS or len(corners) < 3:
        return []
    found = []
    for chosen in itertools.combinations(corners, 3):
        ends = (*chosen[1:], chosen[0] + n)
        if any(end - start < 2 for start, end in zip(chosen, ends, strict=True)):
            continue
        inside = [range(start + 1, end - 1) for start, end in zip(chosen, ends, strict=True)]
        for driven in range(3 if loop.closed else 2):
            candidates = [k for k in range(3) if k != driven] if loop.closed else [2]
            fixed = max(candidates, key=lambda k: (len(inside[k]), -k))
            first, stop = (
                ends[fixed],
                chosen[fixed] + n,
            )  # what moves is from the end of the fixed part to its beginning
            span = sum(1 for k in corners if first <= k <= stop or first <= k + n <= stop)
            if span > LONGEST_SPAN:
                continue
            found += [Window(chosen, k % n, driven, fixed) for k in inside[driven] if loop.turns[k % n]]
    return found


def reached(start: int, adjacent: list[list[int]], cut: set[frozenset[int]]) -> list[int]:
    """Atoms that are reached from one without the bonds that are cut, in order."""
    seen, stack = {start}, [start]
    while stack:
        here = stack.pop()
        for there in adjacent[here]:
            if there not in seen and frozenset((here, there)) not in cut:
                seen.add(there)
                stack.append(there)
    return sorted(seen)


def _spanning(adjacent: list[list[int]], start: int = 0) -> tuple[dict[int, int], list[int]]:
    """Parents and order of a breadth-first tree; of all pieces."""
    parent: dict[int, int] = {}
    order: list[int] = []
    for root in (start, *range(len(adjacent))):
        if root in parent:
            continue
        parent[root] = -1
        queue = [root]
        for here in queue:
            for there in adjacent[here]:
                if there not in parent:
                    parent[there] = here
                    queue.append(there)
        order += queue
    return parent, order


def _turns(elements: Sequence[str], adjacent: list[list[int]], a: int, b: int) -> bool:
    trigonal = (is_trigonal(elements[i], len(adjacent[i])) for i in (a, b))
    return len(adjacent[a]) > 1 and len(adjacent[b]) > 1 and not all(trigonal)


def _in_ring(adjacent: list[list[int]], a: int, b: int) -> bool:
    return a in reached(b, adjacent, {frozenset((a, b))})
