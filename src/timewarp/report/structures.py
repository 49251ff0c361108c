"""Typical structures of the backbone conformations: still drawings, and the numbers that the page's 3D view turns."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from ..analysis import Conformations, TrajectoryLike, representative
from ..geometry import best_rotation
from ..state import Atoms
from .plots import Panel, Plot
from .theme import Theme

MOST_SHOWN = 8
SPREAD = 10
"""Frames of a conformation that the 3D view can lay over each other."""


@dataclass(frozen=True, eq=False)
class Structure:
    """A backbone conformation as it is shown.

    Attributes:
        name: of the conformation.
        population: its share of the run.
        frames: (frames, atoms, 3) in nm, the most typical first, superposed on the first structure's backbone.
    """

    name: str
    population: float
    frames: np.ndarray


def typical_structures(
    trajectory: TrajectoryLike, conformations: Conformations, angles: Mapping[str, np.ndarray]
) -> list[Structure]:
    """The most populated conformations of a run with their typical frames, on one another."""
    atoms = trajectory.atoms
    flat = np.asarray(trajectory.positions).reshape(-1, atoms.n_atoms, 3)
    fit = [i for i, name in enumerate(atoms.names) if name in ("N", "CA", "C", "CH3")]
    shown: list[Structure] = []
    onto: torch.Tensor | None = None
    finite = np.isfinite(flat).all((1, 2)).reshape(conformations.labels.shape)
    for name, population in list(conformations.populations().items())[:MOST_SHOWN]:
        inside = conformations.of(name)
        if not (inside & finite).any():
            continue
        chosen = representative(angles, inside & finite)[: 1 + SPREAD]
        frames = torch.from_numpy(flat[chosen].astype(np.float64))
        if onto is None:
            onto = torch.from_numpy(_principal(frames[0].numpy(), _heavy(atoms)))[fit]
        centre, goal = frames[:, fit].mean(1, keepdim=True), onto.mean(0)
        turn = best_rotation(frames[:, fit] - centre, onto - goal)
        shown.append(Structure(name, population, ((frames - centre) @ turn + goal).numpy()))
    return shown


def structures_plot(atoms: Atoms, structures: Sequence[Structure]) -> Plot | None:
    """A still drawing of each conformation; None without any."""
    if not structures:
        return None
    reach = max(float(np.abs(s.frames[0][_heavy(atoms)]).max()) for s in structures) + 0.12
    panels = tuple(
        Panel(
            f"Typical structure of conformation {s.name}, {100 * s.population:.1f} % of the samples",
            partial(
                draw_structure,
                atoms=atoms,
                frame=s.frames[0],
                reach=reach,
                title=f"{s.name}   {100 * s.population:.3g} %",
            ),
        )
        for s in structures
    )
    caption = (
        "The most typical frame of each of the most populated backbone conformations, laid on one another. One "
        "letter per residue: A helical, B extended, G left-handed helical, E extended with φ > 0 (ABEGO); an end "
        "without φ is a or b, an end without ψ − or + by the sign of φ. Nitrogen blue, oxygen red, sulphur ochre."
    )
    return Plot("structures", "Conformations", caption, panels, (1.9, 1.75), 4)


def draw_structure(ax: Axes, theme: Theme, atoms: Atoms, frame: np.ndarray, reach: float, title: str) -> None:
    """Sticks seen along z, near ones over far ones; hydrogens on carbon left out."""
    shown = np.array([not _on_carbon(atoms, i) for i in range(atoms.n_atoms)])
    colour = {"N": theme.run, "O": theme.series[5], "S": theme.series[4], "H": theme.muted}
    segments, colours, depths = [], [], []
    for i, j in atoms.bonds:
        if shown[i] and shown[j]:
            middle = (frame[i] + frame[j]) / 2
            for atom in (i, j):  # each half in the colour of its atom
                segments.append((frame[atom, :2], middle[:2]))
                colours.append(colour.get(atoms.elements[atom], theme.ink))
                depths.append((frame[atom, 2] + middle[2]) / 2)
    order = np.argsort(depths)
    near = np.interp(np.asarray(depths)[order], (-0.35, 0.35), (0.0, 1.0))
    lines = LineCollection(
        [segments[k] for k in order],
        colors=[colours[k] for k in order],
        linewidths=1.6 + 1.8 * near,
        alpha=0.45 + 0.55 * near,
        capstyle="round",
    )
    ax.add_collection(lines)
    ax.set(xlim=(-reach, reach), ylim=(-0.8 * reach, 0.8 * reach), aspect="equal", title=title)
    ax.set_axis_off()


def viewer_data(atoms: Atoms, structures: Sequence[Structure]) -> str:
    """What the page's 3D view reads, as JSON that is safe inside a script element: positions in Angstrom."""
    data: dict[str, Any] = {
        "elements": atoms.elements,
        "bonds": atoms.bonds,
        "polar": [not _on_carbon(atoms, i) for i in range(atoms.n_atoms)],
        "states": [
            {"name": s.name, "frames": np.round(10 * s.frames, 2).reshape(len(s.frames), -1).tolist()}
            for s in structures
        ],
    }
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")


def _on_carbon(atoms: Atoms, i: int) -> bool:
    return atoms.elements[i] == "H" and all(atoms.elements[j] == "C" for j in np.flatnonzero(atoms.adjacency[i]))


def _heavy(atoms: Atoms) -> list[int]:
    return [i for i, element in enumerate(atoms.elements) if element != "H"]


def _principal(frame: np.ndarray, heavy: Sequence[int]) -> np.ndarray:
    """A frame along its principal axes, the longest along x and the shortest along the line of sight."""
    centred = frame - frame[heavy].mean(0)
    axes = np.linalg.svd(centred[heavy], full_matrices=False)[2]
    axes[2] = np.cross(axes[0], axes[1])  # a rotation, no mirror
    return centred @ axes.T
