"""Is the batched MD right? Its distributions beside OpenMM's, and its time-step error.

    python benchmarks/md_validation.py --reference RUN --json md_validation.json

RUN is MD of alanine dipeptide by OpenMM at --reference-step, with torsion moves (so that every basin has its weight):

    timewarp simulate Ace-A-Nme --engine openmm --length 20 --replicas 2 --torsion-moves 10 --frame-spacing 0.5 \\
      --start built --start phi_1=60 --out RUN

Compared by z-scores are the mean of each energy term, the mean and variance of each bond and angle, and populations of
torsions; the kinetic temperature is compared with a short run of OpenMM made here. Then the same quantities at several
time steps against the shortest. Hydrogens have 3 Da throughout, except in the row that says otherwise. Errors are from
independent replicas (ours) and from blocks (the reference's). With n quantities, the largest |z| of two equal
distributions is about sqrt(2 ln n).
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np

MOLECULE, PRESET, TEMPERATURE_K, FRICTION_PER_PS = "Ace-A-Nme", "amber14-obc2", 310.0, 1.0
GAS_CONSTANT = 8.31446261815324e-3
BLOCKS = 40
Means = dict[str, tuple[float, float]]  # of each quantity, its mean and its standard error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", type=Path, default=None, metavar="RUN", help="MD with OpenMM")
    parser.add_argument("--reference-step", type=float, default=2.0, metavar="FS", help="its time step (default 2)")
    parser.add_argument("--steps", nargs="+", type=float, default=(0.5, 1.0, 2.0, 3.0, 4.0), metavar="FS")
    parser.add_argument("--length", type=float, default=50.0, metavar="NS", help="of each of our runs (default 50)")
    parser.add_argument("--replicas", type=int, default=64, help="default 64")
    parser.add_argument("--openmm-ps", type=float, default=500.0, help="OpenMM for its temperature (default 500)")
    parser.add_argument("--threads", type=int, default=2, help="default 2")
    parser.add_argument("--json", type=Path, help="write the result here")
    args = parser.parse_args()

    from timewarp.files import write_json

    ours = {step: our_means(args, step, 3.0) for step in args.steps}
    result: dict[str, Any] = {
        "schema": 1,
        "benchmark": "md_validation",
        "length_ns": args.length,
        "replicas": args.replicas,
        "means": {f"{step:g}": means for step, means in ours.items()},
    }
    if args.reference is not None:
        theirs = reference_means(args.reference)
        theirs["kinetic temperature (K)"] = openmm_temperature(args)
        result["against_openmm"] = against(ours[args.reference_step], theirs, "OpenMM", args.reference_step)
    shortest = min(args.steps)
    natural = our_means(args, 1.0, None)
    result["natural masses"] = natural
    rows = {f"{step:g} fs": ours[step] for step in args.steps} | {"1 fs, natural masses": natural}
    result["against_shortest"] = time_step_table(rows, ours[shortest], f"{shortest:g} fs")
    if args.json:
        write_json(args.json, result)


# --- runs -----------------------------------------------------------------------------------------------------------


def our_means(args: argparse.Namespace, timestep_fs: float, hydrogen_mass_Da: float | None) -> Means:
    from timewarp.energies import compile_system
    from timewarp.molecules import build_molecule
    from timewarp.simulation import BatchedLangevin, SimulationSettings, replica_starts
    from timewarp.state import repartition_hydrogen_mass

    molecule = build_molecule(MOLECULE, PRESET)
    settings = SimulationSettings(
        timestep_fs=timestep_fs,
        frame_spacing_ps=1.2,
        torsion_moves_per_ps=10,
        replicas=args.replicas,
        start=("built", "phi_1=60"),
    )
    md = BatchedLangevin(
        compile_system(molecule.system),
        molecule.atoms,
        repartition_hydrogen_mass(molecule.atoms, hydrogen_mass_Da).numpy(),
        temperature_K=TEMPERATURE_K,
        friction_per_ps=FRICTION_PER_PS,
        timestep_fs=timestep_fs,
        seed=round(1000 * timestep_fs) + (hydrogen_mass_Da is None),
        torsion_interval_steps=settings.torsion_interval_steps,
        torsion_moves_per_round=settings.torsion_moves_per_round,
        threads=args.threads,
    )
    starts = replica_starts(molecule, settings, TEMPERATURE_K, compile_system(molecule.system))
    state = md.start(starts)
    md.advance(state, 100, settings.frame_steps, burn_in=True)
    frames = md.advance(state, round(args.length * 1000 / args.replicas / 1.2), settings.frame_steps)
    series = observables(molecule.atoms, frames.positions.transpose(1, 0, 2, 3))
    series["kinetic temperature (K)"] = 2 * frames.kinetic.T / (3 * molecule.atoms.n_atoms * GAS_CONSTANT)
    series["variance of the energy"] = squares(frames.energies.T)
    return {name: of_groups(values) for name, values in series.items()}


def reference_means(path: Path) -> Means:
    import timewarp as tw

    trajectory = tw.open(path).trajectory
    series = observables(trajectory.atoms, trajectory.positions.numpy())
    series["variance of the energy"] = squares(trajectory.energies.numpy())
    chains, frames = trajectory.energies.shape
    size = frames * chains // BLOCKS
    per_chain = frames // size
    return {
        name: of_groups(values[:, : per_chain * size].reshape(chains * per_chain, size))
        for name, values in series.items()
    }


def openmm_temperature(args: argparse.Namespace) -> tuple[float, float]:
    """Kinetic temperature of OpenMM's integrator, from its velocities as they are."""
    import openmm

    from timewarp.molecules import build_molecule
    from timewarp.simulation.system import make_context, with_masses
    from timewarp.state import repartition_hydrogen_mass

    molecule = build_molecule(MOLECULE, PRESET)
    masses = repartition_hydrogen_mass(molecule.atoms, 3.0).numpy()
    integrator = openmm.LangevinMiddleIntegrator(TEMPERATURE_K, FRICTION_PER_PS, args.reference_step / 1000)
    integrator.setRandomNumberSeed(1)
    context = make_context(with_masses(molecule.system, masses), integrator, "Reference")
    context.setPositions(molecule.start_positions.numpy())
    context.setVelocitiesToTemperature(TEMPERATURE_K, 2)
    integrator.step(5000)
    found = []
    for _ in range(round(args.openmm_ps / args.reference_step * 1000 / 10)):
        integrator.step(10)
        velocities = context.getState(velocities=True).getVelocities(asNumpy=True)._value
        found.append((masses[:, None] * velocities**2).sum() / (3 * len(masses) * GAS_CONSTANT))
    return of_groups(np.array(found)[: len(found) // BLOCKS * BLOCKS].reshape(BLOCKS, -1))


# --- quantities -----------------------------------------------------------------------------------------------------


def observables(atoms: Any, positions: np.ndarray) -> dict[str, np.ndarray]:
    """Series (chains, frames) whose means are compared; ``positions`` are (chains, frames, atoms, 3)."""
    import torch

    from timewarp.analysis import torsion_angles
    from timewarp.energies import Potential, compile_system
    from timewarp.geometry import angles, distances
    from timewarp.molecules import build_molecule

    x = torch.from_numpy(np.ascontiguousarray(positions)).flatten(0, 1)
    shape = positions.shape[:2]
    parameters = compile_system(build_molecule(MOLECULE, PRESET).system)
    potential = Potential(parameters, torch.float64)
    terms: dict[str, list[np.ndarray]] = {}
    bonds, bends = [], []
    bond_atoms, angle_atoms = parameters.bond_atoms, parameters.angle_atoms
    for chunk in x.split(5000):
        y = chunk.double()
        for name, energy in potential.energy_terms(y).items():
            terms.setdefault(f"energy of {name} (kJ/mol)", []).append(energy.numpy())
        bonds.append(distances(y, bond_atoms).numpy())
        bends.append(angles(y, angle_atoms).numpy())
    series = {name: np.concatenate(values).reshape(shape) for name, values in terms.items()}
    series["energy (kJ/mol)"] = np.sum(list(series.values()), axis=0)
    names = [f"{n}{k}" for k, n in enumerate(atoms.names)]
    for kind, columns, which in (("bond", bonds, bond_atoms), ("angle", bends, angle_atoms)):
        for values, row in zip(np.concatenate(columns).T, which.tolist(), strict=True):
            label = f"{kind} {'-'.join(names[i] for i in row)}"
            series[f"mean of {label}"] = values.reshape(shape)
            series[f"variance of {label}"] = squares(values.reshape(shape))
    torsions = {k: np.asarray(v) for k, v in torsion_angles(torch.from_numpy(positions), atoms).items()}
    phi, psi = torsions["phi_1"], torsions["psi_1"]
    series["P(phi > 0)"] = ((phi > 0) & (phi < np.deg2rad(150))).astype(float)
    series["P(alpha)"] = (np.abs(psi + np.deg2rad(30)) < np.deg2rad(75)).astype(float)
    for name, values in torsions.items():
        series[f"cos {name}"], series[f"sin {name}"] = np.cos(values), np.sin(values)
    return series


def squares(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) ** 2


def of_groups(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard error from independent rows."""
    rows = values.mean(1)
    return float(rows.mean()), float(rows.std(ddof=1) / math.sqrt(len(rows)))


def z_scores(one: Means, other: Means) -> dict[str, float]:
    return {k: (one[k][0] - other[k][0]) / math.hypot(one[k][1], other[k][1]) for k in one if k in other}


GROUPS = ("energy", "mean of bond", "variance of bond", "mean of angle", "variance of angle", "P(", "cos", "sin", "kin")


def against(ours: Means, theirs: Means, who: str, step: float) -> dict[str, float]:
    z = z_scores(ours, theirs)
    print(f"\nours against {who} at {step:g} fs: {len(z)} quantities, largest |z| expected {expected(len(z)):.1f}")
    print(f"{'quantity':36}{'ours':>20}{who:>22}{'z':>7}")
    shown = [k for k in z if k.startswith(("energy", "P(", "kin"))]
    for name in shown:
        (a, da), (b, db) = ours[name], theirs[name]
        print(f"{name:36}{f'{a:.4f} +- {da:.4f}':>20}{f'{b:.4f} +- {db:.4f}':>22}{z[name]:7.1f}")
    for group in GROUPS[1:5]:
        found = {k: v for k, v in z.items() if k.startswith(group)}
        worst = max(found, key=lambda k: abs(found[k]))
        rms = math.sqrt(sum(v**2 for v in found.values()) / len(found))
        print(f"{len(found)} x {group}: rms z {rms:.2f}, largest {found[worst]:+.1f} ({worst})")
    return z


def time_step_table(rows: dict[str, Means], base: Means, name: str) -> dict[str, Any]:
    keys = ["kinetic temperature (K)", "energy (kJ/mol)", "energy of bonds (kJ/mol)", "energy of angles (kJ/mol)"]
    keys += ["P(alpha)", "P(phi > 0)"]
    print(f"\ntime-step error: differences from {name} (with standard errors); variances in percent")
    print(f"{'':22}" + "".join(f"{key.replace('energy of ', ''):>24}" for key in keys) + f"{'largest |z|':>13}")
    out: dict[str, Any] = {}
    for label, means in rows.items():
        cells = []
        for key in keys:
            value, error = means[key]
            if means is not base and not key.startswith("kin"):
                value, error = value - base[key][0], math.hypot(error, base[key][1])
            cells.append(f"{value:.4g} +- {error:.2g}")
        z = {} if means is base else {k: v for k, v in z_scores(means, base).items() if not k.startswith("kin")}
        worst = max(z.values(), key=abs) if z else 0.0
        print(f"{label:22}" + "".join(f"{cell:>24}" for cell in cells) + f"{worst:13.1f}")
        ratio = {}
        for kind in ("bond", "angle"):
            names = [k for k in means if k.startswith(f"variance of {kind}")]
            ratio[kind] = float(np.mean([means[k][0] / base[k][0] - 1 for k in names]))
        out[label] = {"z": z, "variance_of_bonds": ratio["bond"], "variance_of_angles": ratio["angle"]}
        print(f"{'':22}variance of bonds {100 * ratio['bond']:+.2f} %, of angles {100 * ratio['angle']:+.2f} %")
    return out


def expected(n: int) -> float:
    return math.sqrt(2 * math.log(max(n, 2)))


if __name__ == "__main__":
    main()
