"""``timewarp analyse``: convergence, populations, energies and geometry of a run, alone or beside MD."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import options

if TYPE_CHECKING:
    from ..analysis import Verdict
    from ..trajectories import RunFolder, Trajectory


@dataclass(frozen=True)
class Judged:
    """A run that has been read and analysed, with its reference where there is one."""

    run: RunFolder
    trajectory: Trajectory
    analysis: dict[str, Any]
    verdict: Verdict
    reference: Trajectory | None
    other: RunFolder | None
    comparison: dict[str, Any] | None

    def to_json(self) -> dict[str, Any]:
        """What ``analysis.json`` holds."""
        return {
            "run": {"name": self.run.name, "kind": self.run.kind},
            "reference": None if self.other is None else str(self.other.path),
            **self.analysis,
            "comparison": self.comparison,
            "verdict": self.verdict.to_json(),
        }


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
        "--reference", type=Path, default=None, metavar="MDRUN", help="run folder of long MD of the same molecule"
    )
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
    options.add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    """Analyse, print, write."""
    from ..files import write_json

    out = args.run / "analysis.json" if args.out is None else args.out
    if args.out is not None and out.exists() and not is_analysis(out):
        raise FileExistsError(f"{out} exists and is not an analysis; choose another --out")
    judged = judge_run(args)
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


def judge_run(args: argparse.Namespace) -> Judged:
    """Read and analyse the run (and reference) that the options name; see :func:`judge_runs`."""
    from ..trajectories import RunFolder

    def tell(part: str) -> None:
        if not args.quiet:
            print(f"analysing {part}", file=sys.stderr, flush=True)

    other = None if args.reference is None else RunFolder.open(args.reference)
    return judge_runs(RunFolder.open(args.run), other, discard=args.discard, stride=args.stride, tell=tell)


def judge_runs(
    source: RunFolder,
    other: RunFolder | None = None,
    *,
    discard: int = 0,
    stride: int = 1,
    tell: Callable[[str], None] = lambda part: None,
) -> Judged:
    """Analyse a run, and lay it beside a reference where there is one.

    Raises:
        ValueError: different molecules, temperatures or force fields, too few frames, or one is an exploration.
    """
    from ..analysis import analyse, compare, judge
    from ..analysis.geometry import pdb_positions

    source.check_unbiased()
    temperature = source.temperature_K
    if other is not None:
        other.check_unbiased()
        check_comparable(source, other)
    trajectory = source.trajectory(stride=stride, discard=discard)
    if trajectory.n_frames < 8:
        raise ValueError(
            f"{source.path} has {trajectory.n_frames} frames per chain after discarding, at least 8 are needed: "
            "run longer"
        )
    start = pdb_positions(source.topology_pdb, source.atoms.n_atoms)
    analysis = analyse(trajectory, temperature_K=temperature, summary=source.summary(), start=start, progress=tell)
    reference = comparison = None
    if other is not None:
        tell("agreement with the reference")
        reference = other.trajectory()
        comparison = compare(trajectory, reference, temperature_K=temperature)
    return Judged(source, trajectory, analysis, judge(analysis, comparison), reference, other, comparison)


def check_comparable(source: RunFolder, other: RunFolder) -> None:
    """Refuse a reference of another molecule, temperature or force field.

    Raises:
        ValueError: they differ.
    """
    if source.atoms.fingerprint != other.atoms.fingerprint:
        raise ValueError(f"{other.path} holds another molecule: {other.name}, not {source.name}")
    if abs(source.temperature_K - other.temperature_K) > 1e-6:
        raise ValueError(
            f"{other.path} is at {other.temperature_K:g} K and {source.path} at {source.temperature_K:g} K; "
            "give a reference at the same temperature"
        )
    ours, theirs = source.config.get("preset"), other.config.get("preset")
    if ours and theirs and ours != theirs:
        raise ValueError(f"{other.path} is under {theirs} and {source.path} under {ours}: not comparable")


def as_text(judged: Judged) -> str:
    """The compact table for a terminal."""
    a, c = judged.analysis, judged.comparison
    unit = "steps" if a["unit"] == "step" else a["unit"]
    lines = [
        f"{judged.run.name}: {a['n_chains']} chains x {a['n_frames']} frames at {a['temperature_K']:g} K",
        "",
        f"{'torsion':<12}{'R-hat':>9}{'ESS':>10}{'IAT/' + unit:>12}" + (f"{'JSD':>10}{'floor':>10}" if c else ""),
    ]
    for name, row in a["torsions"].items():
        line = f"{name:<12}{row['rhat']:>9.4f}{row['ess']:>10,.0f}{row['iat']:>12.3g}"
        if c:
            line += f"{c['jsd'][name]['value']:>10.5f}{c['jsd'][name]['floor']:>10.5f}"
        lines.append(line)
    energy = a["energy"]
    lines += [
        f"{'energy':<12}{energy['rhat']:>9.4f}{energy['ess']:>10,.0f}",
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
