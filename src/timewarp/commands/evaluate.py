"""``timewarp evaluate``: runs beside their references, by the measures that papers report; a table over peptides."""

from __future__ import annotations

import argparse
from pathlib import Path

from . import options

LEVELS = ("trust", "caution", "reject")
MOST_ROWS = 12
SLOWEST_IS = "slowest coordinate; < and > are bounds"


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Describe the verb."""
    parser = subparsers.add_parser(
        "evaluate",
        help="compare runs of one or many peptides with references, by the measures that papers report",
        description="Compare runs with references of the same molecules: E-W2, T-W2, TICA-W2, Jensen-Shannon "
        "divergences, free energies and missed states, each beside its noise floor (between halves of the reference), "
        "with convergence, acceptance and a verdict; a table per peptide and a summary over peptides, as JSON, CSV and "
        "one HTML page. The same command goes on where it was stopped, and takes in runs that have grown.",
    )
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="run folders, or folders of `sample --sequences`"
    )
    parser.add_argument(
        "--reference",
        nargs="+",
        type=Path,
        required=True,
        metavar="REF",
        help="runs of the same molecules to compare with, folders that hold such runs, or trajectory files of any "
        "program",
    )
    options.add_foreign(parser, "a reference")
    options.add_out(parser, what="output folder: evaluation.json, evaluation.csv, index.html")
    options.add_lag(parser)
    parser.add_argument(
        "--discard",
        type=options.integer("the number of discarded frames", least=0, most=2**31),
        default=0,
        metavar="N",
        help="frames dropped from the start of each chain of the runs (default 0)",
    )
    options.add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    """Evaluate each run, then all, and print the table."""
    from ..analysis.evaluation import MEASURES
    from ..trajectories import RunFolder, run_folders
    from ..verbs.evaluate import evaluate
    from . import version

    runs = [RunFolder.open(folder) for path in args.runs for folder in run_folders(path)]
    target = {"preset": runs[0].config.get("preset"), "temperature_K": runs[0].temperature_K}
    references = [
        options.open_source(each, args, **target)
        for path in args.reference
        for each in ([path] if path.is_file() else run_folders(path))
    ]
    result = evaluate(
        runs,
        references,
        args.out,
        lag_ps=args.lag,
        discard=args.discard,
        version=version(),
        progress=options.teller(args, "evaluating"),
    )
    print(f"{'':16}{'median':>10}{'quartiles':>20}{'worst':>10}{'over floor':>12}")
    for measure in MEASURES:
        if row := result.summary.get(measure.name):
            title = f"{measure.title}{'/' + measure.unit if measure.unit else ''}"
            quartiles = f"{row['lower_quartile']:.3g} - {row['upper_quartile']:.3g}"
            print(
                f"{title:16}{row['median']:>10.3g}{quartiles:>20}{row['worst']:>10.3g}{row['over_floor_median']:>12.3g}"
            )
    for row in result.rows[:MOST_ROWS]:
        if row["speed_up"] is not None:
            sign = "" if row["speed_up_sign"] == "=" else row["speed_up_sign"]
            print(f"speed-up   {sign}{row['speed_up']:,.3g} over MD ({row['name']}, {SLOWEST_IS})")
    for level in LEVELS:
        if names := [row["name"] for row in result.rows if row["level"] == level]:
            shown = ", ".join(names[:MOST_ROWS])
            more = f" and {len(names) - MOST_ROWS} more" if len(names) > MOST_ROWS else ""
            print(f"{level:10} {len(names):>4}  {shown}{more}")
    print(f"\nwritten to {args.out / 'index.html'}")
    return 0
