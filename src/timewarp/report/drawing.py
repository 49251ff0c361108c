"""What goes into a panel: each function draws one kind of data on axes it is given. No analysis is done here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from ..analysis import Profile, kind_of_torsion
from .theme import FREE_ENERGY_COLOURS, Theme

TURN = (-180, -90, 0, 90, 180)

GREEK = {"phi": "φ", "psi": "ψ", "omega": "ω", "chi": "χ"}
SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def symbol(name: str) -> str:
    """The name of a torsion, of a side of it, or of another quantity, as it is printed.

    >>> symbol("phi_1"), symbol("chi2_10"), symbol("phi_2 > 0"), symbol("TIC 1"), symbol("C3-C4-O5-P1_2")
    ('φ₁', 'χ²₁₀', 'φ₂ > 0', 'TIC 1', 'C3–C4–O5–P1 (2)')
    """
    torsion, above, _ = name.partition(" > 0")
    kind, _, residue = torsion.partition("_")
    if kind_of_torsion(torsion) == "other" and torsion.count("-") == 3:
        return kind.replace("-", "–") + (f" ({residue})" if residue else "")
    if not residue:
        return name
    stem = kind.rstrip("0123456789")
    return f"{GREEK.get(stem, stem)}{kind[len(stem) :].translate(SUPERSCRIPTS)}{residue.translate(SUBSCRIPTS)}{above}"


def draw_ramachandran(
    ax: Axes, theme: Theme, counts: np.ndarray, top: float, title: str, labels: tuple[str, str]
) -> None:
    """Free energy -ln p over (phi, psi) in kT, lowest bin 0, clipped at ``top``; empty where nothing was seen."""
    with np.errstate(divide="ignore"):
        values = -np.log(counts / counts.sum())
    values = np.ma.masked_invalid(values - values.min())
    image = ax.imshow(
        values.T,
        origin="lower",
        extent=(-180, 180, -180, 180),
        cmap=FREE_ENERGY_COLOURS,
        vmin=0,
        vmax=top,
        interpolation="nearest",
    )
    torsion_axes(ax, theme, title, labels)
    free_energy_scale(ax, theme, image)


def draw_profile(
    ax: Axes, theme: Theme, profiles: Mapping[str, Profile], title: str, label: str, around_trans: bool = False
) -> None:
    """Free energies along a torsion: the run, and the reference if there is one, with bands of one standard error.

    With ``around_trans`` the axis runs from 0 to 360 degrees, so that a trans peptide bond is in the middle.
    """
    highest = 1.0
    for (name, profile), colour in zip(profiles.items(), (theme.run, theme.reference), strict=False):
        degrees = np.rad2deg(profile.centres) % 360 if around_trans else np.rad2deg(profile.centres)
        order = np.argsort(degrees)
        seen = np.isfinite(profile.free_energy)
        value = np.where(seen, profile.free_energy, np.nan)
        error = np.nan_to_num(np.where(seen, profile.error, np.nan))
        highest = max(highest, float(np.nanmax(value)))
        x, y, half = degrees[order], value[order], error[order]
        ax.fill_between(x, y - half, y + half, color=colour, alpha=0.22, lw=0)
        ax.plot(x, y, color=colour, label=name)
    ticks = (0, 90, 180, 270, 360) if around_trans else TURN
    ax.set(xlim=(ticks[0], ticks[-1]), ylim=(-0.3, min(highest * 1.08 + 0.3, 14)), xticks=ticks)
    ax.set(xlabel=f"{label} / degrees", ylabel="free energy / kT", title=title)
    grid(ax, theme)
    legend(ax, theme, len(profiles))


def draw_histogram(
    ax: Axes,
    theme: Theme,
    samples: Mapping[str, np.ndarray],
    title: str,
    label: str,
    bins: int = 60,
    small: bool = False,
) -> None:
    """Normalised histograms: the run filled, the reference as a line. Samples must be finite."""
    pooled = list(samples.values())
    low = min(float(np.quantile(x, 0.0005)) for x in pooled)
    high = max(float(np.quantile(x, 0.9995)) for x in pooled)
    edges = np.linspace(low, high, bins + 1) if high > low else np.array([low - 0.5, low + 0.5])
    for n, ((name, values), colour) in enumerate(zip(samples.items(), (theme.run, theme.reference), strict=False)):
        density, _ = np.histogram(values, edges, density=True)
        if n == 0:
            ax.stairs(density, edges, fill=True, color=colour, alpha=0.28, lw=0)
        ax.stairs(density, edges, color=colour, lw=1.0 if small else 1.4, label=name)
    ax.set(xlim=(edges[0], edges[-1]), xlabel=label, title=title)
    ax.set_ylim(bottom=0)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.locator_params(axis="x", nbins=4 if small else 7)
    if not small:
        ax.set_ylabel("probability density")
        legend(ax, theme, len(samples))


def draw_traces(ax: Axes, theme: Theme, series: np.ndarray, times: np.ndarray, title: str, unit: str) -> None:
    """A torsion of a few chains against time, one dot per frame: (chains, frames) in rad."""
    n_chains, stroke = len(series), 1e-3 * (times[-1] - times[0]) if len(times) > 1 else 1e-3
    for n, chain in enumerate(series):
        # Dots as very short strokes of one path: a tenth of the size of as many markers.
        x = np.stack([times, times + stroke, np.full_like(times, np.nan)], 1).ravel()
        degrees = np.rad2deg(chain) + 360.0 * (n_chains - 1 - n) * 1.12
        y = np.stack([degrees, degrees, np.full_like(degrees, np.nan)], 1).ravel()
        colour = (theme.run, *theme.series[2:])[n % (len(theme.series) - 1)]  # never the reference's colour
        ax.plot(x, y, color=colour, lw=1.9, solid_capstyle="round", alpha=0.75)
    offsets = 360.0 * 1.12 * np.arange(n_chains - 1, -1, -1)
    for offset in offsets:
        for edge in (-180, 0, 180):
            ax.axhline(offset + edge, color=theme.grid, lw=0.6, zorder=0)
    ticks = [(o + d, f"{d}".replace("-", "−")) for o in offsets for d in (-180, 0, 180)]
    ax.set_yticks([t for t, _ in ticks], [s for _, s in ticks])
    ax.set(ylim=(-190, offsets[0] + 190), xlabel=_time_label(unit), ylabel="degrees", title=title)
    ax.set_xlim(times[0], times[-1] if len(times) > 1 else times[0] + 1)


def draw_autocorrelation(
    ax: Axes, theme: Theme, functions: Mapping[str, np.ndarray], spacing: float, title: str, unit: str
) -> None:
    """Autocorrelation functions against lag, on a logarithmic axis from one frame on."""
    longest = 2
    for n, (name, rho) in enumerate(functions.items()):
        lags = np.unique(np.geomspace(1, max(len(rho) - 1, 1), 160).astype(int))
        lags = lags[lags < len(rho)]
        longest = max(longest, int(lags[-1]) if len(lags) else 1)
        style = "-" if n < len(theme.series) else "--"
        ax.plot(lags * spacing, rho[lags], style, color=theme.series[n % len(theme.series)], lw=1.3, label=name)
    ax.axhline(0, color=theme.muted, lw=0.6, zorder=0)
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set(xlim=(spacing, longest * spacing), ylim=(-0.15, 1.03), title=title)
    ax.set(xlabel="lag / MH steps" if unit == "step" else f"lag / {unit}", ylabel="autocorrelation")
    grid(ax, theme)
    legend(ax, theme, len(functions), always=True)


def draw_acceptance(ax: Axes, theme: Theme, per_chain: Sequence[float], title: str) -> None:
    """How the acceptance of one kernel spreads over the chains."""
    values = 100 * np.asarray(per_chain, dtype=float)
    low, high = np.floor(values.min() / 5) * 5, np.ceil(values.max() / 5) * 5
    low, high = max(low - 5, 0.0), min(high + 5, 100.0)
    counts, edges = np.histogram(values, np.linspace(low, high, 25))
    ax.stairs(counts, edges, fill=True, color=theme.run, alpha=0.45, lw=0)
    ax.axvline(values.mean(), color=theme.run, lw=1.2)
    ax.set(xlim=(low, high), xlabel="acceptance / %", ylabel="chains", title=f"{title}: mean {values.mean():.1f} %")
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    grid(ax, theme)


def grid(ax: Axes, theme: Theme) -> None:
    """Faint horizontal and vertical lines."""
    ax.grid(True, color=theme.grid, lw=0.6)
    ax.tick_params(length=0)


def torsion_axes(ax: Axes, theme: Theme, title: str, labels: tuple[str, str]) -> None:
    """A frame around a plane of two torsions, with their ticks in degrees."""
    for position in (-90, 0, 90):
        ax.axvline(position, color=theme.grid, lw=0.5, zorder=-1)
        ax.axhline(position, color=theme.grid, lw=0.5, zorder=-1)
    frame(ax)
    ax.set(xticks=TURN, yticks=TURN, xlabel=f"{labels[0]} / degrees", ylabel=f"{labels[1]} / degrees", title=title)


def frame(ax: Axes) -> None:
    """Lines on all four sides."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(True)


def free_energy_scale(ax: Axes, theme: Theme, image: Any) -> None:
    """The colour bar of free energies in kT, beside the axes."""
    bar = ax.figure.colorbar(image, ax=ax, fraction=0.046, pad=0.03, aspect=24)
    bar.set_label("free energy / kT", color=theme.ink)
    bar.ax.tick_params(colors=theme.muted, labelcolor=theme.muted, length=2)
    bar.outline.set_visible(False)  # type: ignore[operator]


def legend(ax: Axes, theme: Theme, entries: int, always: bool = False) -> None:
    """A plain legend where there is more than one thing to tell apart."""
    if entries > 1 or always:
        ax.legend(labelcolor=theme.ink, loc="best", ncols=1 if entries <= 4 else 2)


def _time_label(unit: str) -> str:
    return "Metropolis-Hastings steps" if unit == "step" else f"time / {unit}"
