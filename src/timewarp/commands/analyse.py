"""``timewarp analyse``: convergence, populations, energies and geometry of a run, alone or beside MD."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from . import options

if TYPE_CHECKING:
    from ..judging import Judged
    from ..trajectories import Source


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Describe the verb."""
    parser = subparsers.add_parser(
        "analyse",
        help="R-hat, ESS, free energies, geometry checks and a verdict",
        description="Analyse a run of `sample` or `simulate`: R-hat and effective sample size of every torsion, "
        "populations with error bars, energies, geometry and chirality, acceptance; beside a reference, how far the "
        "two differ and how far halves of the reference do. Prints a table and writes analysis.json.",
    )
    add_run_options(parser)
    parser.add_argument(
        "--out", type=Path, default=None, metavar="FILE", help="JSON file to write (default RUN/analysis.json)"
    )


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """The options that `analyse` and `report` share."""
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder of `sample` or `simulate`")
    parser.add_argument(
        "--reference",
        type=Path,
        default=None,
        metavar="MDRUN",
        help="long MD of the same molecule: a run folder, or a trajectory file of any program",
    )
    options.add_foreign(parser, "a reference")
    parser.add_argument(
        "--discard",
        type=options.integer("the number of discarded frames", least=0, most=2**31),
        default=0,
        metavar="N",
        help="frames dropped from the start of each chain of RUN (default 0: warm-up and burn-in are not stored)",
    )
    parser.add_argument(
        "--stride",
        type=options.integer("the stride", least=1, most=2**31),
        default=1,
        metavar="N",
        help="use every N-th frame of RUN (default 1)",
    )
    options.add_lag(parser)
    options.add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    """Analyse, print, write."""
    from ..files import write_json
    from ..trajectories import RunFolder

    out = args.run / "analysis.json" if args.out is None else args.out
    if args.out is not None and out.exists() and not is_analysis(out):
        raise FileExistsError(f"{out} exists and is not an analysis; choose another --out")
    source = RunFolder.open(args.run)
    reference = None if args.reference is None else options.open_source(args.reference, args, molecule=source)
    judged = judge_named(args, source, reference)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(out, judged.to_json())
    print(as_text(judged))
    print(f"\nwritten to {out}")
    return 0


def is_analysis(path: Path) -> bool:
    """Whether a file was written by `analyse` or `report`, and so may be written again."""
    from ..files import read_json

    try:
        return path.is_file() and {"run", "verdict"} <= read_json(path).keys()
    except ValueError:
        return False


def judge_named(args: argparse.Namespace, source: Source, reference: Source | None) -> Judged:
    """Judge a run (beside its reference) as the options say."""
    from ..judging import judge_run

    return judge_run(
        source,
        reference,
        discard=args.discard,
        stride=args.stride,
        slow=True,
        lag_ps=args.lag,
        progress=options.teller(args, "analysing"),
    )


def as_text(judged: Judged) -> str:
    """The compact table for a terminal."""
    from ..analysis import quantities

    a, c = judged.analysis, judged.comparison
    unit = "steps" if a["unit"] == "step" else a["unit"]
    lines = [
        f"{judged.source.name}: {a['n_chains']} chains x {a['n_frames']} frames at {a['temperature_K']:g} K",
        "",
        f"{'quantity':<12}{'R-hat':>9}{'ESS':>10}{'IAT/' + unit:>12}" + (f"{'JSD':>10}{'floor':>10}" if c else ""),
    ]
    for name, row in quantities(a).items():
        line = f"{name:<12}{row['rhat']:>9.4f}{row['ess']:>10,.0f}"
        line += f"{row['iat']:>12.3g}" if name in a["torsions"] else " " * 12
        if c and name in c["jsd"]:
            line += f"{c['jsd'][name]['value']:>10.5f}{c['jsd'][name]['floor']:>10.5f}"
        lines.append(line.rstrip())
    energy = a["energy"]
    lines += [
        "",
        f"mean energy  {energy['mean']['value']:.3f} +- {energy['mean']['error']:.3f} kJ/mol, "
        f"sd {energy['sd']['value']:.3f} +- {energy['sd']['error']:.3f}",
    ]
    for name, basin in a["phi_basins"].items():
        line = f"{name} > 0: population {basin['population']:.4f} +- {basin['population_error']:.4f}, "
        line += f"Delta F {basin['delta_F']:.3f} +- {basin['error']:.3f} kT"
        if c:
            other = c["phi_basins"][name]["reference"]
            line += f" (reference {other['delta_F']:.3f} +- {other['error']:.3f})"
        lines.append(line)
    for kernel in a["kernels"]:
        jump = "" if kernel["jump"] is None else f", jump {kernel['jump']:.2f}"
        lines.append(f"kernel {kernel['name']}: accepted {100 * kernel['acceptance']:.1f} %{jump}")
    marks = {"pass": "ok  ", "note": "note", "warn": "warn", "fail": "FAIL"}
    lines += ["", judged.verdict.headline]
    lines += [f"  {marks[check.status]}  {check.name}: {check.text}" for check in judged.verdict.checks]
    return "\n".join(lines)
