"""Training of the flows: maximum likelihood, and for family A acceptance and entropy too; with exact resume."""

from .data import TrainingData, load_training_data
from .growth import GrowthData
from .loop import train
from .pairs import PairData, PairSet, load_pairs
from .parallel import is_main_process
from .settings import TrainingSettings
from .stages import Stage
from .validation import Score, estimate_acceptance

__all__ = [
    "GrowthData",
    "PairData",
    "PairSet",
    "Score",
    "Stage",
    "TrainingData",
    "TrainingSettings",
    "estimate_acceptance",
    "is_main_process",
    "load_pairs",
    "load_training_data",
    "train",
]
