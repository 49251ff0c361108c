"""Effective samples per second of alanine dipeptide's psi, phi and phi > 0: our chain against OpenMM, in one run.

Compared are, all on the same cores:

- our chain with the shipped network (production only; warm-up is reported beside it);
- OpenMM as its XML files build it (``CustomGBForce``), 0.5 fs (the Timewarp paper's step) and 2 fs;
- the fastest MD that we have: native ``GBSAOBCForce``, 2 fs with hydrogen mass repartitioning, one process per core.

MD's ESS per second is its steps per second, measured here, over its integrated autocorrelation time in steps, taken
from long MD with the same integrator, step and friction on the fastest engine (both forms have one force field, and so
one set of time correlations). The phi > 0 basin is 0 < phi < 150 degrees: the beta basin reaches across 180 degrees.
Where long MD saw fewer than 20 crossings into or out of it, no ratio is formed: with k crossings, k + 3 is taken as
an upper bound of its ESS (with none, the rule of three: fewer than 3 are expected at 95 % confidence). Long MD:

    timewarp simulate Ace-A-Nme --length 60 --replicas 2 --friction 0.3 --frame-spacing 0.5 --out MD2
    timewarp simulate Ace-A-Nme --length 4 --replicas 2 --friction 0.3 --frame-spacing 0.5 --timestep 0.5 --out MD05

    python benchmarks/ess_per_second.py --md-2fs MD2 --md-0.5fs MD05 --json ess_per_second.json
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

BASIN_END = np.deg2rad(150.0)
FEWEST_CROSSINGS = 20
OBSERVABLES = ("psi_1", "phi_1", "phi_1 > 0")
SOLVENT_XML = {"amber14-obc2": ("amber14-all.xml", "implicit/obc2.xml")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--md-2fs", type=Path, required=True, metavar="RUN", help="long MD at 2 fs, native GB")
    parser.add_argument(
        "--md-0.5fs", dest="md_05fs", type=Path, required=True, metavar="RUN", help="the same at 0.5 fs"
    )
    parser.add_argument("--model", default=None, help="network of our chain (default: the shipped one)")
    parser.add_argument("--chains", type=int, default=256, help="chains (default 256)")
    parser.add_argument("--samples", type=int, default=256_000, help="samples per repeat (default 256000)")
    parser.add_argument("--repeats", type=int, default=3, help="repeats of every timing (default 3)")
    parser.add_argument("--seconds", type=float, default=10.0, help="seconds per timing of MD (default 10)")
    parser.add_argument("--json", type=Path, help="write the result here")
    args = parser.parse_args()

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    long_md = {"2": correlation_times(args.md_2fs), "0.5": correlation_times(args.md_05fs)}
    rows = [our_chain(args)]
    for label, form, step in (
        ("OpenMM, native GB, 2 fs", "native", "2"),
        ("OpenMM, XML, 2 fs", "xml", "2"),
        ("OpenMM, XML, 0.5 fs", "xml", "0.5"),
    ):
        rates = [steps_per_second(form, args.seconds, cores) for _ in range(args.repeats)]
        rows.append(md_row(label, rates, long_md[step]))
    result = {
        "benchmark": "ess_per_second",
        "molecule": "Ace-A-Nme",
        "cores": cores,
        "commit": commit(),
        "long_md": long_md,
        "rows": rows,
    }
    show(rows)
    if args.json:
        from timewarp.files import write_json

        write_json(args.json, result)


def observables(run: Path) -> tuple[dict[str, np.ndarray], Any]:
    import timewarp as tw
    from timewarp.analysis import slower

    opened = tw.open(run)
    phi, psi = opened.torsions["phi_1"], opened.torsions["psi_1"]
    beyond = (phi > 0) & (phi < BASIN_END)
    return {"psi_1": slower(psi), "phi_1": slower(phi), "phi_1 > 0": beyond.astype(float)}, opened


def correlation_times(run: Path) -> dict[str, Any]:
    """Integrated autocorrelation time in MD steps of each observable, or a lower bound where nothing happened."""
    from timewarp.analysis import integrated_time

    series, opened = observables(run)
    if opened.config.get("dynamics") is False:
        raise SystemExit(f"{run} was made with torsion moves: its time correlations mean nothing")
    steps_per_frame = round(1000 * opened.config["frame_spacing_ps"] / opened.config["timestep_fs"])
    keys = ("timestep_fs", "friction_per_ps", "hydrogen_mass_Da", "length_ns")
    out: dict[str, Any] = {"settings": {key: opened.config.get(key) for key in keys}, "steps": {}}
    indicator = series["phi_1 > 0"]
    crossings = int(np.abs(np.diff(indicator, axis=1)).sum())
    out["crossings_of_phi"] = crossings
    for name, values in series.items():
        if name == "phi_1 > 0" and crossings < FEWEST_CROSSINGS:
            total_steps = indicator.size * steps_per_frame
            out["steps"][name] = {"bound": True, "value": total_steps / (crossings + 3)}
        else:
            inside = values if crossings >= FEWEST_CROSSINGS else within_one_basin(values, indicator)
            out["steps"][name] = {"bound": False, "value": integrated_time(inside) * steps_per_frame}
    return out


def within_one_basin(values: np.ndarray, indicator: np.ndarray) -> np.ndarray:
    """Chains that stay at phi < 0: a chain that is stuck beyond the barrier would hide how fast the others mix.

    This flatters MD: its true correlation time, crossings included, is longer.
    """
    stays = indicator.max(axis=1) == 0
    return values[stays] if stays.any() else values


def our_chain(args: argparse.Namespace) -> dict[str, Any]:
    """ESS per second of production, wall time as the run itself counts it, over repeats with different seeds."""
    import timewarp as tw
    from timewarp.analysis import ess

    per_second: dict[str, list[float]] = {name: [] for name in OBSERVABLES}
    kernels: dict[str, Any] = {}
    warmup_s, rate = [], []
    for repeat in range(args.repeats):
        with tempfile.TemporaryDirectory() as scratch:
            out = Path(scratch) / "run"
            started = time.monotonic()
            run = tw.sample(
                "Ace-A-Nme",
                model=args.model,
                chains=args.chains,
                samples=args.samples,
                start_torsion="phi_1=60,psi_1=30",
                seed=repeat,
                out=out,
            )
            total = time.monotonic() - started
            summary = run.summary
            series, _ = observables(out)
            for name, values in series.items():
                per_second[name].append(ess(values) / summary["wall_s"])
            kernels = summary["kernels"]
            rate.append(summary["n_samples"] / summary["wall_s"])
            warmup_s.append(total - summary["wall_s"])
    return {
        "label": f"timewarp, {args.chains} chains",
        "samples_per_second": statistics.mean(rate),
        "set_up_and_warm_up_s": statistics.mean(warmup_s),
        "kernels": kernels,
        "ess_per_second": {name: spread(values) for name, values in per_second.items()},
    }


def md_row(label: str, rates: list[float], correlation: dict[str, Any]) -> dict[str, Any]:
    rows = {}
    for name, time_in_steps in correlation["steps"].items():
        mean, sd = spread(rates)
        rows[name] = (mean / time_in_steps["value"], sd / time_in_steps["value"])
    bounds = [name for name, entry in correlation["steps"].items() if entry["bound"]]
    return {"label": label, "steps_per_second": spread(rates), "ess_per_second": rows, "upper_bounds": bounds}


def steps_per_second(form: str, seconds: float, processes: int) -> float:
    """Steps per second of MD, summed over one process per core."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(processes)
    with context.Pool(processes, initializer=_share, initargs=(barrier,)) as pool:
        return sum(pool.starmap(_time_md, [(form, seconds)] * processes, chunksize=1))


def _share(barrier: Any) -> None:
    global _barrier
    _barrier = barrier


def _time_md(form: str, seconds: float) -> float:
    import openmm

    from timewarp.molecules import build_molecule
    from timewarp.simulation.system import make_context, with_masses
    from timewarp.state import repartition_hydrogen_mass
    from timewarp.units import FEMTOSECONDS_PER_PICOSECOND

    molecule = build_molecule("Ace-A-Nme")
    system = molecule.system
    if form == "xml":
        field = openmm.app.ForceField(*SOLVENT_XML["amber14-obc2"])
        system = field.createSystem(molecule.topology, nonbondedMethod=openmm.app.NoCutoff, constraints=None)
    system = with_masses(system, repartition_hydrogen_mass(molecule.atoms, 3.0).numpy())
    best = 0.0
    for platform in ("Reference", "CPU"):  # the faster of the two, each on one thread
        integrator = openmm.LangevinMiddleIntegrator(310.0, 1.0, 2.0 / FEMTOSECONDS_PER_PICOSECOND)
        simulation = make_context(system, integrator, platform)
        simulation.setPositions(molecule.start_positions.numpy())
        simulation.setVelocitiesToTemperature(310.0, 1)
        integrator.step(200)
        _barrier.wait()
        steps, started = 0, time.perf_counter()
        while time.perf_counter() - started < seconds / 2:
            integrator.step(100)
            steps += 100
        simulation.getState(getEnergy=True)
        best = max(best, steps / (time.perf_counter() - started))
    return best


def spread(values: list[float]) -> tuple[float, float]:
    return statistics.mean(values), (statistics.stdev(values) if len(values) > 1 else float("nan"))


def commit() -> str:
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def show(rows: list[dict[str, Any]]) -> None:
    ours = rows[0]["ess_per_second"]
    print(f"{'ESS per second':28}" + "".join(f"{name:>24}" for name in OBSERVABLES))
    for row in rows:
        cells = []
        for name in OBSERVABLES:
            mean, sd = row["ess_per_second"][name]
            sign = "<" if name in row.get("upper_bounds", []) else " "
            cells.append(f"{sign}{mean:.4g} +- {sd:.1g}")
        print(f"{row['label']:28}" + "".join(f"{cell:>24}" for cell in cells))
    for row in rows[1:]:
        cells = []
        for name in OBSERVABLES:
            ratio = ours[name][0] / row["ess_per_second"][name][0]
            cells.append(f"{'>' if name in row['upper_bounds'] else ''}{ratio:,.0f} x")
        print(f"{'ours / ' + row['label']:28}" + "".join(f"{cell:>24}" for cell in cells))
    rates = [f"{row['label']} {row['steps_per_second'][0]:,.0f}" for row in rows[1:]]
    print("steps per second: " + ", ".join(rates))


if __name__ == "__main__":
    main()
