"""What the networks know of an atom: its chemistry, and its place in the bond graph."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..shapes import Float, Int
from ..state import Atoms

ELEMENTS = ("H", "C", "N", "O", "S")
FARTHEST = 12
"""Bond-graph distances are capped here."""
CHARGE_SCALE = 0.5
"""Partial charges are divided by this (in e)."""
N_CHEMISTRY = len(ELEMENTS) + 4 + 3
"""Numbers of one atom in :func:`atom_chemistry`."""
N_TORSION_FEATURES = 4 * N_CHEMISTRY
"""Numbers of the four atoms of a torsion."""


def atom_chemistry(atoms: Atoms) -> Float[Tensor, "atoms 12"]:
    """Element (5), number of bonds (4), bonded hydrogens, partial charge, whether in a ring.

    An element that the networks have not seen has none of the five marks: what is known of it is its charge and its
    bonds. Proposals stay exact, since Metropolis-Hastings decides.
    """
    adjacency = atoms.adjacency
    hydrogens = torch.tensor([e == "H" for e in atoms.elements])
    element = torch.tensor([[e == known for known in ELEMENTS] for e in atoms.elements])
    degree = F.one_hot((adjacency.sum(-1) - 1).clamp(0, 3), 4)
    n_hydrogens = (adjacency & hydrogens).sum(-1) / 3
    charge = torch.tensor(atoms.charges, dtype=torch.float64) / CHARGE_SCALE
    ring = torch.tensor(atoms.in_ring)
    columns = [element, degree, n_hydrogens[:, None], charge[:, None], ring[:, None]]
    return torch.cat([c.to(torch.float32) for c in columns], -1)


def check_elements(atoms: Atoms) -> None:
    """Refuse elements that an embedding has no row for.

    Raises:
        ValueError: the molecule holds one.
    """
    if unknown := sorted(set(atoms.elements) - set(ELEMENTS)):
        raise ValueError(f"this network knows the elements {', '.join(ELEMENTS)}, not {', '.join(unknown)}")


def graph_distance(atoms: Atoms) -> Int[Tensor, "atoms atoms"]:
    """Bonds between each two atoms, capped at ``FARTHEST``."""
    reached = torch.eye(atoms.n_atoms, dtype=torch.bool)
    distance = torch.full((atoms.n_atoms, atoms.n_atoms), FARTHEST)
    step = atoms.adjacency | reached
    for d in range(FARTHEST):
        distance[reached & (distance == FARTHEST)] = d
        reached = (reached.float() @ step.float()) > 0
    return distance
