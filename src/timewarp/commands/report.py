"""``timewarp report``: one self-contained HTML page of a run, and its figures."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from . import options
from .analyse import add_run_options, is_analysis, judge_named
from .errors import UserError

if TYPE_CHECKING:
    from ..judging import Judged

FORMATS = ("png", "svg", "pdf")


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Describe the verb."""
    parser = subparsers.add_parser(
        "report",
        help="one HTML page with figures, tables and a verdict",
        description="Write a self-contained HTML page of a run of `sample` or `simulate`, with a verdict, tables and "
        "figures (beside a reference where one is given), the figures as files, and analysis.json. Of a run of "
        "`explore`, the page shows the states found against time.",
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
    from ..files import write_atomically, write_json
    from ..report import Provenance, write_report
    from ..report.exploration import render_exploration
    from ..report.write import save_plots
    from ..trajectories import RunFolder
    from ..verbs.survey import survey
    from . import version

    folder = args.run / "report" if args.out is None else args.out
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; give a folder for the report")
    if args.out is not None and folder.exists() and any(folder.iterdir()) and not is_analysis(folder / "analysis.json"):
        raise FileExistsError(f"{folder} is not empty and not a report; choose another --out")
    source = RunFolder.open(args.run)
    reference = None if args.reference is None else options.open_source(args.reference, args, molecule=source)
    formats = args.formats or ("png",)
    if source.kind == "exploration":
        if args.discard or args.stride != 1:
            raise UserError(
                f"{args.run} is an exploration, whose states are counted from its first frame; leave out "
                "--discard and --stride"
            )
        found = survey(source, reference, progress=options.teller(args, "analysing"))
        provenance = Provenance(
            source.name,
            source.kind,
            source.config,
            found.summary,
            None if reference is None else f"MD of {reference.name}",
            version(),
        )
        save_plots([found.plot()], folder, formats)
        page = folder / "index.html"
        write_atomically(page, render_exploration(provenance, found.found, found.plot()).encode())
        write_json(folder / "analysis.json", found.to_json())
    else:
        judged = judge_named(args, source, reference)
        options.teller(args, "drawing")("the page")
        provenance = Provenance(
            source.name, source.kind, source.config, source.summary() or {}, _described(judged), version()
        )
        page = write_report(
            folder,
            judged.trajectory,
            judged.analysis,
            judged.verdict,
            provenance,
            reference=judged.reference_trajectory,
            comparison=judged.comparison,
            slow=judged.slow,
            formats=formats,
        )
        write_json(folder / "analysis.json", judged.to_json())
    print(page)
    return 0


def _described(judged: Judged) -> str | None:
    """The reference in a few words, if there is one."""
    t = judged.reference_trajectory
    if t is None:
        return None
    kinds = {"md": "MD", "frames": "frames"}
    length = t.n_chains * t.n_frames * t.frame_spacing
    amount = f"{length / 1000:,.3g} ns" if t.unit == "ps" else f"{t.n_chains * t.n_frames:,} samples"
    return f"{amount} of reference {kinds.get(t.kind, 'sampling')} ({t.n_chains} chains)"
