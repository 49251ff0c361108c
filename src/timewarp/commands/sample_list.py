"""``timewarp sample --sequences``: the same sampling for a list of peptides, on any number of workers."""

from __future__ import annotations

import argparse
import contextlib
import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import campaign
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
    from ..molecules import read_sequences
    from ..trajectories import ClosedSteps
    from ..verbs.many import peptide_seed, run_list

    for name in ("start_from", "tuning"):
        if getattr(args, name):
            raise UserError(f"--{name.replace('_', '-')} is of one molecule; leave it out with --sequences")
    sequences = read_sequences(args.sequences)
    shared = {name: getattr(args, name) for name in SHARED}
    if args.model and Path(args.model).exists():
        shared["model"] = str(Path(args.model).resolve())
    out = Path(args.out or f"{args.sequences.stem}-samples").resolve()
    known = {name: "default" if value is None else value for name, value in shared.items()}
    closed = {sequence: ClosedSteps(out / sequence) for sequence in sequences}
    summary = run_list(
        sequences,
        out,
        work=sample_peptide,
        settings=lambda sequence: {**shared, "seed": peptide_seed(args.seed, sequence)},
        row=lambda sequence, folder: _row(sequence, folder, args),
        shared={"campaign": {"schema": 1, "kind": "samples"}, **known},
        may_grow="samples",
        executor=campaign.executor_of(args, len(sequences)),
        expected=USER_ERRORS,
        amount=lambda sequence, folder: closed[sequence].count() / args.thin,
        each=args.samples,
        unit="samples",
        progress=not args.quiet,
        say=campaign.sayer(args.quiet),
    )
    print(_report(out, summary))
    return campaign.finish(out, summary)


def sample_peptide(sequence: str, folder: Path, settings: dict[str, Any], *, heartbeat: Heartbeat) -> None:
    """Body of a peptide's task, in a worker: ``timewarp sample SEQUENCE`` with a seed of its own.

    Raises:
        UserError: what ``timewarp sample`` would say.
    """
    from . import sample

    own = {"molecule": sequence, "out": folder, "threads": 1, "quiet": True}
    args = argparse.Namespace(**{**settings, "start_from": None, "tuning": None, "sequences": None, **own})
    with contextlib.redirect_stdout(io.StringIO()):
        sample.sample_one(args, heartbeat)


def _row(sequence: str, folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """What the summary says of one peptide."""
    from ..files import read_json
    from ..verbs.many import peptide_seed

    seed = peptide_seed(args.seed, sequence)
    row: dict[str, Any] = {"state": "waiting", "seed": seed}
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
