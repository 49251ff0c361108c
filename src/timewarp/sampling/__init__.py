"""Exact Markov chains: targets, kernels that leave them invariant, and many chains at once."""

from ..flows.proposer import Proposal
from ..state import repartition_hydrogen_mass
from .balance import Balanced
from .batched import BatchedMove, batch_size
from .chains import ChainRecord, ChainSettings, run_chains
from .concerted import ConcertedMove, inner_path
from .cycle import Cycle, Mixture
from .exploration import ExplorationKernel, distinct_states, summarise_exploration
from .flow import FlowMove
from .hmc import HMC
from .kernel import Info, Kernel, Outcome, Tuning
from .learned import learned_move
from .length import LengthTrial
from .metropolis import Speculation, first_accepted, jumps, metropolis
from .move import Move
from .pucker import PuckerMove, proline_rings
from .regrowth import RegrowthMove
from .summary import kernel_table, summarise
from .target import Restriction, Target
from .torsion import TorsionMove, stiff_torsions

__all__ = [
    "HMC",
    "Balanced",
    "BatchedMove",
    "ChainRecord",
    "ChainSettings",
    "ConcertedMove",
    "Cycle",
    "ExplorationKernel",
    "FlowMove",
    "Info",
    "Kernel",
    "LengthTrial",
    "Mixture",
    "Move",
    "Outcome",
    "Proposal",
    "PuckerMove",
    "RegrowthMove",
    "Restriction",
    "Speculation",
    "Target",
    "TorsionMove",
    "Tuning",
    "batch_size",
    "distinct_states",
    "first_accepted",
    "inner_path",
    "jumps",
    "kernel_table",
    "learned_move",
    "metropolis",
    "proline_rings",
    "repartition_hydrogen_mass",
    "run_chains",
    "stiff_torsions",
    "summarise",
    "summarise_exploration",
]
