"""``timewarp simulate --sequences``: the same MD for a list of peptides."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..executors import LOCAL, PROCESSES, is_address
from . import options
from .errors import UserError

if TYPE_CHECKING:
    from ..executors import Executor
    from ..simulation import SimulationSettings


def add_arguments(parser: argparse.ArgumentParser, each: str = "--length ns") -> None:
    """``--sequences`` and ``--scheduler``."""
    group = parser.add_argument_group("many peptides")
    group.add_argument(
        "--sequences",
        type=Path,
        default=None,
        metavar="FILE",
        help=f"in place of MOLECULE: a text file with one sequence per line (# starts a comment). Each gets {each} "
        "and a run folder under --out; the same command goes on, retries what failed and skips what is done",
    )
    group.add_argument(
        "--scheduler",
        default=None,
        metavar="WHERE",
        help=f"with --sequences: {PROCESSES} of this machine, a {LOCAL} Dask cluster, or the address or *.json file of "
        f"a Dask scheduler, such as tcp://host:8786 (default: {LOCAL} where Dask is installed, else {PROCESSES})",
    )


def check(args: argparse.Namespace) -> None:
    """Check that there is one molecule or one list.

    Raises:
        UserError: there are both or neither, or an option that means nothing.
    """
    if (args.molecule is None) == (args.sequences is None):
        what = "neither" if args.molecule is None else f"{args.molecule} and --sequences {args.sequences}"
        raise UserError(f"give a MOLECULE or --sequences FILE, got {what}")
    if args.scheduler is not None and args.sequences is None:
        raise UserError("--scheduler is for a list of peptides: give --sequences FILE too")
    if is_address(args.scheduler) and args.threads is not None:
        raise UserError(f"--threads counts workers of this machine; {args.scheduler} has its own, leave --threads out")


def run(args: argparse.Namespace, settings: SimulationSettings) -> int:
    """Simulate every peptide of the list.

    Raises:
        UserError: some peptides failed.
    """
    from ..molecules import read_sequences
    from ..verbs.simulate_many import simulate_many

    sequences = read_sequences(args.sequences)
    more = {"preset": args.preset, "progress": not args.quiet, "say": sayer(args.quiet)}
    summary = simulate_many(sequences, args.out, settings, executor_of(args, len(sequences)), **more)
    print(
        f"{args.out}: {summary['done']} of {summary['peptides']} peptides, "
        f"{summary['done_ns']:,.4g} ns, {summary['ns_per_day']:,.0f} ns/day"
    )
    return finish(args.out, summary)


def finish(out: Path, summary: dict[str, Any]) -> int:
    """The exit status of a list.

    Raises:
        UserError: some peptides failed.
    """
    if failures := [row for row in summary["table"] if row["state"] == "failed"]:
        first = failures[0]
        raise UserError(
            f"{len(failures)} of {summary['peptides']} peptides failed, {first['sequence']}: {first['message']} "
            f"(all are in {out / 'summary.json'}; the same command tries them again)"
        )
    return 0


def sayer(quiet: bool) -> Callable[[str], None]:
    """What to do with a line about a peptide that fails."""
    return lambda line: None if quiet else print(f"timewarp: {line}", file=sys.stderr, flush=True)


def executor_of(args: argparse.Namespace, n_peptides: int) -> Executor:
    """The executor that ``--scheduler`` and ``--threads`` name."""
    from ..executors import make_executor

    return make_executor(args.scheduler, min(args.threads or options.available_cores(), n_peptides))
