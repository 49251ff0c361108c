"""Training of the networks: likelihood, and on pairs acceptance and entropy too; with exact resume."""

from .cartesian import PairTask
from .data import TrainingData, load_training_data
from .growth import GrowthData, GrowthTask
from .loop import TASKS, train
from .pairs import PairData, PairSet, compact_pairs, load_pairs
from .parallel import is_main_process
from .score import Score
from .settings import TrainingSettings
from .stages import Stage
from .tasks import FrameTask, Task

__all__ = [
    "TASKS",
    "FrameTask",
    "GrowthData",
    "GrowthTask",
    "PairData",
    "PairSet",
    "PairTask",
    "Score",
    "Stage",
    "Task",
    "TrainingData",
    "TrainingSettings",
    "compact_pairs",
    "is_main_process",
    "load_pairs",
    "load_training_data",
    "train",
]
