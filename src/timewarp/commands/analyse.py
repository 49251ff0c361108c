"""``timewarp analyse``: convergence, populations, energies and geometry of a run, alone or beside MD."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..settings.other import AnalyseSettings
from .parser import Call, Result, Verb
from .words import RUN

if TYPE_CHECKING:
    from ..judging import Judged


def run(call: Call) -> Result:
    """Analyse, write, say what was found."""
    from ..files import to_json
    from ..judging import judge_run
    from ..publishing import publishing
    from ..trajectories import run_identity
    from ..verbs.sources import source_of, teller

    settings = AnalyseSettings.make(call.settings)
    out = call.arguments["run"] / "analysis.json" if call.out is None else call.out
    source, reference = source_of(call.arguments["run"]), None
    if settings.reference is not None:
        reference = source_of(settings.reference, top=settings.top, spacing_ps=settings.spacing_ps, molecule=source)
    of = f"analysis of {run_identity(source)}"
    with publishing(out.parent, of, names=[out.name], force=settings.force, beside=True) as outputs:
        judged = judge_run(
            source,
            reference,
            discard=settings.discard,
            stride=settings.stride,
            slow=True,
            lag_ps=settings.lag_ps,
            progress=teller(not call.quiet, "analysing"),
        )
        outputs.put(out.name, to_json(judged.to_json()) + "\n")
    return Result(f"{as_text(judged)}\n\nwritten to {out}", judged.to_json())


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


VERB = Verb(
    help="R-hat, ESS, free energies, geometry checks and a verdict",
    description="Analyse a run of `sample` or `simulate`: R-hat and effective sample size of every torsion, "
    "populations with error bars, energies, geometry and chirality, acceptance; beside a reference, how far the two "
    "differ and how far halves of the reference do. Prints a table and writes analysis.json.",
    run=run,
    settings=(AnalyseSettings,),
    arguments=(RUN,),
    out="JSON file to write (default RUN/analysis.json)",
    out_metavar="FILE",
)
