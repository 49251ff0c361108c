"""Does the verdict depend on the number of chains, and does it go with the error? Runs of equal total length.

For each peptide of a list there are runs of `timewarp.sample` with 8, 32 and 128 chains (and other numbers, if asked
for) of the same number of samples, each judged as `timewarp analyse` judges it. Compared are

- the three verdicts: level, largest nested R-hat, smallest effective sample size, and the checks that did not pass;
- each run with a reference: the populations of the thirds of every soft torsion (as in agreement.py) and of the named
  backbone conformations, as z-scores by the errors of both sides.

The reference is MD with torsion moves, from scattered starts and with random numbers of its own, in MD/SEQUENCE. It is
made where it is missing, and a larger --md-length extends it. A run that is trusted should have a mean z^2 near 1: then
its error bars are right. One that is not trusted may be right by chance, but its error bars are larger, or wrong.

    python benchmarks/verdicts.py configs/peptides/dipeptides-validation.txt --first 20 --md MD --json verdicts.json
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

import lists
import numpy as np
from agreement import SMALLEST_SHARE, sectors

TORSION_MOVES_PER_PS = 100.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    lists.add_list(parser)
    parser.add_argument("--chains", nargs="+", type=int, default=[8, 32, 128], help="default: %(default)s")
    parser.add_argument("--samples", nargs="+", type=int, default=[8192], help="of each run (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the runs (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--md", type=Path, required=True, metavar="FOLDER", help="of the references")
    parser.add_argument("--md-length", type=float, default=20.0, metavar="NS", help="default: %(default)s")
    parser.add_argument("--json", type=Path, required=True, help="the result; rows that it holds are kept")
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", str(args.threads))
    lists.run("verdicts", lists.listed(args), args, lambda sequence: row_of(sequence, args), show, summarise)


def row_of(sequence: str, args: argparse.Namespace) -> dict[str, Any]:
    import timewarp as tw

    reference = tw.simulate(
        sequence,
        length_ns=args.md_length,
        torsion_moves_per_ps=TORSION_MOVES_PER_PS,
        replicas=32,
        start=("spread",),
        seed=1000 + args.seed,
        threads=args.threads,
        out=args.md / sequence,
    )
    runs = []
    for samples in args.samples:
        for chains in args.chains:
            with tempfile.TemporaryDirectory() as scratch:
                run = tw.sample(
                    sequence,
                    samples=samples,
                    chains=chains,
                    seed=args.seed,
                    threads=args.threads,
                    out=Path(scratch) / "run",
                )
                runs.append({"samples": samples, "chains": chains, **judged(run), **errors(run, reference)})
    return {"sequence": sequence, "reference": {"ns": args.md_length, **judged(reference)}, "runs": runs}


def judged(run: Any) -> dict[str, Any]:
    """The verdict on a run, and its numbers."""
    from timewarp.analysis import largest_rhat, quantities, smallest_ess

    found = run.judge()
    rows = quantities(found.analysis)
    return {
        "level": found.verdict.level,
        "rhat": largest_rhat(found.analysis),
        "rhat_of": max(rows, key=lambda name: np.nan_to_num(rows[name]["rhat"], nan=0.0)),
        "ess": smallest_ess(found.analysis),
        "ess_of": min(rows, key=lambda name: np.nan_to_num(rows[name]["ess"], nan=math.inf)),
        "checks": {check.name: check.status for check in found.verdict.checks if check.status in ("warn", "fail")},
        "seconds": found.seconds,
    }


def errors(run: Any, reference: Any) -> dict[str, Any]:
    """Populations beside those of the reference."""
    from timewarp.analysis import soft_torsions

    soft = list(soft_torsions(run.atoms))
    thirds = sectors(*({name: side.torsions[name] for name in soft} for side in (run, reference)))
    return {"torsions": of_scores(thirds), "conformations": of_scores(conformations(run, reference))}


def conformations(run: Any, reference: Any) -> dict[str, tuple[float, float, float]]:
    """Populations of the named conformations: our value less that of the reference, its error, and their ratio z."""
    from timewarp.analysis import find_conformations, mean

    here, there = (find_conformations(side.torsions) for side in (run, reference))
    found = {}
    for name in dict.fromkeys([*here.names, *there.names]) if here and there else ():
        one, other = (mean(side.of(name).astype(np.float64)) for side in (here, there))
        error = math.hypot(*(side.error for side in (one, other) if math.isfinite(side.error)))
        if max(one.value, other.value) > SMALLEST_SHARE and error > 0:
            found[name] = (one.value - other.value, error, (one.value - other.value) / error)
    return found


def of_scores(found: dict[str, tuple[float, float, float]]) -> dict[str, Any]:
    """How many populations, the mean of z^2, and the largest z, difference and error."""
    if not found:
        return {"n": 0}
    worst = max(found, key=lambda name: abs(found[name][2]))
    return {
        "n": len(found),
        "mean_z2": statistics.mean(z**2 for _, _, z in found.values()),
        "largest_z": abs(found[worst][2]),
        "largest_z_of": worst,
        "largest_difference": max(abs(difference) for difference, _, _ in found.values()),
        "largest_error": max(error for _, error, _ in found.values()),
    }


def summarise(rows: list[dict[str, Any]]) -> dict[str, float]:
    figures: dict[str, float] = {"peptides": len(rows)}
    lengths = sorted({run["samples"] for row in rows for run in row["runs"]})
    for samples in lengths:
        same = [[run for run in row["runs"] if run["samples"] == samples] for row in rows]
        figures[f"{samples}: verdicts agree"] = sum(len({run["level"] for run in runs}) == 1 for runs in same)
        trusted = [[run["level"] != "reject" for run in runs] for runs in same]
        figures[f"{samples}: all agree whether to trust"] = sum(len(set(each)) == 1 for each in trusted)
        flat = [run for runs in same for run in runs]
        for level in ("trust", "caution", "reject"):
            these = [run for run in flat if run["level"] == level]
            figures[f"{samples}: {level}"] = len(these)
            for kind in ("torsions", "conformations"):
                known = [run[kind] for run in these if run[kind]["n"]]
                if known:
                    n = sum(part["n"] for part in known)
                    label = f"{samples}: {level}, {kind}"
                    figures[f"{label}, mean z^2"] = sum(part["n"] * part["mean_z2"] for part in known) / n
                    figures[f"{label}, largest |z|"] = max(part["largest_z"] for part in known)
                    figures[f"{label}, largest difference"] = max(part["largest_difference"] for part in known)
    return figures


def show(row: dict[str, Any]) -> None:
    known = row["reference"]
    print(f"{row['sequence']:6} reference: {known['level']}, R-hat {known['rhat']:.4f}, ESS {known['ess']:,.0f}")
    for run in row["runs"]:
        thirds, named = run["torsions"], run["conformations"]
        print(
            f"    {run['samples']:7,} in {run['chains']:4} chains: {run['level']:8} R-hat {run['rhat']:.4f} "
            f"({run['rhat_of']}), ESS {run['ess']:,.0f} ({run['ess_of']}); z^2 {thirds['mean_z2']:.2f}, |z| "
            f"{thirds['largest_z']:.1f}; conformations z^2 {named.get('mean_z2', math.nan):.2f}, |z| "
            f"{named.get('largest_z', math.nan):.1f}; {', '.join(f'{k}: {v}' for k, v in run['checks'].items())}",
            flush=True,
        )


if __name__ == "__main__":
    main()
