"""Distances, angles, dihedrals; positions <-> internal coordinates over a spanning tree of the bond graph."""

from .graph import (
    amide_bonds,
    automorphism_classes,
    beyond,
    find_stereocentres,
    interchangeable_leaves,
    neighbours,
    ring_bonds,
    ring_size,
)
from .internal import InternalTree, log_volume, to_internal, to_positions
from .measuring import measure_dihedrals, measure_volumes
from .tree import build_tree
from .turning import beyond_bonds, turn
from .vectors import (
    JUMP_RAD,
    angles,
    best_rotation,
    centre,
    dihedrals,
    distances,
    jumps,
    random_rotations,
    signed_volumes,
    superpose,
    wrap,
)

__all__ = [
    "JUMP_RAD",
    "InternalTree",
    "amide_bonds",
    "angles",
    "automorphism_classes",
    "best_rotation",
    "beyond",
    "beyond_bonds",
    "build_tree",
    "centre",
    "dihedrals",
    "distances",
    "find_stereocentres",
    "interchangeable_leaves",
    "jumps",
    "log_volume",
    "measure_dihedrals",
    "measure_volumes",
    "neighbours",
    "random_rotations",
    "ring_bonds",
    "ring_size",
    "signed_volumes",
    "superpose",
    "to_internal",
    "to_positions",
    "turn",
    "wrap",
]
