"""Exact Markov chains: targets, kernels that leave them invariant, and many chains at once."""

from ..flows.proposer import Proposal
from ..state import repartition_hydrogen_mass
from .augmented import AugmentedKernel, batch_size
from .balance import Balanced
from .chains import ChainRecord, ChainSettings, run_chains
from .cycle import Cycle, Mixture
from .exploration import ExplorationKernel, distinct_states, summarise_exploration
from .flow import FlowKernel
from .growth import GrowthKernel
from .hmc import HMC
from .kernel import Info, Kernel, Outcome, Tuning
from .length import LengthTrial
from .metropolis import Speculation, first_accepted, jumps, metropolis
from .move import Move
from .pucker import PuckerMove, proline_rings
from .summary import kernel_table, summarise
from .target import Restriction, Target, backbone_torsions
from .torsion import TorsionMove, stiff_torsions

__all__ = [
    "HMC",
    "AugmentedKernel",
    "Balanced",
    "ChainRecord",
    "ChainSettings",
    "Cycle",
    "ExplorationKernel",
    "FlowKernel",
    "GrowthKernel",
    "Info",
    "Kernel",
    "LengthTrial",
    "Mixture",
    "Move",
    "Outcome",
    "Proposal",
    "PuckerMove",
    "Restriction",
    "Speculation",
    "Target",
    "TorsionMove",
    "Tuning",
    "backbone_torsions",
    "batch_size",
    "distinct_states",
    "first_accepted",
    "jumps",
    "kernel_table",
    "metropolis",
    "proline_rings",
    "repartition_hydrogen_mass",
    "run_chains",
    "stiff_torsions",
    "summarise",
    "summarise_exploration",
]
