"""Exact Markov chains: targets, kernels that leave them invariant, and many chains at once."""

from ..state import repartition_hydrogen_mass
from .augmented import AugmentedKernel, batch_size
from .balance import Balanced
from .chains import ChainRecord, ChainSettings, run_chains
from .cycle import Cycle, Mixture
from .exploration import ExplorationKernel, distinct_states, summarise_exploration
from .flow import FlowKernel
from .growth import GrowthKernel
from .hmc import HMCKernel
from .kernel import Info, Kernel, Outcome, Tuning
from .length import LengthTrial
from .metropolis import Proposal, Speculation, first_accepted, metropolis
from .pucker import PuckerKernel, proline_rings
from .starts import check_starts, minimise, set_torsions, settle, start_positions
from .summary import backbone_torsions, kernel_table, summarise
from .target import EnergyFunction, Restriction, Target
from .torsion import TorsionKernel, stiff_torsions

__all__ = [
    "AugmentedKernel",
    "Balanced",
    "ChainRecord",
    "ChainSettings",
    "Cycle",
    "EnergyFunction",
    "ExplorationKernel",
    "FlowKernel",
    "GrowthKernel",
    "HMCKernel",
    "Info",
    "Kernel",
    "LengthTrial",
    "Mixture",
    "Outcome",
    "Proposal",
    "PuckerKernel",
    "Restriction",
    "Speculation",
    "Target",
    "TorsionKernel",
    "Tuning",
    "backbone_torsions",
    "batch_size",
    "check_starts",
    "distinct_states",
    "first_accepted",
    "kernel_table",
    "metropolis",
    "minimise",
    "proline_rings",
    "repartition_hydrogen_mass",
    "run_chains",
    "set_torsions",
    "settle",
    "start_positions",
    "stiff_torsions",
    "summarise",
    "summarise_exploration",
]
