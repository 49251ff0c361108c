"""Frames of molecular dynamics as internal coordinates, split into what is learnt from and what is held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..energies import Parameters
from ..geometry import to_internal
from ..shapes import Float
from ..state import Atoms
from ..trajectories import check_same_molecule, split_frames
from .sources import Given, open_sources

CHUNK = 50_000
"""Frames converted at once, to bound memory."""


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Internal coordinates of the frames to train on and of those held out.

    Attributes:
        atoms: the molecule.
        train: in nm and rad.
        validation: from blocks of the trajectory that ``train`` has no part of.
        parameters: the compiled energy of the molecule, or None where the first source has none.
    """

    atoms: Atoms
    train: Float[Tensor, "frames atoms 3"]
    validation: Float[Tensor, "held_out atoms 3"]
    parameters: Parameters | None = None

    def __repr__(self) -> str:
        return f"TrainingData({self.atoms.residues}, {len(self.train)} frames, {len(self.validation)} held out)"


def load_training_data(
    runs: Sequence[Given], *, validation_fraction: float = 0.1, stride: int = 1, seed: int = 0
) -> TrainingData:
    """Read the frames of one molecule.

    Args:
        runs: run folders (or their paths) that ``timewarp simulate`` or ``sample`` wrote, or frames of other programs.
        validation_fraction: fraction held out, in contiguous blocks of each chain.
        stride: use every stride-th frame.
        seed: of the split.

    Raises:
        ValueError: the runs are of different molecules, hold no frames, or one is an exploration.
        FileNotFoundError: a folder does not exist.
    """
    sources = open_sources(runs)
    parts: tuple[list[Tensor], list[Tensor]] = ([], [])
    atoms: Atoms | None = None
    for run in sources:
        run.check_unbiased()
        if atoms is None:
            atoms = run.atoms
        elif run.atoms.fingerprint == atoms.fingerprint:
            check_same_molecule(sources[0], run)
        else:
            raise ValueError(
                f"{run.path} holds {run.atoms.residues}, but {sources[0].path} holds {atoms.residues}; "
                "train on one molecule at a time"
            )
        trajectory = run.trajectory(stride=stride)
        if trajectory.n_frames < 20:
            raise ValueError(f"{run.path} holds {trajectory.n_frames} frames per chain; training needs at least 20")
        fractions = (1 - validation_fraction, validation_fraction)
        for part, blocks in zip(parts, split_frames(trajectory, fractions, seed=seed), strict=True):
            for index in blocks.index.split(CHUNK):
                part.append(to_internal(trajectory.frames(index), atoms.tree))
    assert atoms is not None
    return TrainingData(atoms, torch.cat(parts[0]), torch.cat(parts[1]), sources[0].parameters)
