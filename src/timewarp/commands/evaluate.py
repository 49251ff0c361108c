"""``timewarp evaluate``: runs beside their references, by the measures that papers report; a table over peptides."""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import options
from .errors import UserError

if TYPE_CHECKING:
    from ..trajectories import FrameSet, RunFolder

SCHEMA = 3
LEVELS = ("trust", "caution", "reject")


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Describe the verb."""
    parser = subparsers.add_parser(
        "evaluate",
        help="compare runs of one or many peptides with references, by the measures that papers report",
        description="Compare runs with references of the same molecules: E-W2, T-W2, TICA-W2, Jensen-Shannon "
        "divergences, free energies and missed states, each beside its noise floor (between halves of the reference), "
        "with convergence, acceptance and a verdict; a table per peptide and a summary over peptides, as JSON, CSV and "
        "one HTML page. The same command goes on where it was stopped, and takes in runs that have grown.",
    )
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="run folders, or folders of `sample --sequences`"
    )
    parser.add_argument(
        "--reference",
        nargs="+",
        type=Path,
        required=True,
        metavar="REF",
        help="runs of the same molecules to compare with, folders that hold such runs, or trajectory files of any "
        "program",
    )
    options.add_foreign(parser, "a reference")
    options.add_out(parser, what="output folder: evaluation.json, evaluation.csv, index.html")
    parser.add_argument(
        "--lag",
        type=options.number("the lag", above=0),
        default=20.0,
        metavar="PS",
        help="lag of TICA, fitted on the reference, in ps (default 20; a fifth of a replica at most)",
    )
    parser.add_argument(
        "--discard",
        type=options.integer("the number of discarded frames", least=0, most=2**31),
        default=0,
        metavar="N",
        help="frames dropped from the start of each chain of the runs (default 0)",
    )
    options.add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    """Evaluate each run, then all."""
    from ..analysis.evaluation import MEASURES, summarise
    from ..files import write_atomically, write_json
    from ..progress import Progress
    from ..report.evaluation import render_evaluation
    from ..trajectories import RunFolder, run_folders
    from . import version

    out = args.out
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / "peptides").is_dir())):
        raise FileExistsError(f"{out} is not empty and not an evaluation; choose another --out")
    runs = {folder: RunFolder.open(folder) for path in args.runs for folder in run_folders(path)}
    first = next(iter(runs.values()))
    target = {"preset": first.config.get("preset"), "temperature_K": first.temperature_K}
    references = {
        each: options.open_source(each, args, **target)
        for path in args.reference
        for each in ([path] if path.is_file() else run_folders(path))
    }
    pairs = match(runs, references)
    (out / "peptides").mkdir(parents=True, exist_ok=True)
    rows = []
    with Progress("evaluating", len(pairs), unit="run", quiet=args.quiet) as progress:
        for name, (source, reference) in pairs.items():
            rows.append(one(name, source, reference, args, out / "peptides" / f"{name}.json"))
            progress.advance(1)
    summary = summarise(rows)
    result = {"schema": SCHEMA, "lag_ps": args.lag, "rows": rows, "summary": summary}
    write_json(out / "evaluation.json", result)
    write_atomically(out / "evaluation.csv", as_csv(rows).encode())
    write_atomically(out / "index.html", render_evaluation(rows, summary, version()).encode())
    print(f"{'':16}{'median':>10}{'quartiles':>20}{'worst':>10}{'over floor':>12}")
    for measure in MEASURES:
        if row := summary.get(measure.name):
            title = f"{measure.title}{'/' + measure.unit if measure.unit else ''}"
            quartiles = f"{row['lower_quartile']:.3g} - {row['upper_quartile']:.3g}"
            print(
                f"{title:16}{row['median']:>10.3g}{quartiles:>20}{row['worst']:>10.3g}{row['over_floor_median']:>12.3g}"
            )
    for level in LEVELS:
        if names := [row["name"] for row in rows if row["level"] == level]:
            shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
            print(f"{level:10} {len(names):>4}  {shown}")
    print(f"\nwritten to {out / 'index.html'}")
    return 0


def match(
    runs: Mapping[Path, RunFolder], references: Mapping[Path, RunFolder | FrameSet]
) -> dict[str, tuple[RunFolder, RunFolder | FrameSet]]:
    """Each run with its reference, by a name of its own.

    Raises:
        ValueError: a run is biased.
        UserError: a run has no reference of its molecule, temperature and force field, or several.
    """
    pairs: dict[str, tuple[RunFolder, RunFolder | FrameSet]] = {}
    for path, run in runs.items():
        run.check_unbiased()
        key = _target(run)
        found = [r for p, r in references.items() if _target(r) == key and p.resolve() != path.resolve()]
        if len(found) != 1:
            what = f"{run.name} under {key[1]} at {key[2]:g} K"
            raise UserError(
                f"{path} needs one reference of {what}, and --reference has {len(found)}"
                + (
                    f" ({', '.join(str(r.path) for r in found[:3])})"
                    if found
                    else "; leave the run out, or simulate one"
                )
            )
        found[0].check_unbiased()
        name = run.name.replace("/", "_")
        name = path.resolve().name if name in pairs else name
        while name in pairs:
            name += "'"
        pairs[name] = (run, found[0])
    return pairs


def _target(run: RunFolder | FrameSet) -> tuple[str, str, float]:
    return run.atoms.fingerprint, str(run.config.get("preset")), round(run.temperature_K, 6)


def one(
    name: str, source: RunFolder, reference: RunFolder | FrameSet, args: argparse.Namespace, path: Path
) -> dict[str, Any]:
    """The row of one run; the stored one where nothing has changed."""
    from ..analysis.evaluation import evaluate
    from ..analysis.tica import usual_lag
    from ..analysis.verdict import largest_rhat, must_meet, smallest_ess
    from ..files import read_json, write_json
    from ..judging import judge_run

    inputs = {
        "schema": SCHEMA,
        **{
            name: {"path": str(run.path), "frames": [run.n_frames(s) for s in run.streams], "config": run.config}
            for name, run in {"run": source, "reference": reference}.items()
        },
        "lag_ps": args.lag,
        "discard": args.discard,
    }
    if path.is_file():
        stored = read_json(path)
        if stored.get("inputs") == inputs:
            return dict(stored["row"])
    judged = judge_run(source, reference, discard=args.discard)
    analysis, verdict, other, summary = judged.analysis, judged.verdict, judged.reference_trajectory, source.summary()
    assert other is not None
    lag = usual_lag(other, args.lag)
    found = evaluate(judged.trajectory, other, temperature_K=source.temperature_K, lag_frames=lag)
    ess = smallest_ess(analysis)
    level, reasons = verdict.level, [c.text for c in verdict.checks if c.status in ("warn", "fail")]
    if missed := found["states"]["missed"]:
        populations = [found["states"]["populations"][k] for k in missed]
        # A rare state may be missed by chance; one that a run of this length must meet may not.
        level = "reject" if must_meet(max(populations), ess) else max(level, "caution", key=LEVELS.index)
        shares = ", ".join(f"{100 * p:.2g} %" for p in populations)
        reasons.append(f"States of the reference that were never visited: {shares} of it.")
    wall_s = (summary or {}).get("wall_s")
    seconds = float(wall_s) if isinstance(wall_s, int | float) and wall_s > 0 else None
    steps = None
    if all(n is not None for n in found["states"]["first_met"]):
        steps = (max(found["states"]["first_met"]) + args.discard) * judged.trajectory.frame_spacing
    # The seconds are for the frames that there were when the summary was written: a run may have grown since.
    frames = judged.trajectory.n_frames + args.discard
    counted = (summary or {}).get("n_samples", (summary or {}).get("frames"))
    whole = frames * judged.trajectory.frame_spacing if counted == frames * analysis["n_chains"] else None
    flow = next((k for k in analysis["kernels"] if k["name"] == "flow"), None)
    row = {
        "name": name,
        "molecule": source.name,
        "samples": analysis["n_samples"],
        "reference_frames": other.n_chains * other.n_frames,
        **found,
        "rhat": largest_rhat(analysis),
        "ess": ess,
        "ess_per_second": ess / seconds if ess and seconds else None,
        "steps_to_states": steps,
        "seconds_to_states": seconds * steps / whole if steps and seconds and whole else None,
        "acceptance": flow["acceptance"] if flow else None,
        "jump": flow["jump"] if flow else None,
        "level": level,
        "reasons": reasons,
    }
    write_json(path, {"inputs": inputs, "row": row})
    return row


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """One line for each run."""
    from ..analysis.evaluation import MEASURES

    plain = (
        "samples",
        "reference_frames",
        "rhat",
        "ess",
        "ess_per_second",
        "steps_to_states",
        "seconds_to_states",
        "acceptance",
        "jump",
        "level",
    )
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(
        ["name", *(f"{m.name}{part}" for m in MEASURES for part in ("", "_floor")), "states", "states_missed", *plain]
    )
    for row in rows:
        cells = [row["measures"].get(m.name, {}).get(part, "") for m in MEASURES for part in ("value", "floor")]
        states = row["states"]
        numbers = [row["name"], *cells, states["found"], len(states["missed"]), *(row[key] for key in plain)]
        writer.writerow(["" if value is None else value for value in numbers])
    return buffer.getvalue()
