"""Exact Markov chains: targets, kernels that leave them invariant, and many chains at once."""

from .cycle import Cycle, Mixture
from .flow import FlowKernel
from .hmc import HMCKernel, repartition_hydrogen_mass
from .kernel import Info, Kernel, Outcome, Tuning
from .metropolis import Proposal, metropolis
from .target import EnergyFunction, Restriction, Target
from .torsion import TorsionKernel

__all__ = [
    "Cycle",
    "EnergyFunction",
    "FlowKernel",
    "HMCKernel",
    "Info",
    "Kernel",
    "Mixture",
    "Outcome",
    "Proposal",
    "Restriction",
    "Target",
    "TorsionKernel",
    "Tuning",
    "metropolis",
    "repartition_hydrogen_mass",
]
