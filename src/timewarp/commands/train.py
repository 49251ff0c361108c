"""``timewarp train``: fit a network to molecular dynamics."""

from __future__ import annotations

from pathlib import Path

from ..settings.other import TrainOptions
from .parser import Argument, Call, Result, Verb
from .words import command, molecule_of


def run(call: Call) -> Result:
    """Train, and say how good the network is."""
    from ..files import read_json
    from ..training import is_main_process
    from ..verbs.train import train

    assert call.out is not None
    runs = call.arguments["runs"]
    model = train(runs, out=call.out, progress=not call.quiet, **call.settings)
    if not is_main_process():
        return Result("")
    summary = read_json(call.out / "summary.json")
    acceptance = summary.get("validation_acceptance")
    estimated = "" if acceptance is None else f", estimated acceptance {100 * acceptance:.2g} %"
    size = f"{summary['frames']} frames" if "frames" in summary else f"{summary.get('pairs', '?')} pairs"
    lines = [
        f"trained    {model.kind} for {summary['molecule']}: {size}, {summary['steps']} steps",
        f"validation loss {summary['validation_loss']:.3f} at step {summary['best_step']}{estimated}",
        f"model      {call.out}",
    ]
    molecule, preset = molecule_of(runs[0], model.description.training, model.network.atoms.residues)
    if molecule:
        lines.append(f"next       {command('sample', molecule, preset=preset, model=call.out, out='my-samples')}")
    return Result("\n".join(lines), {"model": str(call.out), **summary})


VERB = Verb(
    help="train a network on molecular dynamics",
    description="Fit a normalising flow to the frames of one or more runs: by maximum likelihood, and for family A, "
    "which learns from pairs of frames lag_ps apart, by acceptance and entropy too, in the stages of the "
    "configuration. Killed at any moment, the same command goes on from the last checkpoint, step for step.",
    run=run,
    settings=(TrainOptions,),
    arguments=(
        Argument(
            "runs",
            "run folders of one molecule (of many, for family A), trajectory files of another program, or files of "
            "`timewarp pack` (family C2)",
            "RUN",
            nargs="+",
            kind=Path,
        ),
    ),
    out="output folder: model.safetensors, model.toml, curves.json, summary.json",
    out_required=True,
)
