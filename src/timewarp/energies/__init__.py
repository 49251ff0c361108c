"""Potential energies: compile an ``openmm.System`` to batched torch energies and forces.

OpenMM is imported only when :func:`compile_system` reads a system and when :class:`OpenMMEvaluator` is made; saved
:class:`Parameters` and :class:`Potential` work without it.
"""

from .compiler import UnknownForceError, compile_system
from .function import DerivedForces, Energy, EnergyFunction, with_forces
from .leapfrog import leapfrog
from .mixed import MixedPotential
from .native import native_potential
from .oracle import OpenMMEvaluator
from .parameters import Parameters
from .potential import Potential

__all__ = [
    "DerivedForces",
    "Energy",
    "EnergyFunction",
    "MixedPotential",
    "OpenMMEvaluator",
    "Parameters",
    "Potential",
    "UnknownForceError",
    "compile_system",
    "leapfrog",
    "native_potential",
    "with_forces",
]
