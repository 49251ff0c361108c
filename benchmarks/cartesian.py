"""Speed of the Cartesian flow (family A): proposals and training samples per second, beside matrix products.

    python benchmarks/cartesian.py --threads 2 --json cartesian.json
    python benchmarks/cartesian.py --config configs/ala2-cartesian.toml

A proposal is drawn from one state and scored both ways: log q(x' | x) comes with the draw, log q(x | x') takes a
second pass with each x' as a condition of its own, its attention weights included. A training sample is a forward and a
backward pass of the likelihood and its share of an AdamW step. In both, threads have states of their own. Multiply-adds
are counted from the network's matrices: *executed* as this implementation arranges them, *nominal* as the paper's code
does (values and output projection of the attention one after the other). The peak is the best single-precision matrix
product seen in this run, of torch's BLAS or of oneDNN, over large squares and the shapes that the network uses. All are
measured in turn, round after round, so that a busy moment hits them alike; rates are the best round's and the median's.
Shares of the peak compare best with best, and beside them the median over rounds of the share within a round, whose
peak is that round's. With more threads than idle cores the peak means nothing, because a product's threads wait for
each other; on a busy machine, `--threads 1 --clock cpu` counts the seconds that this process had.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import time
import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import nn

from timewarp.files import write_json
from timewarp.flows import Candidate, CartesianFlow, CartesianFlowConfig
from timewarp.flows.cartesian.attention import KernelMixing, QueryKeyMixing
from timewarp.flows.cartesian.products import linear, onednn_is_available, pack
from timewarp.flows.cartesian.transformer import pieces
from timewarp.flows.threads import backward
from timewarp.molecules import build_molecule

ROOT = Path(__file__).parents[1]
SAMPLES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
PRODUCTS = ((2048, 2048, 2048), (1024, 1024, 1024), (352, 128, 2048), (352, 2048, 128), (352, 768, 128))
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
REFERENCE = {
    "proposals_per_second": [33, 39],
    "training_samples_per_second": 23,
    "share_of_peak": 0.4,
    "peak_gflops": 300,
    "what": "the paper's reference code with its example network, alanine dipeptide, 2 cores, another machine",
}


def multiply_adds(flow: CartesianFlow, atoms: int) -> dict[str, int]:
    """Multiply-adds of one pass of one state through all networks: executed and nominal."""
    executed = nominal = 0
    inside = {id(m) for a in flow.couplings.modules() if isinstance(a, KernelMixing) for m in a.modules()}
    for module in flow.couplings.modules():
        if isinstance(module, KernelMixing):
            heads, width = module.n_heads, module.width
            mixing = heads * atoms * width
            executed += atoms * (heads * width * width + mixing)
            nominal += atoms * (heads * width * width * (1 if module.merged else 2) + mixing)
        elif isinstance(module, QueryKeyMixing):
            executed += 2 * atoms * atoms * module.width
            nominal += 2 * atoms * atoms * module.width
        if isinstance(module, nn.Linear) and id(module) not in inside:
            executed += atoms * module.weight.numel()
            nominal += atoms * module.weight.numel()
    return {"executed": executed, "nominal": nominal}


def products() -> dict[str, tuple[float, Callable[[], object]]]:
    """Matrix products by library and shape: GFLOP and a call."""
    tasks = {}
    for rows, inner, columns in PRODUCTS:
        left, right, out = torch.randn(rows, inner), torch.randn(columns, inner), torch.empty(rows, columns)
        gflop, packed = 2e-9 * rows * inner * columns, pack(right)
        shape = f"{rows}x{inner}x{columns}"
        tasks[f"blas {shape}"] = gflop, lambda a=left, b=right, o=out: torch.mm(a, b.t(), out=o)
        if onednn_is_available():
            tasks[f"onednn {shape}"] = gflop, torch.no_grad()(lambda a=left, b=packed: linear(a, b))
    return tasks


def proposals(flow: CartesianFlow, x: torch.Tensor, n: int, threads: int) -> Callable[[], object]:
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(x.shape, generator=generator)

    @torch.no_grad()
    def run() -> torch.Tensor:
        flow.eval()
        torch.set_num_threads(1)
        flow.threads = threads
        drawn, log_q_there = flow.sample(flow.encode(x, v), n, generator)
        back = flow.encode(drawn.positions[:, 0], drawn.auxiliary[:, 0])
        current = Candidate(x.expand(1, n, -1, -1), v.expand(1, n, -1, -1))
        log_ratio = flow.log_prob(current, back)[0] - log_q_there[:, 0]
        torch.set_num_threads(threads)
        return log_ratio

    return run


def training(flow: CartesianFlow, x: torch.Tensor, batch: int, threads: int) -> Callable[[], object]:
    generator = torch.Generator().manual_seed(1)
    optimiser = torch.optim.AdamW(flow.parameters(), lr=0.0, weight_decay=0.0, fused=True)
    before, after = (x + 0.02 * torch.randn(batch, *x.shape[1:], generator=generator) for _ in range(2))
    v = torch.randn(2, *before.shape, generator=generator)

    def loss(rows: slice) -> torch.Tensor:
        pairs = Candidate(after[None, rows], v[1:, rows])
        return -flow.log_prob(pairs, flow.encode(before[rows], v[0, rows])).sum() / batch

    parts = [partial(loss, rows) for rows in pieces(batch, -(-batch // threads))]

    def run() -> None:
        flow.train()
        torch.set_num_threads(1)
        optimiser.zero_grad()
        backward(parts, flow.parameters(), threads)
        torch.set_num_threads(threads)
        optimiser.step()

    return run


def measure(
    tasks: dict[str, Callable[[], object]], seconds: float, rounds: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Seconds per call of each task in each round; a measurement is at least one call and about ``seconds`` long."""
    calls = {}
    for name, task in tasks.items():
        task()
        start = clock()
        task()
        calls[name] = max(1, round(seconds / max(clock() - start, 1e-6)))
    seen: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, task in tasks.items():
            start = clock()
            for _ in range(calls[name]):
                task()
            seen[name].append((clock() - start) / calls[name])
    return seen


def environment(arguments: argparse.Namespace) -> dict:
    git = ["git", "-C", str(ROOT)]
    commit = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False)
    changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=False)
    cpu, info = platform.processor() or platform.machine(), Path("/proc/cpuinfo")
    if info.exists():
        cpu = next((r.split(":", 1)[1].strip() for r in info.read_text().splitlines() if "model name" in r), cpu)
    return {
        "device": cpu,
        "threads": torch.get_num_threads(),
        "config": arguments.config.name,
        "molecule": arguments.molecule,
        "rounds": arguments.rounds,
        "clock": arguments.clock,
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "commit": commit.stdout.strip() or "unknown",
        "uncommitted_changes": bool(changed.stdout.strip()),
        "load_average_at_start": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="PATH", help="write all figures to this file")
    parser.add_argument("--config", type=Path, default=ROOT / "configs/reference-example.toml", help="of the network")
    parser.add_argument("--molecule", default="Ace-A-Nme", help="sequence (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="(default: %(default)s)")
    parser.add_argument("--samples", nargs="+", type=int, default=SAMPLES, help="proposals per state")
    parser.add_argument("--batch", type=int, default=32, help="training batch (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=0.5, help="per measurement (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="(default: %(default)s)")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="(default: %(default)s)")
    arguments = parser.parse_args()
    if min(arguments.threads, arguments.rounds, arguments.batch, *arguments.samples) < 1 or arguments.seconds <= 0:
        parser.error("threads, rounds, batch, samples and seconds must be positive")
    if arguments.clock == "cpu" and arguments.threads > 1:
        parser.error("--clock cpu adds up the threads' seconds; use --threads 1")
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)

    molecule = build_molecule(arguments.molecule, "amber14-obc1")
    config = CartesianFlowConfig(**tomllib.loads(arguments.config.read_text())["training"]["flow"])
    flow = CartesianFlow(molecule.atoms, config)
    for name, parameter in flow.named_parameters():
        if "read_out.weight" in name:
            nn.init.normal_(parameter, std=1e-3)
    x = molecule.start_positions.float()[None]
    matrices = products()
    tasks = {name: call for name, (_, call) in matrices.items()}
    tasks |= {f"proposals {n}": proposals(flow, x, n, arguments.threads) for n in arguments.samples}
    tasks["training"] = training(flow, x, arguments.batch, arguments.threads)
    about = environment(arguments)
    print(json.dumps(about, indent=2))
    print(flow)

    seen = measure(tasks, arguments.seconds, arguments.rounds, CLOCKS[arguments.clock])
    gflops = {name: gflop / min(seen[name]) for name, (gflop, _) in matrices.items()}
    peak = max(gflops.values())
    peaks = [max(gflop / seen[name][r] for name, (gflop, _) in matrices.items()) for r in range(arguments.rounds)]
    counts = multiply_adds(flow, molecule.atoms.n_atoms)
    print(f"matrix products, GFLOP/s: {', '.join(f'{k} {v:.0f}' for k, v in gflops.items())}")
    print(f"peak {peak:.0f}; of each round: {', '.join(f'{v:.0f}' for v in peaks)}")
    print(f"multiply-adds per pass: {counts['executed']:,} executed, {counts['nominal']:,} nominal\n")
    print(f"{'':>14} {'best/s':>9} {'median/s':>9} {'GFLOP/s':>8} {'of peak':>8} {'(median)':>8} {'nominal':>8}")
    rows = []
    jobs = [(f"proposals {n}", n, 2) for n in arguments.samples] + [("training", arguments.batch, 3)]
    for name, states, passes in jobs:
        gflop = {kind: 2e-9 * passes * states * count for kind, count in counts.items()}
        row = {
            "task": name,
            "states": states,
            "best_per_second": states / min(seen[name]),
            "median_per_second": states / statistics.median(seen[name]),
            "gflops": gflop["executed"] / min(seen[name]),
            "share_of_peak": gflop["executed"] / min(seen[name]) / peak,
            "median_share_of_peak": statistics.median(
                gflop["executed"] / t / p for t, p in zip(seen[name], peaks, strict=True)
            ),
            "nominal_share_of_peak": gflop["nominal"] / min(seen[name]) / peak,
        }
        rows.append(row)
        print(
            f"{name:>14} {row['best_per_second']:9.1f} {row['median_per_second']:9.1f} {row['gflops']:8.0f} "
            f"{row['share_of_peak']:8.0%} {row['median_share_of_peak']:8.0%} {row['nominal_share_of_peak']:8.0%}"
        )
    print(f"\nbeside {REFERENCE['what']}:")
    print({key: value for key, value in REFERENCE.items() if key != "what"})
    if arguments.json:
        parameters = sum(p.numel() for p in flow.parameters())
        table = {
            "peak_gflops": peak,
            "round_peaks_gflops": peaks,
            "products_gflops": gflops,
            "multiply_adds": counts,
            "parameters": parameters,
        }
        write_json(
            arguments.json,
            {"schema": 1, "benchmark": "cartesian", **about, **table, "rows": rows, "reference_code": REFERENCE},
        )
        print(f"wrote {arguments.json}")


if __name__ == "__main__":
    main()
