"""What a move of the transferable network costs, in forces of the compiled kernel, for each engine; on one core.

The costs of `RegrowthProposer` and `TorsionMove`, by which the warm-up balances moves, come from here.

    OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/growth.py --json growth.json
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lists

PEPTIDES = ("GG", "Ace-A-Nme", "AV", "RD", "AIVL", "RKNN")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peptides", nargs="+", default=PEPTIDES, help="default: %(default)s")
    parser.add_argument("--chains", type=int, default=64, help="chains (default 64)")
    parser.add_argument("--json", type=Path, help="write the result here")
    args = parser.parse_args()

    from timewarp.files import write_json

    rows = [row_of(name, args.chains) for name in args.peptides]
    print(f"{'':10}{'atoms':>6}{'force/ms':>10}" + "".join(f"{key:>16}" for key in rows[0]["forces"]))
    for row in rows:
        costs = "".join(f"{value:16.1f}" for value in row["forces"].values())
        print(f"{row['peptide']:10}{row['atoms']:6}{row['force_ms']:10.3f}{costs}")
    if args.json:
        write_json(args.json, {"benchmark": "growth", "commit": lists.commit(), "chains": args.chains, "rows": rows})


def row_of(name: str, chains: int) -> dict[str, Any]:
    import torch

    import timewarp as tw
    from timewarp.flows.growth import Regrowth
    from timewarp.pretrained import load

    torch.set_num_threads(1)
    system = tw.System(name)
    flow = load("peptides", system.atoms).network
    whole = Regrowth(flow.plan(system.parameters, system.kT))
    hmc = tw.HMC(system, n_steps=40, step_fs=2.0, adaptive=False)
    torsion = tw.TorsionMove(system)
    generator = torch.Generator().manual_seed(0)
    state = system.init(system.built.repeat(chains, 1, 1))
    for _ in range(20):
        state, _ = hmc.step(state, generator)
    x = state.positions
    force = timed(lambda: hmc.step(state, generator), 10) / 40
    costs = {"torsion move": timed(lambda: torsion.step(state, generator), 40) / force}
    for engine, repeats in (("native", 5), ("torch", 2)):
        density = flow.with_engine(engine)
        with torch.no_grad():
            redraw = timed(lambda d=density: d.redraw(x, whole, generator), repeats)
            score = timed(lambda d=density: d.score(x, whole), repeats)
        costs |= {f"redraw, {engine}": redraw / force, f"score, {engine}": score / force}
    return {"peptide": name, "atoms": system.atoms.n_atoms, "force_ms": 1000 * force, "forces": costs}


def timed(work: Callable[[], Any], repeats: int) -> float:
    """Seconds of processor time."""
    work()
    started = time.process_time()
    for _ in range(repeats):
        work()
    return (time.process_time() - started) / repeats


if __name__ == "__main__":
    main()
