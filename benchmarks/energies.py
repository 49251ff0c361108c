"""Energies and forces per second: the batched torch potential beside OpenMM's two forms, in one run.

    python benchmarks/energies.py --threads 2 --json energies.json

The forms of OpenMM are the system as its XML files make it (a CustomGBForce) and the native GBSAOBCForce that
replaces it, both on the Reference platform, which uses one core; each call sets the positions and asks for the energy,
or for energy and forces, without copying the forces to Python. Ratios are of rates measured in this run: ours with
--threads threads, OpenMM's with one, so with more threads read them against as many OpenMM processes.

Then the models of generalised Born solvent beside OBC2, for the same molecules and configurations on one core:
processor time, measured in turn, so that other work on the machine does not count. Without --batches, these alone:

    python benchmarks/energies.py --batches --json benchmarks/results/solvents.json
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import openmm
import torch
from openmm.app.internal import customgbforces

from timewarp.energies import Potential, compile_system
from timewarp.files import write_json
from timewarp.molecules import Molecule, build_molecule, get_preset
from timewarp.molecules.force_fields import create_reference_system

MOLECULES = ("Ace-A-Nme", "AL", "WY", "NVDA")
BATCHES = (1, 4, 16, 64, 256, 1024, 4096)
SOLVENTS = {
    "OBC2": customgbforces.GBSAOBC2Force,
    "HCT": customgbforces.GBSAHCTForce,
    "OBC1": customgbforces.GBSAOBC1Force,
    "GBn": customgbforces.GBSAGBnForce,
    "GBn2": customgbforces.GBSAGBn2Force,
}
SOLVENT_BATCH = 512
NOISE_NM = 0.003


def interleaved_rates(
    evaluations: dict[str, tuple[Callable[[], object], int]], seconds: float, repeats: int
) -> dict[str, dict[str, float]]:
    """Configurations per second of several evaluations, taken in turn so that a busy moment hits them alike.

    Args:
        evaluations: by name, a call and how many configurations it evaluates.
        seconds: length of one measurement.
        repeats: measurements of each.
    """
    calls = {}
    for name, (evaluate, _) in evaluations.items():
        evaluate()
        start = time.perf_counter()
        evaluate()
        calls[name] = max(1, math.ceil(seconds / max(time.perf_counter() - start, 1e-6)))
    measured: dict[str, list[float]] = {name: [] for name in evaluations}
    for _ in range(repeats):
        for name, (evaluate, configurations) in evaluations.items():
            start = time.perf_counter()
            for _ in range(calls[name]):
                evaluate()
            measured[name].append(calls[name] * configurations / (time.perf_counter() - start))
    return {
        name: {
            "mean": statistics.fmean(values),
            "sd": statistics.stdev(values) if len(values) > 1 else 0.0,
            "median": statistics.median(values),
            "best": max(values),
        }
        for name, values in measured.items()
    }


def openmm_evaluations(system: openmm.System, molecule: Molecule) -> tuple[Callable[[], object], Callable[[], object]]:
    integrator = openmm.VerletIntegrator(0.001)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    positions = molecule.start_positions.numpy()

    def energy() -> None:
        context.setPositions(positions)
        context.getState(getEnergy=True)

    def forces() -> None:
        context.setPositions(positions)
        context.getState(getEnergy=True, getForces=True)

    return energy, forces


def measure(name: str, arguments: argparse.Namespace) -> dict:
    molecule = build_molecule(name, arguments.preset)
    parameters = compile_system(molecule.system)
    potential = Potential(parameters, getattr(torch, arguments.dtype), arguments.device)
    xml = openmm_evaluations(create_reference_system(molecule.topology, get_preset(arguments.preset)), molecule)
    native = openmm_evaluations(molecule.system, molecule)
    generator = torch.Generator().manual_seed(arguments.seed)
    rows = []
    for batch in arguments.batches:
        noise = torch.randn(batch, parameters.n_atoms, 3, generator=generator, dtype=torch.float64)
        x = (molecule.start_positions + NOISE_NM * noise).to(arguments.device, potential.dtype)
        synchronize = torch.cuda.synchronize if x.is_cuda else (lambda: None)
        ours = (
            lambda x=x, wait=synchronize: (potential.energy(x), wait()),
            lambda x=x, wait=synchronize: (potential.energy_and_forces(x), wait()),
        )
        row: dict = {"batch": batch}
        for k, kind in enumerate(("energies", "forces")):
            evaluations = {"ours": (ours[k], batch), "openmm_xml": (xml[k], 1), "openmm_native": (native[k], 1)}
            row[kind] = interleaved_rates(evaluations, arguments.seconds, arguments.repeats)
            for form in ("openmm_xml", "openmm_native"):
                row[kind][f"ratio_to_{form}"] = row[kind]["ours"]["mean"] / row[kind][form]["mean"]
        rows.append(row)
        print(table_row(name, parameters.n_atoms, row), flush=True)
    return {"molecule": name, "atoms": parameters.n_atoms, "batches": rows}


def solvated(molecule: Molecule, model: str) -> openmm.System:
    """A molecule without solvent, and the force that OpenMM's XML file of the model adds."""
    system = openmm.XmlSerializer.clone(molecule.system)
    (nonbonded,) = (f for f in system.getForces() if isinstance(f, openmm.NonbondedForce))
    force = SOLVENTS[model](SA="ACE")
    for i, numbers in enumerate(force.getStandardParameters(molecule.topology)):
        force.addParticle([nonbonded.getParticleParameters(i)[0]._value, *numbers])
    force.finalize()
    system.addForce(force)
    return system


def compare_solvents(name: str, arguments: argparse.Namespace) -> dict:
    """Processor time of a configuration in each model, and its ratio to OBC2's: medians of alternating measurements."""
    molecule = build_molecule(name, "amber14-vacuum")
    dtype = getattr(torch, arguments.dtype)
    potentials = {model: Potential(compile_system(solvated(molecule, model)), dtype) for model in SOLVENTS}
    noise = torch.randn(
        SOLVENT_BATCH, molecule.atoms.n_atoms, 3, generator=torch.Generator().manual_seed(arguments.seed)
    )
    x = (molecule.start_positions + NOISE_NM * noise).to(dtype)
    row: dict = {"molecule": name, "atoms": molecule.atoms.n_atoms, "batch": SOLVENT_BATCH}
    for kind, call in (("energies", Potential.energy), ("forces", Potential.energy_and_forces)):
        seconds: dict[str, list[float]] = {model: [] for model in SOLVENTS}
        for _ in range(10 * arguments.repeats + 1):
            for model, potential in potentials.items():
                start = time.process_time()
                call(potential, x)
                seconds[model].append(time.process_time() - start)
        row[kind] = {
            model: {
                "microseconds": 1e6 * statistics.median(times[1:]) / SOLVENT_BATCH,
                "ratio_to_OBC2": statistics.median(a / b for a, b in zip(times[1:], seconds["OBC2"][1:], strict=True)),
            }
            for model, times in seconds.items()
        }
        cells = (f"{model} {figures['ratio_to_OBC2']:.2f}" for model, figures in row[kind].items())
        print(f"{name:10} {row['atoms']:5d} {kind:9} | {'   '.join(cells)}", flush=True)
    return row


HEADER = f"{'':22} | {'energies/s':>18} {'/XML':>8} {'/native':>8} | {'forces/s':>18} {'/XML':>8} {'/native':>8}\n" + (
    f"{'molecule':10} {'atoms':>5} {'batch':>5} | " + f"{'mean ± sd':>18} {'':8} {'':8} | " + f"{'mean ± sd':>18}"
)


def table_row(name: str, n_atoms: int, row: dict) -> str:
    cells = [f"{name:10} {n_atoms:5d} {row['batch']:5d}"]
    for kind in ("energies", "forces"):
        rate = f"{row[kind]['ours']['mean']:,.0f} ± {row[kind]['ours']['sd']:,.0f}"
        ratios = [row[kind][f"ratio_to_{form}"] for form in ("openmm_xml", "openmm_native")]
        cells.append(f"{rate:>18} " + " ".join(f"{ratio:8.2f}" for ratio in ratios))
    return " | ".join(cells)


def environment(arguments: argparse.Namespace) -> dict:
    here = Path(__file__).parent
    git = ["git", "-C", str(here)]
    commit = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False)
    changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=False)
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        cpu = next(
            (line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line), cpu
        )
    device = torch.cuda.get_device_name() if arguments.device.startswith("cuda") else cpu
    return {
        "device": device,
        "threads": torch.get_num_threads(),
        "openmm_platform": "Reference (one core)",
        "dtype": arguments.dtype,
        "preset": arguments.preset,
        "seed": arguments.seed,
        "repeats": arguments.repeats,
        "seconds_per_repeat": arguments.seconds,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "openmm": openmm.Platform.getOpenMMVersion(),
        },
        "commit": commit.stdout.strip() or "unknown",
        "uncommitted_changes": bool(changed.stdout.strip()),
        "load_average_at_start": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="PATH", help="write all figures to this file")
    parser.add_argument(
        "--threads", type=int, default=torch.get_num_threads(), help="torch threads (default: %(default)s)"
    )
    parser.add_argument("--molecules", nargs="+", default=MOLECULES, help="sequences (default: %(default)s)")
    parser.add_argument("--batches", nargs="*", type=int, default=BATCHES, help="batch sizes (default: %(default)s)")
    parser.add_argument("--preset", default="amber14-obc2", help="force field (default: %(default)s)")
    parser.add_argument(
        "--dtype", choices=("float32", "float64"), default="float32", help="of ours (default: %(default)s)"
    )
    parser.add_argument("--device", default="cpu", help="of ours (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="repeats per figure (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=0.1, help="seconds per repeat (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the configurations (default: %(default)s)")
    arguments = parser.parse_args()
    if min([arguments.threads, arguments.repeats, *arguments.batches]) < 1 or arguments.seconds <= 0:
        parser.error("threads, repeats, batches and seconds must be positive")
    torch.set_num_threads(arguments.threads)

    about = environment(arguments)
    print(json.dumps(about, indent=2))
    results = []
    if arguments.batches:
        print(HEADER)
        results = [measure(name, arguments) for name in arguments.molecules]
        print("\nOpenMM, evaluations/s on one core, beside the largest batch (mean ± sd)")
    for result in results:
        for form in ("openmm_xml", "openmm_native"):
            e, f = (result["batches"][-1][kind][form] for kind in ("energies", "forces"))
            print(
                f"{result['molecule']:10} {form:14} energies {e['mean']:9,.0f} ± {e['sd']:,.0f}"
                f"   forces {f['mean']:9,.0f} ± {f['sd']:,.0f}"
            )
    print("\nProcessor time of generalised Born models, relative to OBC2")
    torch.set_num_threads(1)
    solvents = [compare_solvents(name, arguments) for name in arguments.molecules]
    if arguments.json:
        figures = {"results": results, "solvents": solvents}
        write_json(arguments.json, {"schema": 1, "benchmark": "energies", **about, **figures})
        print(f"wrote {arguments.json}")


if __name__ == "__main__":
    main()
