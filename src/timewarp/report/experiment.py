"""Measured values beside a run's, and how far reweighting has to go to meet them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from ..observables import Compared, Reweighting
from .drawing import grid, legend
from .theme import Draw, Picture, Theme, to_figure


def experiment_figure(rows: Sequence[Compared], reweighting: Reweighting | None = None) -> Picture:
    """Deviation of each measured value in units of its error; beside it the curve of a reweighting.

    Args:
        rows: measured values beside the run's, at least one.
        reweighting: with its curve; None for none.

    Raises:
        ValueError: there is no value.
    """
    if not rows:
        raise ValueError("there is no measured value to draw")

    def deviations(ax: Axes, theme: Theme) -> None:
        places = np.arange(len(rows))[::-1]
        ax.axvspan(-1, 1, color=theme.grid, lw=0)
        ax.axvline(0, color=theme.muted, lw=0.7)
        ax.plot([row.deviation for row in rows], places, "o", ms=5, color=theme.run, label="run")
        if reweighting is not None:
            after = [_deviation(row, reweighting.computed[row.name]) for row in rows]
            ax.plot(after, places, "o", ms=5, mfc="none", color=theme.reference, label="reweighted")
            legend(ax, theme, 2)
        ax.set_yticks(places, [row.name for row in rows])
        ax.set(xlabel="(run − measured) / error", title="Beside experiment", ylim=(-0.8, len(rows) - 0.2))
        reach = max(1.6, 1.15 * max(abs(row.deviation) for row in rows))
        ax.set_xlim(-reach, reach)

    draws: list[Draw] = [deviations]
    if reweighting is not None:

        def curve(ax: Axes, theme: Theme) -> None:
            kept = [100 * row["kept"] for row in reweighting.curve]
            ax.plot(kept, [row["chi_squared"] for row in reweighting.curve], color=theme.run, label="fitted")
            held = [row["held_out"] for row in reweighting.curve]
            if np.isfinite(held).any():
                ax.plot(kept, held, color=theme.reference, ls="--", label="left out of the fit")
            ax.plot([100 * reweighting.kept], [reweighting.chi_squared[1]], "o", ms=6, color=theme.ink, label="chosen")
            ax.set(xlabel="frames kept / %", ylabel="χ² per value", title="What agreement costs")
            ax.set_ylim(bottom=0)
            ax.invert_xaxis()
            grid(ax, theme)
            legend(ax, theme, 3)

        draws.append(curve)
    return to_figure(draws, 2, (4.6, max(2.6, 0.8 + 0.24 * len(rows))))


def _deviation(row: Compared, computed: float) -> float:
    gap = computed - row.measured
    inside = (row.bound == "upper" and gap <= 0) or (row.bound == "lower" and gap >= 0)
    return 0.0 if inside else gap / row.sigma
