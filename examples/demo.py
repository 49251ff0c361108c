"""The main job, end to end: exact samples of alanine dipeptide, their diagnostics, a trajectory and a report.

Run it with ``make demo``; ``--short`` is the form that continuous integration runs.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path

from timewarp.commands import main as timewarp
from timewarp.files import read_json

REFERENCE = Path(__file__).parent / "ala2-md"
LARGEST_RHAT = 1.01
SMALLEST_ESS = 2000
FEWEST_SAMPLES = 20_000


def run(*arguments: str) -> None:
    print(f"\n$ timewarp {' '.join(arguments)}", flush=True)
    status = timewarp(list(arguments))
    if status:
        sys.exit(status)


def open_trajectories(folder: Path) -> int:
    """Frames that MDTraj (and MDAnalysis, where it is installed) find in the exported files."""
    import mdtraj

    files = sorted(folder.glob("*.xtc"))
    frames = sum(len(mdtraj.load(str(file), top=str(folder / "topology.pdb"))) for file in files)
    try:
        import MDAnalysis
    except ImportError:
        return frames
    universe = MDAnalysis.Universe(str(folder / "topology.pdb"), [str(file) for file in files])
    assert len(universe.trajectory) == frames, "MDTraj and MDAnalysis disagree on the number of frames"
    return frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="fewer samples")
    parser.add_argument("--out", type=Path, default=Path("demo-run"), help="output folder (default demo-run)")
    parser.add_argument("--seed", type=int, default=1, help="seed (default 1)")
    args = parser.parse_args()
    started = time.monotonic()
    samples = "76800" if args.short else "153600"
    start = "phi_1=60,psi_1=30"
    run(
        *("sample", "Ace-A-Nme", "--samples", samples, "--chains", "64", "--start-torsion", start),
        *("--seed", str(args.seed), "--out", str(args.out), "--export", "xtc"),
    )
    run("report", str(args.out), "--reference", str(REFERENCE))

    summary = read_json(args.out / "summary.json")
    # What never moved has neither, and does not count as converged.
    rhat = {name: math.inf if value is None else value for name, value in summary["rhat"].items()}
    ess = {name: value or 0.0 for name, value in summary["ess"].items()}
    frames = open_trajectories(args.out / "export")
    worst, fewest = max(rhat, key=rhat.get), min(ess, key=ess.get)
    print(f"\n{summary['n_samples']} samples in {summary['n_chains']} chains, half of them started at {start}")
    print(f"nested R-hat     {rhat[worst]:.4f} ({worst}); must be below {LARGEST_RHAT}")
    print(f"smallest ESS     {ess[fewest]:.0f} ({fewest}); must be at least {SMALLEST_ESS}")
    for name, kernel in summary["kernels"].items():
        print(f"acceptance       {100 * kernel['acceptance']:.1f} % ({name})")
    print(f"trajectory       {args.out / 'export'} ({frames} frames, as MDTraj and MDAnalysis read them)")
    print(f"report           {args.out / 'report' / 'index.html'}")
    print(f"all of it in     {time.monotonic() - started:.0f} s")
    good = rhat[worst] < LARGEST_RHAT and ess[fewest] >= SMALLEST_ESS and frames >= FEWEST_SAMPLES
    if not good:
        sys.exit("the demo did not reach its own criteria")


if __name__ == "__main__":
    main()
