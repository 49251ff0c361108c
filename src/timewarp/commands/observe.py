"""``timewarp observe``: couplings, NOEs, distances and other observables of a run, beside measured values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..settings.other import ObserveSettings
from .parser import Call, Result, Verb
from .words import RUN

if TYPE_CHECKING:
    from ..verbs.observe import Observation


def run(call: Call) -> Result:
    """Compute, compare, write where asked, and show the table."""
    from ..verbs.observe import observe

    ObserveSettings.make(call.settings)
    found = observe(call.arguments["run"], out=call.out, progress=not call.quiet, **call.settings)
    text = as_text(found)
    return Result(text if call.out is None else f"{text}\n\nwritten to {call.out}", found.to_json())


def as_text(found: Observation) -> str:
    """The tables for a terminal."""
    lines = [f"{'observable':<34}{'value':>10}{'error':>9}  {'unit':<5}{'ESS':>8}  note"]
    for row in found.observables.values():
        error = "-" if math.isnan(row.error) else f"{row.error:.2g}"
        size = "-" if math.isnan(row.ess) else f"{row.ess:,.0f}"
        note = "" if row.status == "ok" else row.status
        lines.append(f"{row.name:<34}{row.value:>10.4g}{error:>9}  {row.unit:<5}{size:>8}  {note}".rstrip())
    if found.compared:
        lines += ["", f"{'measured':<34}{'value':>10}{'run':>10}{'error':>9}{'deviation':>11}"]
        for c in found.compared:
            limit = {"upper": "<", "lower": ">"}.get(c.bound, "")
            lines.append(
                f"{c.name:<34}{limit + format(c.measured, '.4g'):>10}{c.computed:>10.4g}{c.sigma:>9.2g}"
                f"{c.deviation:>11.2f}{'  ' + c.status if c.status != 'ok' else ''}"
            )
        chi = ", ".join(f"{kind} {value:.2f}" for kind, value in found.chi_squared.items())
        lines.append(f"chi-squared per value: {chi} (1: agreement within the errors)")
    if (w := found.reweighting) is not None:
        lines += [
            "",
            f"reweighted (theta {w.theta:.3g}): chi-squared {w.chi_squared[0]:.2f} to {w.chi_squared[1]:.2f}, "
            f"{100 * w.kept:.1f} % of the frames kept",
        ]
        if not math.isnan(w.held_out[1]):
            lines.append(f"values left out of the fit: {w.held_out[0]:.2f} to {w.held_out[1]:.2f}")
        if w.warning:
            lines.append(f"warning: {w.warning}")
    return "\n".join(lines)


VERB = Verb(
    help="couplings, NOEs, distances, hydrogen bonds, ... with errors, beside measured values",
    description="Observables of a run, each with a standard error from its own effective sample size: scalar "
    "couplings, NOE and other distances, radius of gyration, hydrogen bonds, surface, secondary structure, contacts, "
    "populations of conformations. Beside measured values: the deviation of each in units of its error, chi-squared, "
    "and weights of the frames that agree with them.",
    run=run,
    settings=(ObserveSettings,),
    arguments=(RUN,),
    out="folder for observables.json, observables.csv and a figure (default: nothing is written)",
)
