"""Families A, B and C on alanine dipeptide, each in its cycle, beside long MD: acceptance, ESS per second, agreement.

All chains start from frames spread over the MD, so that none has to find its way down from a minimised structure, and
every row is sampled in this run on the same threads. Agreement is that of the chain with the MD: z-scores of the mean
energy and of P(phi > 0) by the ESS of both, the divergence of (phi, psi) with the noise floor of MD's own halves, and
the largest z of bond lengths and angles. Where a chain has too few effective samples for that, its R-hat says so.

    timewarp simulate Ace-A-Nme --length 2500 --replicas 64 --frame-spacing 10 --seed 11 --out MD
    python benchmarks/families.py --md MD --threads 2 --json families.json
"""

from __future__ import annotations

import argparse
import math
import platform
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).parents[1]
ROWS = (
    ("C, ala2", "ala2", "flow,torsion,hmc", 128, 1.0),
    ("B, ala2-internal, alone", "ala2-internal", "flow", 128, 1.0),
    ("B, ala2-internal", "ala2-internal", "flow,torsion,hmc", 128, 1.0),
    ("A, ala2-cartesian, alone", "ala2-cartesian", "flow", 128, 0.2),
    ("A, ala2-cartesian, and hmc", "ala2-cartesian", "flow,hmc", 128, 0.2),
    ("A, ala2-cartesian", "ala2-cartesian", "flow,torsion,hmc", 128, 0.2),
    ("no network", None, "torsion,hmc", 128, 1.0),
)
"""Label, model, kernels, chains, and samples relative to --samples: a Cartesian network takes longer for each."""
PAPER = {"acceptance": 0.02, "what": "Timewarp, alanine dipeptide, Cartesian flow, as published: about 2 %"}


def sample(model: str | None, kernels: str, chains: int, samples: int, args: argparse.Namespace, out: Path) -> None:
    import timewarp as tw

    tw.sample(
        "Ace-A-Nme",
        model={"ala2-cartesian": args.cartesian}.get(model or "", model),
        no_flow=model is None,
        kernels=kernels,
        chains=chains,
        samples=samples,
        warmup=args.warmup,
        start_from=args.md,
        threads=args.threads,
        seed=args.seed,
        out=out,
    )


def measure(run: Any, md: Any) -> dict[str, Any]:
    """One row: what the moves did, how fast, and whether the chain agrees with MD."""
    from timewarp.analysis import (
        compare_bonded,
        ess,
        jsd_plane,
        mean,
        noise_floor,
        phi_basin,
        rhat,
        slower,
        z_score,
    )

    chain, summary = run.trajectory, run.summary
    here, there, md = run.torsions, md.torsions, md.trajectory
    quantities = {name: slower(here[name]) for name in ("psi_1", "phi_1")}
    quantities["phi_1 > 0"] = (here["phi_1"] > 0).astype(float)
    basins = phi_basin(here["phi_1"]), phi_basin(there["phi_1"])
    gap = basins[0].population - basins[1].population
    error = math.hypot(basins[0].population_error, basins[1].population_error)
    both = np.stack([there["phi_1"], there["psi_1"]], -1)
    energies = mean(chain.energies.numpy()), mean(md.energies.numpy())
    bonded = compare_bonded(chain.positions, md.positions, md.atoms)
    scores = [z for row in bonded for z in (row.z_mean, row.z_sd) if math.isfinite(z)]
    flow = summary["kernels"].get("flow")
    return {
        "acceptance": flow and flow["acceptance"],
        "acceptance_over_chains": flow and [min(flow["acceptance_per_chain"]), max(flow["acceptance_per_chain"])],
        "jump": flow and flow.get("jump"),
        "samples": chain.n_chains * chain.n_frames,
        "wall_s": summary["wall_s"],
        "samples_per_second": summary["samples_per_second"],
        "proposals_per_second": flow and flow["proposed"] / summary["wall_s"],
        "ess_per_second": {name: ess(values) / summary["wall_s"] for name, values in quantities.items()},
        "rhat": {name: rhat(values, chain.superchains) for name, values in quantities.items()},
        "energy": {"chain": energies[0].value, "md": energies[1].value, "z": z_score(*energies)},
        "phi_above_0": {"chain": basins[0].population, "md": basins[1].population, "z": gap / error if error else None},
        "jsd": jsd_plane((here["phi_1"], here["psi_1"]), (there["phi_1"], there["psi_1"])),
        "jsd_floor": noise_floor(lambda a, b: jsd_plane((a[..., 0], a[..., 1]), (b[..., 0], b[..., 1])), both),
        "bonds_and_angles": {"largest_z": max(map(abs, scores), default=None), "of": len(scores)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--md", type=Path, required=True, metavar="RUN", help="long MD of Ace-A-Nme, of its own seed")
    parser.add_argument("--cartesian", default="ala2-cartesian", metavar="MODEL", help="network of family A")
    parser.add_argument("--samples", type=int, default=256_000, help="of a fast family (default 256000)")
    parser.add_argument("--warmup", type=int, default=50, help="steps (default 50)")
    parser.add_argument("--threads", type=int, default=2, help="(default 2)")
    parser.add_argument("--seed", type=int, default=1, help="(default 1)")
    parser.add_argument("--only", metavar="TEXT", default="", help="rows whose label has this")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write all figures to this file")
    args = parser.parse_args()

    import timewarp as tw
    from timewarp.files import write_json

    md = tw.open(args.md)
    rows = []
    print(
        f"{'':<28}{'accepted':>9}{'jump':>6}{'prop./s':>9}"
        + "".join(f"{'ESS/s ' + n:>17}" for n in ("psi", "phi", "phi>0"))
    )
    for label, model, kernels, chains, share in ROWS:
        if args.only not in label:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            out = Path(scratch) / "run"
            sample(model, kernels, chains, int(args.samples * share), args, out)
            row = {"label": label, "model": model, "kernels": kernels, "chains": chains, **measure(tw.open(out), md)}
        rows.append(row)
        accepted = "-" if row["acceptance"] is None else f"{100 * row['acceptance']:.2f} %"
        jump = "-" if row["jump"] is None else f"{row['jump']:.2f}"
        rate = "-" if row["proposals_per_second"] is None else f"{row['proposals_per_second']:,.0f}"
        print(
            f"{label:<28}{accepted:>9}{jump:>6}{rate:>9}"
            + "".join(f"{v:>17,.2f}" for v in row["ess_per_second"].values())
        )
        print(
            f"{'':<28}R-hat {max(row['rhat'].values()):.3f}; energy z {row['energy']['z']:.2f}; phi > 0 "
            f"{100 * row['phi_above_0']['chain']:.2f} % (MD {100 * row['phi_above_0']['md']:.2f} %), z "
            f"{row['phi_above_0']['z'] or math.nan:.2f}; JSD {row['jsd']:.4f} (floor {row['jsd_floor']:.4f}); bonds "
            f"and angles: largest z {row['bonds_and_angles']['largest_z'] or math.nan:.1f}"
        )
    print(f"beside: {PAPER['what']}")
    if args.json:
        commit = subprocess.run(
            ["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False
        )
        about = {
            "threads": args.threads,
            "seed": args.seed,
            "commit": commit.stdout.strip() or "unknown",
            "device": platform.processor() or platform.machine(),
            "torch": torch.__version__,
        }
        write_json(args.json, {"schema": 1, "benchmark": "families", **about, "rows": rows, "paper": PAPER})
        print(f"wrote {args.json}")


if __name__ == "__main__":
    main()
