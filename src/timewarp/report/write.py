"""Write a report folder: ``index.html`` and the figures as files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..analysis import TrajectoryLike, Verdict
from ..files import write_atomically
from .figures import make_figures
from .page import Provenance, render_page
from .structures import viewer_data
from .theme import to_file

FORMATS = ("png", "svg", "pdf")


def write_report(
    folder: Path | str,
    trajectory: TrajectoryLike,
    analysis: Mapping[str, Any],
    verdict: Verdict,
    provenance: Provenance,
    *,
    reference: TrajectoryLike | None = None,
    comparison: Mapping[str, Any] | None = None,
    formats: Sequence[str] = ("png",),
    dynamics: tuple[bool, bool] = (False, False),
) -> Path:
    """Write the page and its figures.

    Args:
        folder: made if need be; ``index.html`` and the figures in it are replaced, nothing else is touched.
        trajectory: the run.
        analysis: from :func:`timewarp.analysis.analyse`.
        verdict: from :func:`timewarp.analysis.judge`.
        provenance: what was sampled and with what.
        reference: MD of the same molecule.
        comparison: from :func:`timewarp.analysis.compare`.
        formats: of the figure files: ``png``, ``svg``, ``pdf``.
        dynamics: whether the frames of run and reference follow each other in physical time.

    Returns:
        The path of ``index.html``.

    Raises:
        ValueError: an unknown format.
    """
    if unknown := [f for f in formats if f not in FORMATS]:
        raise ValueError(f"cannot write figures as {unknown[0]!r}; known formats: {', '.join(FORMATS)}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    names = ("chain" if provenance.kind == "chain" else "run", "MD" if provenance.kind == "chain" else "reference")
    timed = [name for name, is_timed in zip(names, dynamics, strict=True) if is_timed]
    plots, structures = make_figures(trajectory, reference, kernels=analysis["kernels"], names=names, dynamics=timed)
    for plot in plots:
        for suffix in formats:
            to_file([panel.draw for panel in plot.panels], plot.columns, plot.size, folder / f"{plot.name}.{suffix}")
    page = folder / "index.html"
    write_atomically(
        page,
        render_page(
            provenance,
            analysis,
            verdict,
            plots,
            comparison,
            names,
            viewer=viewer_data(trajectory.atoms, structures) if structures else None,
        ),
    )
    return page
