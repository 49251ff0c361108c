"""``timewarp explore``: find conformational states fast, without Metropolis-Hastings. Its frames are biased."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from . import moves, options, running


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Describe the verb."""
    parser = subparsers.add_parser(
        "explore",
        help="find conformational states fast; biased, to be confirmed by `sample`",
        description="Find conformational states fast: many chains take whatever a trained network proposes, unless the "
        "energy rises too far or the stereochemistry changes. There is no Metropolis-Hastings step, so the frames are "
        "BIASED: which states there are is a hint, how often each occurs means nothing. `timewarp sample --start-from "
        "FOLDER` confirms them. The run can be killed at any moment: the same command goes on with it, bit for "
        "bit, and a larger --samples extends it.",
    )
    running.add_molecule(parser, "NAME-exploration")
    amount = parser.add_argument_group("how much")
    options.add_whole(amount, "--samples", 20_000, 1, "stored frames in all, over all chains")
    options.add_whole(amount, "--chains", 100, 1, "chains, run side by side")
    options.add_whole(amount, "--thin", 1, 1, "moves per stored frame")
    running.add_start(amount, "built")
    options.add_seed(amount)
    rule = parser.add_argument_group("the moves")
    moves.add_model(rule)
    rule.add_argument(
        "--threshold",
        type=options.number("the threshold", least=0),
        default=300.0,
        metavar="ENERGY",
        help="largest rise of the energy in one move, in kJ/mol (default 300)",
    )
    running.add_machine(parser)


def run(args: argparse.Namespace) -> int:
    """Explore, summarise, and print what was found."""
    from ..sampling import (
        ChainSettings,
        ExplorationKernel,
        run_chains,
        summarise_exploration,
    )
    from ..sampling.exploration import state_torsions
    from ..starts import check_starts
    from ..trajectories import RunFolder

    starts = tuple(args.start or ("built",))
    setup = running.set_up(args)
    molecule, target = setup.molecule, setup.target
    check_starts(molecule.atoms, starts, setup.built)
    state_torsions(molecule.atoms)
    model = moves.load_model(args, molecule)
    learned = moves.learned_kernel(target, molecule, model, setup.device, threads=setup.threads)
    kernel = ExplorationKernel(target, learned.proposer, threshold_kJ_mol=args.threshold)
    settings = ChainSettings(
        n_chains=args.chains,
        n_samples=args.samples,
        thin=args.thin,
        warmup=0,
        seed=args.seed,
        frames_per_segment=running.frames_per_segment(args, molecule.atoms.n_atoms),
    )
    config: dict[str, Any] = {
        "biased": True,
        "molecule": molecule.name,
        "preset": molecule.preset.name,
        "model": model.name,
        "weights_sha256": model.sha256,
        "threshold_kJ_mol": args.threshold,
        "starts": list(starts),
        "n_chains": settings.n_chains,
        "n_samples": settings.n_samples,
        "thin": settings.thin,
        "seed": settings.seed,
        "precision": args.precision,
        "device": setup.device.partition(":")[0],
        "threads": setup.threads,
        "frames_per_segment": settings.frames_per_segment,
    }
    folder = RunFolder.create(
        args.out or Path(f"{molecule.name}-exploration"),
        kind="exploration",
        name=molecule.name,
        atoms=molecule.atoms,
        topology_pdb=molecule.pdb,
        config=config,
        may_change=("n_samples", "threads"),
    )
    record = run_chains(
        kernel,
        lambda generator: running.start_positions(setup, starts, args.chains, generator),
        folder,
        settings,
        device=setup.device,
        quiet=args.quiet,
    )
    summary = {
        "schema": 1,
        "molecule": molecule.name,
        "model": model.name,
        **summarise_exploration(folder.trajectory(), record, setup.restriction),
        "family": model.network.kind,
        "preset": molecule.preset.name,
        "threshold_kJ_mol": args.threshold,
        "starts": list(starts),
        "seed": settings.seed,
        "thin": settings.thin,
        "precision": args.precision,
        "threads": setup.threads,
        "device": running.device_name(setup.device),
        "engines": running.engines(target, learned),
        "versions": running.versions(),
        "weights_sha256": model.sha256,
    }
    folder.write_summary(summary)
    print(_report(folder.path, summary))
    return 0


def _report(path: Path, summary: dict[str, Any]) -> str:
    """The result in a few lines."""
    made, states = summary["moves"], summary["states"]
    last = states["against_time"][-1]
    return "\n".join(
        [
            f"{summary['molecule']}: {states['found']} states in {summary['n_chains']} chains, "
            f"{summary['wall_s']:.1f} s; the last one after {last['seconds']:.1f} s (move {last['step']:,})",
            f"moves      {made['proposed']:,}, {100 * made['taken'] / made['proposed']:.1f} % taken; refused: "
            f"{made['refused_energy']:,} for their energy, {made['refused_chirality']:,} for chirality, "
            f"{made['refused_cis_trans']:,} for cis/trans, {made['nonfinite']:,} not finite",
            "BIASED     there is no Metropolis-Hastings step here: how often a state occurs means nothing",
            f"next       timewarp sample {summary['molecule']} --start-from {path}",
        ]
    )
