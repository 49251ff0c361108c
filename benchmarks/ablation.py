"""What physics and training are each worth: acceptance of a full redraw on peptides that no network has seen.

From the same equilibrium states (of the default chain, its first fifth dropped): the shipped network; its prior alone,
untrained; and a network of the same size, trained on the same data without the prior and without seeing energies
(``configs/peptides-no-physics.toml``; it has had fewer steps than the shipped one, and no stage through the energies).

    python benchmarks/ablation.py configs/peptides/dipeptides-validation.txt --no-physics MODEL --json ablation.json
"""

from __future__ import annotations

import argparse
import statistics
from typing import Any

import lists
import transfer

COLUMNS = ("shipped", "prior", "no_physics")


def main() -> None:
    parser = lists.parser(__doc__, frames=60)
    lists.add_list(parser)
    parser.add_argument("--no-physics", metavar="MODEL", required=True, help="a network trained with physics = false")
    transfer.add_acceptance(parser)
    args = parser.parse_args()
    lists.run("ablation", lists.listed(args), args, lambda name: row_of(name, args), show, summarise)


def row_of(sequence: str, args: argparse.Namespace) -> dict[str, Any]:
    import torch

    _, states = transfer.chain(sequence, args, model=args.model)
    x = torch.as_tensor(states)
    tried = {"shipped": (args.model, True), "prior": (args.model, False), "no_physics": (args.no_physics, True)}
    full = transfer.LEARNED[:1]
    return {"sequence": sequence} | {
        name: transfer.acceptances(sequence, args, model, x, trained, full)["flow"]
        for name, (model, trained) in tried.items()
    }


def show(row: dict[str, Any]) -> None:
    print(row["sequence"], *(f"{name} {100 * row[name]['mean']:.2f} %" for name in COLUMNS), sep="  ", flush=True)


def summarise(rows: list[dict[str, Any]]) -> dict[str, float]:
    figures = {}
    for name in COLUMNS:
        values = [row[name]["mean"] for row in rows]
        figures |= {f"{name}, median": statistics.median(values), f"{name}, least": min(values)}
    return figures


if __name__ == "__main__":
    main()
