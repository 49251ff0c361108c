"""Experiments on what a network proposes: the conditional distribution from one state, and acceptance."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UserError
from . import Source, read, tell, write

if TYPE_CHECKING:
    from ...pretrained import LoadedModel

BINS = 36
"""Bins per torsion: a few hundred endpoints do not fill more."""
MOST_BONDS = 4
MD_FRAMES_BETWEEN_REPORTS = 10


@dataclass(frozen=True)
class Proposals:
    """What a network proposes from one state.

    Attributes:
        positions: (n, atoms, 3) in nm.
        energies: (n,) in kJ/mol; infinite where they are not finite numbers.
        acceptance: (n,) probability that Metropolis-Hastings accepts each.
    """

    positions: np.ndarray
    energies: np.ndarray
    acceptance: np.ndarray


def conditional(args: argparse.Namespace) -> int:
    """p(x(t + tau) | x(t)) of a network and of fresh MD runs, all from one marked state."""
    from ...analysis import (
        backbone_planes,
        bonded_types,
        bonded_values,
        jsd_torsion,
        named_torsions,
        noise_floor,
        torsion_angles,
    )
    from ...report.experiments import conditional_plot
    from ..options import set_sampling_threads

    source = read(args.run, args)
    if source.run.kind != "md":
        raise UserError(
            f"{args.run} is a run of kind {source.run.kind}; give MD, whose settings the fresh runs take over"
        )
    atoms = source.trajectory.atoms
    threads = set_sampling_threads(args.threads, "cpu")
    model = _load(args, source)
    lag_ps = args.lag or model.description.training.get("lag_ps") or 500.0
    pairs = backbone_planes(named_torsions(atoms))
    if not pairs:
        raise UserError(f"{atoms.residues} has no phi and psi; nothing to plot")
    backbone = [torsion for pair in pairs.values() for torsion in pair]
    chain, frame = _start(args, source, backbone)
    x = source.trajectory.positions[chain, frame]
    tell(args, f"{args.n} proposals of {model.name}")
    proposed = _propose(source, model, x, args.n, args.seed, threads)
    ends = _fresh_md(args, source, x.numpy(), lag_ps, threads)
    names = (model.name, "MD")
    positions = {names[0]: proposed.positions, names[1]: ends[0]}
    energies = {names[0]: proposed.energies, names[1]: ends[1]}
    angles = {name: torsion_angles(p[None], atoms) for name, p in positions.items()}
    start = {t: float(a[0]) for t, a in torsion_angles(x[None], atoms).items()}

    accepted, error = proposed.acceptance.mean(), proposed.acceptance.std() / math.sqrt(args.n)
    print(f"from chain {chain}, frame {frame}: " + ", ".join(f"{t} {math.degrees(start[t]):.0f}" for t in backbone))
    print(f"lag {lag_ps:g} ps; {args.n} proposals of {model.name}, {len(ends[0])} runs of MD")
    print(f"acceptance from this state: {100 * accepted:.3g} +- {100 * error:.2g} %")
    data: dict[str, Any] = {
        "model": model.name,
        "weights_sha256": model.sha256,
        "lag_ps": lag_ps,
        "start": {
            "run": str(args.run),
            "chain": chain,
            "frame": frame,
            "torsions_degrees": {k: math.degrees(v) for k, v in start.items()},
        },
        "n": args.n,
        "md_runs": len(ends[0]),
        "acceptance": {"value": float(accepted), "error": float(error)},
        "jsd": {},
        "energy_kJ_mol": {
            n: {"median": float(np.median(e)), "quartiles": np.quantile(e, [0.25, 0.75]).tolist()}
            for n, e in energies.items()
        },
    }
    print(f"{'torsion':<12}{'JSD/bit':>10}{'floor':>10}")
    for torsion in angles["MD"]:
        here, there = (angles[name][torsion] for name in names)
        value = jsd_torsion(here, there, BINS)
        floor = noise_floor(lambda a, b: jsd_torsion(a, b, BINS), there)
        data["jsd"][torsion] = {"value": value, "floor": floor}
        print(f"{torsion:<12}{value:>10.3f}{floor:>10.3f}")
    types = [(key, rows) for key, rows in bonded_types(atoms).items() if key[0] == "bond"][:MOST_BONDS]
    bonds = {
        key[1]: {name: bonded_values(p[None], atoms, "bond", rows).ravel() for name, p in positions.items()}
        for key, rows in types
    }
    finite = {name: e[np.isfinite(e)] for name, e in energies.items()}
    # The far tail of clashes would leave the histogram one bin wide.
    top = np.quantile(finite["MD"], 0.999) + 6 * finite["MD"].std()
    shown = {name: np.clip(e, None, top) for name, e in finite.items()}
    flat = {name: {t: a[0] for t, a in table.items()} for name, table in angles.items()}
    return write(args, "conditional", data, [("conditional", conditional_plot(flat, start, pairs, shown, bonds))])


def acceptance(args: argparse.Namespace) -> int:
    """Acceptance (and jump) of every kernel of one or several runs, over all chains."""
    from ...analysis import acceptance as acceptance_of
    from ...report.plots import acceptance_plot

    paths = [args.run, *args.others]
    rows: dict[str, Any] = {}
    plots: list[tuple[str, Any]] = []
    print(f"{'run':<28}{'kernel':<10}{'proposed':>12}{'accepted/%':>12}{'worst chain':>13}{'jump':>7}{'nonfinite':>11}")
    for n, path in enumerate(paths):
        source = read(path, args)
        kernels = acceptance_of((source.run.summary() or {}).get("kernels") or {})
        if not kernels:
            raise UserError(f"{path} has no kernels in its summary.json: give finished runs of `timewarp sample`")
        rows[str(path)] = [k.to_json() for k in kernels]
        for k in kernels:
            worst = f"{100 * min(k.per_chain):.3g}" if k.per_chain else "-"
            jump = "-" if k.jump is None else f"{k.jump:.2f}"
            line = f"{source.path.name:<28}{k.name:<10}{k.proposed:>12,}{100 * k.acceptance:>12.4g}"
            print(f"{line}{worst:>13}{jump:>7}{k.nonfinite:>11,}")
        stem = "acceptance" if len(paths) == 1 else f"acceptance-{n + 1}-{source.path.resolve().name}"
        plots.append((stem, acceptance_plot([k.to_json() for k in kernels])))
    return write(args, "acceptance", {"runs": rows}, plots)


def _load(args: argparse.Namespace, source: Source) -> LoadedModel:
    from ...pretrained import default_for, load, names

    name = args.model or default_for(source.run.atoms, args.family)
    if name is None:
        raise UserError(
            f"no shipped network covers {source.run.atoms.residues} (there are: {', '.join(names()) or 'none'}); "
            "give --model FOLDER of a `timewarp train` run"
        )
    return load(name, source.run.atoms)


def _start(args: argparse.Namespace, source: Source, names: list[str]) -> tuple[int, int]:
    """Chain and frame of x(t): as asked for, or the frame closest to the most populated backbone conformation."""
    from ...analysis import torsion_angles

    n_chains, n_frames = source.trajectory.n_chains, source.trajectory.n_frames
    if args.frame is not None:
        chain = args.chain or 0
        if not (chain < n_chains and args.frame < n_frames):
            raise UserError(
                f"{args.run} has chains 0 to {n_chains - 1} of frames 0 to {n_frames - 1}; got chain {chain}, frame "
                f"{args.frame}"
            )
        return chain, args.frame
    stride = max(1, n_chains * n_frames // 20_000)
    found = torsion_angles(source.trajectory.positions[:, ::stride], source.trajectory.atoms, names)
    flat = np.stack([a.ravel() for a in found.values()], -1)
    cells = np.floor((flat + np.pi) / (2 * np.pi) * 12).astype(int)
    _, inverse, counts = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
    densest = flat[inverse.ravel() == counts.argmax()]
    middle = np.angle(np.exp(1j * densest).mean(0))
    nearest = int(((1 - np.cos(flat - middle)).sum(-1)).argmin())
    chain, frame = divmod(nearest, -(-n_frames // stride))
    return chain, frame * stride


def _propose(source: Source, model: LoadedModel, x: Any, n: int, seed: int, threads: int) -> Proposals:
    """Draw from the network, and work out what Metropolis-Hastings would make of each draw."""
    import torch

    from ...energies import Parameters, Potential
    from ...sampling import Restriction, Target

    parameters = Parameters.load(source.path / "energy.safetensors")
    potential = Potential(parameters, dtype=torch.float32)
    start = x - x.mean(0)
    restriction = Restriction(start, source.run.atoms)
    target = Target(potential, source.temperature_K, restriction)
    proposer = model.proposers(parameters, target.kT, threads=threads)["flow"]
    generator = torch.Generator().manual_seed(seed)
    state = target.init(start.expand(n, -1, -1).contiguous())
    with torch.no_grad():
        proposed = proposer.propose(state.positions, generator)
        assert proposed.log_ratio is not None
        positions, log_ratio = target.recentre(proposed.positions), proposed.log_ratio
        energy = target.energy(positions).double()
        log_r = log_ratio.double() - (energy - state.energy.double()) / target.kT
        crossed = restriction.crossed(positions)
        good = log_r.isfinite() & energy.isfinite() & ~crossed
        accepted = torch.where(good, log_r.clamp(max=0.0).exp(), 0.0)
        energy = torch.where(energy.isfinite(), energy, torch.inf)
    return Proposals(positions.numpy(), energy.numpy(), accepted.numpy())


def _fresh_md(
    args: argparse.Namespace, source: Source, x: np.ndarray, lag_ps: float, threads: int
) -> tuple[np.ndarray, np.ndarray]:
    """Ends of MD runs of length ``lag_ps`` from one state, with fresh velocities: positions and energies.

    Raises:
        UserError: the compiled kernels are missing, or the run's settings are.
    """
    from ... import native
    from ...energies import Parameters
    from ...progress import Progress
    from ...simulation import BatchedLangevin
    from ...state import repartition_hydrogen_mass

    if not native.available():
        raise UserError(f"fresh MD runs need the compiled kernels; {native.why_not()}")
    config = source.run.config
    try:
        timestep_fs, friction = float(config["timestep_fs"]), float(config["friction_per_ps"])
        hydrogen = config.get("hydrogen_mass_Da")
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{source.path / 'config.toml'} lacks the time step or the friction of the MD") from None
    masses = repartition_hydrogen_mass(source.run.atoms, hydrogen or None).numpy()
    engine = BatchedLangevin(
        Parameters.load(source.path / "energy.safetensors"),
        source.run.atoms,
        masses,
        temperature_K=source.temperature_K,
        friction_per_ps=friction,
        timestep_fs=timestep_fs,
        seed=args.seed + 1,
        threads=threads,
    )
    steps = max(1, round(1000 * lag_ps / timestep_fs))
    runs = engine.start(np.broadcast_to(x - x.mean(0), (args.md_runs, *x.shape)).copy())
    with Progress("MD from that state", steps * args.md_runs, unit="step", quiet=args.quiet) as bar:
        left = steps
        while left:
            stretch = min(left, max(1, 2_000_000 // args.md_runs))
            frames = engine.advance(runs, 1, stretch)
            left -= stretch
            bar.advance(stretch * args.md_runs)
    good = np.isfinite(frames.energies[-1])
    return frames.positions[-1][good].astype(np.float32), frames.energies[-1][good]
