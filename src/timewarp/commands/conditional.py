"""``timewarp conditional``: proposals of a network from one state, beside fresh MD runs from the same state."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from . import options
from .moves import FAMILIES
from .report import FORMATS


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Describe the verb."""
    parser = subparsers.add_parser(
        "conditional",
        help="p(x(t + tau) | x(t)) from one state: proposals of a network beside fresh MD runs",
        description="From one state of an MD run: proposals of a network, with the probability that each is accepted, "
        "beside the ends of fresh MD runs with the same settings. Prints the divergence of each torsion, and writes a "
        "figure and conditional.json.",
    )
    parser.add_argument("run", type=Path, metavar="MDRUN", help="run folder of `simulate`")
    parser.add_argument(
        "--model",
        metavar="MODEL",
        help="name of a shipped network, or the folder of a `timewarp train` run (default: the shipped one for this "
        "molecule)",
    )
    parser.add_argument("--family", choices=FAMILIES, help="of the shipped network (default: the best)")
    parser.add_argument(
        "--lag",
        type=options.number("the lag", above=0),
        metavar="PS",
        help="length of the MD runs in ps (default: the network's lag; 500 for one that has none)",
    )
    parser.add_argument(
        "--frame",
        type=options.integer("the frame", least=0),
        metavar="N",
        help="frame of MDRUN that is x(t) (default: one of the most populated conformation)",
    )
    parser.add_argument(
        "--chain", type=options.integer("the chain", least=0), metavar="N", help="chain of that frame (default 0)"
    )
    options.add_whole(parser, "--n", 2000, 2, "proposals drawn from the network")
    options.add_whole(parser, "--md-runs", 512, 2, "fresh runs of MD")
    options.add_seed(parser)
    options.add_threads(parser)
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="where figure and numbers go (default MDRUN/conditional)"
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        action="append",
        dest="formats",
        help="of the figure; may be given more than once (default png)",
    )
    options.add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    """Draw, simulate, print, write."""
    from ..files import write_json
    from ..report.write import save_plots
    from ..verbs.conditional import conditional

    out = args.out or args.run / "conditional"
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f"{out} is a file; give a folder to --out")
    threads = options.set_sampling_threads(args.threads, "cpu")
    found = conditional(
        args.run,
        args.model,
        family=args.family,
        lag_ps=args.lag,
        chain=args.chain,
        frame=args.frame,
        n=args.n,
        md_runs=args.md_runs,
        seed=args.seed,
        threads=threads,
        progress=options.teller(args, "conditional:"),
    )
    data = found.to_json()
    angles = ", ".join(f"{name} {math.degrees(angle):.0f}" for name, angle in found.start.items())
    print(f"from chain {found.chain}, frame {found.frame}: {angles}")
    print(f"lag {found.lag_ps:g} ps; {data['n']} proposals of {found.model}, {data['md_runs']} runs of MD")
    accepted = data["acceptance"]
    print(f"acceptance from this state: {100 * accepted['value']:.3g} +- {100 * accepted['error']:.2g} %")
    print(f"{'torsion':<12}{'JSD/bit':>10}{'floor':>10}")
    for name, row in data["jsd"].items():
        print(f"{name:<12}{row['value']:>10.3f}{row['floor']:>10.3f}")
    for path in save_plots([found.plot()], out, args.formats or ("png",)):
        print(f"figure     {path}")
    write_json(out / "conditional.json", data)
    print(f"numbers    {out / 'conditional.json'}")
    return 0
