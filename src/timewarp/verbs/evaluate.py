"""Runs beside their references, by the measures that papers report; a table over peptides."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..analysis.evaluation import MEASURES, summarise
from ..analysis.tica import LAG_PS
from ..analysis.verdict import largest_rhat, smallest_ess
from ..files import read_json, write_atomically, write_json
from ..judging import Judged, judge_run
from ..report.evaluation import render_evaluation
from ..trajectories import FrameSet, RunFolder, run_folders

Run = RunFolder | FrameSet
SCHEMA = 3
SLOWEST = "TIC 1"
"""The quantity whose speed-up over MD is put into the table: the slowest coordinate of the reference."""
PLAIN = (
    "samples", "reference_frames", "rhat", "ess", "ess_per_second", "speed_up", "speed_up_sign", "steps_to_states",
    "seconds_to_states", "acceptance", "jump", "level",
)  # fmt: skip
"""Columns of the table, besides measures and states."""


@dataclass(frozen=True)
class Evaluation:
    """Runs beside their references.

    Attributes:
        rows: one for each run, as of :func:`row_of`.
        summary: of :func:`timewarp.analysis.evaluation.summarise`.
        lag_ps: of TICA.
    """

    rows: list[dict[str, Any]]
    summary: dict[str, dict[str, float]]
    lag_ps: float

    def to_json(self) -> dict[str, Any]:
        """What ``evaluation.json`` holds."""
        return {"schema": SCHEMA, "lag_ps": self.lag_ps, "rows": self.rows, "summary": self.summary}

    def to_csv(self) -> str:
        """A table with one line for each run."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        measures = [f"{m.name}{part}" for m in MEASURES for part in ("", "_floor")]
        writer.writerow(["name", *measures, "states", "states_missed", *PLAIN])
        for row in self.rows:
            cells = [row["measures"].get(m.name, {}).get(part, "") for m in MEASURES for part in ("value", "floor")]
            states = row["states"]
            numbers = [row["name"], *cells, states["found"], len(states["missed"]), *(row[key] for key in PLAIN)]
            writer.writerow(["" if value is None else value for value in numbers])
        return buffer.getvalue()


def evaluate(
    runs: Sequence[Path | str | RunFolder],
    references: Sequence[Path | str | Run],
    out: Path | str,
    *,
    lag_ps: float = LAG_PS,
    discard: int = 0,
    version: str = "",
    progress: Callable[[str], None] | None = None,
) -> Evaluation:
    """Compare runs with references of the same molecules, and write ``evaluation.json``, ``.csv`` and a page.

    A run that has not changed since the last evaluation in ``out`` is not evaluated again.

    Args:
        runs: run folders, or folders of lists of peptides.
        references: of the same molecules: runs, folders that hold such runs, or frames of other programs.
        out: output folder.
        lag_ps: lag of TICA, fitted on the reference, in ps; a fifth of a replica at most.
        discard: frames dropped from the start of each chain of the runs.
        version: of this program, for the page.
        progress: called with the name of each run before it is evaluated.

    Raises:
        FileExistsError: ``out`` holds something else.
        ValueError: a run is biased, or has no reference of its molecule, temperature and force field, or several.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / "peptides").is_dir())):
        raise FileExistsError(f"{out} is not empty and not an evaluation; choose another --out")
    pairs = match(*(list(_opened(sources)) for sources in (runs, references)))
    (out / "peptides").mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for n, (name, (run, reference)) in enumerate(pairs.items(), 1):
        if progress is not None:
            progress(f"{name} ({n} of {len(pairs)})")
        rows.append(_row(name, run, reference, lag_ps, discard, out / "peptides" / f"{name}.json"))
    result = Evaluation(rows, summarise(rows), lag_ps)
    write_json(out / "evaluation.json", result.to_json())
    write_atomically(out / "evaluation.csv", result.to_csv().encode())
    write_atomically(out / "index.html", render_evaluation(rows, result.summary, version).encode())
    return result


def _opened(sources: Sequence[Path | str | Run]) -> Iterator[Run]:
    for source in sources:
        if isinstance(source, Path | str):
            yield from (RunFolder.open(folder) for folder in run_folders(Path(source)))
        else:
            yield source


def match(runs: Sequence[Run], references: Sequence[Run]) -> dict[str, tuple[Run, Run]]:
    """Each run with its reference, by a name of its own.

    Raises:
        ValueError: a run is biased, or has no reference of its molecule, temperature and force field, or several.
    """
    pairs: dict[str, tuple[Run, Run]] = {}
    for run in runs:
        run.check_unbiased()
        path, key = run.path, _target(run)
        found = [r for r in references if _target(r) == key and r.path.resolve() != path.resolve()]
        if len(found) != 1:
            what = f"{run.name} under {key[1]} at {key[2]:g} K"
            raise ValueError(
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


def row_of(name: str, judged: Judged, discard: int = 0) -> dict[str, Any]:
    """The row of a run that was judged beside its reference.

    Args:
        name: of the row.
        judged: with a reference.
        discard: frames that were dropped from the start of each chain.

    Raises:
        ValueError: there is no reference.
    """
    comparison, reference = judged.comparison, judged.reference_trajectory
    if comparison is None or reference is None:
        raise ValueError(f"{judged.source.path} was judged without a reference; give one")
    analysis, verdict, seconds, states = judged.analysis, judged.verdict, judged.seconds, comparison["states"]
    ess = smallest_ess(analysis)
    met = states["first_met"]
    frames = (max(met) + discard) if met and all(n is not None for n in met) else None
    whole = judged.trajectory.n_frames + discard
    flow = next((k for k in analysis["kernels"] if k["name"] == "flow"), None)
    up = (comparison["speed"] or {}).get(SLOWEST)
    return {
        "name": name,
        "molecule": judged.source.name,
        "samples": analysis["n_samples"],
        "reference_frames": reference.n_chains * reference.n_frames,
        "measures": comparison["measures"],
        "states": states,
        "lag_frames": None if judged.slow is None else judged.slow.coordinates.lag_frames,
        "rhat": largest_rhat(analysis),
        "ess": ess,
        "ess_per_second": ess / seconds if ess and seconds else None,
        "speed": comparison["speed"],
        "speed_up": up["ratio"] if up else None,
        "speed_up_sign": up["sign"] if up else None,
        "steps_to_states": frames * judged.trajectory.frame_spacing if frames else None,
        "seconds_to_states": seconds * frames / whole if frames and seconds else None,
        "acceptance": flow["acceptance"] if flow else None,
        "jump": flow["jump"] if flow else None,
        "level": verdict.level,
        "reasons": [c.text for c in verdict.checks if c.status in ("warn", "fail")],
    }


def _row(name: str, run: Run, reference: Run, lag_ps: float, discard: int, path: Path) -> dict[str, Any]:
    """The row of one run; the stored one where nothing has changed."""
    inputs = {
        "schema": SCHEMA,
        **{
            part: {
                "path": str(folder.path),
                "frames": [folder.n_frames(s) for s in folder.streams],
                "config": folder.config,
            }
            for part, folder in (("run", run), ("reference", reference))
        },
        "lag_ps": lag_ps,
        "discard": discard,
    }
    if path.is_file():
        stored = read_json(path)
        if stored.get("inputs") == inputs:
            return dict(stored["row"])
    row = row_of(name, judge_run(run, reference, discard=discard, lag_ps=lag_ps), discard)
    write_json(path, {"inputs": inputs, "row": row})
    return row


def _target(run: Run) -> tuple[str, str, float]:
    return run.atoms.fingerprint, str(run.config.get("preset")), round(run.temperature_K, 6)
