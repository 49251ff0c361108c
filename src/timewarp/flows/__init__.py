"""Normalising flows over Cartesian (family A) and internal coordinates (B, C), and their weights on disk."""

from .augmentation import Relabelling, jitter, rotate_together, superpose_pairs
from .cartesian import CartesianCondition, CartesianFlow
from .cartesian_config import CartesianFlowConfig
from .conditional import Candidate, CartesianDensity
from .density import InternalDensity, Standardiser, soft_coordinates, stiff_coordinates
from .growth import GrowthConfig, GrowthFlow, Regrowth
from .internal import InternalFlow, InternalFlowConfig
from .splines import circular_spline, linear_spline
from .tokens import TokenGraph, TokenNetwork, atom_graph, torsion_graph
from .torsion import TorsionFlow, TorsionFlowConfig

__all__ = [
    "Candidate",
    "CartesianCondition",
    "CartesianDensity",
    "CartesianFlow",
    "CartesianFlowConfig",
    "GrowthConfig",
    "GrowthFlow",
    "InternalDensity",
    "InternalFlow",
    "InternalFlowConfig",
    "Regrowth",
    "Relabelling",
    "Standardiser",
    "TokenGraph",
    "TokenNetwork",
    "TorsionFlow",
    "TorsionFlowConfig",
    "atom_graph",
    "circular_spline",
    "jitter",
    "linear_spline",
    "rotate_together",
    "soft_coordinates",
    "stiff_coordinates",
    "superpose_pairs",
    "torsion_graph",
]
