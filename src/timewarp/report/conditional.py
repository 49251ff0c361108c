"""The figure of a conditional distribution: where one state leads, by a network and by molecular dynamics."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from . import drawing, planes
from .drawing import symbol
from .plots import Panel, Plot


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
        energies: source -> (n,) in kJ/mol.
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
