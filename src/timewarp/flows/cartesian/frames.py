"""Coordinates of the Cartesian flow: displacements along axes of the laboratory or the molecule, or bond vectors.

Bond lengths fluctuate by 3 pm and positions by a hundred times that. In displacements a flow must therefore learn, to
a percent, that neighbours move together, and how each bond of x was stretched just then, in order to forget it. With
``bonds`` it sees the vector of x' from each atom's parent in the spanning tree, along axes of the conditioning
molecule: along the parent's own bond, in the plane of the first atom placed on it, and across. Lengths, angles and the
dihedrals between siblings are then near their chemical values whatever x is, and stiff directions are coordinates. All
that is a linear map of determinant one and a shift, and both depend on the condition alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...shapes import Float, Int
from ...state import Atoms


@dataclass(frozen=True)
class Axes:
    """Axes of conditioning molecules.

    Attributes:
        rotation: axes as columns, one set per molecule (``k`` = 1) or per atom.
        origin: what positions are seen from: each atom's own, or the root's.
        sums: 1 where an atom hangs on a bond of the tree (:func:`ways_from_root`); None: no tree.
        differences: inverse of ``sums``.
    """

    rotation: Float[Tensor, "batch k 3 3"]
    origin: Float[Tensor, "batch m 3"]
    sums: Float[Tensor, "batch atoms atoms"] | None = None
    differences: Float[Tensor, "batch atoms atoms"] | None = None

    def select(self, rows: Tensor | slice) -> Axes:
        """The axes of some rows of the batch."""
        pick = [None if t is None else t[rows] for t in (self.sums, self.differences)]
        return Axes(self.rotation[rows], self.origin[rows], *pick)

    def vectors_into(self, vectors: Float[Tensor, "*n batch atoms 3"]) -> Float[Tensor, "*n batch atoms 3"]:
        """Components along the axes."""
        return _apply(vectors, self.rotation)

    def vectors_out(self, vectors: Float[Tensor, "*n batch atoms 3"]) -> Float[Tensor, "*n batch atoms 3"]:
        """Inverse of :meth:`vectors_into`."""
        return _apply(vectors, self.rotation.transpose(-1, -2))

    def positions_into(self, positions: Float[Tensor, "*n batch atoms 3"]) -> Float[Tensor, "*n batch atoms 3"]:
        """Displacements, or bond vectors, along the axes; in nm."""
        moved = positions - self.origin
        return self.vectors_into(moved if self.differences is None else _mix(self.differences, moved))

    def positions_out(self, vectors: Float[Tensor, "*n batch atoms 3"]) -> Float[Tensor, "*n batch atoms 3"]:
        """Inverse of :meth:`positions_into`."""
        moved = self.vectors_out(vectors)
        return self.origin + (moved if self.sums is None else _mix(self.sums, moved))


def plane_axes(
    positions: Float[Tensor, "batch atoms 3"], corners: Int[Tensor, "batch k 3"]
) -> Float[Tensor, "batch k 3 3"]:
    """Right-handed axes (columns) of the plane through three atoms a, b, c: along b - a, in the plane, across it."""
    rows = torch.arange(len(positions), device=positions.device)[:, None]
    a, b, c = (positions[rows, corner] for corner in corners.unbind(-1))
    first = nn.functional.normalize(b - a, dim=-1)
    third = nn.functional.normalize(torch.linalg.cross(first, c - a), dim=-1)
    return torch.stack([first, torch.linalg.cross(third, first), third], -1)


def bond_corners(atoms: Atoms) -> Int[Tensor, "atoms 3"]:
    """Corners of each atom's axes: the far and the near end of its parent's bond, and the first atom placed on that."""
    tree = atoms.tree
    corners = [(b, a, first) for (a, b, _), first in zip(tree.references, tree.first_sibling, strict=True)]
    first, second, third = tree.order[:3]
    for i in tree.order[:3]:
        corners[i] = (first, second, third)
    return torch.tensor(corners)


def ways_from_root(atoms: Atoms) -> Float[Tensor, "atoms atoms"]:
    """1 where an atom (row) hangs on another (column) in the spanning tree, or is that other."""
    sums = torch.eye(atoms.n_atoms)
    for i in atoms.tree.order[1:]:
        sums[i] += sums[atoms.tree.references[i][0]]
    return sums


def _apply(vectors: Tensor, rotation: Tensor) -> Tensor:
    # Autocast would round positions to bfloat16: harmless within the networks, not here.
    with torch.autocast(vectors.device.type, enabled=False):
        if rotation.shape[1] == 1:
            return vectors @ rotation[:, 0].to(vectors.dtype)
        return (vectors.unsqueeze(-2) @ rotation.to(vectors.dtype)).squeeze(-2)


def _mix(matrix: Tensor, vectors: Tensor) -> Tensor:
    with torch.autocast(vectors.device.type, enabled=False):
        return matrix.to(vectors.dtype) @ vectors
