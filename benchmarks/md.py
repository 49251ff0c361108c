"""Langevin MD: aggregate steps per second of the batched engine beside OpenMM's two forms, on all cores, in one run.

    python benchmarks/md.py --json md.json

Compared are, with the same integrator, step, friction and masses:

- the batched engine: all replicas side by side in one process, one thread for each core;
- OpenMM with the native ``GBSAOBCForce``, the fastest MD that it has for such molecules, and
- OpenMM as its XML files build it (a ``CustomGBForce``), each with one process for each core, on its Reference and on
  its CPU platform.

Rates are taken in turn, so that a busy moment hits all alike; shown are the best of the repeats, and ratios of those,
to the faster platform of either form, and to the XML's Reference platform.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

MOLECULES = ("Ace-A-Nme", "AL", "WY")
PRESET, TIMESTEP_FS, FRICTION_PER_PS, TEMPERATURE_K = "amber14-obc2", 2.0, 1.0, 310.0
FORMS, PLATFORMS = ("native", "xml"), ("Reference", "CPU")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--molecules", nargs="+", default=MOLECULES, help="default: %(default)s")
    parser.add_argument("--replicas", nargs="+", type=int, default=(32, 256), help="default: %(default)s")
    parser.add_argument("--repeats", type=int, default=3, help="repeats of every timing (default 3)")
    parser.add_argument("--seconds", type=float, default=5.0, help="seconds of every timing (default 5)")
    parser.add_argument("--torsion-moves", type=float, default=10.0, help="moves per ps of the last row (default 10)")
    parser.add_argument("--json", type=Path, help="write the result here")
    args = parser.parse_args()

    from timewarp import native
    from timewarp.files import write_json

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    about = {"cores": cores, "instruction_set": native.instruction_set(), "timestep_fs": TIMESTEP_FS}
    print(f"{cores} cores, instruction set {about['instruction_set']}, {TIMESTEP_FS:g} fs")
    head = f"{'molecule':12}{'engine':46}{'steps/s':>12}{'sd':>9}{'ns/day':>10}"
    print(head + f"{'x native':>10}{'x XML':>8}{'x XML, Reference':>18}")
    results = [measure(name, args, cores) for name in args.molecules]
    if args.json:
        write_json(args.json, {"schema": 1, "benchmark": "md", **about, "results": results})


def measure(name: str, args: argparse.Namespace, cores: int) -> dict[str, Any]:
    from timewarp.molecules import build_molecule

    n_atoms = build_molecule(name, PRESET).atoms.n_atoms
    batched = {f"batched, {n} replicas": (n, 0.0) for n in args.replicas}
    if args.torsion_moves:
        label = f"batched, {args.replicas[-1]} replicas, {args.torsion_moves:g} torsion moves/ps"
        batched[label] = (args.replicas[-1], args.torsion_moves)
    openmm = {f"OpenMM, {form}, {platform}": (form, platform) for form in FORMS for platform in PLATFORMS}
    rates: dict[str, list[float]] = {label: [] for label in (*batched, *openmm)}
    for _ in range(args.repeats):
        for label, (replicas, moves) in batched.items():
            rates[label].append(batched_rate(name, replicas, moves, args.seconds, cores))
        for label, (form, platform) in openmm.items():
            rates[label].append(openmm_rate(name, form, platform, args.seconds, cores))
    best = {label: max(values) for label, values in rates.items()}
    native, xml = (max(best[f"OpenMM, {form}, {platform}"] for platform in PLATFORMS) for form in FORMS)
    plain_xml = best["OpenMM, xml, Reference"]
    rows = []
    for label, values in rates.items():
        row = {
            "engine": label,
            "steps_per_second": best[label],
            "sd": statistics.stdev(values) if len(values) > 1 else 0.0,
            "ns_per_day": best[label] * TIMESTEP_FS * 1e-6 * 86400,
            "times_native": best[label] / native,
            "times_xml": best[label] / xml,
            "times_xml_reference": best[label] / plain_xml,
        }
        rows.append(row)
        print(
            f"{name:12}{label:46}{row['steps_per_second']:12,.0f}{row['sd']:9,.0f}{row['ns_per_day']:10,.0f}"
            f"{row['times_native']:10.1f}{row['times_xml']:8,.0f}{row['times_xml_reference']:18,.0f}",
            flush=True,
        )
    return {"molecule": name, "atoms": n_atoms, "rows": rows}


def batched_rate(name: str, replicas: int, torsion_moves_per_ps: float, seconds: float, threads: int) -> float:
    """Steps per second, over all replicas."""
    from timewarp.energies import compile_system
    from timewarp.molecules import build_molecule
    from timewarp.simulation import BatchedLangevin
    from timewarp.state import repartition_hydrogen_mass

    molecule = build_molecule(name, PRESET)
    md = BatchedLangevin(
        compile_system(molecule.system),
        molecule.atoms,
        repartition_hydrogen_mass(molecule.atoms, 3.0).numpy(),
        temperature_K=TEMPERATURE_K,
        friction_per_ps=FRICTION_PER_PS,
        timestep_fs=TIMESTEP_FS,
        torsion_interval_steps=500,
        torsion_moves_per_round=round(torsion_moves_per_ps),
        threads=threads,
    )
    state = md.start(np.repeat(molecule.start_positions.numpy()[None], replicas, 0))
    md.advance(state, 1, 500)
    frames, started = 0, time.perf_counter()
    while (took := time.perf_counter() - started) < seconds:
        md.advance(state, 4, 500)
        frames += 4
    return frames * 500 * replicas / took


def openmm_rate(name: str, form: str, platform: str, seconds: float, processes: int) -> float:
    """Steps per second, summed over one process for each core."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(processes)
    with context.Pool(processes, initializer=_share, initargs=(barrier,)) as pool:
        return sum(pool.starmap(_time_openmm, [(name, form, platform, seconds)] * processes, chunksize=1))


def _share(barrier: Any) -> None:
    global _barrier
    _barrier = barrier


def _time_openmm(name: str, form: str, platform: str, seconds: float) -> float:
    import openmm

    from timewarp.molecules import build_molecule, get_preset
    from timewarp.molecules.force_fields import create_reference_system
    from timewarp.simulation.system import make_context, with_masses
    from timewarp.state import repartition_hydrogen_mass

    molecule = build_molecule(name, PRESET)
    system = molecule.system if form == "native" else create_reference_system(molecule.topology, get_preset(PRESET))
    system = with_masses(system, repartition_hydrogen_mass(molecule.atoms, 3.0).numpy())
    integrator = openmm.LangevinMiddleIntegrator(TEMPERATURE_K, FRICTION_PER_PS, TIMESTEP_FS / 1000)
    simulation = make_context(system, integrator, platform)  # on one thread
    simulation.setPositions(molecule.start_positions.numpy())
    simulation.setVelocitiesToTemperature(TEMPERATURE_K, 1)
    integrator.step(100)
    _barrier.wait()
    steps, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        integrator.step(50)
        steps += 50
    simulation.getState(getEnergy=True)
    return steps / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
