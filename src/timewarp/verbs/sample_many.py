"""Sampling of a list of peptides."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..analysis.verdict import largest_rhat, smallest_ess
from ..executors import Heartbeat, make_executor
from ..files import read_json, read_toml, write_json
from ..goal import parse_goal
from ..machine import available_cores, default_chains
from ..molecules import read_sequences
from ..run import Run
from ..settings import options_of
from ..settings.molecule import MoleculeSettings
from ..settings.sampling import SAMPLES, UNTIL, SampleSettings
from ..trajectories import CAMPAIGN_FILE, RunFolder
from ..trajectories import export as write_frames
from .many import DONE, WAITING, peptide_seed, run_list
from .sample import sample

NOT_OF_A_LIST = ("start_from", "top", "tuning", "threads")
NEW = ("until", "observables")
"""Settings that lists of version 0.1 have not; those of a list are stored where they are given."""
JUDGEMENT = "verdict.json"


def sample_many(
    sequences: Sequence[str] | Path,
    out: Path | str,
    *,
    scheduler: str | None = None,
    workers: int | None = None,
    export: str | None = None,
    progress: bool = False,
    say: Callable[[str], None] = lambda line: None,
    **settings: Any,
) -> dict[str, Any]:
    """Sample each peptide of a list, one core each, in a folder of its own under ``out``.

    Each is what :func:`timewarp.sample` makes of it alone with one thread and the seed
    :func:`~timewarp.verbs.many.peptide_seed`. A larger ``samples``, which is that of each peptide, extends all. With
    ``until`` in place of ``samples`` each goes on until it meets that or its ``minutes`` are over; the same call gives
    those that have not met it as long again.

    Args:
        sequences: in standard spelling, each once; or a file of them (:func:`timewarp.molecules.read_sequences`).
        out: a new folder, or that of the list to go on with.
        scheduler: ``"processes"`` of this machine, a ``"local"`` Dask cluster, or the address of a Dask scheduler;
            None: Dask where it is installed.
        workers: how many at once on this machine; None: one for each core.
        export: format in which the frames are written for other programs too.
        progress: show a line with the rate and the time left.
        say: called with a line for each peptide that fails.
        settings: fields of :class:`~timewarp.settings.sampling.SampleSettings`, the same for all.

    Returns:
        The summary, as in ``out/summary.json``, with a row for each peptide in its ``table``.

    Raises:
        ValueError: a setting cannot be that of a list, or a value is refused.
        FileExistsError: the folder holds something else or another list.
    """
    if given := [name for name in NOT_OF_A_LIST if settings.get(name) is not None]:
        raise ValueError(f"`{given[0]}` is of one molecule; leave it out with a list of sequences")
    if isinstance(sequences, Path):
        sequences = read_sequences(sequences)
    chosen = SampleSettings.make(settings)
    if chosen.model and Path(chosen.model).exists():
        chosen = chosen.replaced(model=str(Path(chosen.model).resolve()))  # workers have other working directories
    stored = read_toml(Path(out) / CAMPAIGN_FILE) if (Path(out) / CAMPAIGN_FILE).is_file() else {}
    if chosen.samples is None and not chosen.has_goal:
        chosen = chosen.replaced(samples=SAMPLES)
    n_chains = chosen.chains or stored.get("chains") or default_chains(1)
    chosen = chosen.replaced(chains=n_chains)
    wanted = None if chosen.samples is None else -(-chosen.samples // n_chains) * n_chains
    goal = None if chosen.samples is not None else str(parse_goal(chosen.until or UNTIL))

    def of(sequence: str) -> dict[str, Any]:
        mine = {name: getattr(chosen, name) for name in ("chains", "model", "samples", *settings)}
        return {**mine, "seed": peptide_seed(chosen.seed, sequence), "export": export}

    def row(sequence: str, folder: Path) -> dict[str, Any]:
        seed = of(sequence)["seed"]
        found: dict[str, Any] = {"state": WAITING, "seed": seed}
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            summary = read_json(folder / "summary.json")
            judged = read_json(folder / JUDGEMENT)
            stored = RunFolder.open(folder).n_frames(0) * n_chains  # what is there counts, not what is said of it
            said = min(stored, summary["n_samples"])
            reached = summary.get("until") or {}
            done = said >= wanted if wanted is not None else reached.get("goal") == goal and reached.get("met")
            if summary["seed"] == seed and judged["samples"] == summary["n_samples"] <= stored:
                found |= {
                    "state": DONE if done else WAITING,
                    "samples": summary["n_samples"],
                    "wall_s": summary["wall_s"],
                    "model": summary["model"],
                    "acceptance": {name: kernel["acceptance"] for name, kernel in summary["kernels"].items()},
                    "jump": summary["kernels"].get("flow", {}).get("jump"),
                    **{name: judged[name] for name in ("worst_rhat", "smallest_ess", "level")},
                }
        return found

    named = {o.flag[2:].replace("-", "_"): getattr(chosen, o.name) for o in options_of(SampleSettings)}
    of_files = {o.flag[2:].replace("-", "_") for o in options_of(MoleculeSettings)}  # lists of version 0.1 lack them
    shared = {
        name: "default" if value in (None, ()) else list(map(str, value)) if isinstance(value, tuple) else value
        for name, value in {**named, "export": export}.items()
        if name not in (*NOT_OF_A_LIST, "minutes") and not (name in {*of_files, *NEW} and value in (None, ()))
    }
    for name in ("concerted_moves", "cis_trans"):  # lists of version 0.1 lack them
        if shared[name] == getattr(SampleSettings, name):
            del shared[name]
    return run_list(
        sequences,
        out,
        work=sample_peptide,
        settings=of,
        row=row,
        shared={"campaign": {"schema": 1, "kind": "samples"}, **shared},
        may_grow="samples",
        executor=make_executor(scheduler, min(workers or available_cores(), len(sequences))),
        progress=progress,
        say=say,
    )


def sample_peptide(sequence: str, folder: Path, settings: dict[str, Any], *, heartbeat: Heartbeat) -> None:
    """Sample one peptide, or go on, and judge it."""
    settings = dict(settings)
    export = settings.pop("export")
    run = sample(sequence, out=folder, threads=1, heartbeat=heartbeat, **settings)
    write_json(folder / JUDGEMENT, judgement(run))
    if export:
        write_frames(RunFolder.open(folder), folder / "export", format=export, overwrite=True)


def judgement(run: Run) -> dict[str, Any]:
    """What the one judge says of a run, in the columns of a list; frames that are too few are no run to judge."""
    samples = run.trajectory.n_chains * run.trajectory.n_frames
    try:
        judged = run.judge()
    except ValueError as error:
        return {
            "samples": samples,
            "worst_rhat": None,
            "smallest_ess": None,
            "level": "too short",
            "reason": str(error),
        }
    return {
        "samples": samples,
        "worst_rhat": largest_rhat(judged.analysis),
        "smallest_ess": smallest_ess(judged.analysis),
        "level": judged.verdict.level,
    }
