"""Which frames to learn from, which to test on, and pairs of frames a lag apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..shapes import Float, Int
from .trajectory import Trajectory


@dataclass(frozen=True, eq=False)
class FrameBlocks:
    """Runs of consecutive frames: rows (chain, first, stop), ``stop`` excluded, none empty.

    Attributes:
        blocks: the rows.
    """

    blocks: Int[Tensor, "blocks 3"]

    def __len__(self) -> int:
        return int((self.blocks[:, 2] - self.blocks[:, 1]).sum())

    @cached_property
    def index(self) -> Int[Tensor, "n 2"]:
        """Rows (chain, frame) of all frames, for :meth:`Trajectory.frames`."""
        return _expand(self.blocks)


@dataclass(frozen=True, eq=False)
class LaggedPairs:
    """Pairs of frames of the same chain, ``lag_frames`` apart.

    Attributes:
        trajectory: where the frames are.
        starts: rows (chain, frame) of the earlier frame of each pair.
        lag_frames: how many frames later the other one is.
    """

    trajectory: Trajectory
    starts: Int[Tensor, "pairs 2"]
    lag_frames: int

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def n_atoms(self) -> int:
        """Atoms of the molecule."""
        return self.trajectory.atoms.n_atoms

    def frames(self, which: Int[Tensor, " n"]) -> tuple[Float[Tensor, "n atoms 3"], Float[Tensor, "n atoms 3"]]:
        """Configurations (earlier, later) of the pairs numbered ``which``."""
        start = self.starts[which]
        later = torch.stack([start[:, 0], start[:, 1] + self.lag_frames], -1)
        return self.trajectory.frames(start), self.trajectory.frames(later)


def time_lagged_pairs(
    trajectory: Trajectory, lag: float, *, within: FrameBlocks | None = None, stride: int = 1
) -> LaggedPairs:
    """All pairs of frames ``lag`` apart, never across the end of a chain or of a block.

    Args:
        trajectory: the frames.
        lag: in the trajectory's unit (ps for MD, steps for chains); a multiple of its frame spacing.
        within: both frames of a pair come from one of these blocks; all frames by default.
        stride: keep every ``stride``-th pair of each block.

    Raises:
        ValueError: the lag is not a positive multiple of the frame spacing, or no pair is that far apart.
    """
    spacing, unit = trajectory.frame_spacing, trajectory.unit
    if not (math.isfinite(lag) and lag > 0):
        raise ValueError(f"the lag must be a positive number of {unit}, got {lag}")
    lag_frames = round(lag / spacing)
    if lag_frames < 1 or abs(lag_frames * spacing - lag) > 1e-6 * spacing:
        nearest = max(lag_frames, 1) * spacing
        raise ValueError(
            f"the lag must be a multiple of the frame spacing, {spacing:g} {unit}; got {lag:g}, try {nearest:g}"
        )
    if stride < 1:
        raise ValueError(f"the stride must be at least 1, got {stride}")
    blocks = (whole(trajectory) if within is None else within).blocks.clone()
    blocks[:, 2] -= lag_frames
    starts = _expand(blocks[blocks[:, 2] > blocks[:, 1]], stride)
    if len(starts) == 0:
        raise ValueError(
            f"no two frames are {lag:g} {unit} apart: the longest stretch is {_longest(within, trajectory)} frames"
        )
    return LaggedPairs(trajectory, starts, lag_frames)


def whole(trajectory: Trajectory) -> FrameBlocks:
    """All frames: one block per chain."""
    return FrameBlocks(torch.tensor([(c, 0, trajectory.n_frames) for c in range(trajectory.n_chains)]).reshape(-1, 3))


def split_frames(
    trajectory: Trajectory, fractions: Sequence[float] = (0.9, 0.1), *, n_blocks: int = 20, seed: int = 0
) -> tuple[FrameBlocks, ...]:
    """Split every chain into contiguous blocks and deal them out.

    Neighbouring frames are correlated, so that single frames dealt at random would let a model be tested on what it
    has learnt. Each part gets its share of the blocks of *each* chain, at random places.

    Args:
        trajectory: the frames.
        fractions: share of each part, summing to at most 1; what is left over is unused.
        n_blocks: blocks per chain (fewer where there are fewer frames).
        seed: of the dealing.

    Returns:
        One :class:`FrameBlocks` per fraction.

    Raises:
        ValueError: bad fractions, or too few frames for the parts asked for.
    """
    if not fractions or min(fractions) <= 0 or sum(fractions) > 1 + 1e-9:
        raise ValueError(f"the fractions of a split must be positive and sum to at most 1, got {list(fractions)}")
    if n_blocks < len(fractions):
        raise ValueError(f"a split needs at least {len(fractions)} blocks, got {n_blocks}")
    n_blocks = min(n_blocks, trajectory.n_frames)
    if n_blocks < len(fractions):
        raise ValueError(f"{trajectory.n_frames} frames per chain are too few for {len(fractions)} parts")
    counts = _shares(fractions, n_blocks)
    generator = torch.Generator().manual_seed(seed)
    edges = [trajectory.n_frames * b // n_blocks for b in range(n_blocks + 1)]
    rows: list[list[tuple[int, int, int]]] = [[] for _ in fractions]
    for chain in range(trajectory.n_chains):
        order = torch.randperm(n_blocks, generator=generator).tolist()
        for part, count in enumerate(counts):
            mine, order = order[:count], order[count:]
            for block in sorted(mine):
                rows[part].append((chain, edges[block], edges[block + 1]))
    return tuple(FrameBlocks(torch.tensor(part)) for part in rows)


def _shares(fractions: Sequence[float], n_blocks: int) -> list[int]:
    """Blocks of each part: at least one each; what rounding leaves over goes where most is missing."""
    wanted = [f * n_blocks for f in fractions]
    counts = [max(1, int(w)) for w in wanted]
    total = min(max(round(sum(wanted)), len(counts)), n_blocks)
    while sum(counts) != total:
        step = 1 if sum(counts) < total else -1
        missing = [step * (w - c) if c + step > 0 else -math.inf for w, c in zip(wanted, counts, strict=True)]
        counts[missing.index(max(missing))] += step
    return counts


def _expand(blocks: Tensor, stride: int = 1) -> Tensor:
    rows = [torch.cartesian_prod(torch.tensor([c]), torch.arange(a, b, stride)) for c, a, b in blocks.tolist()]
    return torch.cat(rows) if rows else torch.zeros(0, 2, dtype=torch.long)


def _longest(within: FrameBlocks | None, trajectory: Trajectory) -> int:
    blocks = (whole(trajectory) if within is None else within).blocks
    return int((blocks[:, 2] - blocks[:, 1]).max())
