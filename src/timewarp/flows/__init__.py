"""Networks that propose: the contract, the kinds of network, and their weights on disk."""

from . import circular
from .cartesian import AuxiliaryProposer, Candidate, CartesianDensity, CartesianFlow, CartesianFlowConfig
from .density import InternalDensity, InternalProposer, soft_coordinates, stiff_coordinates
from .growth import GrowthConfig, GrowthFlow, RegrowthProposer
from .internal import InternalFlow, InternalFlowConfig
from .molecule import MoleculeFlow
from .proposer import IndependentProposer, Proposal, Proposer, SpeculativeProposer
from .registry import KINDS, Network, build_network, network_class, register
from .torsions import TorsionFlow, TorsionFlowConfig

__all__ = [
    "KINDS",
    "AuxiliaryProposer",
    "Candidate",
    "CartesianDensity",
    "CartesianFlow",
    "CartesianFlowConfig",
    "GrowthConfig",
    "GrowthFlow",
    "IndependentProposer",
    "InternalDensity",
    "InternalFlow",
    "InternalFlowConfig",
    "InternalProposer",
    "MoleculeFlow",
    "Network",
    "Proposal",
    "Proposer",
    "RegrowthProposer",
    "SpeculativeProposer",
    "TorsionFlow",
    "TorsionFlowConfig",
    "build_network",
    "circular",
    "network_class",
    "register",
    "soft_coordinates",
    "stiff_coordinates",
]
