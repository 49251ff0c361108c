"""Maximum-likelihood training of the flows, with exact resume."""

from .data import TrainingData, load_training_data
from .loop import train
from .settings import TrainingSettings
from .validation import Score, estimate_acceptance

__all__ = ["Score", "TrainingData", "TrainingSettings", "estimate_acceptance", "load_training_data", "train"]
