"""Training of a network on frames: of runs, of other programs' trajectories, or of packed sets of many peptides."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from ..energies import MixedPotential, Parameters, Potential
from ..files import check_folder, read_toml, sha256
from ..flows import network_class
from ..machine import resolve_device, set_threads
from ..pretrained import LoadedModel, load
from ..progress import Listener, listening
from ..settings.other import TrainOptions
from ..training import GrowthData, TrainingSettings, compact_pairs, is_main_process, load_pairs, load_training_data
from ..training import train as run_training
from ..trajectories import Source
from ..trajectories.compact import coverage, is_compact, read_compact
from ..units import kT
from .sources import Given, source_of

MakesEnergy = Callable[[torch.device], Any]


@dataclass(frozen=True)
class _Lesson:
    """What a training learns from.

    Attributes:
        data: as the training takes it.
        energy: makes the reduced energy on a device, or None.
        provenance: what the model's description says of the data.
        atoms: of the molecule, or of the first of several.
    """

    data: Any
    energy: MakesEnergy | None
    provenance: dict[str, Any]
    atoms: Any


def train(
    data: Given | Sequence[Given],
    *,
    out: Path | str,
    config: Path | str | Mapping[str, Any] | None = None,
    progress: bool | Listener = False,
    **settings: Any,
) -> LoadedModel:
    """Fit a network to frames, into a folder that ``sample(..., model=...)`` takes.

    By maximum likelihood; a network that learns from pairs of frames a lag apart is trained by acceptance and entropy
    too, in the stages of its configuration. A process that is killed loses the steps since the last checkpoint: the
    same call goes on, step for step.

    Args:
        data: a run, frames of another program (:func:`timewarp.read_frames`), the path of either, or a file of
            ``timewarp pack``; or several of them.
        out: folder of the training, new or to be resumed.
        config: TOML file or table of training settings; ``settings`` override it.
        progress: True for a progress line on standard error, or a function called with a
            :class:`timewarp.progress.Report`.
        settings: fields of :class:`timewarp.training.TrainingSettings` (``family``, ``steps``, ``batch_size``, ...) and
            of :class:`timewarp.settings.other.TrainOptions` (``device``, ``minutes``, ``no_energy``, ``start_from``,
            ...).

    Returns:
        The network, with the best weights so far.

    Raises:
        ValueError: data and settings do not fit, or loss and gradient are not finite.
        FileExistsError: the folder holds something else, or a training with other settings or data.

    Example:
        >>> md = simulate("AG", length_ns=0.2, burn_in_ps=1, torsion_moves_per_ps=10, out=folder / "md")
        >>> size = {"n_couplings": 2, "width": 16, "context_blocks": 1}
        >>> model = train(md, out=folder / "model", steps=20, validation_every=10, batch_size=32, flow=size)
        >>> model.kind
        'C'
    """
    names = {f.name for f in fields(TrainingSettings)}
    options = TrainOptions.make({name: value for name, value in settings.items() if name not in names})
    threads = set_threads(options.threads)
    device = resolve_device(options.device)
    table = _table(config)
    table |= {name: value for name, value in settings.items() if name in names and value is not None}
    sources = list(data) if isinstance(data, Sequence) and not isinstance(data, str) else [data]
    check_folder(Path(out))
    files = [Path(source) for source in sources if isinstance(source, Path | str)]
    packed = len(files) == len(sources) and all(map(is_compact, files))
    if packed:
        table.setdefault("family", "C2")
    chosen = TrainingSettings.from_table(table)
    lesson = _lesson(files if packed else sources, packed, chosen, options)
    start_from = None if options.start_from is None else load(options.start_from, lesson.atoms).network
    with listening(progress):
        reached = run_training(
            lesson.data,
            chosen,
            Path(out),
            reduced_energy=None if options.no_energy else lesson.energy,
            provenance=lesson.provenance,
            accelerator="cpu" if device == "cpu" else device.split(":")[0],
            devices=options.devices,
            minutes=options.minutes,
            start_from=start_from,
            quiet=progress is not True,
        )
    set_threads(threads)
    if is_main_process():
        with contextlib.suppress(ImportError):  # a training box may do without plotting
            from ..report import training_curves

            training_curves(reached.history, Path(out) / "curves.png")
    return load(Path(out), lesson.atoms)


def _table(config: Path | str | Mapping[str, Any] | None) -> dict[str, Any]:
    """The training settings of a configuration.

    Raises:
        ValueError: they are not a table.
    """
    if config is None:
        return {}
    table = dict(config if isinstance(config, Mapping) else read_toml(config))
    table = table.get("training", table)
    if not isinstance(table, Mapping):
        raise ValueError(f"{config}: training must be a table of settings, got {table!r}")
    return dict(table)


def _lesson(sources: Sequence[Any], packed: bool, settings: TrainingSettings, options: TrainOptions) -> _Lesson:
    """Read what a kind of network learns from."""
    split: dict[str, Any] = {
        "validation_fraction": settings.validation_fraction,
        "stride": settings.stride,
        "seed": settings.seed,
    }
    learns_from = network_class(settings.family).trained_on
    if packed and learns_from != "frames":
        molecules = [molecule for path in sources for molecule in read_compact(path)]
        provenance = {**coverage(molecules), "data_sha256": ", ".join(map(sha256, sources))}
        if learns_from == "pairs":
            pairs = compact_pairs(molecules, settings.lag_ps)
            energy = _mixed_energy(pairs.parameters, provenance["temperature_K"])
            return _Lesson(pairs, energy, provenance, molecules[0].atoms)
        peptides = GrowthData.of(molecules)
        return _Lesson(peptides, None, provenance, peptides.train[0].atoms)
    if learns_from == "peptides":
        raise ValueError(
            f"a network of family {settings.family} learns from files of many peptides; make them with `timewarp pack`"
        )
    runs = [source_of(each, top=options.top, spacing_ps=options.spacing_ps) for each in sources]
    provenance = _provenance(runs)
    temperature_K = provenance.get("temperature_K")
    if learns_from == "pairs":
        pairs = load_pairs(runs, settings.lag_ps, **split)
        if len(pairs.molecules) > 1:
            provenance["molecule"] = pairs.residues
        return _Lesson(pairs, _mixed_energy(pairs.parameters, temperature_K), provenance, pairs.molecules[0])
    frames = load_training_data(runs, **split)
    return _Lesson(frames, _reduced_energy(frames.parameters, temperature_K), provenance, frames.atoms)


def _provenance(runs: Sequence[Source]) -> dict[str, Any]:
    """What the runs say of themselves.

    Raises:
        ValueError: their presets or temperatures differ.
    """
    first = runs[0].config
    keys = ("preset", "temperature_K")
    for run in runs[1:]:
        for key in keys:
            if run.config.get(key) != first.get(key):
                raise ValueError(
                    f"{run.path} has {key} = {run.config.get(key)!r}, but {runs[0].path} has {first.get(key)!r}; "
                    "train on runs of one target"
                )
    return {"molecule": runs[0].name, **{key: first[key] for key in keys if key in first}}


def _reduced_energy(parameters: Parameters | None, temperature_K: float | None) -> MakesEnergy | None:
    """The compiled energy of the frames, in kT, as a function of the device."""
    if parameters is None or temperature_K is None:
        return None
    thermal = kT(temperature_K)

    def on(device: torch.device) -> Any:
        potential = Potential(parameters, dtype=torch.float32, device=str(device))
        return lambda positions: potential.energy(positions) / thermal

    return on


def _mixed_energy(parameters: Sequence[Parameters | None], temperature_K: float | None) -> MakesEnergy | None:
    """The compiled energies of several molecules, in kT, as a function of the device."""
    known = [p for p in parameters if p is not None]
    if temperature_K is None or len(known) < len(parameters):
        return None
    thermal = kT(temperature_K)

    def on(device: torch.device) -> Any:
        # In double precision, atoms that are almost on top of each other still have a finite energy, and a direction.
        # Each molecule would be compiled anew on a GPU, which pays for one alone.
        engine = "torch" if device.type != "cpu" and len(known) > 1 else None
        mixed = MixedPotential([Potential(p, torch.float64, str(device), engine) for p in known])
        return lambda positions, molecule: mixed.energy(positions, molecule) / thermal

    return on
