"""One page about a run, with its figures as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..files import read_json, write_atomically, write_json
from ..judging import Judged, judge_run
from ..progress import Listener
from ..report import Provenance
from ..report import write_report as draw_report
from ..report.exploration import render_exploration
from ..report.write import save_plots
from ..settings.other import AnalyseSettings, FigureSettings
from ..trajectories import Source
from ..version import version
from .sources import Given, source_of, teller
from .survey import survey


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
        settings: ``discard``, ``stride``, ``lag_ps``, ``top`` and ``spacing_ps`` of
            :class:`~timewarp.settings.other.AnalyseSettings`.

    Returns:
        The page.

    Raises:
        FileExistsError: ``out`` holds something that is no report.
        ValueError: the run is too short, or the reference is of another target.
    """
    chosen, formats = AnalyseSettings.make(settings), FigureSettings(format=tuple(format)).format
    source = source_of(run)
    folder = source.path / "report" if out is None else Path(out)
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; give a folder for the report")
    if out is not None and folder.exists() and any(folder.iterdir()) and not is_analysis(folder / "analysis.json"):
        raise FileExistsError(f"{folder} is not empty and not a report; choose another folder")
    other = None
    if reference is not None:
        other = source_of(reference, top=chosen.top, spacing_ps=chosen.spacing_ps, molecule=source)
    if source.kind == "exploration":
        return _explored(source, other, folder, chosen, formats, progress)
    judged = judge_run(
        source,
        other,
        discard=chosen.discard,
        stride=chosen.stride,
        slow=True,
        lag_ps=chosen.lag_ps,
        progress=teller(progress, "analysing"),
    )
    if (tell := teller(progress, "drawing")) is not None:
        tell("the page")
    page = draw_report(
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
    return page


def is_analysis(path: Path) -> bool:
    """Whether a file was written by `analyse` or `report`, and so may be written again."""
    try:
        return path.is_file() and {"run", "verdict"} <= read_json(path).keys()
    except ValueError:
        return False


def _explored(
    source: Source,
    reference: Source | None,
    folder: Path,
    settings: AnalyseSettings,
    formats: Sequence[str],
    progress: bool | Listener,
) -> Path:
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
    page = folder / "index.html"
    write_atomically(page, render_exploration(provenance, found.found, found.plot()).encode())
    write_json(folder / "analysis.json", found.to_json())
    return page


def _described(judged: Judged) -> str | None:
    """The reference in a few words, if there is one."""
    t = judged.reference_trajectory
    if t is None:
        return None
    kinds = {"md": "MD", "frames": "frames"}
    length = t.n_chains * t.n_frames * t.frame_spacing
    amount = f"{length / 1000:,.3g} ns" if t.unit == "ps" else f"{t.n_chains * t.n_frames:,} samples"
    return f"{amount} of reference {kinds.get(t.kind, 'sampling')} ({t.n_chains} chains)"
