"""``timewarp sample``: exact Boltzmann samples of a peptide, proposed by a trained network."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import campaign, moves, options, running
from .errors import UserError

if TYPE_CHECKING:
    from torch import Generator, Tensor


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Describe the verb."""
    parser = subparsers.add_parser(
        "sample",
        help="exact Boltzmann samples of a peptide",
        description="Exact Boltzmann samples of a peptide: a trained network proposes large moves, Metropolis-Hastings "
        "accepts or rejects them, and local moves relax the rest. Chirality and the cis/trans pattern of "
        "peptide bonds are those of the start. The run can be killed at any moment: the same command goes on with "
        "it, bit for bit, and a larger --samples extends it.",
    )
    running.add_molecule(parser, "NAME-samples, or for a list FILE-samples", optional=True)
    options.add_temperature(parser)
    amount = parser.add_argument_group("how much")
    options.add_whole(amount, "--samples", 20_000, 1, "stored samples in all, over all chains")
    options.add_whole(amount, "--chains", 128, 1, "chains, run side by side")
    options.add_whole(amount, "--thin", 1, 1, "steps (cycles of all kernels) per stored sample")
    options.add_whole(amount, "--warmup", 200, 0, "steps before the first stored sample; kernels are tuned in them")
    running.add_start(amount, "spread")
    amount.add_argument(
        "--start-torsion",
        metavar="START",
        help="start half of the chains with these torsions, and half from the built structure: short for "
        "--start built --start START",
    )
    amount.add_argument(
        "--start-from",
        type=Path,
        metavar="RUN",
        help="run folder of `timewarp explore`: chains start from the distinct states that it found, which confirms "
        "them or shows that they are of no weight; or of `simulate` or `sample`: from frames spread over it",
    )
    options.add_seed(amount)
    moves.add_moves(parser)
    campaign.add_arguments(parser, each="--samples samples, a seed of its own")
    machine = running.add_machine(parser)
    machine.add_argument(
        "--export",
        choices=("dcd", "xtc", "h5", "pdb"),
        help="also write the samples for other programs, to FOLDER/export (dcd keeps positions as they are; xtc rounds "
        "them, which moves energies by 2 to 4 kJ/mol)",
    )


def run(args: argparse.Namespace) -> int:
    """Sample one molecule or a list of them."""
    campaign.check(args)
    if args.sequences is not None:
        from . import sample_list

        return sample_list.run(args)
    return sample_one(args)


def sample_one(args: argparse.Namespace, heartbeat: Callable[[], None] = lambda: None) -> int:
    """Sample, summarise, and print what came out."""
    from ..sampling import BatchedMove, ChainSettings, run_chains, summarise
    from ..starts import check_starts, settle
    from ..trajectories import RunFolder

    names = moves.kernel_names(args)
    starts = _starts(args)
    tuning = moves.read_tuning(args.tuning)
    setup = running.set_up(args, args.temperature)
    molecule, target = setup.molecule, setup.target
    if args.start_from is None:
        check_starts(molecule.atoms, starts, setup.built)
    explored = None if args.start_from is None else running.states_of(args.start_from, setup, args.chains)
    model = None
    if moves.needs_model(names):
        model = moves.load_model(args, molecule, ", or sample without a network: --no-flow")
    kernel = moves.build_cycle(args, names, target, molecule, model, setup.device, setup.threads)
    flow = next((part for part in kernel.kernels if part.name.startswith("flow")), None)
    settings = ChainSettings(
        n_chains=args.chains,
        n_samples=args.samples,
        thin=args.thin,
        warmup=args.warmup,
        seed=args.seed,
        frames_per_segment=running.frames_per_segment(args, molecule.atoms.n_atoms),
    )
    batched = isinstance(flow, BatchedMove)
    config: dict[str, Any] = {
        "molecule": molecule.name,
        "preset": molecule.preset.name,
        "temperature_K": target.temperature_K,
        "model": None if model is None else model.name,
        "weights_sha256": None if model is None else model.sha256,
        "kernels": list(dict.fromkeys(part.name for part in kernel.kernels)),
        "proposals": (args.proposals or "tuned") if batched else None,
        "flow_steps": (args.flow_steps or "proposals") if batched else None,
        "torsion_moves": args.torsion_moves,
        "hmc_steps": args.hmc_steps or "tuned",
        "hmc_acceptance": args.hmc_acceptance,
        "starts": list(starts),
        "start_from": None if args.start_from is None else str(args.start_from),
        "start_states": None if explored is None else running.digest(explored),
        "n_chains": settings.n_chains,
        "n_samples": settings.n_samples,
        "thin": settings.thin,
        "warmup": settings.warmup,
        "seed": settings.seed,
        "precision": args.precision,
        "device": setup.device.partition(":")[0],
        "threads": setup.threads,
        "frames_per_segment": settings.frames_per_segment,
        "tuning": tuning,
    }
    if tuning is not None:
        moves.check_tuning(args.tuning, tuning, kernel)
    folder = RunFolder.create(
        args.out or Path(f"{molecule.name}-samples"),
        kind="chain",
        name=molecule.name,
        atoms=molecule.atoms,
        topology_pdb=molecule.pdb,
        config=config,
        may_change=("n_samples", "threads", "start_from"),
    )
    if not (folder.path / "energy.safetensors").exists():
        setup.parameters.save(folder.path / "energy.safetensors")

    def begin(generator: Generator) -> Tensor:
        if explored is not None:
            # Frames of a run are in equilibrium, and stay in it; what an exploration found is strained.
            if starts == ("run",):
                return explored
            return settle(target, explored, kT=target.kT, restriction=setup.restriction)
        return running.start_positions(setup, starts, args.chains, generator)

    record = run_chains(
        kernel, begin, folder, settings, device=setup.device, tuning=tuning, quiet=args.quiet, heartbeat=heartbeat
    )
    summary = {
        "schema": 1,
        "molecule": molecule.name,
        "model": config["model"],
        **summarise(folder.trajectory(), record, setup.restriction),
        "preset": molecule.preset.name,
        "temperature_K": target.temperature_K,
        "seed": settings.seed,
        "warmup": settings.warmup,
        "threads": setup.threads,
        "device": running.device_name(setup.device),
        "versions": running.versions(),
        "weights_sha256": config["weights_sha256"],
        "family": None if model is None else model.network.kind,
        "proposals": flow.proposals if isinstance(flow, BatchedMove) else None,
        "flow_steps": flow.n_steps if isinstance(flow, BatchedMove) else None,
        "engines": running.engines(target, flow),
        "thin": settings.thin,
        "starts": list(starts),
        "start_from": config["start_from"],
        "precision": args.precision,
    }
    folder.write_summary(summary)
    print(_report(folder.path, summary))
    if args.export:
        from ..trajectories import export

        files = export(folder, folder.path / "export", format=args.export, overwrite=True)
        print(f"exported   {len(files)} files to {folder.path / 'export'}")
    return 0


def _starts(args: argparse.Namespace) -> tuple[str, ...]:
    given = [flag for flag in ("start", "start_torsion", "start_from") if getattr(args, flag)]
    if len(given) > 1:
        first, second = (f"--{flag.replace('_', '-')}" for flag in given[:2])
        raise UserError(f"give {first} or {second}, not both: each says where all chains start")
    if args.start_from:
        from ..trajectories import RunFolder

        return ("exploration" if RunFolder.open(args.start_from).kind == "exploration" else "run",)
    if args.start_torsion:
        return ("built", args.start_torsion)
    return tuple(args.start or ("spread",))


def _report(path: Path, summary: dict[str, Any]) -> str:
    """The result in a few lines."""
    lines = [
        f"{summary['molecule']}: {summary['n_samples']:,} samples in {summary['n_chains']} chains, "
        f"{summary['wall_s']:.1f} s, {summary['samples_per_second']:,.0f} samples/s",
        "kernel          proposed  acceptance  jump  non-finite  restricted",
    ]
    for name, row in summary["kernels"].items():
        acceptance = "-" if row["acceptance"] is None else f"{100 * row['acceptance']:.1f} %"
        jump = "-" if row.get("jump") is None else f"{row['jump']:.2f}"
        lines.append(
            f"{name:12}{row['proposed']:12,}  {acceptance:>10}  {jump:>4}  {row['nonfinite']:10,}"
            f"  {row['restricted']:10,}"
        )
    rhat = {name: value for name, value in summary["rhat"].items() if value == value}
    ess = {name: value for name, value in summary["ess"].items() if value == value}
    if rhat and ess:
        worst, smallest = max(rhat, key=lambda n: rhat[n]), min(ess, key=lambda n: ess[n])
        advice = "" if rhat[worst] < 1.01 else "  (above 1.01: not converged; ask for more --samples)"
        lines.append(f"nested R-hat    {rhat[worst]:.4f} ({worst}){advice}")
        lines.append(
            f"smallest ESS    {ess[smallest]:,.0f} ({smallest}), {ess[smallest] / summary['wall_s']:,.1f} per second"
        )
    else:
        lines.append("R-hat and ESS   too few frames per chain to tell; ask for more --samples")
    if summary["chirality_flips"] or summary["cis_trans_flips"]:
        lines.append("WARNING: samples left the restriction; this is a bug, please report it")
    lines.append(f"next            timewarp report {path}")
    return "\n".join(lines)
