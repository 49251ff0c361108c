"""Full redraws accepted on kinds of molecule that the shipped network has never seen, beside the kind that it has.

For each: its chains are sampled with the network, and with the force field alone as the proposal (``prior``), from the
same starts for as many steps. Printed are the acceptance of full redraws, its quartiles over the chains, the jump, and
the largest nested R-hat: where that is far above 1 the chains have not met all states, and the acceptance is of those
that they have. Row names are SEQUENCE or SEQUENCE@PRESET; files of other programs are given as paths.

    python benchmarks/kinds.py --json kinds.json
    python benchmarks/kinds.py my.prmtop --json mine.json
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import lists
import numpy as np

KINDS = (
    "AS", "AS-NH2", "Ace-A-Nme", "Ace-a-Nme", "as", "aS", "Ace-P-Nme", "Ace-[HYP]-Nme",
    "Ace-K-Nme", "Ace-[LYN]-Nme", "Ace-D-Nme", "Ace-[ASH]-Nme", "Ace-E-Nme", "Ace-[GLH]-Nme", "Ace-H-Nme",
    "Ace-[HIP]-Nme", "Ace-C-Nme", "Ace-[CYM]-Nme", "Ace-S-Nme", "Ace-[SEP]-Nme", "Ace-[TPO]-Nme", "Ace-[PTR]-Nme",
    "AS@amber14-obc1", "AS@amber99sbildn-obc", "AS@ff14SBonlysc-gbn2", "AS@ff19SB-gbn2", "AS@charmm36-gbn2",
    "AS@amber96-obc",
)  # fmt: skip


def main() -> None:
    parser = lists.parser(__doc__, frames=120)
    parser.add_argument("molecules", nargs="*", default=list(KINDS), metavar="MOLECULE")
    parser.add_argument("--warmup", type=int, default=100, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    lists.run("kinds", args.molecules, args, lambda molecule: row_of(molecule, args), show, summarise)


def row_of(molecule: str, args: Any) -> dict[str, Any]:
    import timewarp as tw

    name, _, preset = molecule.partition("@")
    row: dict[str, Any] = {"sequence": molecule}
    with tempfile.TemporaryDirectory() as work:
        for model in (args.model, "prior"):
            run = tw.sample(
                name,
                model=model,
                **({"preset": preset} if preset else {}),
                kernels="flow,torsion,hmc",
                samples=args.chains * args.frames,
                chains=args.chains,
                warmup=args.warmup,
                seed=args.seed,
                threads=1,
                out=Path(work) / model,
            )
            summary = run.summary or {}
            flow = summary["kernels"]["flow"]
            chains = np.array([v for v in flow["acceptance_per_chain"] if v is not None])
            row[model] = {
                "acceptance": flow["acceptance"],
                "quartiles": np.quantile(chains, [0.25, 0.75]).tolist(),
                "jump": flow["jump"],
                "rhat": max(v for v in run.diagnose()["rhat"].values() if np.isfinite(v)),
                "proposed": flow["proposed"],
            }
    return row


def show(row: dict[str, Any]) -> None:
    models = [(name, found) for name, found in row.items() if name != "sequence"]
    cells = [
        f"{name} {100 * f['acceptance']:5.1f} % ({100 * f['quartiles'][0]:.0f}-{100 * f['quartiles'][1]:.0f}), "
        f"jump {f['jump'] or 0:.2f}, R-hat {f['rhat']:.3f}"
        for name, f in models
    ]
    print(f"{row['sequence']:24}{'   '.join(cells)}", flush=True)


def summarise(rows: list[dict[str, Any]]) -> dict[str, float]:
    first = next(name for name in rows[0] if name != "sequence")
    return {"median acceptance": float(np.median([row[first]["acceptance"] for row in rows]))}


if __name__ == "__main__":
    main()
