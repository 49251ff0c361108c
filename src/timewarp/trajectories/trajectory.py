"""Frames of several chains in memory, as training and analysis use them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..shapes import Float, Int
from ..state import Atoms


@dataclass(frozen=True, eq=False, repr=False)
class Trajectory:
    """Chains of equal length of one molecule.

    Attributes:
        atoms: the molecule.
        positions: in nm, float32.
        energies: potential energies in kJ/mol as they were computed, float64.
        steps: MD or MH step of each frame.
        frame_spacing: between frames, in ``unit``.
        unit: ``"ps"`` for MD, ``"frame"`` for frames without a time, ``"step"`` (Metropolis-Hastings steps, or moves of
            an exploration) otherwise.
        kind: ``"md"``, ``"chain"``, ``"exploration"``, whose frames are biased, or ``"frames"`` of another program.
        name: of the molecule.
        superchains: the label of each chain: chains with one label shared a start. Each chain has its own by default.

    Raises:
        ValueError: there is not one label for each chain.
    """

    atoms: Atoms
    positions: Float[Tensor, "chains frames atoms 3"]
    energies: Float[Tensor, "chains frames"]
    steps: Int[Tensor, " frames"]
    frame_spacing: float
    unit: str
    kind: str
    name: str
    superchains: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.superchains:
            object.__setattr__(self, "superchains", tuple(range(self.n_chains)))
        if len(self.superchains) != self.n_chains:
            raise ValueError(f"expected one superchain for each of {self.n_chains} chains, got {len(self.superchains)}")

    def __repr__(self) -> str:
        spacing = f"every {self.frame_spacing:g} {self.unit}"
        return f"Trajectory({self.name}, {self.kind}: {self.n_chains} chains x {self.n_frames} frames, {spacing})"

    @property
    def n_chains(self) -> int:
        """Number of chains."""
        return self.positions.shape[0]

    @property
    def n_frames(self) -> int:
        """Frames of each chain."""
        return self.positions.shape[1]

    @property
    def times(self) -> Float[Tensor, " frames"]:
        """Time of each frame from the first, in ``unit``."""
        return torch.arange(self.n_frames, dtype=torch.float64) * self.frame_spacing

    def frames(self, index: Int[Tensor, "n 2"]) -> Float[Tensor, "n atoms 3"]:
        """Configurations at rows (chain, frame)."""
        return self.positions[index[:, 0], index[:, 1]]
