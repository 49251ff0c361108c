"""Positions <-> internal coordinates (bond length, angle, dihedral of each atom) with the exact volume element."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..shapes import Float
from .vectors import angles, dihedrals, distances, wrap


@dataclass(frozen=True)
class InternalTree:
    """A spanning tree of the bond graph, with a bond length, an angle and a dihedral per atom.

    Attributes:
        order: atoms in the order of placement; the first three are the root atoms.
        references: per atom (a, b, c): bonded to a, angle with b, dihedral against c; -1 where undefined.
        first_sibling: per atom, the atom whose dihedral its own is measured from: itself for a proper torsion
            (the first child placed on a bond), -1 for the root atoms.
        level: per atom, its depth; atoms of one level can be placed at once.
        proper: atoms that carry a proper torsion, in the order of placement (outwards from the root).
        rotatable: those of ``proper`` whose bond turns freely (soft torsions).
    """

    order: tuple[int, ...]
    references: tuple[tuple[int, int, int], ...]
    first_sibling: tuple[int, ...]
    level: tuple[int, ...]
    proper: tuple[int, ...]
    rotatable: tuple[int, ...]

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.order)

    @cached_property
    def defined(self) -> Tensor:
        """Boolean (atoms, 3): which of (bond length, angle, dihedral) each atom has; 3 N - 6 in all."""
        return torch.tensor(self.references) >= 0

    @cached_property
    def torsions(self) -> Tensor:
        """Integer (rotatable, 4): the atoms (i, a, b, c) of each rotatable torsion."""
        return torch.tensor([(i, *self.references[i]) for i in self.rotatable], dtype=torch.long).reshape(-1, 4)

    @cached_property
    def levels(self) -> tuple[Tensor, ...]:
        """Atoms beyond the root, grouped so that each group needs only earlier groups."""
        deepest = max(self.level)
        groups = ([i for i in self.order[3:] if self.level[i] == depth] for depth in range(1, deepest + 1))
        return tuple(torch.tensor(group, dtype=torch.long) for group in groups if group)

    @cached_property
    def _index(self) -> dict[str, Tensor]:
        rest = list(self.order[3:])
        root, _, third = self.order[:3]
        sibling = torch.arange(self.n_atoms)
        sibling[rest] = torch.tensor([self.first_sibling[i] for i in rest], dtype=torch.long)
        relative = torch.tensor([self.first_sibling[i] not in (i, -1, third) for i in range(self.n_atoms)])
        return {
            "bonded": torch.tensor([i for i in self.order if i != root], dtype=torch.long),
            "angled": torch.tensor([third, *rest], dtype=torch.long),
            "rest": torch.tensor(rest, dtype=torch.long),
            "references": torch.tensor(self.references, dtype=torch.long),
            "sibling": sibling,
            "relative": relative,
        }


def to_internal(positions: Float[Tensor, "*batch atoms 3"], tree: InternalTree) -> Float[Tensor, "*batch atoms 3"]:
    """Bond length (nm), angle (rad) and dihedral (rad, in [-pi, pi)) of each atom; 0 where undefined.

    The dihedral of a proper torsion is the IUPAC dihedral; that of a later sibling is the difference
    from its first sibling's, and stays close to a constant whatever the torsion.
    """
    index = tree._index
    internal = torch.zeros_like(positions)
    references = index["references"]
    bonded, angled, rest = index["bonded"], index["angled"], index["rest"]
    internal[..., bonded, 0] = distances(positions, torch.stack([bonded, references[bonded, 0]], -1))
    internal[..., angled, 1] = angles(positions, torch.stack([angled, *references[angled, :2].unbind(-1)], -1))
    absolute = torch.zeros_like(positions[..., 0])
    absolute[..., rest] = dihedrals(positions, torch.stack([rest, *references[rest].unbind(-1)], -1))
    offset = absolute[..., index["sibling"]] * index["relative"].to(absolute)
    internal[..., 2] = wrap(absolute - offset)
    internal[..., list(tree.order[:3]), 2] = 0.0
    return internal


def to_positions(
    internal: Float[Tensor, "*batch atoms 3"], tree: InternalTree, frame: Float[Tensor, "*batch atoms 3"]
) -> Float[Tensor, "*batch atoms 3"]:
    """Place all atoms from internal coordinates; the inverse of :func:`to_internal` up to a rigid motion.

    Args:
        internal: bond lengths (nm), angles and dihedrals (rad) of each atom.
        tree: the spanning tree.
        frame: positions whose root atoms fix the rigid motion: the first root atom stays, the second
            keeps its direction, the third its half-plane.
    """
    index = tree._index
    root, second, third = tree.order[:3]
    origin = frame[..., root, :]
    axis = _unit(frame[..., second, :] - origin)
    in_plane = frame[..., third, :] - frame[..., second, :]
    side = _unit(in_plane - (in_plane * axis).sum(-1, keepdim=True) * axis)
    placed = torch.zeros_like(internal)
    placed[..., root, :] = origin
    placed[..., second, :] = origin + internal[..., second, 0:1] * axis
    length, angle = internal[..., third, 0:1], internal[..., third, 1:2]
    placed[..., third, :] = placed[..., second, :] + length * (side * angle.sin() - axis * angle.cos())

    dihedral = internal[..., 2] + internal[..., index["sibling"], 2] * index["relative"].to(internal)
    length, angle = internal[..., 0], internal[..., 1]
    outward, sideways = -length * angle.cos(), length * angle.sin()
    along, across = sideways * dihedral.cos(), sideways * dihedral.sin()
    positions = [placed[..., i, :] for i in range(tree.n_atoms)]
    for group in tree.levels:
        members = group.tolist()
        a, b, c = (torch.stack([positions[tree.references[i][k]] for i in members], -2) for k in range(3))
        forward = _unit(a - b)
        normal = _unit(torch.linalg.cross(b - c, forward))
        binormal = torch.linalg.cross(normal, forward)
        step = (
            forward * outward[..., group, None] + binormal * along[..., group, None] + normal * across[..., group, None]
        )
        new = a + step
        for k, i in enumerate(members):
            positions[i] = new[..., k, :]
    return torch.stack(positions, -2)


def log_volume(internal: Float[Tensor, "*batch atoms 3"], tree: InternalTree) -> Float[Tensor, "*batch"]:
    """Log of the volume element: dx = (rigid motion) prod b^2 prod sin(theta) db dtheta dphi.

    The constant rigid-motion factor is left out. Log of nm^(2 (N - 1)).
    """
    index = tree._index
    bonds = internal[..., index["bonded"], 0]
    bends = internal[..., index["angled"], 1]
    return 2 * bonds.log().sum(-1) + bends.sin().log().sum(-1)


def _unit(vector: Tensor) -> Tensor:
    return vector / vector.norm(dim=-1, keepdim=True)
