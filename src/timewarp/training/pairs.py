"""Time-lagged pairs of one or more molecules, split into what is learnt from and what is held out (family A)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..energies import Parameters
from ..shapes import Float, Int
from ..state import Atoms
from ..trajectories import FrameBlocks, LaggedPairs, Source, check_same_molecule, split_frames, time_lagged_pairs
from ..trajectories.compact import CompactMolecule, CompactPairs
from .sources import Given, open_sources

SPLITS = (("train", "learn from"), ("validation", "choose the network by"))
"""Parts of a compact set."""
FEWEST_FRAMES = 20
"""Frames per chain that a split into blocks needs."""


@dataclass(frozen=True, eq=False)
class PairSet:
    """Pairs from several runs, numbered through.

    Attributes:
        runs: pairs of each run, or of each molecule of a compact set.
        molecules: which molecule each run is of.
    """

    runs: tuple[LaggedPairs | CompactPairs, ...]
    molecules: tuple[int, ...]

    def __len__(self) -> int:
        return sum(map(len, self.runs))

    @cached_property
    def _ends(self) -> Tensor:
        return torch.tensor([len(run) for run in self.runs]).cumsum(0)

    def sizes(self, which: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
        """Atoms of the molecules of pairs."""
        return torch.tensor([run.n_atoms for run in self.runs])[self._run_of(which)]

    def _run_of(self, which: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
        return torch.searchsorted(self._ends, which, right=True)

    def take(
        self, which: Int[Tensor, " n"]
    ) -> tuple[Float[Tensor, "n atoms 3"], Float[Tensor, "n atoms 3"], Int[Tensor, " n"]]:
        """Earlier and later frames of pairs, padded to the largest molecule among them, and their molecules."""
        run = self._run_of(which)
        present = run.unique().tolist()
        most = max(self.runs[r].n_atoms for r in present)
        before, after = torch.zeros(2, len(which), most, 3).unbind()
        for r in present:
            mine = (run == r).nonzero()[:, 0]
            first = int(self._ends[r]) - len(self.runs[r])
            n_atoms = self.runs[r].n_atoms
            before[mine, :n_atoms], after[mine, :n_atoms] = self.runs[r].frames(which[mine] - first)
        return before, after, torch.tensor(self.molecules)[run]


@dataclass(frozen=True, eq=False)
class PairData:
    """Time-lagged pairs to train on, and pairs held out.

    Attributes:
        molecules: the molecules, each once.
        train: pairs to learn from.
        validation: pairs from blocks of the trajectories, or of molecules, that ``train`` has no part of.
        lag_ps: time between the frames of a pair.
        parameters: for each molecule, its compiled energy, or None where its first source has none.
        by_size: make batches of molecules of about one size, which are padded less.
    """

    molecules: tuple[Atoms, ...]
    train: PairSet
    validation: PairSet
    lag_ps: float
    parameters: tuple[Parameters | None, ...] = ()
    by_size: bool = False

    def __repr__(self) -> str:
        return (
            f"PairData({self.residues}, {self.lag_ps:g} ps, {len(self.train)} pairs, {len(self.validation)} held out)"
        )

    @property
    def residues(self) -> str:
        """Residue names of the molecule, or how many molecules there are."""
        return self.molecules[0].residues if len(self.molecules) == 1 else f"{len(self.molecules)} molecules"

    @cached_property
    def sizes(self) -> Int[Tensor, " molecules"]:
        """Atoms of each molecule."""
        return torch.tensor([m.n_atoms for m in self.molecules])


def load_pairs(
    runs: Sequence[Given],
    lag_ps: float,
    *,
    validation_fraction: float = 0.1,
    stride: int = 1,
    seed: int = 0,
) -> PairData:
    """Read molecular dynamics of one molecule or of many.

    Args:
        runs: run folders (or their paths) that ``timewarp simulate`` wrote, or frames of other programs.
        lag_ps: time between the frames of a pair; a multiple of each run's frame spacing.
        validation_fraction: fraction of the frames held out, in contiguous blocks of each chain.
        stride: use every stride-th pair.
        seed: of the split.

    Raises:
        ValueError: a run is not of dynamics, its frame spacing does not divide the lag, or it is too short for it.
        FileNotFoundError: a folder does not exist.
    """
    molecules: list[Atoms] = []
    parameters: list[Parameters | None] = []
    numbers: list[int] = []
    parts: tuple[list[LaggedPairs], list[LaggedPairs]] = ([], [])
    first: dict[str, Source] = {}
    for run in open_sources(runs):
        check_same_molecule(first.setdefault(run.atoms.fingerprint, run), run)
        known = [m.fingerprint for m in molecules]
        if run.atoms.fingerprint not in known:
            molecules.append(run.atoms)
            parameters.append(run.parameters)
            known.append(run.atoms.fingerprint)
        numbers.append(known.index(run.atoms.fingerprint))
        for part, pairs in zip(parts, _split_pairs(run, lag_ps, validation_fraction, stride, seed), strict=True):
            part.append(pairs)
    train, validation = (PairSet(tuple(part), tuple(numbers)) for part in parts)
    return PairData(tuple(molecules), train, validation, lag_ps, tuple(parameters))


def compact_pairs(molecules: Sequence[CompactMolecule], lag_ps: float) -> PairData:
    """The pairs of a compact set, held out by molecule: those of the split ``validation`` are not learnt from.

    Raises:
        ValueError: a molecule has no pairs or pairs of another lag, is there twice, or there is none to learn from or
            to choose by.
    """
    for m in molecules:
        if m.pairs is None:
            raise ValueError(
                f"the set holds frames of {m.name} without their order in time, and family A learns from pairs; make "
                "some with data/lagged_pairs.py, or give runs of plain `timewarp simulate`"
            )
        if m.lag_ps != lag_ps:
            raise ValueError(f"pairs of {m.name} are {m.lag_ps:g} ps apart; set lag_ps to that, not to {lag_ps:g}")
    atoms = tuple(m.atoms for m in molecules)
    if len({a.fingerprint for a in atoms}) < len(atoms):
        raise ValueError("the sets hold a molecule twice; give each once")
    train, validation = (_of_split(molecules, *part) for part in SPLITS)
    parameters = tuple(Parameters(**m.parameters) for m in molecules)
    return PairData(atoms, train, validation, lag_ps, parameters, by_size=True)


def _of_split(molecules: Sequence[CompactMolecule], split: str, what: str) -> PairSet:
    numbers = tuple(k for k, m in enumerate(molecules) if m.split == split)
    if not numbers:
        raise ValueError(f"the set has no molecule to {what} (split {split!r})")
    return PairSet(tuple(CompactPairs(molecules[k]) for k in numbers), numbers)


def _split_pairs(
    run: Source, lag_ps: float, validation_fraction: float, stride: int, seed: int
) -> tuple[LaggedPairs, LaggedPairs]:
    if not run.is_dynamics:
        kinds = {"md": "MD with torsion moves", "frames": "frames that do not say how far apart in time they are"}
        kind = kinds.get(run.kind, "a sampled chain")
        raise ValueError(
            f"{run.path} is {kind}, which has no time: family A learns from pairs {lag_ps:g} ps apart; "
            "give a run of plain `timewarp simulate`, or frames with their spacing (spacing_ps=, --spacing)"
        )
    trajectory = run.trajectory()
    spacing, frames = trajectory.frame_spacing, trajectory.n_frames
    ratio = lag_ps / spacing
    if round(ratio) < 1 or abs(round(ratio) - ratio) > 1e-6 * ratio:
        raise ValueError(
            f"{run.path} has a frame every {spacing:g} ps, which does not divide lag_ps = {lag_ps:g}; "
            f"set lag_ps to a multiple of it, such as {max(1, round(ratio)) * spacing:g}, or simulate with another "
            "--frame-spacing"
        )
    lag_frames = round(ratio)
    # The smaller part must have a block that is longer than the lag.
    n_blocks = min(20, frames // (2 * lag_frames))
    if n_blocks < 2 or frames < FEWEST_FRAMES:
        least = max(4 * lag_frames, FEWEST_FRAMES)
        raise ValueError(
            f"{run.path} has {frames} frames per chain, {frames * spacing:g} ps; pairs {lag_ps:g} ps apart with some "
            f"held out need at least {least} frames; simulate {least * spacing / 1000:g} ns per chain"
        )
    fractions = (1 - validation_fraction, validation_fraction)
    blocks: tuple[FrameBlocks, ...] = split_frames(trajectory, fractions, n_blocks=n_blocks, seed=seed)
    learnt, held_out = (time_lagged_pairs(trajectory, lag_ps, within=part, stride=stride) for part in blocks)
    return learnt, held_out
