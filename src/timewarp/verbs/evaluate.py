"""Runs beside their references, by the measures that papers report; a table over peptides."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..analysis.evaluation import MEASURES, summarise
from ..analysis.tica import LAG_PS
from ..analysis.verdict import largest_rhat, smallest_ess
from ..files import read_json, write_atomically, write_json
from ..judging import Judged, judge_run
from ..progress import Listener, Progress, listening
from ..report.evaluation import render_evaluation
from ..trajectories import Source
from ..version import version
from .sources import Given, sources_of

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
    runs: Given | Sequence[Given],
    references: Given | Sequence[Given],
    out: Path | str | None = None,
    *,
    lag_ps: float = LAG_PS,
    discard: int = 0,
    top: Path | str | None = None,
    spacing_ps: float | None = None,
    progress: bool | Listener = False,
) -> Evaluation:
    """Compare runs with references of the same molecules, by the measures that papers report.

    E-W2, T-W2, TICA-W2, Jensen-Shannon divergences, free energies and missed states, each beside its noise floor
    (between halves of the reference); effective samples per second beside those of MD; convergence and verdict.

    Args:
        runs: runs, their folders, or folders of lists of peptides.
        references: of the same molecules: runs, folders that hold such runs, or frames of other programs.
        out: folder for ``evaluation.json``, ``.csv`` and a page, in which a run that has not changed since the last
            evaluation is not evaluated again; None: nothing is written.
        lag_ps: lag of TICA, fitted on the reference, in ps; a fifth of a replica at most.
        discard: frames dropped from the start of each chain of the runs.
        top: topology of references that are trajectory files of another program.
        spacing_ps: time between their frames in ps, where they are of dynamics.
        progress: True for a progress line on standard error, or a function called with a
            :class:`timewarp.progress.Report`.

    Raises:
        FileExistsError: ``out`` holds something else.
        ValueError: a run is biased, or has no reference of its molecule, temperature and force field, or several.

    Example:
        >>> run = sample("AG", samples=160, chains=8, warmup=10, out=folder / "run")
        >>> md = simulate("AG", length_ns=0.2, torsion_moves_per_ps=10, out=folder / "md")
        >>> sorted(evaluate(run, md, lag_ps=1).rows[0]["measures"])[:3]
        ['delta_F', 'energy_w2', 'jsd_tica']
    """
    folder = None if out is None else Path(out)
    if folder is not None and not _may_hold(folder):
        raise FileExistsError(f"{folder} is not empty and not an evaluation; choose another folder")
    found = list(sources_of(runs))
    target = {"preset": found[0].config.get("preset"), "temperature_K": found[0].temperature_K}
    pairs = match(found, list(sources_of(references, top=top, spacing_ps=spacing_ps, **target)))
    if folder is not None:
        (folder / "peptides").mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    quiet = progress is not True
    with listening(progress), Progress("evaluating", len(pairs), unit="run", quiet=quiet) as bar:
        for name, (run, reference) in pairs.items():
            kept = None if folder is None else folder / "peptides" / f"{name}.json"
            rows.append(_row(name, run, reference, lag_ps, discard, kept))
            bar.advance(1, name)
    result = Evaluation(rows, summarise(rows), lag_ps)
    if folder is not None:
        write_json(folder / "evaluation.json", result.to_json())
        write_atomically(folder / "evaluation.csv", result.to_csv().encode())
        write_atomically(folder / "index.html", render_evaluation(rows, result.summary, version()).encode())
    return result


def _may_hold(folder: Path) -> bool:
    """Whether a folder is new, empty, or an evaluation."""
    if not folder.exists():
        return True
    return folder.is_dir() and (not any(folder.iterdir()) or (folder / "peptides").is_dir())


def match(runs: Sequence[Source], references: Sequence[Source]) -> dict[str, tuple[Source, Source]]:
    """Each run with its reference, by a name of its own.

    Raises:
        ValueError: a run is biased, or has no reference of its molecule, temperature and force field, or several.
    """
    pairs: dict[str, tuple[Source, Source]] = {}
    for run in runs:
        run.check_unbiased()
        path, key = run.path, _target(run)
        found = [r for r in references if _target(r) == key and r.path.resolve() != path.resolve()]
        if len(found) != 1:
            what = f"{run.name} under {key[1]} at {key[2]:g} K"
            raise ValueError(
                f"{path} needs one reference of {what}, and {len(found)} were given"
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


def _row(name: str, run: Source, reference: Source, lag_ps: float, discard: int, path: Path | None) -> dict[str, Any]:
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
    if path is not None and path.is_file():
        stored = read_json(path)
        if stored.get("inputs") == inputs:
            return dict(stored["row"])
    row = row_of(name, judge_run(run, reference, discard=discard, lag_ps=lag_ps), discard)
    if path is not None:
        write_json(path, {"inputs": inputs, "row": row})
    return row


def _target(run: Source) -> tuple[str, str, float]:
    return run.atoms.fingerprint, str(run.config.get("preset")), round(run.temperature_K, 6)
