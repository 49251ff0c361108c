"""One page about a run, with its figures as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..files import write_atomically, write_json
from ..judging import Judged, judge_run
from ..progress import Listener
from ..publishing import publishing
from ..report import Provenance
from ..report import write_report as draw_report
from ..report.exploration import render_exploration
from ..report.write import save_plots
from ..settings.other import AnalyseSettings, FigureSettings
from ..trajectories import Source, run_identity
from ..version import version
from .sources import Given, source_of, teller
from .survey import survey

PAGE = "index.html"


def write_report(
    run: Given,
    reference: Given | None = None,
    *,
    out: Path | str | None = None,
    format: Sequence[str] = ("png",),
    progress: bool | Listener = False,
    **settings: Any,
) -> Path:
    """Write a self-contained HTML page of a run: verdict, tables and figures, and ``analysis.json``.

    Args:
        run: a run of ``sample`` or ``simulate``, or of ``explore``, whose states are then shown against time.
        reference: long MD of the same molecule, to be shown beside it.
        out: folder of the page; None: ``report`` in the run folder.
        format: of the figure files: ``png``, ``svg``, ``pdf``.
        progress: True for lines on the logger ``timewarp``, or a function called with a
            :class:`timewarp.progress.Report`.
        settings: ``discard``, ``stride``, ``lag_ps``, ``top``, ``spacing_ps`` and ``force`` of
            :class:`~timewarp.settings.other.AnalyseSettings`.

    Returns:
        The page.

    Raises:
        FileExistsError: ``out`` holds something that is no report of this run, and ``force`` is not given; or another
            process is writing to it.
        ValueError: the run is too short, or the reference is of another target.
    """
    chosen, formats = AnalyseSettings.make(settings), FigureSettings(format=tuple(format)).format
    source = source_of(run)
    folder = source.path / "report" if out is None else Path(out)
    other = None
    if reference is not None:
        other = source_of(reference, top=chosen.top, spacing_ps=chosen.spacing_ps, molecule=source)
    names = (PAGE, "analysis.json")
    with publishing(folder, f"report of {run_identity(source)}", names=names, force=chosen.force) as outputs:
        if source.kind == "exploration":
            _explored(source, other, outputs.work, chosen, formats, progress)
        else:
            _judged(source, other, outputs.work, chosen, formats, progress)
    return folder / PAGE


def _judged(
    source: Source,
    reference: Source | None,
    folder: Path,
    settings: AnalyseSettings,
    formats: Sequence[str],
    progress: bool | Listener,
) -> None:
    """The page of a run that can be judged."""
    judged = judge_run(
        source,
        reference,
        discard=settings.discard,
        stride=settings.stride,
        slow=True,
        lag_ps=settings.lag_ps,
        progress=teller(progress, "analysing"),
    )
    if (tell := teller(progress, "drawing")) is not None:
        tell("the page")
    draw_report(
        folder,
        judged.trajectory,
        judged.analysis,
        judged.verdict,
        Provenance(source.name, source.kind, source.config, source.summary() or {}, _described(judged), version()),
        reference=judged.reference_trajectory,
        comparison=judged.comparison,
        slow=judged.slow,
        formats=formats,
    )
    write_json(folder / "analysis.json", judged.to_json())


def _explored(
    source: Source,
    reference: Source | None,
    folder: Path,
    settings: AnalyseSettings,
    formats: Sequence[str],
    progress: bool | Listener,
) -> None:
    """The page of an exploration."""
    if settings.discard or settings.stride != 1:
        raise ValueError(
            f"{source.path} is an exploration, whose states are counted from its first frame; leave out `discard` and "
            "`stride`"
        )
    found = survey(source, reference, progress=teller(progress, "analysing"))
    beside = None if reference is None else f"MD of {reference.name}"
    provenance = Provenance(source.name, source.kind, source.config, found.summary, beside, version())
    save_plots([found.plot()], folder, formats)
    write_atomically(folder / PAGE, render_exploration(provenance, found.found, found.plot()).encode())
    write_json(folder / "analysis.json", found.to_json())


def _described(judged: Judged) -> str | None:
    """The reference in a few words, if there is one."""
    t = judged.reference_trajectory
    if t is None:
        return None
    kinds = {"md": "MD", "frames": "frames"}
    length = t.n_chains * t.n_frames * t.frame_spacing
    amount = f"{length / 1000:,.3g} ns" if t.unit == "ps" else f"{t.n_chains * t.n_frames:,} samples"
    return f"{amount} of reference {kinds.get(t.kind, 'sampling')} ({t.n_chains} chains)"
