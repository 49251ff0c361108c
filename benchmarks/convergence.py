"""How long until chains from different starts agree, on peptides never seen, and is every state of MD among them?

For each peptide of a list the default chain of `timewarp sample` starts from scattered torsions and goes on until split
R-hat, over the stored samples without their first fifth, is below the limit for every torsion (phi, psi, omega, chi;
its sine and its cosine), or the time is over. Counted is the wall time of the whole command: building,
warm-up and writing too.

With --md FOLDER (runs of `timewarp simulate`, one for each peptide): states are met by leader clustering of the
backbone torsions of the MD frames (60 degrees); one that holds at least 1 % of them must hold a sample.

    python benchmarks/convergence.py configs/peptides/dipeptides-validation.txt --json convergence.json
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import lists
import numpy as np

SMALLEST_SHARE, RADIUS_DEGREES = 0.01, 60.0


def main() -> None:
    parser = lists.parser(__doc__, frames=300)
    lists.add_list(parser)
    parser.add_argument("--limit", type=float, default=1.01, help="of R-hat (default 1.01)")
    parser.add_argument("--seconds", type=float, default=300.0, help="time for each peptide (default 300)")
    parser.add_argument("--md", type=Path, metavar="FOLDER", help="runs of MD, by the names of the peptides")
    args = parser.parse_args()
    lists.run(
        "convergence",
        lists.listed(args),
        args,
        lambda sequence: row_of(sequence, args),
        show,
        lambda rows: summarise(rows, args.limit),
    )


def show(row: dict[str, Any]) -> None:
    states = f"states {row['states_found']}/{row['states_of_md']}" if "states_of_md" in row else ""
    print(
        f"{row['sequence']:8} {row['seconds']:6.0f} s  R-hat {row['rhat']:.4f} ({row['worst']})  "
        f"ESS {row['ess']:,.0f}  accepted {100 * row['acceptance']:.0f} %  {states}",
        flush=True,
    )


def row_of(sequence: str, args: argparse.Namespace) -> dict[str, Any]:
    from timewarp.analysis import circular_ess, circular_rhat, torsion_angles
    from timewarp.commands import main as timewarp
    from timewarp.files import read_json
    from timewarp.trajectories import RunFolder

    spent, frames = 0.0, args.frames
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / sequence
        while True:
            command = ["sample", sequence, "--model", args.model, "--chains", str(args.chains), "--quiet"]
            started = time.perf_counter()
            if timewarp([*command, "--samples", str(args.chains * frames), "--out", str(out)]):
                raise SystemExit(f"sampling {sequence} failed")
            spent += time.perf_counter() - started
            summary, run = read_json(out / "summary.json"), RunFolder.open(out)
            angles = {name: np.asarray(values) for name, values in torsion_angles(run.trajectory()).items()}
            kept = {name: values[:, frames // 5 :] for name, values in angles.items()}
            rhats = {name: circular_rhat(values) for name, values in kept.items()}
            worst = max(rhats, key=lambda name: rhats[name])
            rate = frames / spent
            more = int(min(2 * frames, rate * args.seconds))
            if rhats[worst] < args.limit or more < 1.15 * frames:
                break
            frames = more
        row = {
            "sequence": sequence,
            "seconds": spent,
            "rhat": rhats[worst],
            "worst": worst,
            "ess": min(circular_ess(values) for values in kept.values()),
            "frames": frames,
            "acceptance": summary["kernels"]["flow"]["acceptance"],
        }
        if args.md:
            row |= states_of(args.md / sequence, angles)
    return row


def states_of(md: Path, angles: dict[str, np.ndarray]) -> dict[str, Any]:
    """How many states of MD there are, and how many of them the chain has met."""
    from timewarp.analysis import torsion_angles
    from timewarp.analysis.states import circular_distance, find_states
    from timewarp.trajectories import RunFolder

    reference = torsion_angles(RunFolder.open(md).trajectory())
    names = [name for name in reference if name.startswith(("phi", "psi"))]
    frames = np.stack([np.asarray(reference[name]).ravel() for name in names], 1)
    ours = np.stack([angles[name].ravel() for name in names], 1)
    states = find_states(frames, RADIUS_DEGREES)
    common = states.visits() >= SMALLEST_SHARE * len(frames)
    centres = frames[states.first[common]]
    found = [bool((circular_distance(ours, c) <= np.deg2rad(RADIUS_DEGREES)).any()) for c in centres]
    return {"states_of_md": len(found), "states_found": sum(found)}


def summarise(rows: list[dict[str, Any]], limit: float) -> dict[str, float]:
    seconds = [row["seconds"] for row in rows]
    figures = {
        "peptides": len(rows),
        "converged": statistics.mean(row["rhat"] < limit for row in rows),
        "seconds, median": statistics.median(seconds),
        "R-hat, worst": max(row["rhat"] for row in rows),
        "acceptance, median": statistics.median(row["acceptance"] for row in rows),
    }
    if all("states_of_md" in row for row in rows):
        figures["states of MD"] = sum(row["states_of_md"] for row in rows)
        figures["of these missed"] = sum(row["states_of_md"] - row["states_found"] for row in rows)
    return figures


if __name__ == "__main__":
    main()
