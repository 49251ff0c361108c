"""Family A: all Cartesian coordinates, for any molecule (Klein et al., NeurIPS 2023, arXiv 2302.01170)."""

from .config import CartesianFlowConfig
from .flow import CartesianCondition, CartesianFlow
from .proposer import AuxiliaryProposer, Candidate, CartesianDensity

__all__ = [
    "AuxiliaryProposer",
    "Candidate",
    "CartesianCondition",
    "CartesianDensity",
    "CartesianFlow",
    "CartesianFlowConfig",
]
