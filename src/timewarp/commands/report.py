"""``timewarp report``: one self-contained HTML page of a run, and its figures."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .analyse import add_run_options, is_analysis, judge_named

FORMATS = ("png", "svg", "pdf")


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Describe the verb."""
    parser = subparsers.add_parser(
        "report",
        help="one HTML page with figures, tables and a verdict",
        description="Write a self-contained HTML page of a run of `sample` or `simulate`, with a verdict, tables and "
        "figures (beside a reference where one is given), the figures as files, and analysis.json.",
    )
    add_run_options(parser)
    parser.add_argument(
        "--out", type=Path, default=None, metavar="FOLDER", help="folder of the report (default RUN/report)"
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        action="append",
        dest="formats",
        default=None,
        help="format of the figure files; may be given more than once (default png)",
    )


def run(args: argparse.Namespace) -> int:
    """Analyse, draw, write; print the path of the page."""
    from ..files import write_json
    from ..report import Provenance, write_report
    from . import version

    folder = args.run / "report" if args.out is None else args.out
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; give a folder for the report")
    if args.out is not None and folder.exists() and any(folder.iterdir()) and not is_analysis(folder / "analysis.json"):
        raise FileExistsError(f"{folder} is not empty and not a report; choose another --out")
    judged = judge_named(args)
    if not args.quiet:
        print("drawing", file=sys.stderr, flush=True)
    described = None
    r = judged.reference_trajectory
    if r is not None:
        kinds = {"md": "MD", "frames": "frames"}
        length = r.n_chains * r.n_frames * r.frame_spacing
        amount = f"{length / 1000:,.3g} ns" if r.unit == "ps" else f"{r.n_chains * r.n_frames:,} samples"
        described = f"{amount} of reference {kinds.get(r.kind, 'sampling')} ({r.n_chains} chains)"
    page = write_report(
        folder,
        judged.trajectory,
        judged.analysis,
        judged.verdict,
        Provenance(
            judged.source.name,
            judged.source.kind,
            judged.source.config,
            judged.source.summary() or {},
            described,
            version(),
        ),
        reference=judged.reference_trajectory,
        comparison=judged.comparison,
        formats=args.formats or ("png",),
        dynamics=(judged.source.is_dynamics, judged.reference is not None and judged.reference.is_dynamics),
    )
    write_json(folder / "analysis.json", judged.to_json())
    print(page)
    return 0
