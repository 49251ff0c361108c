"""Frames of many runs in one small file, to train a transferable network on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import torch

from ..energies import Parameters
from ..files import sha256
from ..publishing import check_owned, write_owned
from ..settings.other import PackSettings
from ..trajectories import RunFolder, run_folders
from ..trajectories.compact import CompactMolecule, compact_bytes, peptides_in, to_fixed_point

TRAINING_SET = "a training set whose peptides are all in the new one"


@dataclass(frozen=True)
class Packed:
    """A training set that was written.

    Attributes:
        path: the file.
        peptides: how many peptides it holds.
        frames: how many frames.
        bytes: its size.
        sha256: its checksum.
    """

    path: Path
    peptides: int
    frames: int
    bytes: int
    sha256: str


def pack(
    runs: Sequence[Path | str],
    out: Path | str,
    *,
    validation: Sequence[Path | str] = (),
    frames: int = 400,
    validation_frames: int = 64,
    force: bool = False,
) -> Packed:
    """Take frames from the runs of many peptides, evenly spread over each, with their force-field parameters.

    Positions are kept in 16-bit fixed point (1e-4 nm). ``train`` reads the file anywhere, without OpenMM.

    Args:
        runs: run folders, or folders of runs, to learn from.
        out: the file, ``NAME.safetensors``.
        validation: the same, to choose the network by.
        frames: of each peptide to learn from, at most.
        validation_frames: of each peptide to choose by, at most.
        force: replace ``out`` whatever it is; without it, only a training set whose peptides are all in the new one.

    Raises:
        FileExistsError: ``out`` is something else than such a training set, or lies in a run folder.
        ValueError: there is no run to learn from, a run is biased, or the file has another suffix.
    """
    out = Path(out)
    settings = PackSettings(validation=tuple(map(Path, validation)), frames=frames, validation_frames=validation_frames)
    if out.suffix != ".safetensors":
        raise ValueError(f"the file must end in .safetensors, got {out}")
    check_owned(out, lambda path: peptides_in(path) is not None, TRAINING_SET, force)
    parts = (("train", runs, settings.frames), ("validation", settings.validation, settings.validation_frames))
    molecules = [
        _compact(folder, split, most) for split, paths, most in parts for p in paths for folder in run_folders(Path(p))
    ]
    if not any(m.split == "train" for m in molecules):
        raise ValueError("there is no run to learn from: name run folders, or a folder of runs")
    new = {(m.name, m.atoms.fingerprint) for m in molecules}

    def is_ours(path: Path) -> bool:
        old = peptides_in(path)
        return old is not None and old <= new

    write_owned(out, compact_bytes(molecules), is_ours, TRAINING_SET, force)
    return Packed(out, len(molecules), sum(len(m.frames) for m in molecules), out.stat().st_size, sha256(out))


def _compact(path: Path, split: str, most: int) -> CompactMolecule:
    run = RunFolder.open(path)
    run.check_unbiased()
    positions = torch.as_tensor(run.trajectory().positions).flatten(0, 1)
    index = torch.linspace(0, len(positions) - 1, min(most, len(positions))).round().long()
    parameters = run.parameters
    return CompactMolecule(
        name=run.name,
        split=split,
        atoms=run.atoms,
        frames=to_fixed_point(positions[index]),
        parameters={f.name: getattr(parameters, f.name) for f in fields(Parameters)},
        preset=str(run.config["preset"]),
        temperature_K=float(run.config["temperature_K"]),
    )
