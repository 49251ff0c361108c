"""``timewarp simulate``: Langevin MD of a peptide."""

from __future__ import annotations

import argparse

from . import campaign, options
from .errors import UserError


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Describe the verb."""
    parser = subparsers.add_parser(
        "simulate",
        help="Langevin MD of a peptide",
        description="Langevin MD of a peptide: minimise, burn in, produce. The run can be killed at any "
        "moment; the same command goes on with it, exactly, and a larger --length extends it.",
    )
    parser.add_argument(
        "molecule",
        metavar="MOLECULE",
        nargs="?",
        help="one-letter sequence (AIVL), with caps (Ace-A-Nme), or a PDB file",
    )
    options.add_out(parser, what="run folder, new or to be resumed")
    options.add_preset(parser)
    options.add_temperature(parser)
    run = parser.add_argument_group("the run")
    run.add_argument(
        "--length",
        type=options.number("the length", above=0, most=1e6),
        default=1.0,
        metavar="NS",
        help="production time in ns, summed over the replicas (default 1)",
    )
    run.add_argument(
        "--replicas",
        type=options.integer("the number of replicas", least=1, most=65536),
        default=None,
        metavar="N",
        help="independent trajectories (default: with the batched engine up to 32 of 0.25 ns or more each, "
        "with OpenMM 1)",
    )
    run.add_argument(
        "--frame-spacing",
        type=options.number("the frame spacing", above=0, most=1e6),
        default=1.0,
        metavar="PS",
        help="time between stored frames in ps (default 1)",
    )
    run.add_argument(
        "--burn-in",
        type=options.number("the burn-in", least=0, most=1e6),
        default=100.0,
        metavar="PS",
        help="time run and dropped first, in ps (default 100)",
    )
    run.add_argument(
        "--segment",
        type=options.number("the segment", above=0, most=1e6),
        default=None,
        metavar="PS",
        help="time per closed segment in ps: what a killed run loses at most (default: some ten seconds of work)",
    )
    run.add_argument(
        "--start",
        "--start-torsion",
        dest="starts",
        action="append",
        default=None,
        metavar="START",
        help="where replicas start, once per start and cycled over the replicas: built, spread (torsions drawn at "
        "random), torsions in degrees (phi_1=60 or phi_1=60,psi_1=40), or FILE.pdb, FILE.pdb#MODEL (default built)",
    )
    options.add_seed(parser)
    dynamics = parser.add_argument_group("the dynamics")
    dynamics.add_argument(
        "--timestep",
        type=options.number("the time step", above=0, most=10),
        default=2.0,
        metavar="FS",
        help="in fs (default 2)",
    )
    dynamics.add_argument(
        "--hydrogen-mass",
        type=options.number("the hydrogen mass", above=0, most=12),
        default=None,
        metavar="DA",
        help="in Da, taken from the bonded heavy atom (default 3 for time steps of 1.5 fs or more, else natural)",
    )
    dynamics.add_argument(
        "--friction",
        type=options.number("the friction", above=0, most=1e4),
        default=1.0,
        metavar="PER_PS",
        help="Langevin friction in 1/ps (default 1; the Timewarp paper used 0.3)",
    )
    dynamics.add_argument(
        "--torsion-moves",
        type=options.number("the number of torsion moves", least=0, most=1e4),
        default=0.0,
        metavar="PER_PS",
        help="Metropolised torsion moves per ps: slow barriers are crossed and the distribution stays exact, but time "
        "correlations are no longer physical (default 0)",
    )
    dynamics.add_argument(
        "--engine",
        choices=("auto", "batched", "openmm"),
        default="auto",
        help="batched: all replicas side by side in the compiled kernel; openmm: one process each "
        "(default auto: batched wherever it applies)",
    )
    dynamics.add_argument(
        "--precision",
        choices=("float32", "float64"),
        default="float32",
        help="of the batched engine's dynamics (default float32)",
    )
    dynamics.add_argument(
        "--platform",
        default="auto",
        metavar="NAME",
        help="OpenMM platform: Reference, CPU, CUDA, OpenCL; takes the OpenMM engine "
        "(default: the fastest on one core for this molecule)",
    )
    campaign.add_arguments(parser)
    options.add_threads(parser, what="threads of the batched engine, or processes for OpenMM's replicas or a list")
    options.add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    """Simulate one molecule or a list of them."""
    campaign.check(args)
    from ..molecules import build_molecule
    from ..simulation import SimulationError, SimulationSettings, simulate

    settings = SimulationSettings(
        length_ns=args.length,
        replicas=args.replicas,
        timestep_fs=args.timestep,
        hydrogen_mass_Da=args.hydrogen_mass,
        friction_per_ps=args.friction,
        temperature_K=args.temperature,
        frame_spacing_ps=args.frame_spacing,
        burn_in_ps=args.burn_in,
        segment_ps=args.segment,
        torsion_moves_per_ps=args.torsion_moves,
        starts=tuple(args.starts or ("built",)),
        seed=args.seed,
        platform=args.platform,
        engine=args.engine,
        precision=args.precision,
    )
    if args.sequences is not None:
        return campaign.run(args, settings)
    molecule = build_molecule(args.molecule, args.preset)
    for note in molecule.notes:
        print(f"timewarp: {note}")
    try:
        result = simulate(molecule, args.out, settings, quiet=args.quiet, processes=args.threads)
    except SimulationError as error:
        raise UserError(str(error)) from error
    summary = result.summary() or {}
    print(f"{result.path}: {summary['frames']} frames, {summary['done_ns']:g} ns, {summary['ns_per_day']:,.0f} ns/day")
    return 0
