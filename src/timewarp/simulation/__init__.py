"""Langevin MD of peptides, batched in the compiled kernel or with OpenMM: crash-safe runs, exact resume."""

from ..settings.simulation import SimulationSettings
from .engines import choose_engine, resolve_for_presets
from .langevin import BatchedLangevin
from .production import replica_starts, simulate
from .replica import SimulationError
from .torsion_moves import TorsionMoves

__all__ = [
    "BatchedLangevin",
    "SimulationError",
    "SimulationSettings",
    "TorsionMoves",
    "choose_engine",
    "replica_starts",
    "resolve_for_presets",
    "simulate",
]
