"""Frames of molecular dynamics as internal coordinates, split into what is learnt from and what is held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..geometry import to_internal
from ..shapes import Float
from ..state import Atoms
from ..trajectories import RunFolder, split_frames

CHUNK = 50_000
"""Frames converted at once, to bound memory."""


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Internal coordinates of the frames to train on and of those held out.

    Attributes:
        atoms: the molecule.
        train: in nm and rad.
        validation: from blocks of the trajectory that ``train`` has no part of.
    """

    atoms: Atoms
    train: Float[Tensor, "frames atoms 3"]
    validation: Float[Tensor, "held_out atoms 3"]

    def __repr__(self) -> str:
        return f"TrainingData({self.atoms.residues}, {len(self.train)} frames, {len(self.validation)} held out)"


def load_training_data(
    runs: Sequence[Path | str], *, validation_fraction: float = 0.1, stride: int = 1, seed: int = 0
) -> TrainingData:
    """Read run folders of one molecule.

    Args:
        runs: folders that ``timewarp simulate`` (or ``sample``) wrote.
        validation_fraction: fraction held out, in contiguous blocks of each chain.
        stride: use every stride-th frame.
        seed: of the split.

    Raises:
        ValueError: the runs are of different molecules, hold no frames, or one is an exploration.
        FileNotFoundError: a folder does not exist.
    """
    if not runs:
        raise ValueError("training needs at least one run folder")
    parts: tuple[list[Tensor], list[Tensor]] = ([], [])
    atoms: Atoms | None = None
    for path in runs:
        run = RunFolder.open(path)
        run.check_unbiased()
        if atoms is None:
            atoms = run.atoms
        elif run.atoms.fingerprint != atoms.fingerprint:
            raise ValueError(
                f"{path} holds {run.atoms.residues}, but {runs[0]} holds {atoms.residues}; "
                "train on one molecule at a time"
            )
        trajectory = run.trajectory(stride=stride)
        if trajectory.n_frames < 20:
            raise ValueError(f"{path} holds {trajectory.n_frames} frames per chain; training needs at least 20")
        fractions = (1 - validation_fraction, validation_fraction)
        for part, blocks in zip(parts, split_frames(trajectory, fractions, seed=seed), strict=True):
            for index in blocks.index.split(CHUNK):
                part.append(to_internal(trajectory.frames(index), atoms.tree))
    assert atoms is not None
    return TrainingData(atoms, torch.cat(parts[0]), torch.cat(parts[1]))
