"""Frames that another program made, in memory: read like a run folder."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..energies import Parameters
from ..shapes import Float
from ..state import Atoms
from .description import ENERGY_FILE
from .folder import RunFolder
from .identity import stereochemistry
from .trajectory import Trajectory

if TYPE_CHECKING:
    from ..molecules import Molecule, Preset

FRAMES_PER_SEGMENT = 10_000


@dataclass(frozen=True, eq=False, repr=False)
class FrameSet:
    """What :func:`timewarp.trajectories.read_frames` gives: frames of one molecule, with the interface of a run folder.

    Attributes:
        path: the first trajectory file.
        name: of the molecule.
        atoms: the molecule.
        config: ``preset``, ``temperature_K``, ``source`` (files), ``topology``, ``sha256`` of the files, ``stride``,
            ``discard``, and ``frame_spacing_ps`` where it is known.
        topology_pdb: PDB text of a structure with the same atoms in the same order: the chirality.
        parameters: the energy, compiled.
        positions: in nm, atoms in the molecule's order.
        energies: in kJ/mol, computed under the preset.
        spacing_ps: between frames, or None: frames that do not follow each other in physical time.
        notes: what was taken for granted or mended, one line each.
    """

    path: Path
    name: str
    atoms: Atoms
    config: dict[str, Any]
    topology_pdb: str
    parameters: Parameters
    positions: Float[Tensor, "chains frames atoms 3"]
    energies: Float[Tensor, "chains frames"]
    spacing_ps: float | None = None
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        chains, frames = self.energies.shape
        spacing = "" if self.spacing_ps is None else f" every {self.spacing_ps:g} ps"
        return (
            f"FrameSet({str(self.path)!r}: {self.name}, {chains} chain{'s' * (chains > 1)} x {frames:,} frames{spacing}"
            f", energies of {self.config['preset']}, {self.temperature_K:g} K)"
        )

    @property
    def kind(self) -> str:
        """``"md"`` where the time between frames was given, ``"frames"`` otherwise."""
        return "frames" if self.spacing_ps is None else "md"

    @property
    def stereochemistry(self) -> str | None:
        """Of the structure that gives the chirality."""
        return stereochemistry(self.topology_pdb, self.atoms)

    @property
    def is_dynamics(self) -> bool:
        """Whether frames follow each other in physical time."""
        return self.spacing_ps is not None

    @property
    def temperature_K(self) -> float:
        """In K."""
        return float(self.config["temperature_K"])

    @property
    def streams(self) -> list[int]:
        """One stream holds all chains."""
        return [0]

    def n_frames(self, stream: int = 0) -> int:
        """Frames of each chain."""
        return self.positions.shape[1]

    def summary(self) -> None:
        """A run's summary: there is none."""

    def check_unbiased(self) -> None:
        """Pass: frames are taken for equilibrium samples, as the one who gives them says."""

    def trajectory(self, stride: int = 1, discard: int = 0) -> Trajectory:
        """Frames of all chains.

        Args:
            stride: keep every ``stride``-th frame.
            discard: frames dropped from the start of each chain first.

        Raises:
            ValueError: there are no frames left.
        """
        if stride < 1 or discard < 0:
            raise ValueError(f"stride must be at least 1 and discard at least 0, got {stride} and {discard}")
        steps = torch.arange(self.n_frames())[discard::stride]
        if len(steps) == 0:
            raise ValueError(f"{self.path} has {self.n_frames()} frames, none left after {discard} discarded")
        return Trajectory(
            self.atoms,
            self.positions[:, discard::stride],
            self.energies[:, discard::stride],
            steps,
            stride * (1.0 if self.spacing_ps is None else self.spacing_ps),
            "frame" if self.spacing_ps is None else "ps",
            self.kind,
            self.name,
        )

    def save(self, path: Path | str) -> RunFolder:
        """Write a run folder, which every command takes.

        Raises:
            FileExistsError: the folder holds something.
        """
        config = {**self.config} if self.spacing_ps is None else {**self.config, "timestep_fs": 1000 * self.spacing_ps}
        run = RunFolder.create(
            path, kind=self.kind, name=self.name, atoms=self.atoms, topology_pdb=self.topology_pdb, config=config
        )
        with run.lock():
            if run.streams:
                raise FileExistsError(f"{path} holds these frames already; choose another folder")
            self.parameters.save(run.path / ENERGY_FILE)
            for start in range(0, self.n_frames(), FRAMES_PER_SEGMENT):
                rows = slice(start, start + FRAMES_PER_SEGMENT)
                steps = torch.arange(self.n_frames())[rows]
                run.append(0, self.positions[:, rows].transpose(0, 1), self.energies[:, rows].T, steps, {})
        return run


def molecule_of(topology_pdb: str, preset: str | Preset, described_by: Path, *, minimise: bool = True) -> Molecule:
    """The molecule of a PDB text; messages name the file that the text is of.

    Raises:
        ValueError: it is not one peptide.
    """
    from ..molecules import build_molecule

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{described_by.name.split('.')[0]}.pdb"
        file.write_text(topology_pdb, encoding="utf-8")
        try:
            return build_molecule(file, preset, minimise=minimise)
        except ValueError as error:
            raise ValueError(str(error).replace(str(file), str(described_by))) from None


Source = RunFolder | FrameSet
"""Frames of one molecule, and how they came to be; both kinds are read in the same way."""
