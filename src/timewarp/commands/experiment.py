"""``timewarp experiment``: the experiments of the paper, one command each, for any molecule with MD."""

from __future__ import annotations

import argparse
from pathlib import Path

from . import options
from .moves import FAMILIES
from .report import FORMATS


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Describe the verb and its experiments."""
    parser = subparsers.add_parser(
        "experiment",
        help="one experiment of the paper: figure and numbers, a chain beside MD",
        description="The experiments of the Timewarp paper, one command each, for any molecule with MD. Each prints "
        "its numbers, and writes them as JSON beside its figure.",
    )
    kinds = parser.add_subparsers(dest="experiment", metavar="EXPERIMENT", required=True)

    def add(
        name: str, about: str, run: str, *, reference: bool = True, thinned: bool = True, **also: bool
    ) -> argparse.ArgumentParser:
        one = kinds.add_parser(name, help=about, description=about[0].upper() + about[1:] + ".")
        one.add_argument("run", type=Path, metavar=run, help="run folder")
        if also.get("several"):
            one.add_argument("others", type=Path, nargs="*", metavar=run, help="more run folders of the same molecule")
        if reference:
            one.add_argument(
                "--reference", type=Path, metavar="MDRUN", help="run folder of long MD of the same molecule"
            )
        one.add_argument(
            "--out", type=Path, metavar="FOLDER", help=f"where figure and numbers go (default {run}/experiments)"
        )
        one.add_argument(
            "--format",
            choices=FORMATS,
            action="append",
            dest="formats",
            help="of the figure; may be given more than once (default png)",
        )
        if thinned:
            options.add_whole(one, "--discard", 0, 0, f"frames dropped from the start of each chain of {run}")
            options.add_whole(one, "--stride", 1, 1, f"use every N-th frame of {run}")
        else:
            one.set_defaults(discard=0, stride=1)
        if also.get("lag"):
            one.add_argument(
                "--lag",
                type=options.number("the lag", above=0),
                metavar="PS",
                help="lag in ps (default 20, or one frame of the MD if that is longer)",
            )
        options.add_quiet(one)
        one.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error"
        )
        return one

    add("ramachandran", "Ramachandran plot of each residue, chain beside MD", "RUN")
    add("free-energy", "free energy along every phi, psi and chi with error bands, chain beside MD", "RUN")
    add("energies", "distributions of energy, bond lengths and angles, chain beside MD", "RUN")
    add(
        "tica", "slow coordinates (TICA) and metastable states of MD, and which of them a chain misses", "RUN", lag=True
    )
    add("speed", "effective samples per second of chains, and the speed-up over MD", "RUN", several=True, lag=True)
    add("acceptance", "acceptance and jump of every kernel, over all chains", "RUN", reference=False, several=True)
    add("exploration", "states found against time by `timewarp explore`, beside MD", "EXPLORATION", thinned=False)
    one = add(
        "conditional",
        "p(x(t + tau) | x(t)) from one state: proposals of a network beside fresh MD runs",
        "MDRUN",
        reference=False,
        thinned=False,
    )
    one.add_argument(
        "--model",
        metavar="MODEL",
        help="name of a shipped network, or the folder of a `timewarp train` run (default: the shipped one for this "
        "molecule)",
    )
    one.add_argument("--family", choices=FAMILIES, help="of the shipped network (default: the best)")
    one.add_argument(
        "--lag",
        type=options.number("the lag", above=0),
        metavar="PS",
        help="length of the MD runs in ps (default: the network's lag; 500 for one that has none)",
    )
    one.add_argument(
        "--frame",
        type=options.integer("the frame", least=0),
        metavar="N",
        help="frame of MDRUN that is x(t) (default: one of the most populated conformation)",
    )
    one.add_argument(
        "--chain", type=options.integer("the chain", least=0), metavar="N", help="chain of that frame (default 0)"
    )
    options.add_whole(one, "--n", 2000, 2, "proposals drawn from the network")
    options.add_whole(one, "--md-runs", 512, 2, "fresh runs of MD")
    options.add_seed(one)
    options.add_threads(one)


def run(args: argparse.Namespace) -> int:
    """Run the experiment that was named."""
    from .experiments import Experiment, agreement, exploring, proposals, slow

    experiments: dict[str, Experiment] = {
        "ramachandran": agreement.ramachandran,
        "free-energy": agreement.free_energy,
        "energies": agreement.energies,
        "tica": slow.tica,
        "speed": slow.speed,
        "acceptance": proposals.acceptance,
        "conditional": proposals.conditional,
        "exploration": exploring.exploration,
    }
    return experiments[args.experiment](args)
