"""Langevin MD of peptides, batched in the compiled kernel or with OpenMM: crash-safe runs, exact resume."""

from .campaign import peptide_seed, simulate_campaign
from .engines import choose_engine
from .langevin import BatchedLangevin
from .production import simulate
from .replica import SimulationError
from .settings import SimulationSettings
from .starts import set_torsions, start_positions
from .torsion_moves import TorsionMoves

__all__ = [
    "BatchedLangevin",
    "SimulationError",
    "SimulationSettings",
    "TorsionMoves",
    "choose_engine",
    "peptide_seed",
    "set_torsions",
    "simulate",
    "simulate_campaign",
    "start_positions",
]
