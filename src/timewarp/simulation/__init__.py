"""Langevin MD of peptides, batched in the compiled kernel or with OpenMM: crash-safe runs, exact resume, torsion moves."""

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
    "set_torsions",
    "simulate",
    "start_positions",
]
