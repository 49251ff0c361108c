"""Langevin MD of peptides with OpenMM: crash-safe production runs, exact resume, torsion moves."""

from .campaign import peptide_seed, simulate_campaign
from .production import simulate
from .replica import SimulationError
from .settings import SimulationSettings
from .starts import set_torsions, start_positions
from .torsion_moves import TorsionMoves

__all__ = [
    "SimulationError",
    "SimulationSettings",
    "TorsionMoves",
    "peptide_seed",
    "set_torsions",
    "simulate",
    "simulate_campaign",
    "start_positions",
]
