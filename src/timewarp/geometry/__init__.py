"""Distances, angles, dihedrals; positions <-> internal coordinates over a spanning tree of the bond graph."""

from .graph import automorphism_classes, find_stereocentres, interchangeable_leaves, neighbours, ring_bonds
from .internal import InternalTree, beyond_bonds, log_volume, to_internal, to_positions
from .measuring import measure_dihedrals, measure_volumes
from .tree import build_tree
from .vectors import (
    angles,
    best_rotation,
    centre,
    dihedrals,
    distances,
    random_rotations,
    signed_volumes,
    superpose,
    wrap,
)

__all__ = [
    "InternalTree",
    "angles",
    "automorphism_classes",
    "best_rotation",
    "beyond_bonds",
    "build_tree",
    "centre",
    "dihedrals",
    "distances",
    "find_stereocentres",
    "interchangeable_leaves",
    "log_volume",
    "measure_dihedrals",
    "measure_volumes",
    "neighbours",
    "random_rotations",
    "ring_bonds",
    "signed_volumes",
    "superpose",
    "to_internal",
    "to_positions",
    "wrap",
]
