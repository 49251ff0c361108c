"""``timewarp explore``: find conformational states fast, without Metropolis-Hastings. Its frames are biased."""

from __future__ import annotations

from ..settings.sampling import ExploreSettings
from .parser import Call, Result, Verb
from .words import MOLECULE, command, file_options


def run(call: Call) -> Result:
    """Explore, and say what was found."""
    from ..verbs.explore import explore

    molecule = call.arguments["molecule"]
    done = explore(molecule, out=call.out, progress=not call.quiet, **call.settings)
    summary = done.summary or {}
    made, states = summary["moves"], summary["states"]
    last = states["against_time"][-1]
    confirm = command(
        "sample", molecule, preset=call.settings.get("preset"), start_from=done.path, **file_options(call)
    )
    text = "\n".join(
        [
            f"{summary['molecule']}: {states['found']} states in {summary['n_chains']} chains, "
            f"{summary['wall_s']:.1f} s; the last one after {last['seconds']:.1f} s (move {last['step']:,})",
            f"moves      {made['proposed']:,}, {100 * made['taken'] / made['proposed']:.1f} % taken; refused: "
            f"{made['refused_energy']:,} for their energy, {made['refused_chirality']:,} for chirality, "
            f"{made['refused_cis_trans']:,} for cis/trans, {made['nonfinite']:,} not finite",
            "BIASED     there is no Metropolis-Hastings step here: how often a state occurs means nothing",
            f"next       {confirm}",
        ]
    )
    return Result(text, {"run": str(done.path), **summary})


VERB = Verb(
    help="find conformational states fast; biased, to be confirmed by `sample`",
    description="Find conformational states fast: many chains take whatever a trained network proposes, unless the "
    "energy rises too far or the stereochemistry changes. There is no Metropolis-Hastings step, so the frames are "
    "BIASED: which states there are is a hint, how often each occurs means nothing. `timewarp sample --start-from "
    "FOLDER` confirms them. The run can be killed at any moment: the same command goes on with it, bit for bit, and a "
    "larger --samples extends it.",
    run=run,
    settings=(ExploreSettings,),
    arguments=(MOLECULE,),
    out="run folder, new or to be resumed (default NAME-exploration)",
)
