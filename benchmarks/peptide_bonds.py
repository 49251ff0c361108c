"""What redrawing peptide bonds brings, mirror images, cis populations: the shipped network beside the earlier one.

Three tables, in one run, on one thread:

- chains of dipeptides under both networks, from the same seed: effective samples of omega and of the worst other
  torsion, nested R-hat of both, full redraws accepted, processor seconds with set-up and warm-up;
- dipeptides and their mirror images (all D): full redraws accepted;
- cis populations of X-Pro bonds, from starts that are all trans and all cis.

    python benchmarks/peptide_bonds.py --json peptide_bonds.json
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from lists import commit

EARLIER = Path(__file__).parents[1] / "src/timewarp/pretrained/earlier/peptides-0.1.toml"
OLD, NEW = "earlier", "shipped"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dipeptides", nargs="*", default=["AV", "FE", "DI"], help="default: AV FE DI")
    parser.add_argument("--mirrored", nargs="*", default=["AV", "NS"], help="default: AV NS")
    parser.add_argument("--proline", nargs="*", default=["Ace-AP-Nme", "Ace-WP-Nme"])
    parser.add_argument("--samples", type=int, default=6400, help="default: %(default)s; half more for cis populations")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, required=True)
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from timewarp.files import write_json

    result: dict[str, Any] = {"benchmark": "peptide_bonds", "commit": commit(), "options": {"samples": args.samples}}
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        sample("GG", NEW, folder, args, samples=160)  # what is loaded once is not the first row's cost
        result["chains"] = [chains(s, m, folder, args) for s in args.dipeptides for m in (NEW, OLD)]
        write_json(args.json, result)
        result["mirror"] = [
            mirror(s, m, folder, args) for one in args.mirrored for s in (one, one.lower()) for m in (NEW, OLD)
        ]
        write_json(args.json, result)
        result["cis"] = [cis(s, start, folder, args) for s in args.proline for start in (180, 0)]
        write_json(args.json, result)


def sample(sequence: str, network: str, folder: Path, args: argparse.Namespace, **settings: Any) -> tuple[Any, float]:
    """A run, and the processor seconds that it took."""
    import timewarp as tw

    began = time.process_time()
    with tempfile.TemporaryDirectory(dir=folder) as out:
        run = tw.sample(
            sequence,
            model="peptides" if network == NEW else str(EARLIER),
            **{"samples": args.samples, **settings},
            chains=16,
            threads=1,
            seed=args.seed,
            out=out,
        )
        seconds = time.process_time() - began
        run.trajectory  # noqa: B018 - read while the folder is there
        return (run.summary, run.diagnose()), seconds


def chains(sequence: str, network: str, folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    (summary, found), seconds = sample(sequence, network, folder, args)
    omega = [name for name in found["ess"] if name.startswith("omega")]
    others = [name for name in found["ess"] if name.split("_")[0] in ("phi", "psi") or name.startswith("chi")]
    others = [name for name in others if ">" not in name]
    row = {
        "sequence": sequence,
        "network": network,
        "ess_omega": min(found["ess"][n] for n in omega),
        "ess_others": min(found["ess"][n] for n in others),
        "rhat_omega": max(found["rhat"][n] for n in omega),
        "rhat_phi": max(found["rhat"][n] for n in others if n.startswith("phi")),
        "flow": summary["kernels"]["flow"]["acceptance"],
        "cpu_s": seconds,
    }
    print(row, flush=True)
    return row


def mirror(sequence: str, network: str, folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    (summary, _), _ = sample(sequence, network, folder, args, kernels="flow,torsion,hmc")
    row = {"sequence": sequence, "network": network, "flow": summary["kernels"]["flow"]["acceptance"]}
    print(row, flush=True)
    return row


def cis(sequence: str, start: int, folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    name = f"omega_{sequence.split('-')[1].index('P')}"  # of the bond in front of the proline
    (summary, _), seconds = sample(
        sequence, NEW, folder, args, samples=3 * args.samples // 2, cis_trans="proline", start=(f"{name}={start}",)
    )
    found = summary["cis_trans"]["free"][name]
    row = {"sequence": sequence, "start": "trans" if start else "cis", "cpu_s": seconds, **found}
    print(row, flush=True)
    return row


if __name__ == "__main__":
    main()
