"""Energies and forces per second against size of molecule and batch, engine, precision and threads, in one run.

    python benchmarks/scaling.py --json scaling.json

Molecules from 22 to 219 atoms, batches of 1 to 8192 configurations. The engines are the compiled kernel (in single and
in double precision) and the plain torch version. Beside the rates stands what the kernel reaches of the machine's
arithmetic limit: floating-point operations of the pair terms per second (OPERATIONS_PER_PAIR each, counted in the
source of the kernel, bonded terms left out) over the rate of a large single-precision matrix product on as many
threads, measured in the same run. Matrix products are fused multiply-adds only; a force needs additions, reciprocals
and logarithms too, so that half of the limit is much.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from energies import environment
from timewarp import native
from timewarp.energies import Potential, compile_system
from timewarp.files import write_json
from timewarp.molecules import build_molecule

MOLECULES = ("Ace-A-Nme", "GG", "AL", "KE", "WY", "AIVL", "KYEW", "AIVLKWYE", "AIVLKWYEDRNF")
BATCHES = (1, 16, 64, 256, 1024, 8192)
OPERATIONS_PER_PAIR = {"energies": 160, "forces": 215}
"""Additions, multiplications and the steps of rsqrt, rcp, exp and log; a fused multiply-add counts two."""


def rate(call, configurations: int, seconds: float, repeats: int) -> float:
    """Best configurations per second of several measurements: what the machine can do, undisturbed."""
    call()
    began = time.perf_counter()
    call()
    n = max(1, int(seconds / max(time.perf_counter() - began, 1e-7)))
    best = float("inf")
    for _ in range(repeats):
        began = time.perf_counter()
        for _ in range(n):
            call()
        best = min(best, (time.perf_counter() - began) / n)
    return configurations / best


def matrix_product_gflops(threads: int) -> float:
    torch.set_num_threads(threads)
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    product = rate(lambda: torch.mm(a, b), 1, 0.3, 5)
    return 2 * 2048**3 * product / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="PATH", help="write all figures to this file")
    parser.add_argument("--molecules", nargs="+", default=MOLECULES)
    parser.add_argument("--batches", nargs="+", type=int, default=BATCHES)
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--seconds", type=float, default=0.05, help="per measurement (default 0.05)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu", help="cuda measures torch and torch.compile there")
    arguments = parser.parse_args()
    arguments.dtype, arguments.preset, arguments.seed = "float32", "amber14-obc2", 0
    about = environment(arguments) | {"instruction_set": native.instruction_set()}
    cpu = arguments.device == "cpu"
    threads_tried = arguments.threads if cpu else [1]
    limit = {n: matrix_product_gflops(n) for n in threads_tried} if cpu else {}
    print("machine: " + ", ".join(f"{g:.0f} GFLOP/s in matrix products on {n} thread(s)" for n, g in limit.items()))
    if cpu:
        engines = [("native", torch.float32), ("native", torch.float64), ("torch", torch.float32)]
    else:
        engines = [("compiled", torch.float32), ("torch", torch.float32)]
    rows = []
    wait = (lambda: None) if cpu else torch.cuda.synchronize
    print(
        f"{'molecule':14}{'atoms':>6}{'batch':>7}{'threads':>8}  {'engine':16}{'energies/s':>13}{'forces/s':>13}  limit"
    )
    for name in arguments.molecules:
        molecule = build_molecule(name)
        parameters = compile_system(molecule.system)
        n = parameters.n_atoms
        for engine, dtype in engines:
            if engine == "native" and not native.available():
                continue
            potential = Potential(parameters, dtype, arguments.device, engine=engine)
            for threads in threads_tried:
                torch.set_num_threads(threads)
                for batch in arguments.batches:
                    if engine == "torch" and batch * n * n > 4e7:
                        continue  # seconds per call
                    generator = torch.Generator().manual_seed(0)
                    x = molecule.start_positions + 0.003 * torch.randn(batch, n, 3, generator=generator)
                    x = x.to(arguments.device, dtype)
                    row = {
                        "molecule": name,
                        "atoms": n,
                        "batch": batch,
                        "threads": threads,
                        "engine": engine,
                        "dtype": str(dtype).removeprefix("torch."),
                    }
                    evaluations = {"energies": potential.energy, "forces": potential.energy_and_forces}
                    for kind, evaluate in evaluations.items():
                        row[kind] = rate(
                            lambda f=evaluate, x=x: (f(x), wait()), batch, arguments.seconds, arguments.repeats
                        )
                    share = ""
                    if engine == "native" and dtype == torch.float32:
                        flops = row["forces"] * n * (n - 1) / 2 * OPERATIONS_PER_PAIR["forces"] / 1e9
                        row["share_of_limit"] = flops / limit[threads]
                        share = f"{100 * row['share_of_limit']:4.0f} %"
                    rows.append(row)
                    label = f"{engine} {row['dtype']}"
                    print(
                        f"{name:14}{n:6}{batch:7}{threads:8}  {label:16}{row['energies']:13,.0f}{row['forces']:13,.0f}"
                        f"  {share}",
                        flush=True,
                    )
    if arguments.json:
        result = {"schema": 1, "benchmark": "scaling", **about, "matrix_product_gflops": limit, "rows": rows}
        write_json(arguments.json, result)
        print(f"wrote {arguments.json}")


if __name__ == "__main__":
    main()
