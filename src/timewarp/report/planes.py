"""Drawings of planes of slow coordinates, conditional distributions, bars of speed, states found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogFormatter, NullFormatter

from .drawing import frame, free_energy_scale, grid, legend, torsion_axes
from .theme import FREE_ENERGY_COLOURS, Theme


def draw_plane(
    ax: Axes,
    theme: Theme,
    points: np.ndarray,
    edges: tuple[np.ndarray, np.ndarray],
    top: float,
    title: str,
    centres: Mapping[int, np.ndarray] | None = None,
) -> None:
    """Free energy -ln p in kT over two coordinates, with the metastable states' centres numbered.

    Args:
        ax: to draw on.
        theme: colours.
        points: (n, 2).
        edges: of the bins along both coordinates.
        top: end of the colour scale in kT.
        title: above.
        centres: of the states, by their number.
    """
    counts, *_ = np.histogram2d(points[:, 0], points[:, 1], edges)
    with np.errstate(divide="ignore"):
        values = -np.log(counts / max(counts.sum(), 1))
    values = np.ma.masked_invalid(values - values.min())
    image = ax.pcolormesh(*edges, values.T, cmap=FREE_ENERGY_COLOURS, vmin=0, vmax=top, rasterized=True)
    for n, (x, y) in (centres or {}).items():
        ax.annotate(
            str(n),
            (x, y),
            color=theme.ink,
            ha="center",
            va="center",
            fontsize=8,
            bbox={"boxstyle": "circle,pad=0.25", "fc": theme.card, "ec": theme.ink, "lw": 0.7},
        )
    frame(ax)
    ax.set(xlabel="TIC 1", ylabel="TIC 2", title=title)
    free_energy_scale(ax, theme, image)


def draw_populations(ax: Axes, theme: Theme, populations: Mapping[str, Sequence[tuple[float, float]]]) -> None:
    """Populations of the metastable states with error bars, run beside reference; a missed state gets no bar."""
    n = len(next(iter(populations.values())))
    width = 0.8 / len(populations)
    for k, ((name, rows), colour) in enumerate(zip(populations.items(), (theme.run, theme.reference), strict=False)):
        value = np.array([max(p, 0.0) for p, _ in rows])
        error = np.nan_to_num([e for _, e in rows])
        x = np.arange(1, n + 1) + (k - (len(populations) - 1) / 2) * width
        seen = value > 0
        ax.bar(x[seen], value[seen], 0.92 * width, color=colour, alpha=0.55, label=name)
        low = np.minimum(error[seen], 0.9 * value[seen])
        ax.errorbar(
            x[seen],
            value[seen],
            [low, error[seen]],
            fmt="none",
            color=theme.ink,
            ecolor=theme.ink,
            elinewidth=0.9,
            capsize=2,
        )
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:g} %"))
    lowest = min((p for rows in populations.values() for p, _ in rows if p > 0), default=0.1)
    ax.set(ylim=(lowest / 4, 2.0), xticks=np.arange(1, n + 1), xlabel="metastable state")
    ax.set(ylabel="population", title="Metastable states")
    grid(ax, theme)
    legend(ax, theme, len(populations))


def draw_timescales(ax: Axes, theme: Theme, lags: np.ndarray, times: np.ndarray, unit: str) -> None:
    """Implied time scales (lags, n) against lag, both logarithmic; below the diagonal lies what cannot be told."""
    known = times[np.isfinite(times) & (times > 0)]
    low = min(float(lags[0]), float(known.min(initial=lags[0])))
    high = 2 * max(float(lags[-1]), float(known.max(initial=lags[-1])))
    ax.fill_between([lags[0], lags[-1]], low / 2, [lags[0], lags[-1]], color=theme.muted, alpha=0.18, lw=0)
    for n in range(times.shape[1]):
        colour = theme.series[n % len(theme.series)]
        ax.plot(lags, times[:, n], "o-", ms=3, color=colour, label=f"process {n + 1}")
    ax.set(xscale="log", yscale="log", xlim=(lags[0], lags[-1]), ylim=(max(low, lags[0] / 4), high))
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,g}"))
        axis.set_minor_formatter(NullFormatter())
    ax.set(xlabel=f"lag / {unit}", ylabel=f"implied time scale / {unit}", title="Implied time scales")
    grid(ax, theme)
    legend(ax, theme, times.shape[1])


def draw_conditional(
    ax: Axes,
    theme: Theme,
    phi: np.ndarray,
    psi: np.ndarray,
    start: tuple[float, float],
    title: str,
    labels: tuple[str, str],
    *,
    reference: bool = False,
) -> None:
    """Where states go from one marked start: (phi, psi) in rad, a dot for each."""
    colour = theme.reference if reference else theme.run
    ax.plot(np.rad2deg(phi), np.rad2deg(psi), ".", color=colour, ms=2.2, alpha=0.5, mew=0)
    ax.plot(*np.rad2deg(start), marker="X", color=theme.ink, ms=8, mec="white", mew=0.8, label="x(t)", ls="none")
    torsion_axes(ax, theme, title, labels)
    ax.set(xlim=(-180, 180), ylim=(-180, 180), aspect="equal")
    legend(ax, theme, 1, always=True)


def draw_speeds(ax: Axes, theme: Theme, speeds: Mapping[str, Mapping[str, tuple[float, bool]]]) -> None:
    """Effective samples per second of each quantity (rows) in each run; a bound is drawn open, with an arrow.

    Args:
        ax: to draw on.
        theme: colours.
        speeds: run -> quantity -> (per second, whether it is an upper bound).
    """
    quantities = list(next(iter(speeds.values())))
    for k, (name, row) in enumerate(speeds.items()):
        colour = theme.series[k % len(theme.series)]
        for n, quantity in enumerate(quantities):
            value, bound = row[quantity]
            y = len(quantities) - n - 0.25 * k / max(len(speeds) - 1, 1)
            label = name if n == 0 else None
            ax.plot(value, y, "<" if bound else "o", color=colour, ms=6, mfc="none" if bound else colour, label=label)
    ax.set_xscale("log")
    ax.set_yticks(len(quantities) - np.arange(len(quantities)) - 0.12, quantities)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,g}"))
    ax.xaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))  # plain numbers, within a decade
    ax.set(xlabel="effective samples per second", title="Speed", ylim=(0.4, len(quantities) + 0.5))
    grid(ax, theme)
    # Above the axes: points may lie anywhere within.
    ax.legend(labelcolor=theme.ink, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(speeds))


def draw_found(
    ax: Axes, theme: Theme, curves: Mapping[str, tuple[np.ndarray, np.ndarray]], label: str, title: str
) -> None:
    """States found against time or moves, one step curve for each run: (times, states found)."""
    first = min((x[x > 0].min() for x, _ in curves.values() if (x > 0).any()), default=1.0)
    for (name, (x, found)), colour in zip(curves.items(), (theme.run, theme.reference), strict=False):
        ax.step(np.maximum(x, first / 2), found, where="post", color=colour, label=name, lw=1.6)
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,g}"))
    ax.set(xlabel=label, ylabel="states found", title=title)
    ax.set_ylim(bottom=0)
    grid(ax, theme)
    legend(ax, theme, len(curves), always=True)
