"""What benchmarks over lists of peptides share: a result file that is gone on with, one row for each peptide."""

from __future__ import annotations

import argparse
import os
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any


def parser(description: str | None, frames: int) -> argparse.ArgumentParser:
    """A parser with the options that all of them have."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--model", default="peptides", help="network (default: peptides)")
    made.add_argument("--chains", type=int, default=64, help="chains (default 64)")
    made.add_argument("--frames", type=int, default=frames, help=f"stored samples of each chain (default {frames})")
    made.add_argument("--json", type=Path, required=True, help="the result; rows that it holds are kept")
    return made


def add_list(made: argparse.ArgumentParser) -> None:
    """The list of peptides, and how many of them."""
    made.add_argument("sequences", type=Path, help="list of peptides")
    made.add_argument("--first", type=int, metavar="N", help="the first N peptides only")


def listed(args: argparse.Namespace) -> list[str]:
    """The peptides that were asked for."""
    from timewarp.molecules import read_sequences

    return list(read_sequences(args.sequences)[: args.first])


def run(
    name: str,
    sequences: Iterable[str],
    args: argparse.Namespace,
    row_of: Callable[[str], dict[str, Any]],
    show: Callable[[dict[str, Any]], None],
    summarise: Callable[[list[dict[str, Any]]], dict[str, float]],
) -> list[dict[str, Any]]:
    """One row after the other, each written when it is done, and the summary; the rows of all peptides."""
    from timewarp.files import read_json, write_json

    options = {key: str(value) if isinstance(value, Path) else value for key, value in vars(args).items()}
    result: dict[str, Any] = {"benchmark": name, "rows": []}
    if args.json.exists():
        result = read_json(args.json)
    result |= {"commit": commit(), "cores": len(os.sched_getaffinity(0)), "options": options}
    done = {row["sequence"] for row in result["rows"]}
    for sequence in sequences:
        if sequence in done:
            continue
        result["rows"].append(row_of(sequence))
        show(result["rows"][-1])
        result["summary"] = summarise(result["rows"])
        write_json(args.json, result)
    for key, value in result["summary"].items():
        print(f"{key:40} {value:.4g}")
    return list(result["rows"])


def commit() -> str:
    """What is measured."""
    found = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"
