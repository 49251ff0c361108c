"""Where a second of sampling goes: global proposals per second, and what each kernel of a cycle costs, in one run.

    python benchmarks/sampler.py --json sampler.json

A global proposal is one step of the kernel `flow`: coordinates drawn, scored both ways, placed, their energy evaluated,
accepted or rejected. Its parts are timed by themselves: reading the stiff coordinates (the context), internal
coordinates and back, energies, the decision (energies aside). The rest of a proposal is couplings in both directions.
The networks' multiply-adds are counted and stand beside a large single-precision matrix product on as many threads,
measured in the same run. Where the flow is computed in plain torch, only the whole is timed. Rates are the best of
several measurements in turn: what the machine can do, undisturbed.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time

import torch
from scaling import matrix_product_gflops

import timewarp as tw
from energies import environment
from timewarp import native
from timewarp.files import write_json
from timewarp.flows import InternalFlow, TorsionFlow, TorsionFlowConfig
from timewarp.flows.molecule import NativeFlow
from timewarp.flows.torsions.flow import HARMONICS, coupling_mask
from timewarp.pretrained import default_for, load
from timewarp.sampling import metropolis

CHAINS = (64, 256, 1024)
NOISE_NM = 0.003
HMC_STEPS = 40


def best_ms(calls: dict[str, Callable[[], object]], seconds: float, repeats: int) -> dict[str, float]:
    """Best milliseconds of each call, all taken in turn so that a busy moment hits them alike."""
    counts = {}
    for name, call in calls.items():
        call()
        began = perf_counter()
        call()
        counts[name] = max(1, int(seconds / max(perf_counter() - began, 1e-6)))
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(repeats):
        for name, call in calls.items():
            began = perf_counter()
            for _ in range(counts[name]):
                call()
            best[name] = min(best[name], 1e3 * (perf_counter() - began) / counts[name])
    return best


def best_cpu_ms(call: Callable[[], object], repeats: int) -> float:
    """Least processor time of a call, over all threads: hardly moved by what else the machine does."""
    best = float("inf")
    for _ in range(repeats):
        began = process_time()
        call()
        best = min(best, 1e3 * (process_time() - began))
    return best


def multiply_adds(flow: TorsionFlow | InternalFlow) -> int:
    """Of the networks per proposal, as the compiled kernels do them: the least that gives the same numbers."""
    config, atoms = flow.config, flow.atoms.n_atoms
    width, torsions = config.width, len(flow.atoms.tree.rotatable)
    angles = flow.couplings if isinstance(flow, TorsionFlow) else flow.torsions
    rest_of_block = 5 * width**2  # project, widen to twice the width, narrow

    def blocks(n: int, tokens: int, active: int) -> int:
        total = 0
        for k in range(n):
            busy = active if k + 1 == n else tokens
            total += (tokens * width**2 if k else 0) + busy * (tokens * width + rest_of_block)
        return total

    total = 0
    if isinstance(flow, InternalFlow):
        for coupling in flow.couplings:
            active = int(coupling.moves.any(-1).sum())
            inputs = 3 * atoms + 2 * HARMONICS * torsions
            read_out = active * width * 3 * coupling.n_parameters
            total += 2 * (inputs * 2 * width + blocks(config.n_blocks, atoms, active) + read_out)
    elif config.context_blocks:
        corners = len(flow.atoms.tree.torsions.unique())
        total += atoms * 6 * width + blocks(config.context_blocks, atoms, corners)
        total += torsions * 4 * width**2  # read out and join
        total += config.n_couplings * torsions * 2 * width**2  # tokens and first values of all couplings
    for layer in range(angles.config.n_couplings):
        moved = int(coupling_mask(layer, torsions).sum())
        embedding = (torsions - moved) * 2 * HARMONICS * 2 * width
        total += 2 * (embedding + blocks(angles.config.n_blocks, torsions, moved))
        total += 2 * moved * width * (3 * angles.config.bins + 1)
    return total


def flow_parts(kernel: tw.Move, state, generator: torch.Generator) -> dict[str, Callable]:
    """Calls whose times are parts of a step of the flow kernel."""
    target, proposal = kernel.target, kernel.propose(state, generator)
    parts = {
        "step": lambda: kernel.step(state, generator),
        "propose": lambda: kernel.propose(state, generator),
        "energies": lambda: target.energy(proposal.positions),
        "metropolis": lambda: metropolis(state, proposal, target, generator),
    }
    density = kernel.proposer
    if isinstance(density, NativeFlow):
        least = TorsionFlowConfig(n_couplings=1, bins=1, width=8, n_heads=1, context_blocks=0)
        placing = TorsionFlow(density.atoms, least).compiled()
        parts["geometry"] = lambda: placing.propose(state.positions, generator)
    return parts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="PATH", help="write all figures to this file")
    parser.add_argument("--molecule", default="Ace-A-Nme", help="sequence (default: %(default)s)")
    parser.add_argument("--model", help="network (default: the shipped one of family C)")
    parser.add_argument("--engine", default="auto", help="of the flow: auto, native or torch (default: %(default)s)")
    parser.add_argument("--chains", nargs="+", type=int, default=CHAINS, help="default: %(default)s")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2], help="of the kernels (default: %(default)s)")
    parser.add_argument("--preset", default="amber14-obc2", help="force field (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=7, help="measurements of each (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=0.1, help="of a measurement (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if min(arguments.repeats, *arguments.chains, *arguments.threads) < 1 or arguments.seconds <= 0:
        parser.error("threads, repeats, chains and seconds must be positive")
    arguments.device, arguments.dtype = "cpu", "float32"

    system = tw.System(arguments.molecule, preset=arguments.preset)
    model = load(arguments.model or default_for(system.atoms, "C"), system.atoms)
    kernels = {
        "flow": tw.Flow(system, model, engine=arguments.engine),
        "torsion": tw.TorsionMove(system),
        "hmc": tw.HMC(system, n_steps=HMC_STEPS, step_fs=1.0, adaptive=False),
    }
    work = multiply_adds(model.network)
    about = environment(arguments) | {"instruction_set": native.instruction_set(), "model": model.name}
    for line in (kernels["flow"], system.potential):
        print(line)
    limit = {n: matrix_product_gflops(n) for n in arguments.threads}
    print("machine: " + ", ".join(f"{g:.0f} GFLOP/s in matrix products on {n} thread(s)" for n, g in limit.items()))
    heading = f"{'chains':>6} {'threads':>7} {'proposals/s':>12} {'/processor s':>12}"
    print(f"\n{heading} | ms of a step: whole, parts | the networks")
    torch.set_num_threads(1)
    rows = []
    for chains in arguments.chains:
        generator = torch.Generator().manual_seed(arguments.seed)
        noise = torch.randn(chains, system.atoms.n_atoms, 3, generator=generator)
        state = system.init(system.built + NOISE_NM * noise)
        for threads in arguments.threads:
            native.set_threads(threads)
            calls = flow_parts(kernels["flow"], state, generator)
            for name in ("torsion", "hmc"):
                calls[name] = functools.partial(kernels[name].step, state, generator)
            ms = best_ms(calls, arguments.seconds, arguments.repeats)
            row = {"chains": chains, "threads": threads, "global_proposals_per_second": 1e3 * chains / ms["step"]}
            row["proposals_per_processor_second"] = 1e3 * chains / best_cpu_ms(calls["step"], 3 * arguments.repeats)
            parts = {name: ms[name] for name in ("context", "geometry", "energies") if name in ms}
            parts["decision"] = ms["metropolis"] - ms["energies"]
            if "geometry" in ms:
                parts["couplings"] = ms["propose"] - ms.get("context", 0.0) - ms["geometry"]
            row |= {"step_ms": ms["step"], "parts_ms": parts, "propose_ms": ms["propose"]}
            row["kernels_ms"] = {"flow": ms["step"], "torsion": ms["torsion"], f"hmc_{HMC_STEPS}": ms["hmc"]}
            reached = ""
            if kernels["flow"].engine == "native":
                gflops = 2e-6 * work * chains / ms["propose"]
                row |= {"multiply_adds": work, "gflops": gflops, "share_of_limit": gflops / limit[threads]}
                reached = f"{gflops:.0f} GFLOP/s, {100 * gflops / limit[threads]:.0f} % of the machine's"
            rows.append(row)
            split = ", ".join(f"{name} {value:.2f}" for name, value in parts.items())
            rate, per_cpu = row["global_proposals_per_second"], row["proposals_per_processor_second"]
            print(
                f"{chains:6} {threads:7} {rate:12,.0f} {per_cpu:12,.0f} | {ms['step']:.2f}: {split} | {reached}",
                flush=True,
            )
    print(f"\nms of one step of each kernel (hmc: {HMC_STEPS} forces and an energy)")
    for row in rows:
        costs = "  ".join(f"{name} {value:8.2f}" for name, value in row["kernels_ms"].items())
        print(f"{row['chains']:6} chains, {row['threads']} thread(s)  {costs}")
    if arguments.json:
        result = {"schema": 1, "benchmark": "sampler", **about, "matrix_product_gflops": limit, "rows": rows}
        write_json(arguments.json, result)
        print(f"wrote {arguments.json}")


if __name__ == "__main__":
    main()
