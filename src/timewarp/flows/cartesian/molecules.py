"""What the Cartesian flow knows of each atom: its element, as in the paper, or more of its chemistry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...shapes import Bool, Float, Int
from ...state import Atoms
from ..chemistry import ELEMENTS, atom_chemistry, check_elements, graph_distance
from .frames import bond_corners, ways_from_root

RESIDUES = (
    *("ALA", "ARG", "ASN", "ASP", "CYS", "GLN", "GLU", "GLY", "HIS", "ILE", "LEU", "LYS", "MET", "PHE", "PRO", "SER"),
    *("THR", "TRP", "TYR", "VAL", "ASH", "CYM", "CYX", "GLH", "HID", "HIE", "HIP", "LYN", "ACE", "NME", "NH2"),
)
"""Residue names with a feature of their own; another name has none of them."""

N_FEATURES = 12 + len(ELEMENTS) + 2 + len(RESIDUES)


@dataclass(frozen=True)
class MoleculeTable:
    """Static description of the molecules that a flow serves, padded to the largest.

    Attributes:
        elements: index into ``ELEMENTS``; 0 where there is no atom.
        features: chemistry of each atom; see :func:`atom_features`.
        bonds: bonds between each two atoms, capped at ``timewarp.flows.chemistry.FARTHEST``.
        is_atom: True for real atoms.
        frame: three atoms in a chain, the root of the internal-coordinate tree.
        corners: three atoms whose plane gives each atom's axes (:func:`timewarp.flows.cartesian.frames.bond_corners`).
        sums: which bonds of the tree move each atom (:func:`timewarp.flows.cartesian.frames.ways_from_root`).
        differences: inverse of ``sums``.
    """

    elements: Int[Tensor, "molecules atoms"]
    features: Float[Tensor, "molecules atoms features"]
    bonds: Int[Tensor, "molecules atoms atoms"]
    is_atom: Bool[Tensor, "molecules atoms"]
    frame: Int[Tensor, "molecules 3"]
    corners: Int[Tensor, "molecules atoms 3"]
    sums: Float[Tensor, "molecules atoms atoms"]
    differences: Float[Tensor, "molecules atoms atoms"]

    @classmethod
    def of(cls, molecules: Sequence[Atoms]) -> MoleculeTable:
        """Describe molecules.

        Raises:
            ValueError: there is none, or one has an element that the networks do not know.
        """
        if not molecules:
            raise ValueError("a Cartesian flow needs at least one molecule")
        most = max(m.n_atoms for m in molecules)
        rows = []
        for atoms in molecules:
            extra = most - atoms.n_atoms
            check_elements(atoms)
            features = atom_features(atoms)
            elements = torch.tensor([ELEMENTS.index(e) for e in atoms.elements])
            rows.append(
                (
                    F.pad(elements, (0, extra)),
                    F.pad(features, (0, 0, 0, extra)),
                    F.pad(graph_distance(atoms), (0, extra, 0, extra)),
                    torch.arange(most) < atoms.n_atoms,
                    torch.tensor(atoms.tree.order[:3]),
                    F.pad(bond_corners(atoms), (0, 0, 0, extra)),
                    sums := torch.block_diag(ways_from_root(atoms), torch.eye(extra)),
                    torch.linalg.inv(sums).round(),
                )
            )
        return cls(*(torch.stack(column) for column in zip(*rows, strict=True)))


def atom_features(atoms: Atoms) -> Float[Tensor, "atoms features"]:
    """Chemistry of each atom, the same for atoms that a force field cannot tell apart.

    Element, number of bonds, hydrogens, partial charge, ring; how many neighbours of each element (together the part
    of a force-field class that a bond graph knows); whether in the first or the last residue; residue name.
    """
    chemistry = atom_chemistry(atoms)
    neighbours = atoms.adjacency.float() @ chemistry[:, : len(ELEMENTS)]
    numbers = torch.tensor(atoms.residue_numbers)
    ends = torch.stack([numbers == numbers.min(), numbers == numbers.max()], -1).float()
    residue = torch.tensor([[name == known for known in RESIDUES] for name in atoms.residue_names]).float()
    return torch.cat([chemistry, neighbours, ends, residue], -1)
