"""Runs beside their references, by the measures that papers report; a table over peptides."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..analysis.evaluation import MEASURES, summarise
from ..analysis.tica import LAG_PS
from ..analysis.verdict import largest_rhat, smallest_ess
from ..files import read_json, to_json, write_atomically, write_json
from ..judging import Judged, judge_run
from ..progress import Listener, Progress, listening
from ..publishing import ADVICE, Outputs, publishing
from ..report.evaluation import render_evaluation
from ..trajectories import Source, frames_digest
from ..version import version
from .sources import Given, sources_of

SCHEMA = 3
FILES = ("evaluation.json", "evaluation.csv", "index.html")
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
            writer.writerow(["" if value is None else plain_cell(value) for value in numbers])
        return buffer.getvalue()


def plain_cell(value: Any) -> Any:
    """A cell that a spreadsheet takes for text: the name of a molecule is anybody's, and ``=...`` a formula.

    >>> plain_cell("=1+1"), plain_cell("AG"), plain_cell(-1.5)
    ("'=1+1", 'AG', -1.5)
    """
    risky = isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r")
    return f"'{value}" if risky else value


def evaluate(
    runs: Given | Sequence[Given],
    references: Given | Sequence[Given],
    out: Path | str | None = None,
    *,
    lag_ps: float = LAG_PS,
    discard: int = 0,
    top: Path | str | None = None,
    spacing_ps: float | None = None,
    force: bool = False,
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
        force: write into ``out`` whatever it holds, over files of the same names.
        progress: True for a progress line on standard error, or a function called with a
            :class:`timewarp.progress.Report`.

    Raises:
        FileExistsError: ``out`` holds something else, or another process is writing to it.
        ValueError: a run is biased, or has no reference of its molecule, temperature and force field, or several.

    Example:
        >>> run = sample("AG", samples=160, chains=8, warmup=10, out=folder / "run")
        >>> md = simulate("AG", length_ns=0.2, torsion_moves_per_ps=10, out=folder / "md")
        >>> sorted(evaluate(run, md, lag_ps=1).rows[0]["measures"])[:3]
        ['delta_F', 'energy_w2', 'jsd_tica']
    """
    found = list(sources_of(runs))
    target = {"preset": found[0].config.get("preset"), "temperature_K": found[0].temperature_K}
    pairs = match(found, list(sources_of(references, top=top, spacing_ps=spacing_ps, **target)))
    with contextlib.ExitStack() as stack:
        outputs = None
        if out is not None:
            names = [*FILES, *map(_kept_in, pairs)]
            opened = publishing(Path(out), "evaluation", names=names, force=force)
            outputs = stack.enter_context(opened)
            if not force:
                _check_takes_in(outputs, set(pairs))
        rows: list[dict[str, Any]] = []
        quiet = progress is not True
        with listening(progress), Progress("evaluating", len(pairs), unit="run", quiet=quiet) as bar:
            for name, (run, reference) in pairs.items():
                rows.append(_row(name, run, reference, lag_ps, discard, outputs))
                bar.advance(1, name)
        result = Evaluation(rows, summarise(rows), lag_ps)
        if outputs is not None:
            write_json(outputs.work / "evaluation.json", result.to_json())
            write_atomically(outputs.work / "evaluation.csv", result.to_csv().encode())
            page = render_evaluation(rows, result.summary, version())
            write_atomically(outputs.work / "index.html", page.encode())
    return result


def _check_takes_in(outputs: Outputs, names: set[str]) -> None:
    """Refuse to replace an evaluation of runs that the new one does not have.

    Raises:
        FileExistsError: there is one.
    """
    if not outputs.is_own("evaluation.json"):
        return
    old = {str(row["name"]) for row in read_json(outputs.folder / "evaluation.json")["rows"]}
    if left := sorted(old - names):
        raise FileExistsError(
            f"{outputs.folder} holds an evaluation of {left[0]} too, which would be lost; evaluate that run as well, "
            f"{ADVICE}"
        )


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
            what = f"{run.name} under {key[2]} at {key[3]:g} K"
            raise ValueError(
                f"{path} needs one reference of {what}, and {len(found)} were given"
                + (
                    f" ({', '.join(str(r.path) for r in found[:3])})"
                    if found
                    else f"; {_isomer(run, references)}leave the run out, or simulate one"
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


def _row(
    name: str, run: Source, reference: Source, lag_ps: float, discard: int, outputs: Outputs | None
) -> dict[str, Any]:
    """The row of one run; the stored one where nothing has changed."""
    if outputs is None:
        return row_of(name, judge_run(run, reference, discard=discard, lag_ps=lag_ps), discard)
    inputs = {
        "schema": SCHEMA,
        **{
            part: {"path": str(folder.path), "frames": frames_digest(folder), "summary": _digest(folder.summary())}
            for part, folder in (("run", run), ("reference", reference))
        },
        "lag_ps": lag_ps,
        "discard": discard,
        "version": version(),
    }
    file = _kept_in(name)
    if outputs.is_own(file):  # as it was written: its checksum is known
        stored = read_json(outputs.folder / file)
        if stored.get("inputs") == inputs:
            return dict(stored["row"])
    row = row_of(name, judge_run(run, reference, discard=discard, lag_ps=lag_ps), discard)
    outputs.put(file, to_json({"inputs": inputs, "row": row}) + "\n")
    return row


def _kept_in(name: str) -> str:
    return f"peptides/{name}.json"


def _digest(data: Any) -> str:
    return hashlib.sha256(to_json({"": data}).encode()).hexdigest()[:16]


def _isomer(run: Source, references: Sequence[Source]) -> str:
    """What to say where a reference is of a stereoisomer."""
    for other in references:
        if other.atoms.fingerprint == run.atoms.fingerprint and other.stereochemistry != run.stereochemistry:
            return f"{other.path} is of a stereoisomer; "
    return ""


def _target(run: Source) -> tuple[str, str | None, str, float]:
    return run.atoms.fingerprint, run.stereochemistry, str(run.config.get("preset")), round(run.temperature_K, 6)
