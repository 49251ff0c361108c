"""Normalising flows: circular and linear spline couplings with token conditioners, and their weights on disk."""

from .density import InternalDensity, Standardiser, soft_coordinates, stiff_coordinates
from .internal import InternalFlow, InternalFlowConfig
from .splines import circular_spline, linear_spline
from .tokens import TokenGraph, TokenNetwork, atom_graph, torsion_graph
from .torsion import TorsionFlow, TorsionFlowConfig

__all__ = [
    "InternalDensity",
    "InternalFlow",
    "InternalFlowConfig",
    "Standardiser",
    "TokenGraph",
    "TokenNetwork",
    "TorsionFlow",
    "TorsionFlowConfig",
    "atom_graph",
    "circular_spline",
    "linear_spline",
    "soft_coordinates",
    "stiff_coordinates",
    "torsion_graph",
]
