"""The plane of the slow coordinates, the metastable states in it, and the time scales of their exchange."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from ..analysis.slow import SlowMotions
from . import planes
from .plots import Panel, Plot

PLANE_BINS = 80


def slow_plot(slow: SlowMotions, names: Mapping[str, str]) -> Plot:
    """The plane of slow coordinates of each run, the populations of the metastable states, and implied time scales.

    Args:
        slow: runs in the slow coordinates of one of them.
        names: what each run is called.
    """
    projected = {names[key]: y.reshape(-1, 2) for key, y in slow.projected.items()}
    centres, found = slow.described
    populations = {names[key]: rows for key, rows in found.items()}
    fitted = names[slow.fitted]
    pooled = np.concatenate(list(projected.values()))
    low, high = np.quantile(pooled, 0.0002, axis=0), np.quantile(pooled, 0.9998, axis=0)
    margin = 0.03 * (high - low) + 1e-9
    first, second = (np.linspace(low[k] - margin[k], high[k] + margin[k], PLANE_BINS + 1) for k in range(2))
    top = float(np.clip(np.ceil(np.log(max(len(p) for p in projected.values()) / PLANE_BINS)), 4, 12))
    panels = [
        Panel(
            f"Free energy over the slow coordinates, {name}",
            partial(planes.draw_plane, points=points, edges=(first, second), top=top, title=name, centres=centres),
        )
        for name, points in projected.items()
    ]
    lag = f"{slow.lag:g} {'MH steps' if slow.unit == 'step' else slow.unit}"
    caption = (
        f"Time-lagged independent components of {fitted}: the two combinations of distances and backbone torsions that "
        f"change slowest (Koopman-reweighted, lag {lag}). "
    )
    if slow.coordinates.n_states > 1:
        panels.append(
            Panel("Populations of metastable states", partial(planes.draw_populations, populations=populations))
        )
        caption += (
            "Numbers mark its metastable states (k-means and PCCA+), the most populated first. A state with no bar was "
            "not visited."
        )
    else:
        caption += "No state lasts longer than the lag: there is nothing to part here."
    if slow.implied is not None:
        lags, times = slow.implied
        draw = partial(planes.draw_timescales, lags=lags, times=times, unit=slow.unit)
        panels.append(Panel(f"Implied time scales of {fitted}", draw))
        caption += (
            " Implied time scales of its Markov state model are believable where they no longer grow with the lag; "
            "those in the shaded part are shorter than the lag and cannot be told."
        )
    return Plot("tica", "Slow coordinates", caption, tuple(panels), (4.0, 3.2))
