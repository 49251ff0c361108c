"""How far a run is from its reference, by the measures that papers report, each beside its noise floor.

The floor of a measure is its value between two independent halves of the reference (:func:`timewarp.analysis.halves`):
a run at the floor cannot be told from the reference. The names are those of the field: E-W2, T-W2 and TICA-W2 are
Wasserstein-2 distances of energies, of backbone torsions and of the first two slow coordinates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..units import kT
from .distributions import (
    PLANE_POINTS,
    halves,
    jensen_shannon,
    jsd_plane,
    jsd_torsion,
    plane_wasserstein,
    torsion_wasserstein,
    wasserstein,
)
from .free_energy import phi_basin
from .tica import SlowCoordinates, missed_states
from .torsions import TrajectoryLike, backbone, torsion_angles

TIC_BINS = 50


@dataclass(frozen=True)
class Measure:
    """One measure of an evaluation.

    Attributes:
        name: key of the result.
        title: as the field writes it.
        unit: of the value; empty for a number.
        meaning: one sentence.
    """

    name: str
    title: str
    unit: str
    meaning: str


MEASURES = (
    Measure("energy_w2", "E-W2", "kT", "Wasserstein-2 distance of potential energies, 10,000 quantiles each"),
    Measure("torsion_w2", "T-W2", "rad", "Wasserstein-2 distance of all phi and psi, exact transport of 1,000 frames"),
    Measure("tica_w2", "TICA-W2", "", "Wasserstein-2 distance in the plane of the reference's first two TICs"),
    Measure("jsd_torsion", "JSD torsion", "bit", "Jensen-Shannon divergence, mean over torsions, 100 bins"),
    Measure("jsd_phi_psi", "JSD (phi, psi)", "bit", "Jensen-Shannon divergence, worst residue, 50 x 50 bins"),
    Measure("jsd_tica", "JSD TICA", "bit", "Jensen-Shannon divergence in the plane of the TICs, 50 x 50 bins"),
    Measure("delta_F", "Delta F(phi)", "kT", "largest difference of the free energy of phi > 0"),
)


def evaluate(
    run: TrajectoryLike,
    reference: TrajectoryLike,
    *,
    temperature_K: float,
    slow: SlowCoordinates | None,
    projected: tuple[np.ndarray, np.ndarray] | None = None,
    points: int = PLANE_POINTS,
) -> dict[str, Any]:
    """All measures between a run and its reference.

    Args:
        run: the run.
        reference: long MD of the same molecule at the same temperature.
        temperature_K: of both.
        slow: slow coordinates of the reference; None where it has none to speak of.
        projected: run and reference in them, where they are known already.
        points: frames of each side in an exact transport; with fewer, value and floor are larger.

    Returns:
        ``{"measures": {name: {"value": ..., "floor": ...}}, "states": {...}}``. Of the states there are ``populations``
        in the reference, ``found`` (a number), ``missed`` (which), and ``first_met``: the frame, from 1 on, in which
        the first of all chains came to each. A measure that there is not (no phi and psi, no slow coordinates) is
        left out. None stands for infinity: the free energy of a basin that one of the two has never visited.

    Raises:
        ValueError: the two are different molecules.
    """
    if run.atoms.fingerprint != reference.atoms.fingerprint:
        raise ValueError(f"the reference is of {reference.atoms.residues}, the run of {run.atoms.residues}")
    if slow is not None and projected is None:
        projected = slow.project(run.positions, run.atoms), slow.project(reference.positions, reference.atoms)
    planes = (None, None) if projected is None else projected
    ours, theirs = (_Numbers.of(t, slow, y, temperature_K) for t, y in zip((run, reference), planes, strict=True))
    first, second = (theirs.at(index) for index in halves(np.arange(theirs.size).reshape(theirs.shape)))
    span = None if slow is None else np.quantile(theirs.tics, (0.0, 1.0), axis=0)
    measures = {}
    for name, measure in _measures(span, points).items():
        value, floor = measure(ours, theirs), measure(first, second)
        if not np.isnan(value):
            measures[name] = {
                key: float(x) if np.isfinite(x) else None for key, x in (("value", value), ("floor", floor))
            }
    n_states = 0 if slow is None else slow.n_states
    populations = [float((theirs.states == k).mean()) for k in range(n_states)]
    missed = missed_states(theirs.states, ours.states, n_states)
    return {
        "measures": measures,
        "states": {
            "populations": populations,
            "missed": sorted(missed),
            "found": n_states - len(missed),
            "first_met": first_met(ours.states.reshape(ours.shape), n_states),
        },
    }


def first_met(states: np.ndarray, n_states: int) -> list[int | None]:
    """The frame, from 1 on, in which the first of all chains came to each state; None for one that none came to.

    Args:
        states: (chains, frames).
        n_states: how many there are.

    >>> first_met(np.array([[0, 0, 1], [0, 2, 2]]), 4)
    [1, 3, 2, None]
    """
    found = []
    for k in range(n_states):
        frames = (states == k).any(0)
        found.append(int(frames.argmax()) + 1 if frames.any() else None)
    return found


@dataclass(frozen=True, eq=False)
class _Numbers:
    """What the measures read of a run, frames in a row (but for the chains' shape)."""

    shape: tuple[int, int]
    energies: np.ndarray
    angles: Mapping[str, np.ndarray]
    tics: np.ndarray
    states: np.ndarray

    @classmethod
    def of(
        cls, t: TrajectoryLike, slow: SlowCoordinates | None, projected: np.ndarray | None, temperature_K: float
    ) -> _Numbers:
        energies = np.asarray(t.energies, dtype=np.float64) / kT(temperature_K)
        nowhere = np.zeros((energies.size, 0))
        return cls(
            energies.shape,  # type: ignore[arg-type]
            energies.ravel(),
            {name: values.ravel() for name, values in torsion_angles(t).items()},
            nowhere if projected is None else projected.reshape(-1, 2),
            np.full(energies.size, -1) if slow is None or projected is None else slow.states(projected).ravel(),
        )

    @property
    def size(self) -> int:
        return len(self.energies)

    def at(self, index: np.ndarray) -> _Numbers:
        flat = index.ravel()
        angles = {name: values[flat] for name, values in self.angles.items()}
        return _Numbers(index.shape, self.energies[flat], angles, self.tics[flat], self.states[flat])  # type: ignore[arg-type]

    def stacked(self, names: Sequence[str]) -> np.ndarray:
        return np.stack([self.angles[name] for name in names], 1)


def _measures(span: np.ndarray | None, points: int) -> dict[str, Callable[[_Numbers, _Numbers], float]]:
    def torsion_w2(a: _Numbers, b: _Numbers) -> float:
        names = [name for name in a.angles if name.startswith(("phi", "psi"))]
        if not names or not all(np.isfinite(x.angles[name]).all() for x in (a, b) for name in names):
            return np.nan
        return torsion_wasserstein(a.stacked(names), b.stacked(names), points)

    def jsd_phi_psi(a: _Numbers, b: _Numbers) -> float:
        planes = backbone(list(a.angles))
        found = [jsd_plane((a.angles[i], a.angles[j]), (b.angles[i], b.angles[j])) for i, j in planes]
        return max(found, default=np.nan)

    def delta_F(a: _Numbers, b: _Numbers) -> float:
        gaps = []
        for name in (name for name in a.angles if name.startswith("phi")):
            here, there = (phi_basin(x.angles[name].reshape(x.shape)) for x in (a, b))
            if there.visited:
                gaps.append(abs(here.delta_F - there.delta_F) if here.visited else np.inf)
        return max(gaps, default=np.nan)

    return {
        "energy_w2": lambda a, b: wasserstein(a.energies, b.energies),
        "torsion_w2": torsion_w2,
        **({} if span is None else {"tica_w2": lambda a, b: plane_wasserstein(a.tics, b.tics, points)}),
        "jsd_torsion": lambda a, b: float(np.mean([jsd_torsion(a.angles[n], b.angles[n]) for n in a.angles])),
        "jsd_phi_psi": jsd_phi_psi,
        **({} if span is None else {"jsd_tica": lambda a, b: jensen_shannon(*(_counts(x.tics, span) for x in (a, b)))}),
        "delta_F": delta_F,
    }


def _counts(points: np.ndarray, span: np.ndarray) -> np.ndarray:
    """Frames in 50 x 50 cells of the reference's span; those beyond it belong to the cells at its edge."""
    width = np.maximum(span[1] - span[0], 1e-12)
    cell = np.clip(((points - span[0]) / width * TIC_BINS).astype(int), 0, TIC_BINS - 1)
    return np.bincount(cell[:, 0] * TIC_BINS + cell[:, 1], minlength=TIC_BINS**2).astype(np.float64)


def summarise(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Median, quartiles and worst of each measure over peptides, and of its ratio to the floor.

    Args:
        rows: of :func:`evaluate`.
    """
    found = {}
    for measure in MEASURES:
        cells = [row["measures"][measure.name] for row in rows if measure.name in row["measures"]]
        if not cells:
            continue
        values = np.array([np.inf if cell["value"] is None else cell["value"] for cell in cells])
        ratios = np.array([value / c["floor"] for value, c in zip(values, cells, strict=True) if c["floor"]])
        with np.errstate(invalid="ignore"):  # beside infinities
            low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
        found[measure.name] = {
            "median": float(middle),
            "lower_quartile": float(low),
            "upper_quartile": float(high),
            "worst": float(values.max()),
            "over_floor_median": float(np.median(ratios)) if len(ratios) else float("nan"),
            "peptides": len(cells),
        }
    return found
