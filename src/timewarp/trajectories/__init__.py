"""The store of trajectories: append, read, lagged pairs, splits, padded batches, export."""

from .batches import draw_batch
from .campaigns import open_campaign, run_folders, run_in_campaign
from .exporting import export, mdtraj_topology
from .folder import RunFolder
from .splits import FrameBlocks, LaggedPairs, split_frames, time_lagged_pairs, whole
from .trajectory import Trajectory

__all__ = [
    "FrameBlocks",
    "LaggedPairs",
    "RunFolder",
    "Trajectory",
    "draw_batch",
    "export",
    "mdtraj_topology",
    "open_campaign",
    "run_folders",
    "run_in_campaign",
    "split_frames",
    "time_lagged_pairs",
    "whole",
]
