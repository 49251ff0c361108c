"""``timewarp export``: frames of a run for other programs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from . import options

FORMATS = ("dcd", "xtc", "h5", "pdb")


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Describe the verb."""
    parser = subparsers.add_parser(
        "export",
        help="write a run's frames as DCD, XTC, HDF5 or PDB",
        description="Write the frames of a run for MDTraj, MDAnalysis, VMD or PyMOL: one file per chain and, for DCD "
        "and XTC, topology.pdb beside them. Times are in ps for MD, Metropolis-Hastings steps for chains. DCD and HDF5 "
        "keep positions as they are stored; XTC rounds them to 0.001 nm, which moves energies that are computed from "
        "it by 2 to 4 kJ/mol (root mean square, up on average), and PDB to 0.0001 nm (0.2 to 0.35 kJ/mol).",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder of `simulate`, `sample` or `explore`")
    parser.add_argument(
        "--format", choices=FORMATS, default="dcd", help="file format (default dcd; xtc is smaller and rounds)"
    )
    parser.add_argument(
        "--stride",
        type=options.integer("the stride", least=1, most=2**31),
        default=1,
        metavar="N",
        help="every N-th frame (default 1)",
    )
    parser.add_argument(
        "--out", type=Path, default=None, metavar="PATH", help="folder, or a file for one chain (default RUN/export)"
    )
    parser.add_argument("--no-superpose", action="store_true", help="do not turn the frames onto the first one")
    parser.add_argument("--force", action="store_true", help="replace files that exist")


def run(args: argparse.Namespace) -> int:
    """Export."""
    from ..trajectories import RunFolder, export
    from ..trajectories.folder import BIASED

    source = RunFolder.open(args.run)
    if source.kind == "exploration":
        print(f"timewarp: {args.run} is {BIASED}", file=sys.stderr)
    files = export(
        source,
        args.run / "export" if args.out is None else args.out,
        format=args.format,
        stride=args.stride,
        superposed=not args.no_superpose,
        overwrite=args.force,
    )
    for file in files:
        print(file)
    return 0
