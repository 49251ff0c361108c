"""Training curves: what the loss and the estimated acceptance did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from .drawing import grid, legend
from .theme import Draw, Theme, to_file


def training_curves(rows: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw the rows of ``curves.json`` into a PNG, SVG or PDF file: losses, and acceptance where it was estimated.

    Raises:
        ValueError: there are no rows.
    """
    if not rows:
        raise ValueError("there is no validation to draw: the training has not reached its first one")

    def losses(ax: Axes, theme: Theme) -> None:
        for key, label, colour in (
            ("training_loss", "training", theme.reference),
            ("validation_loss", "held out (moving average)", theme.run),
        ):
            known = [(row["step"], row[key]) for row in rows if row.get(key) is not None]
            if known:
                ax.plot(*zip(*known, strict=True), color=colour, label=label, marker="o", ms=3)
        ax.set(xlabel="step", ylabel="mean −log q", title="Loss")
        # The first rows are far above the rest, and would flatten it.
        later = rows[len(rows) // 5 :]
        keys = ("training_loss", "validation_loss")
        shown = sorted(row[key] for row in later for key in keys if row.get(key) is not None)
        margin = 0.1 * (shown[-1] - shown[0]) + 1e-6
        ax.set_ylim(shown[0] - margin, shown[-1] + margin)
        grid(ax, theme)
        legend(ax, theme, 2)

    def acceptance(ax: Axes, theme: Theme) -> None:
        known = [(row["step"], 100 * row["validation_acceptance"]) for row in rows if row["validation_acceptance"]]
        ax.plot(*zip(*known, strict=True), color=theme.run, marker="o", ms=3)
        ax.set(xlabel="step", ylabel="expected acceptance / %", title="Acceptance on held-out frames")
        ax.set_ylim(top=min(100.0, 5 + max(value for _, value in known)))
        grid(ax, theme)

    draws: list[Draw] = [losses]
    if any(row["validation_acceptance"] for row in rows):
        draws.append(acceptance)
    to_file(draws, 2, (4.4, 3.2), path)
    return path
