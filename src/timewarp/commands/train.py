"""``timewarp train``: fit a flow to molecular dynamics."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import options
from .errors import UserError

if TYPE_CHECKING:
    from ..energies import Parameters
    from ..trajectories import FrameSet, RunFolder


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Describe the verb."""
    parser = subparsers.add_parser(
        "train",
        help="train a flow on molecular dynamics",
        description="Fit a normalising flow to the frames of one or more runs of `timewarp simulate`: by maximum "
        "likelihood, and for family A, which learns from pairs of frames lag_ps apart, by acceptance and entropy too, "
        "in the stages of the configuration. Needs torch, numpy, safetensors and lightning-fabric only. Killed at any "
        "moment, the same command goes on from the last checkpoint, step for step.",
    )
    parser.add_argument(
        "runs",
        nargs="+",
        type=Path,
        metavar="RUN",
        help="run folders of one molecule (of many, for family A), trajectory files of another program, or files of "
        "`timewarp pack` (family C2)",
    )
    options.add_foreign(parser, "a RUN")
    options.add_out(parser, what="output folder: model.safetensors, model.toml, curves.json, summary.json")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="TOML file of training settings (see configs/); options override it"
    )
    parser.add_argument(
        "--family",
        choices=("C", "C2", "B", "A"),
        help="C: soft torsions given the rest; C2: the same for all peptides, from a file of `timewarp pack`; B: all "
        "internal coordinates; A: Cartesian, needs lag_ps in the configuration (default C)",
    )
    parser.add_argument(
        "--steps", type=options.integer("steps", least=1), metavar="N", help="optimiser steps (default 4000)"
    )
    parser.add_argument(
        "--batch-size",
        type=options.integer("the batch size", least=1),
        metavar="N",
        help="frames or pairs (default 512)",
    )
    parser.add_argument(
        "--learning-rate",
        type=options.number("the learning rate", above=0),
        metavar="RATE",
        help="peak learning rate (default 0.001)",
    )
    parser.add_argument(
        "--stride", type=options.integer("the stride", least=1), metavar="N", help="use every N-th frame (default 1)"
    )
    parser.add_argument(
        "--no-energy", action="store_true", help="choose the model by likelihood, not by its estimated acceptance"
    )
    options.add_seed(parser, default=None)
    options.add_device(parser)
    parser.add_argument(
        "--devices",
        type=options.integer("the number of devices", least=1),
        default=1,
        metavar="N",
        help="GPUs, or processes on a CPU, that share each batch (default 1)",
    )
    parser.add_argument(
        "--minutes",
        type=options.number("the time", above=0),
        metavar="M",
        help="stop after so many minutes, with a checkpoint and the best model so far; the same command goes on",
    )
    parser.add_argument(
        "--start-from",
        metavar="MODEL",
        help="start from the weights of this network (same family and size), for a further round on other data",
    )
    options.add_threads(parser)
    options.add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    """Train."""
    from ..files import read_toml, sha256
    from ..flows import network_class
    from ..training import GrowthData, TrainingSettings, is_main_process, load_pairs, load_training_data, train
    from ..trajectories.compact import is_compact, read_compact

    options.set_threads(args.threads)
    device = options.resolve_device(args.device)
    table: dict[str, Any] = dict(read_toml(args.config)) if args.config else {}
    table = table.get("training", table)
    if not isinstance(table, dict):
        raise UserError(f"{args.config}: training must be a table of settings, got {table!r}")
    for name in ("family", "steps", "batch_size", "learning_rate", "stride", "seed"):
        if getattr(args, name) is not None:
            table[name] = getattr(args, name)
    packed = all(is_compact(path) for path in args.runs)
    if packed:
        table.setdefault("family", "C2")
    settings = TrainingSettings.from_table(table)
    split: dict[str, Any] = {
        "validation_fraction": settings.validation_fraction,
        "stride": settings.stride,
        "seed": settings.seed,
    }
    sources = [] if packed else [options.open_source(path, args) for path in args.runs]
    provenance = {} if packed else _provenance(sources)
    trained_on = network_class(settings.family).trained_on
    temperature_K = provenance.get("temperature_K")
    energy: Any = None
    if trained_on == "peptides":
        if not packed:
            raise UserError(
                f"family {settings.family} learns from files of many peptides; make them with `timewarp pack`"
            )
        data: Any = GrowthData.of([molecule for path in args.runs for molecule in read_compact(path)])
        provenance = {**data.coverage(), "data_sha256": ", ".join(map(sha256, args.runs))}
        learnt = f"{len(data.train)} peptides: {sum(len(m.frames) for m in data.train)} frames"
    elif trained_on == "pairs":
        pairs = load_pairs(sources, settings.lag_ps, **split)
        data = pairs
        learnt = f"{pairs.residues}: {len(pairs.train)} pairs {settings.lag_ps:g} ps apart"
        energy = _mixed_energy(pairs.parameters, temperature_K)
        if len(pairs.molecules) > 1:
            provenance["molecule"] = pairs.residues
    else:
        data = load_training_data(sources, **split)
        learnt = f"{data.atoms.residues}: {len(data.train)} frames"
        energy = _reduced_energy(data.parameters, temperature_K)
    start_from = None
    if args.start_from:
        from ..pretrained import load

        atoms = data.train[0].atoms if trained_on == "peptides" else getattr(data, "atoms", None) or data.molecules[0]
        start_from = load(args.start_from, atoms).network
    progression = train(
        data,
        settings,
        args.out,
        reduced_energy=None if args.no_energy else energy,
        provenance=provenance,
        accelerator="cpu" if device == "cpu" else device.split(":")[0],
        devices=args.devices,
        minutes=args.minutes,
        start_from=start_from,
        quiet=args.quiet,
    )
    if not is_main_process():
        return 0
    best = progression.best or {}
    _draw_curves(args.out)
    acceptance = best.get("validation_acceptance")
    print(f"trained    {settings.family} for {learnt}, {progression.step} steps")
    print(f"validation loss {best['validation_loss']:.3f} at step {best['step']}", end="")
    print("" if acceptance is None else f", estimated acceptance {100 * acceptance:.2g} %")
    print(f"model      {args.out}")
    if trained_on == "peptides":
        print(f"next       timewarp sample AIVL --model {args.out} --out my-samples")
    elif trained_on != "pairs" or len(data.molecules) == 1:
        molecule = provenance.get("molecule", "MOLECULE")
        print(f"next       timewarp sample {molecule} --model {args.out} --out my-samples")
    return 0


def _provenance(sources: Sequence[RunFolder | FrameSet]) -> dict[str, Any]:
    """What the sources say of themselves; refuses different presets or temperatures."""
    first = sources[0].config
    keys = ("preset", "temperature_K")
    for run in sources[1:]:
        for key in keys:
            if run.config.get(key) != first.get(key):
                raise UserError(
                    f"{run.path} has {key} = {run.config.get(key)!r}, but {sources[0].path} has {first.get(key)!r}; "
                    "train on runs of one target"
                )
    return {"molecule": sources[0].name, **{key: first[key] for key in keys if key in first}}


def _reduced_energy(parameters: Parameters | None, temperature_K: float | None) -> Any:
    """The compiled energy of the frames, in kT, as a function of the device."""
    if parameters is None or temperature_K is None:
        return None
    import torch

    from ..energies import Potential
    from ..units import kT

    thermal = kT(temperature_K)

    def on(device: torch.device) -> Any:
        potential = Potential(parameters, dtype=torch.float32, device=str(device))
        return lambda positions: potential.energy(positions) / thermal

    return on


def _mixed_energy(parameters: Sequence[Parameters | None], temperature_K: float | None) -> Any:
    """The compiled energies of several molecules, in kT, as a function of the device."""
    known = [p for p in parameters if p is not None]
    if temperature_K is None or len(known) < len(parameters):
        return None
    import torch

    from ..energies import MixedPotential, Potential
    from ..units import kT

    thermal = kT(temperature_K)

    def on(device: torch.device) -> Any:
        # In double precision, atoms that are almost on top of each other still have a finite energy, and a direction.
        # Each molecule would be compiled anew on a GPU, which pays for one alone.
        engine = "torch" if device.type != "cpu" and len(known) > 1 else None
        potentials = [Potential(p, torch.float64, str(device), engine) for p in known]
        mixed = MixedPotential(potentials)
        return lambda positions, molecule: mixed.energy(positions, molecule) / thermal

    return on


def _draw_curves(out: Path) -> None:
    """A picture of the curves, where plotting is installed (a training box may do without)."""
    from ..files import read_json

    try:
        from ..report import training_curves
    except ImportError:
        return
    training_curves(read_json(out / "curves.json")["rows"], out / "curves.png")
