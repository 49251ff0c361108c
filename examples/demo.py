"""The main job, end to end: exact samples of alanine dipeptide, their diagnostics, a trajectory and a report.

Run it with ``make demo``; ``--short`` is the form that continuous integration runs.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
import warnings
from pathlib import Path

import timewarp as tw
from timewarp.trajectories import export

REFERENCE = Path(__file__).parent / "ala2-md"
START = "phi_1=60,psi_1=30"
LARGEST_RHAT = 1.01
SMALLEST_ESS = 2000
FEWEST_SAMPLES = 20_000


def open_trajectories(folder: Path) -> int:
    """Frames that MDTraj (through the library) and MDAnalysis, where it is installed, find in the exported files."""
    files, topology = sorted(folder.glob("*.dcd")), folder / "topology.pdb"
    frames = tw.read_frames(files, top=topology).energies.size
    try:
        import MDAnalysis
    except ImportError:
        return frames
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MDAnalysis announces changes of its version 3
        universe = MDAnalysis.Universe(str(topology), [str(file) for file in files])
    assert len(universe.trajectory) == frames, "MDTraj and MDAnalysis disagree on the number of frames"
    return frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="fewer samples")
    parser.add_argument("--out", type=Path, default=Path("demo-run"), help="output folder (default demo-run)")
    parser.add_argument("--seed", type=int, default=1, help="seed (default 1)")
    args = parser.parse_args()
    started = time.monotonic()
    run = tw.sample(
        "Ace-A-Nme",
        samples=76_800 if args.short else 153_600,
        chains=64,
        start_torsion=START,
        seed=args.seed,
        out=args.out,
        progress=True,
    )
    export(run.folder, args.out / "export", format="dcd", overwrite=True)
    page = tw.write_report(run, REFERENCE, progress=True)
    frames = open_trajectories(args.out / "export")

    summary, found = run.summary, run.diagnose()
    # What never moved has neither, and does not count as converged.
    rhat = {name: math.inf if math.isnan(value) else value for name, value in found["rhat"].items()}
    ess = {name: 0.0 if math.isnan(value) else value for name, value in found["ess"].items()}
    worst, fewest = max(rhat, key=rhat.get), min(ess, key=ess.get)
    print(f"\n{summary['n_samples']} samples in {summary['n_chains']} chains, half of them started at {START}")
    print(f"nested R-hat     {rhat[worst]:.4f} ({worst}); must be below {LARGEST_RHAT}")
    print(f"smallest ESS     {ess[fewest]:.0f} ({fewest}); must be at least {SMALLEST_ESS}")
    for name, kernel in summary["kernels"].items():
        print(f"acceptance       {100 * kernel['acceptance']:.1f} % ({name})")
    print(f"trajectory       {args.out / 'export'} ({frames} frames, as MDTraj and MDAnalysis read them)")
    print(f"report           {page}")
    print(f"verdict          {run.verdict(tw.open(REFERENCE)).headline}")
    print(f"all of it in     {time.monotonic() - started:.0f} s")
    good = rhat[worst] < LARGEST_RHAT and ess[fewest] >= SMALLEST_ESS and frames >= FEWEST_SAMPLES
    if not good:
        sys.exit("the demo did not reach its own criteria")


if __name__ == "__main__":
    main()
