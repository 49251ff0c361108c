"""How long until chains from different starts agree, on peptides never seen, and is every state of MD among them?

For each peptide of a list the default chain of `timewarp.sample` starts from scattered torsions and goes on until, over
the stored samples without their first fifth, nested R-hat is below the limit and the effective sample size is 400 for
every quantity that a verdict looks at (phi, psi, omega, chi, the energy, each phi > 0), or the time is over. Counted is
the wall time of all calls: building, warm-up and writing too.

With --md FOLDER (runs of `timewarp simulate`, one for each peptide): states are met by leader clustering of the
backbone torsions of the MD frames (60 degrees); one that holds at least 1 % of them must hold a sample.

    python benchmarks/convergence.py configs/peptides/dipeptides-validation.txt --json convergence.json
"""

from __future__ import annotations

import argparse
import math
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
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    args = parser.parse_args()
    lists.run(
        "convergence",
        lists.listed(args),
        args,
        lambda sequence: row_of(sequence, args),
        show,
        summarise,
    )


def show(row: dict[str, Any]) -> None:
    states = f"states {row['states_found']}/{row['states_of_md']}" if "states_of_md" in row else ""
    print(
        f"{row['sequence']:8} {row['seconds']:6.0f} s  nested R-hat {row['rhat']:.4f} ({row['worst']})  "
        f"ESS {row['ess']:,.0f}  accepted {100 * row['acceptance']:.0f} %  {states}",
        flush=True,
    )


def row_of(sequence: str, args: argparse.Namespace) -> dict[str, Any]:
    import timewarp as tw
    from timewarp.analysis.verdict import ESS_LIMIT

    spent, frames = 0.0, args.frames
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / sequence
        while True:
            started = time.perf_counter()
            whole = tw.sample(
                sequence, model=args.model, chains=args.chains, samples=args.chains * frames, seed=args.seed, out=out
            )
            spent += time.perf_counter() - started
            found = tw.open(out, discard=frames // 5).diagnose()
            # What never moved has neither, and does not count as converged.
            rhats = {name: math.inf if math.isnan(value) else value for name, value in found["rhat"].items()}
            sizes = {name: 0.0 if math.isnan(value) else value for name, value in found["ess"].items()}
            worst, fewest = max(rhats, key=lambda name: rhats[name]), min(sizes.values())
            more = int(min(2 * frames, frames / spent * args.seconds))
            if (rhats[worst] < args.limit and fewest >= ESS_LIMIT) or more < 1.15 * frames:
                break
            frames = more
        row = {
            "sequence": sequence,
            "seconds": spent,
            "rhat": rhats[worst],
            "worst": worst,
            "ess": fewest,
            "converged": rhats[worst] < args.limit and fewest >= ESS_LIMIT,
            "frames": frames,
            "acceptance": whole.summary["kernels"]["flow"]["acceptance"],
        }
        if args.md:
            row |= states_of(args.md / sequence, whole.torsions)
    return row


def states_of(md: Path, angles: dict[str, np.ndarray]) -> dict[str, Any]:
    """How many states of MD there are, and how many of them the chain has met."""
    import timewarp as tw
    from timewarp.analysis.states import circular_distance, find_states

    reference = tw.open(md).torsions
    names = [name for name in reference if name.startswith(("phi", "psi"))]
    frames = np.stack([reference[name].ravel() for name in names], 1)
    ours = np.stack([angles[name].ravel() for name in names], 1)
    states = find_states(frames, RADIUS_DEGREES)
    common = states.visits() >= SMALLEST_SHARE * len(frames)
    centres = frames[states.first[common]]
    found = [bool((circular_distance(ours, c) <= np.deg2rad(RADIUS_DEGREES)).any()) for c in centres]
    return {"states_of_md": len(found), "states_found": sum(found)}


def summarise(rows: list[dict[str, Any]]) -> dict[str, float]:
    seconds = [row["seconds"] for row in rows]
    figures = {
        "peptides": len(rows),
        "converged": statistics.mean(row["converged"] for row in rows),
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
