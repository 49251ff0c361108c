"""``timewarp evaluate``: runs beside their references, by the measures that papers report; a table over peptides."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..settings.other import EvaluateSettings
from .parser import Argument, Call, Result, Verb

if TYPE_CHECKING:
    from ..verbs.evaluate import Evaluation

LEVELS = ("trust", "caution", "reject")
MOST_ROWS = 12
SLOWEST_IS = "slowest coordinate; < and > are bounds"


def run(call: Call) -> Result:
    """Evaluate each run, then all, and show the table."""
    from ..verbs.evaluate import evaluate

    settings = dict(call.settings)
    references = settings.pop("reference")
    found = evaluate(call.arguments["runs"], references, call.out, progress=not call.quiet, **settings)
    assert call.out is not None
    return Result(f"{as_text(found)}\n\nwritten to {call.out / 'index.html'}", found.to_json())


def as_text(found: Evaluation) -> str:
    """The compact table for a terminal."""
    from ..analysis.evaluation import MEASURES

    lines = [f"{'':16}{'median':>10}{'quartiles':>20}{'worst':>10}{'over floor':>12}"]
    for measure in MEASURES:
        if row := found.summary.get(measure.name):
            title = f"{measure.title}{'/' + measure.unit if measure.unit else ''}"
            quartiles = f"{row['lower_quartile']:.3g} - {row['upper_quartile']:.3g}"
            line = f"{title:16}{row['median']:>10.3g}{quartiles:>20}{row['worst']:>10.3g}"
            lines.append(f"{line}{row['over_floor_median']:>12.3g}")
    for row in found.rows[:MOST_ROWS]:
        if row["speed_up"] is not None:
            sign = "" if row["speed_up_sign"] == "=" else row["speed_up_sign"]
            lines.append(f"speed-up   {sign}{row['speed_up']:,.3g} over MD ({row['name']}, {SLOWEST_IS})")
    for level in LEVELS:
        if names := [row["name"] for row in found.rows if row["level"] == level]:
            more = f" and {len(names) - MOST_ROWS} more" if len(names) > MOST_ROWS else ""
            lines.append(f"{level:10} {len(names):>4}  {', '.join(names[:MOST_ROWS])}{more}")
    return "\n".join(lines)


VERB = Verb(
    help="compare runs of one or many peptides with references, by the measures that papers report",
    description="Compare runs with references of the same molecules: E-W2, T-W2, TICA-W2, Jensen-Shannon divergences, "
    "free energies and missed states, each beside its noise floor (between halves of the reference), with convergence, "
    "acceptance, speed-up over MD and a verdict; a table per peptide and a summary over peptides, as JSON, CSV and one "
    "HTML page. The same command goes on where it was stopped, and takes in runs that have grown.",
    run=run,
    settings=(EvaluateSettings,),
    arguments=(Argument("runs", "run folders, or folders of `sample --sequences`", "RUN", nargs="+", kind=Path),),
    out="output folder: evaluation.json, evaluation.csv, index.html",
    out_required=True,
)
