"""Langevin MD: aggregate steps per second of the batched engine beside OpenMM's two forms, on all cores, in one run.

    python benchmarks/md.py --json md.json

Compared are, with the same integrator, step, friction and masses:

- the batched engine: all replicas side by side in one process, one thread for each core;
- OpenMM with the native ``GBSAOBCForce``, the fastest MD that it has for such molecules, and
- OpenMM as its XML files build it (a ``CustomGBForce``), each with one process for each core, on its Reference and on
  its CPU platform.

Rates are taken in turn, so that a busy moment hits all alike; shown are the best of the repeats, and ratios of those,
to the faster platform of either form, and to the XML's Reference platform. Two kinds: steps per second on all cores,
which other work on the machine spoils, and steps per second of processor time on one core, which it hardly does.
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
    ratios = f"{'x native':>10}{'x XML':>8}{'x XML, Reference':>18}"
    print(f"{'molecule':12}{'engine':46}{'steps/s':>12}{'sd':>9}{'ns/day':>10}{ratios}{'steps/core s':>14}{ratios}")
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
    rates: dict[str, list[tuple[float, float]]] = {label: [] for label in (*batched, *openmm)}
    for _ in range(args.repeats):
        for label, (replicas, moves) in batched.items():
            rates[label].append(batched_rate(name, replicas, moves, args.seconds, cores))
        for label, (form, platform) in openmm.items():
            rates[label].append(openmm_rate(name, form, platform, args.seconds, cores))
    rows: list[dict[str, Any]] = [{"engine": label} for label in rates]
    for k, kind in enumerate(("steps_per_second", "steps_per_core_second")):
        best = {label: max(rate[k] for rate in values) for label, values in rates.items()}
        native, xml = (max(best[f"OpenMM, {form}, {platform}"] for platform in PLATFORMS) for form in FORMS)
        against = {"native": native, "xml": xml, "xml_reference": best["OpenMM, xml, Reference"]}
        for row in rows:
            values = [rate[k] for rate in rates[row["engine"]]]
            row[kind] = best[row["engine"]]
            row[f"{kind}_sd"] = statistics.stdev(values) if len(values) > 1 else 0.0
            row[f"{kind}_ratios"] = {key: row[kind] / rate for key, rate in against.items()}
    for row in rows:
        wall, core = as_text(row["steps_per_second_ratios"]), as_text(row["steps_per_core_second_ratios"])
        row["ns_per_day"] = row["steps_per_second"] * TIMESTEP_FS * 1e-6 * 86400
        print(
            f"{name:12}{row['engine']:46}{row['steps_per_second']:12,.0f}{row['steps_per_second_sd']:9,.0f}"
            f"{row['ns_per_day']:10,.0f}{wall}{row['steps_per_core_second']:14,.0f}{core}",
            flush=True,
        )
    return {"molecule": name, "atoms": n_atoms, "rows": rows}


def as_text(ratios: dict[str, float]) -> str:
    return f"{ratios['native']:10.1f}{ratios['xml']:8,.0f}{ratios['xml_reference']:18,.0f}"


def batched_rate(
    name: str, replicas: int, torsion_moves_per_ps: float, seconds: float, threads: int
) -> tuple[float, float]:
    """Steps per second, and per second of processor time, over all replicas."""
    from timewarp.molecules import build_molecule

    molecule = build_molecule(name, PRESET)
    md = batched_engine(molecule, torsion_moves_per_ps, threads)
    state = md.start(np.repeat(molecule.start_positions.numpy()[None], replicas, 0))
    md.advance(state, 1, 500)
    frames, started, busy = 0, time.perf_counter(), time.process_time()
    while (took := time.perf_counter() - started) < seconds:
        md.advance(state, 4, 500)
        frames += 4
    steps = frames * 500 * replicas
    return steps / took, steps / (time.process_time() - busy)


def batched_engine(molecule: Any, torsion_moves_per_ps: float, threads: int) -> Any:
    """The batched engine, with the settings that all engines share here."""
    from timewarp.energies import compile_system
    from timewarp.simulation import BatchedLangevin
    from timewarp.state import repartition_hydrogen_mass

    return BatchedLangevin(
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


def openmm_rate(name: str, form: str, platform: str, seconds: float, processes: int) -> tuple[float, float]:
    """Steps per second, summed over one process for each core; and per second of processor time, of the best."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(processes)
    with context.Pool(processes, initializer=_share, initargs=(barrier,)) as pool:
        found = pool.starmap(_time_openmm, [(name, form, platform, seconds)] * processes, chunksize=1)
    return sum(wall for wall, _ in found), max(core for _, core in found)


def _share(barrier: Any) -> None:
    global _barrier
    _barrier = barrier


def _time_openmm(name: str, form: str, platform: str, seconds: float) -> tuple[float, float]:
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
    steps, started, busy = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - started < seconds:
        integrator.step(50)
        steps += 50
    simulation.getState(getEnergy=True)
    return steps / (time.perf_counter() - started), steps / (time.process_time() - busy)


if __name__ == "__main__":
    main()
