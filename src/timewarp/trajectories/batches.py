"""Batches of frames of different molecules, padded to the largest."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..shapes import Int
from ..state import Batch
from .splits import FrameBlocks, whole
from .trajectory import Trajectory


def draw_batch(
    trajectories: Sequence[Trajectory],
    n: int,
    generator: torch.Generator,
    within: Sequence[FrameBlocks] | None = None,
) -> tuple[Batch, Int[Tensor, " n"]]:
    """Draw frames with replacement: first a molecule, then one of its frames, each uniformly.

    Args:
        trajectories: one per molecule.
        n: configurations in the batch.
        generator: of the draws.
        within: the frames to draw from, for each molecule; all by default.

    Returns:
        The padded batch, and which trajectory each configuration comes from.
    """
    if not trajectories or n < 1:
        raise ValueError(
            f"a batch needs at least one trajectory and one configuration, got {len(trajectories)} and {n}"
        )
    blocks = [whole(t) for t in trajectories] if within is None else list(within)
    if len(blocks) != len(trajectories):
        raise ValueError(f"got {len(blocks)} sets of frames for {len(trajectories)} trajectories")
    molecule = torch.randint(len(trajectories), (n,), generator=generator)
    configurations: list[Tensor] = [torch.empty(0)] * n
    for which, (trajectory, block) in enumerate(zip(trajectories, blocks, strict=True)):
        rows = (molecule == which).nonzero()[:, 0]
        chosen = block.index[torch.randint(len(block), (len(rows),), generator=generator)]
        for row, frame in zip(rows.tolist(), trajectory.frames(chosen), strict=True):
            configurations[row] = frame
    return Batch.pad(configurations), molecule
