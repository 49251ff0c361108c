"""``timewarp pack``: frames of many runs in one small file to train a transferable network on."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from . import options
from .errors import UserError

if TYPE_CHECKING:
    from ..trajectories.compact import CompactMolecule


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Describe the verb."""
    parser = subparsers.add_parser(
        "pack",
        help="pack runs of many peptides into one small training set",
        description="Take frames from the runs of many peptides, evenly spread over each, in 16-bit fixed point "
        "(1e-4 nm), with their force-field parameters: one file that `timewarp train` reads anywhere, without OpenMM.",
    )
    parser.add_argument(
        "runs",
        nargs="*",
        type=Path,
        metavar="RUN",
        help="run folders, or folders of `simulate --sequences`, to learn from",
    )
    parser.add_argument(
        "--validation", nargs="*", type=Path, default=[], metavar="RUN", help="the same, to choose the network by"
    )
    options.add_whole(parser, "--frames", 400, 1, "frames of each peptide, at most")
    options.add_whole(parser, "--validation-frames", 64, 1, "frames of each peptide of --validation, at most")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="file to write: NAME.safetensors")


def run(args: argparse.Namespace) -> int:
    """Pack."""
    from ..files import sha256
    from ..trajectories import run_folders
    from ..trajectories.compact import write_compact

    if args.out.suffix != ".safetensors":
        raise UserError(f"--out must be a file that ends in .safetensors, got {args.out}")
    molecules = []
    for paths, split, most in (
        (args.runs, "train", args.frames),
        (args.validation, "validation", args.validation_frames),
    ):
        for path in paths:
            molecules += [_pack(folder, split, most) for folder in run_folders(path)]
    if not any(m.split == "train" for m in molecules):
        raise UserError("there is no run to learn from: name run folders, or the folder of a campaign")
    write_compact(args.out, molecules)
    frames = sum(len(m.frames) for m in molecules)
    print(f"{args.out}: {len(molecules)} peptides, {frames:,} frames, {args.out.stat().st_size / 2**20:.1f} MiB")
    print(f"sha256 {sha256(args.out)}")
    return 0


def _pack(path: Path, split: str, most: int) -> CompactMolecule:
    import torch

    from ..energies import Parameters
    from ..trajectories import RunFolder
    from ..trajectories.compact import CompactMolecule, to_fixed_point

    run = RunFolder.open(path)
    run.check_unbiased()
    positions = torch.as_tensor(run.trajectory().positions).flatten(0, 1)
    index = torch.linspace(0, len(positions) - 1, min(most, len(positions))).round().long()
    parameters = Parameters.load(path / "energy.safetensors")
    return CompactMolecule(
        name=run.name,
        split=split,
        atoms=run.atoms,
        frames=to_fixed_point(positions[index]),
        parameters={f.name: getattr(parameters, f.name) for f in fields(parameters)},
        preset=str(run.config["preset"]),
        temperature_K=float(run.config["temperature_K"]),
    )
