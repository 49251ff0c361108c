"""Axes that displacements and auxiliaries are expressed in: the laboratory's, the molecule's, or those of each bond.

Bond lengths fluctuate by 3 pm and positions by a hundred times that. In Cartesian displacements a flow must therefore
learn, to a percent, that neighbours move together. With ``bonds`` it sees for each atom how the vector from its parent
in the spanning tree changes, in axes along and across that bond of the conditioning molecule, so that a stiff direction
is one coordinate. That is a rotation of the differences of displacements, a linear map of determinant one that depends
on the condition alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..shapes import Float, Int
from ..state import Atoms


@dataclass(frozen=True)
class Axes:
    """Axes of conditioning molecules.

    Attributes:
        rotation: axes as columns, one set per molecule (``k`` = 1) or per atom.
        sums: 1 where an atom's displacement contains that of a bond: those on its way from the root, its own included;
            None: displacements are the atoms' own.
        differences: inverse of ``sums``.
    """

    rotation: Float[Tensor, "batch k 3 3"]
    sums: Float[Tensor, "batch atoms atoms"] | None = None
    differences: Float[Tensor, "batch atoms atoms"] | None = None

    def select(self, rows: Tensor | slice) -> Axes:
        """The axes of some rows of the batch."""
        pick = [None if t is None else t[rows] for t in (self.sums, self.differences)]
        return Axes(self.rotation[rows], *pick)

    def vectors_into(self, vectors: Float[Tensor, "*n batch atoms 3"]) -> Float[Tensor, "*n batch atoms 3"]:
        """Components along the axes."""
        return _apply(vectors, self.rotation)

    def vectors_out(self, vectors: Float[Tensor, "*n batch atoms 3"]) -> Float[Tensor, "*n batch atoms 3"]:
        """Inverse of :meth:`vectors_into`."""
        return _apply(vectors, self.rotation.transpose(-1, -2))

    def displacements_into(self, vectors: Float[Tensor, "*n batch atoms 3"]) -> Float[Tensor, "*n batch atoms 3"]:
        """Displacements of atoms (or of bonds) along the axes."""
        if self.differences is not None:
            vectors = _mix(self.differences, vectors)
        return self.vectors_into(vectors)

    def displacements_out(self, vectors: Float[Tensor, "*n batch atoms 3"]) -> Float[Tensor, "*n batch atoms 3"]:
        """Inverse of :meth:`displacements_into`."""
        vectors = self.vectors_out(vectors)
        return vectors if self.sums is None else _mix(self.sums, vectors)


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
    """For each atom its parent, itself and its parent's parent in the spanning tree: the corners of its axes."""
    root, second, third = atoms.tree.order[:3]
    corners = [(a, i, b) for i, (a, b, _) in enumerate(atoms.tree.references)]
    corners[root] = corners[second] = (root, second, third)
    corners[third] = (second, third, root)
    return torch.tensor(corners)


def ways_from_root(atoms: Atoms) -> Float[Tensor, "atoms atoms"]:
    """1 where an atom (row) hangs on the bond of another (column) in the spanning tree, or is that other."""
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
