"""Langevin MD of peptides, batched in the compiled kernel or with OpenMM: crash-safe runs, exact resume."""

from .campaign import peptide_seed, simulate_campaign
from .engines import choose_engine
from .langevin import BatchedLangevin
from .production import replica_starts, simulate
from .replica import SimulationError
from .settings import SimulationSettings
from .torsion_moves import TorsionMoves

__all__ = [
    "BatchedLangevin",
    "SimulationError",
    "SimulationSettings",
    "TorsionMoves",
    "choose_engine",
    "peptide_seed",
    "replica_starts",
    "simulate",
    "simulate_campaign",
]
