"""``timewarp conditional``: proposals of a network from one state, beside fresh MD runs from the same state."""

from __future__ import annotations

import math
from pathlib import Path

from ..settings.other import ConditionalSettings, FigureSettings
from .parser import Argument, Call, Result, Verb


def run(call: Call) -> Result:
    """Draw, simulate, write, say what was found."""
    from ..files import write_json
    from ..publishing import publishing
    from ..report.write import save_plots
    from ..trajectories import RunFolder, run_identity
    from ..verbs.conditional import conditional

    out = call.out or call.arguments["run"] / "conditional"
    formats = FigureSettings.make(call.of(FigureSettings)).format
    settings = call.of(ConditionalSettings)
    force = settings.pop("force", False)
    of = f"conditional of {run_identity(RunFolder.open(call.arguments['run']))}"
    with publishing(out, of, names=["conditional.json"], force=force) as outputs:
        found = conditional(call.arguments["run"], progress=not call.quiet, **settings)
        data = found.to_json()
        figures = save_plots([found.plot()], outputs.work, formats)
        write_json(outputs.work / "conditional.json", data)
    angles = ", ".join(f"{name} {math.degrees(angle):.0f}" for name, angle in found.start.items())
    accepted = data["acceptance"]
    lines = [
        f"from chain {found.chain}, frame {found.frame}: {angles}",
        f"lag {found.lag_ps:g} ps; {data['n']} proposals of {found.model}, {data['md_runs']} runs of MD",
        f"acceptance from this state: {100 * accepted['value']:.3g} +- {100 * accepted['error']:.2g} %",
        f"{'torsion':<16}{'JSD/bit':>10}{'floor':>10}",
        *(f"{name:<16}{row['value']:>10.3f}{row['floor']:>10.3f}" for name, row in data["jsd"].items()),
        *(f"figure     {out / path.name}" for path in figures),
        f"numbers    {out / 'conditional.json'}",
    ]
    return Result("\n".join(lines), data)


VERB = Verb(
    help="p(x(t + tau) | x(t)) from one state: proposals of a network beside fresh MD runs",
    description="From one state of an MD run: proposals of a network, with the probability that each is accepted, "
    "beside the ends of fresh MD runs with the same settings. Shows the divergence of each torsion, and writes a "
    "figure and conditional.json.",
    run=run,
    settings=(ConditionalSettings, FigureSettings),
    arguments=(Argument("run", "run folder of `simulate`", "MDRUN", kind=Path),),
    out="where figure and numbers go (default MDRUN/conditional)",
)
