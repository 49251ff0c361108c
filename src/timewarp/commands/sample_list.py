"""``timewarp sample --sequences``: the same sampling for a list of peptides, on any number of workers."""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import campaign, options
from .errors import USER_ERRORS, UserError

if TYPE_CHECKING:
    from ..executors import Heartbeat

SHARED = (
    "preset", "temperature", "samples", "chains", "thin", "warmup", "start", "start_torsion", "seed", "model", "family",
    "kernels", "no_flow", "proposals", "flow_steps", "torsion_moves", "hmc_steps", "hmc_acceptance", "precision",
    "device", "export",
)  # fmt: skip
"""Options that all peptides of a list share; ``--samples`` may grow."""


def run(args: argparse.Namespace) -> int:
    """Sample every peptide of the list in a run folder of its own; go on with what is not finished.

    Raises:
        UserError: options that cannot be those of a list, or some peptides failed.
    """
    from ..executors import Outcome, Task
    from ..files import exclusive, write_json
    from ..molecules import read_sequences
    from ..progress import Progress
    from ..trajectories import open_campaign

    for name in ("start_from", "tuning"):
        if getattr(args, name):
            raise UserError(f"--{name.replace('_', '-')} is of one molecule; leave it out with --sequences")
    sequences = read_sequences(args.sequences)
    shared = {name: getattr(args, name) for name in SHARED}
    if args.model and Path(args.model).exists():
        shared["model"] = str(Path(args.model).resolve())
    out = Path(args.out or f"{args.sequences.stem}-samples").resolve()  # workers have other working directories
    known = {name: "default" if value is None else value for name, value in shared.items()}
    open_campaign(out, {"campaign": {"schema": 1, "kind": "samples"}, **known}, may_grow="samples")
    workers = min(args.threads or options.available_cores(), len(sequences))
    executor = campaign.make_executor(args.scheduler, workers)
    with exclusive(out):
        messages: dict[str, str | None] = {}
        rows = {sequence: _row(sequence, out / sequence, args) for sequence in sequences}
        tasks = [
            Task(sequence, sample_peptide, (sequence, out / sequence, shared), USER_ERRORS)
            for sequence in sequences
            if rows[sequence]["state"] != "done"
        ]

        def summary() -> dict[str, Any]:
            table = [{**rows[s], "message": messages.get(s)} for s in sequences]
            return {
                "schema": 1,
                "peptides": len(table),
                "done": sum(row["state"] == "done" for row in table),
                "executor": executor.description,
                "table": table,
            }

        def on_outcome(outcome: Outcome) -> None:
            messages[outcome.name] = outcome.error
            rows[outcome.name] = _row(outcome.name, out / outcome.name, args)
            if outcome.error is not None:
                rows[outcome.name]["state"] = "failed"
                if not args.quiet:
                    print(f"timewarp: {outcome.name} failed: {outcome.error}", file=sys.stderr, flush=True)
            write_json(out / "summary.json", summary())
            bar.advance(1)

        try:
            done = len(sequences) - len(tasks)
            with Progress(f"{len(sequences)} peptides", len(sequences), done=done, unit="", quiet=args.quiet) as bar:
                if tasks:
                    executor.run(tasks, on_outcome)
        finally:
            result = summary()
            write_json(out / "summary.json", result)
    print(_report(out, result))
    if failed := [row for row in result["table"] if row["state"] == "failed"]:
        raise UserError(
            f"{len(failed)} of {len(sequences)} peptides failed, {failed[0]['sequence']}: {failed[0]['message']} "
            f"(all are in {out / 'summary.json'}; the same command tries them again)"
        )
    return 0


def sample_peptide(sequence: str, folder: Path, shared: dict[str, Any], *, heartbeat: Heartbeat) -> None:
    """Body of a peptide's task, in a worker: ``timewarp sample SEQUENCE`` with a seed of its own.

    Raises:
        FileNotFoundError: this machine does not see the folder of the list.
        UserError: what ``timewarp sample`` would say.
    """
    from ..trajectories import run_in_campaign
    from . import sample

    args = _arguments(sequence, folder, shared)

    def body() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            sample.sample_one(args, heartbeat)

    run_in_campaign(folder, body, heartbeat)


def _arguments(sequence: str, folder: Path, shared: dict[str, Any]) -> argparse.Namespace:
    """The command line of one peptide."""
    from ..simulation import peptide_seed

    seed = peptide_seed(shared["seed"], sequence)
    own = {"molecule": sequence, "out": folder, "seed": seed, "threads": 1, "quiet": True}
    return argparse.Namespace(**{**shared, "start_from": None, "tuning": None, "sequences": None, **own})


def _row(sequence: str, folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """What the summary says of one peptide."""
    from ..files import read_json
    from ..simulation import peptide_seed

    seed = peptide_seed(args.seed, sequence)
    row: dict[str, Any] = {"sequence": sequence, "folder": folder.name, "state": "waiting", "seed": seed}
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        found = read_json(folder / "summary.json")
        wanted = -(-args.samples // args.chains) * args.chains
        if found["seed"] == seed and found["n_samples"] >= wanted:
            rhat = [value for value in found["rhat"].values() if isinstance(value, float) and math.isfinite(value)]
            ess = [value for value in found["ess"].values() if isinstance(value, float) and math.isfinite(value)]
            row |= {
                "state": "done",
                "samples": found["n_samples"],
                "wall_s": found["wall_s"],
                "model": found["model"],
                "acceptance": {name: kernel["acceptance"] for name, kernel in found["kernels"].items()},
                "jump": found["kernels"].get("flow", {}).get("jump"),
                "worst_rhat": max(rhat, default=None),
                "smallest_ess": min(ess, default=None),
            }
    return row


def _report(out: Path, result: dict[str, Any]) -> str:
    """A line per peptide that is done."""
    lines = [
        f"{out}: {result['done']} of {result['peptides']} peptides",
        "peptide       flow  jump  worst R-hat  smallest ESS  ESS/s",
    ]
    for row in result["table"]:
        if row["state"] != "done":
            continue
        flow = row["acceptance"].get("flow")
        parts = [
            "-" if flow is None else f"{100 * flow:.1f} %",
            "-" if row["jump"] is None else f"{row['jump']:.2f}",
            "-" if row["worst_rhat"] is None else f"{row['worst_rhat']:.4f}",
            "-" if row["smallest_ess"] is None else f"{row['smallest_ess']:,.0f}",
            "-" if row["smallest_ess"] is None else f"{row['smallest_ess'] / row['wall_s']:,.1f}",
        ]
        lines.append("{:10}{:>8}{:>6}{:>13}{:>14}{:>7}".format(row["sequence"], *parts))
    return "\n".join(lines)
