"""Do chains of the shipped network and long independent MD have the same distribution, on peptides never seen?

For each peptide there is a run of `timewarp simulate` in a folder by its name (made with torsion moves, it mixes far
faster than dynamics alone; its starts and its random numbers are its own). The default chain of `timewarp sample`
starts from scattered torsions. Compared are

- the population of each third of the circle (centred on -60, 60 and 180 degrees) for every soft torsion: z-scores, with
  errors from each side's effective sample size; sectors below 0.5 % on both sides are left out;
- the free energy of phi > 0, kT, with its error;
- the Jensen-Shannon divergence of each torsion (100 bins, bits), beside that of two halves of the MD.

    timewarp simulate --sequences LIST --length 100 --replicas 64 --torsion-moves 100 --burn-in 100 --out MD
    python benchmarks/agreement.py MD --json agreement.json
"""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path
from typing import Any

import lists
import numpy as np

SMALLEST_SHARE = 0.005


def main() -> None:
    parser = lists.parser(__doc__, frames=1000)
    parser.add_argument("md", type=Path, help="folder of runs, by the names of the peptides")
    parser.add_argument("--markdown", action="store_true", help="print the table of the model card, too")
    args = parser.parse_args()

    from timewarp.trajectories import run_folders

    names = [folder.name for folder in run_folders(args.md)]
    rows = lists.run("agreement", names, args, lambda name: row_of(name, args), show, summarise)
    if args.markdown:
        print_table(rows)


def summarise(rows: list[dict[str, Any]]) -> dict[str, float]:
    return {
        "peptides": len(rows),
        "populations": sum(row["populations"] for row in rows),
        "chi2 per population": sum(row["populations"] * row["chi2_per_population"] for row in rows)
        / sum(row["populations"] for row in rows),
        "chi2 per population, worst": max(row["chi2_per_population"] for row in rows),
        "largest |z|": max(row["largest_z"] for row in rows),
    }


def show(row: dict[str, Any]) -> None:
    print(
        f"{row['sequence']:6} MD {row['md_ns']:.0f} ns, R-hat {row['md_rhat']:.3f}; ours {row['rhat']:.3f}; "
        f"{row['populations']} populations: chi2/n {row['chi2_per_population']:.2f}, largest |z| "
        f"{row['largest_z']:.1f} ({row['largest_z_of']}); "
        f"worst JSD {row['jsd']:.4f} (floor {row['jsd_floor']:.4f})",
        *(f"{name} {a[0]:.2f} +- {a[1]:.2f}, MD {b[0]:.2f} +- {b[1]:.2f} kT" for name, (a, b) in row["phi"].items()),
        sep="; ",
        flush=True,
    )


def row_of(sequence: str, args: argparse.Namespace) -> dict[str, Any]:
    import timewarp as tw
    from timewarp.analysis import circular_rhat, jsd_torsion, noise_floor, phi_basin, soft_torsions

    md = tw.open(args.md / sequence)
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / sequence
        samples = args.chains * args.frames
        tw.sample(sequence, model=args.model, chains=args.chains, samples=samples, seed=7, out=out)
        run = tw.open(out, discard=args.frames // 5)
        soft = list(soft_torsions(run.atoms))
        ours, labels = {name: run.torsions[name] for name in soft}, run.trajectory.superchains
    reference = {name: md.torsions[name] for name in soft}
    scores = {name: z for name, (_, _, z) in sectors(ours, reference).items()}
    worst = max(scores, key=lambda name: abs(scores[name]))
    divergence = {name: jsd_torsion(ours[name], reference[name]) for name in soft}
    far = max(divergence, key=lambda name: divergence[name])
    basins = {name: [phi_basin(side[name]) for side in (ours, reference)] for name in soft if name.startswith("phi")}
    return {
        "sequence": sequence,
        "md_ns": float(md.config["length_ns"]),
        "md_rhat": max(circular_rhat(values, md.trajectory.superchains) for values in reference.values()),
        **effective(reference),
        "rhat": max(circular_rhat(values, labels) for values in ours.values()),
        "populations": len(scores),
        "chi2_per_population": float(np.mean(np.square(list(scores.values())))),
        "largest_z": abs(scores[worst]),
        "largest_z_of": worst,
        "jsd": divergence[far],
        "jsd_floor": noise_floor(jsd_torsion, reference[far]),
        "phi": {name: [[b.delta_F, b.error] for b in both] for name, both in basins.items()},
    }


def sectors(ours: dict[str, np.ndarray], reference: dict[str, np.ndarray]) -> dict[str, tuple[float, float, float]]:
    """Populations of the thirds of the circle: our value less that of the reference, its error, and their ratio z."""
    from timewarp.analysis import mean

    found = {}
    for name in ours:
        for centre in (-60, 60, 180):
            here, there = (mean(_within(side[name], centre)) for side in (ours, reference))
            # A side that is always or never there has no error.
            error = math.hypot(*(s.error for s in (here, there) if math.isfinite(s.error)))
            if max(here.value, there.value) > SMALLEST_SHARE and error > 0:
                difference = here.value - there.value
                found[f"{name} at {centre}"] = (difference, error, difference / error)
    return found


def print_table(rows: list[dict[str, Any]]) -> None:
    """The rows of the model card's table."""
    for row in rows:
        known = ((n, *a, *b) for n, (a, b) in row["phi"].items() if None not in (*a, *b))
        phi = "; ".join(f"{n} {x:.2f} ± {dx:.2f}, {y:.2f} ± {dy:.2f}" for n, x, dx, y, dy in known)
        cells = [row["sequence"], f"{row['md_ns']:.0f}", f"{row['md_ess']:,.0f} ({row['md_slowest_torsion']})"]
        cells += [str(row["populations"]), f"{row['chi2_per_population']:.2f}", f"{row['largest_z']:.1f}"]
        cells += [f"{row['jsd']:.4f} ({row['jsd_floor']:.4f})", phi or "-", f"{row['rhat']:.3f}, {row['md_rhat']:.3f}"]
        print("| " + " | ".join(cells) + " |")


def effective(reference: dict[str, np.ndarray]) -> dict[str, Any]:
    """Effective samples of the MD's worst torsion; twice the correlation time of plain MD is what each is worth."""
    from timewarp.analysis import circular_ess

    esses = {name: circular_ess(values) for name, values in reference.items()}
    worst = min(esses, key=lambda name: esses[name])
    return {"md_ess": esses[worst], "md_slowest_torsion": worst}


def _within(angles: np.ndarray, centre_degrees: float) -> np.ndarray:
    return (np.cos(angles - np.deg2rad(centre_degrees)) > 0.5).astype(np.float64)


if __name__ == "__main__":
    main()
