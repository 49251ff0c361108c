"""``timewarp report``: one self-contained HTML page of a run, and its figures."""

from __future__ import annotations

from ..settings.other import AnalyseSettings, FigureSettings
from .parser import Call, Result, Verb
from .words import RUN


def run(call: Call) -> Result:
    """Analyse, draw, write; name the page."""
    from ..verbs.report import write_report

    page = write_report(call.arguments["run"], out=call.out, progress=not call.quiet, **call.settings)
    return Result(str(page), {"page": str(page)})


VERB = Verb(
    help="one HTML page with figures, tables and a verdict",
    description="Write a self-contained HTML page of a run of `sample` or `simulate`, with a verdict, tables and "
    "figures (beside a reference where one is given), the figures as files, and analysis.json. Of a run of `explore`, "
    "the page shows the states found against time.",
    run=run,
    settings=(AnalyseSettings, FigureSettings),
    arguments=(RUN,),
    out="folder of the report (default RUN/report)",
)
