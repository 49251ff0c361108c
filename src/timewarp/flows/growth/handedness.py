"""Handedness: each step of a growth is seen in the mirror in which the stereocentre nearest to it is L.

The energy of a mirror image is that of the molecule. A network that reads each step in axes of the handedness of its
own residue, and draws the torsion in the same axes, treats a molecule and its mirror image alike by construction, at no
cost. Where residues of both kinds meet, the network is told which fragments are of the other handedness.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...geometry import neighbours, signed_volumes
from ...shapes import Float
from ...state import Atoms
from ..chemistry import graph_distance

WEIGHTS = {"H": 1, "C": 6, "N": 7, "O": 8, "S": 16}


def alpha_carbons(atoms: Atoms) -> list[tuple[int, int, int, int]]:
    """Stereocentres (centre, a, b, c) whose signed volume is positive where an amino acid is L.

    Of centres that are bonded to a nitrogen and to a carbon with an oxygen at its end, these are a and b, and c is the
    heaviest of the rest; molecules without such a centre have all that they have, in an order that the bond graph
    decides.
    """
    adjacent = neighbours(atoms.n_atoms, atoms.bonds)

    def ends(i: int) -> int:
        return sum(atoms.elements[j] == "O" and len(adjacent[j]) == 1 for j in adjacent[i])

    def rank(i: int) -> tuple[int, ...]:
        first = (atoms.elements[i] == "N", ends(i) > 0, WEIGHTS.get(atoms.elements[i], 99))
        return (*(-int(x) for x in first), -len(adjacent[i]), -sum(len(adjacent[j]) for j in adjacent[i]), i)

    found, alphas = [], []
    for row in atoms.stereocentres.tolist():
        centre = row[0]
        a, b, c = sorted(adjacent[centre], key=rank)[:3]
        found.append((centre, a, b, c))
        if atoms.elements[a] == "N" and atoms.elements[b] == "C" and ends(b):
            alphas.append(found[-1])
    return alphas or found


def nearest_centres(
    atoms: Atoms, corners: Tensor, membership: Float[Tensor, "sites atoms"]
) -> Float[Tensor, "sites 4"] | Tensor:
    """The centre that is the fewest bonds away from each fragment's axis, the first one of equals; -1 without any.

    Args:
        atoms: the molecule.
        corners: integer (steps, 4), atoms of each step's torsion.
        membership: which atoms each fragment has; the first, the root's, has no axis.
    """
    centres = alpha_carbons(atoms)
    if not centres:
        return no_centres(len(membership))
    bonds = graph_distance(atoms)
    rows = torch.tensor(centres)
    axes = [membership[0].nonzero()[:, 0].tolist(), *corners[:, 1:3].tolist()]
    nearest = [int(bonds[axis][:, rows[:, 0]].sum(0).argmin()) for axis in axes]
    return rows[nearest]


def no_centres(n_sites: int) -> Tensor:
    """Nothing is mirrored."""
    return torch.full((n_sites, 4), -1)


def signs(x: Float[Tensor, "batch atoms 3"], centres: Sequence[Sequence[int]] | Tensor) -> Float[Tensor, "batch sites"]:
    """+1 where a fragment's centre is L or there is none, -1 where it is D."""
    rows = torch.as_tensor(centres, device=x.device)
    known = rows[:, 0] >= 0
    volume = signed_volumes(x.detach(), rows.clamp(min=0))
    return torch.where(known & (volume < 0), -1.0, 1.0).to(x)
