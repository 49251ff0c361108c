"""Write a report folder: ``index.html`` and the figures as files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..analysis import TrajectoryLike, Verdict
from ..analysis.slow import SlowMotions
from ..files import write_atomically
from .figures import make_figures
from .page import Provenance, render_page
from .plots import Plot
from .structures import viewer_data
from .theme import to_file

FORMATS = ("png", "svg", "pdf")


def save_plots(plots: Sequence[Plot], folder: Path, formats: Sequence[str]) -> list[Path]:
    """Draw figures into files of a folder, which is made if need be; their paths.

    Raises:
        ValueError: an unknown format.
    """
    if unknown := [f for f in formats if f not in FORMATS]:
        raise ValueError(f"cannot write figures as {unknown[0]!r}; known formats: {', '.join(FORMATS)}")
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{plot.name}.{suffix}" for plot in plots for suffix in formats]
    drawn = [plot for plot in plots for _ in formats]
    for plot, path in zip(drawn, paths, strict=True):
        to_file([panel.draw for panel in plot.panels], plot.columns, plot.size, path)
    return paths


def write_report(
    folder: Path | str,
    trajectory: TrajectoryLike,
    analysis: Mapping[str, Any],
    verdict: Verdict,
    provenance: Provenance,
    *,
    reference: TrajectoryLike | None = None,
    comparison: Mapping[str, Any] | None = None,
    slow: SlowMotions | None = None,
    formats: Sequence[str] = ("png",),
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
        slow: ``run`` and ``reference`` in slow coordinates, where there are any.
        formats: of the figure files: ``png``, ``svg``, ``pdf``.

    Returns:
        The path of ``index.html``.

    Raises:
        ValueError: an unknown format.
    """
    folder = Path(folder)
    names = ("chain" if provenance.kind == "chain" else "run", "MD" if provenance.kind == "chain" else "reference")
    speed = None if comparison is None else comparison.get("speed")
    plots, structures = make_figures(
        trajectory, reference, kernels=analysis["kernels"], names=names, slow=slow, speed=speed
    )
    save_plots(plots, folder, formats)
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
