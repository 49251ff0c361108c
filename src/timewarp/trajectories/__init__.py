"""The store of trajectories: append, read, lagged pairs, splits; files of other programs, both ways."""

from .campaigns import CAMPAIGN_FILE, open_campaign, run_folders, run_in_campaign
from .description import ENERGY_FILE
from .exporting import export, mdtraj_topology
from .folder import RunFolder
from .frame_set import FrameSet, Source
from .frames import open_source, read_frames, read_positions
from .identity import check_same_molecule, frames_digest, run_identity
from .splits import FrameBlocks, LaggedPairs, split_frames, time_lagged_pairs, whole
from .superchains import SUPERCHAINS, superchain_labels, superchains_of_starts
from .trajectory import Trajectory
from .watching import ClosedSteps

__all__ = [
    "CAMPAIGN_FILE",
    "ENERGY_FILE",
    "SUPERCHAINS",
    "ClosedSteps",
    "FrameBlocks",
    "FrameSet",
    "LaggedPairs",
    "RunFolder",
    "Source",
    "Trajectory",
    "check_same_molecule",
    "export",
    "frames_digest",
    "mdtraj_topology",
    "open_campaign",
    "open_source",
    "read_frames",
    "read_positions",
    "run_folders",
    "run_identity",
    "run_in_campaign",
    "split_frames",
    "superchain_labels",
    "superchains_of_starts",
    "time_lagged_pairs",
    "whole",
]
