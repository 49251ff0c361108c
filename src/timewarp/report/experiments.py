"""The figures of ``timewarp experiment``: panels from results; what is measured is measured elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from . import drawing, planes
from .drawing import symbol
from .plots import Panel, Plot
from .slow import plane_panels
from .theme import to_file


def save_plot(plot: Plot, stem: Path, formats: Sequence[str]) -> list[Path]:
    """Draw a figure into files ``stem.png``, ``stem.svg``, ...; their paths."""
    paths = [stem.with_name(f"{stem.name}.{suffix}") for suffix in formats]
    for path in paths:
        to_file([panel.draw for panel in plot.panels], plot.columns, plot.size, path)
    return paths


def tica_plot(
    projected: Mapping[str, np.ndarray],
    centres: Mapping[int, np.ndarray],
    populations: Mapping[str, Sequence[tuple[float, float]]],
) -> Plot:
    """The plane of slow coordinates of each run, and the populations of the metastable states.

    Args:
        projected: run -> (n, 2).
        centres: of the metastable states, by their number.
        populations: run -> (population, error) of each state.
    """
    panels = plane_panels(projected, centres, populations)
    return Plot("tica", "Slow coordinates", "", tuple(panels), (4.0, 3.2), 3)


def conditional_plot(
    angles: Mapping[str, Mapping[str, np.ndarray]],
    start: Mapping[str, float],
    pairs: Mapping[str, tuple[str, str]],
    energies: Mapping[str, np.ndarray],
    bonds: Mapping[str, Mapping[str, np.ndarray]],
) -> Plot:
    """p(x(t + tau) | x(t)) from one start, of the network's proposals and of fresh MD.

    Args:
        angles: source -> torsion -> (n,) in rad; the network first, then MD.
        start: torsions of x(t) in rad.
        pairs: residue -> (phi, psi).
        energies: source -> (n,) in kJ/mol, relative to some common zero.
        bonds: type of bond -> source -> lengths in nm.
    """
    panels: list[Panel] = []
    for residue, (phi, psi) in pairs.items():
        for k, (name, table) in enumerate(angles.items()):
            draw = partial(
                planes.draw_conditional,
                phi=table[phi],
                psi=table[psi],
                start=(start[phi], start[psi]),
                title=f"{residue.capitalize()}, {name}",
                labels=(symbol(phi), symbol(psi)),
                reference=k > 0,
            )
            panels.append(Panel(f"Where {name} goes, {residue}", draw))
        for torsion in (phi, psi):
            samples = {name: np.rad2deg(table[torsion]) for name, table in angles.items()}
            draw = partial(
                drawing.draw_histogram, samples=samples, title=symbol(torsion), label=f"{symbol(torsion)} / degrees"
            )
            panels.append(Panel(f"Distribution of {torsion}", draw))
    draw = partial(drawing.draw_histogram, samples=energies, title="Potential energy", label="kJ/mol")
    panels.append(Panel("Histogram of the potential energy", draw))
    for name, lengths in bonds.items():
        draw = partial(drawing.draw_histogram, samples=lengths, title=f"Bond {name}", label="nm", bins=40)
        panels.append(Panel(f"Distribution of the length of {name}", draw))
    return Plot("conditional", "Conditional distribution", "", tuple(panels), (3.4, 2.9), 4)


def speed_plot(speeds: Mapping[str, Mapping[str, tuple[float, bool]]]) -> Plot:
    """Effective samples per second: run -> quantity -> (value, whether it is a bound)."""
    n = len(next(iter(speeds.values())))
    panel = Panel("Effective samples per second", partial(planes.draw_speeds, speeds=speeds))
    return Plot("speed", "Speed", "", (panel,), (6.0, 1.4 + 0.42 * n), 1)


def found_plot(by_time: Mapping[str, tuple[np.ndarray, np.ndarray]], by_move: tuple[np.ndarray, np.ndarray]) -> Plot:
    """States found against seconds in each run, and against the exploration's moves."""
    first = next(iter(by_time))
    panels = (
        Panel(
            "States found against time",
            partial(planes.draw_found, curves=by_time, label="time / s", title="Against computing time"),
        ),
        Panel(
            "States found against moves",
            partial(planes.draw_found, curves={first: by_move}, label="moves of all chains", title="Against moves"),
        ),
    )
    return Plot("exploration", "States found", "", panels, (4.4, 3.2), 2)
