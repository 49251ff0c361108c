"""Bond lengths and angles: means and spreads by chemical type, and whether two runs agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from ..geometry import angles, distances, neighbours
from ..state import Atoms
from .distributions import wasserstein
from .free_energy import Estimate, fluctuation, mean
from .torsions import as_positions

Kind = Literal["bond", "angle"]


@dataclass(frozen=True)
class BondedStatistics:
    """One type of bond or angle, such as ``C(sp3)-H`` or ``C(sp3)-C(sp2)=O``, pooled over the molecule.

    Attributes:
        name: elements with the hybridisation of carbon and nitrogen.
        kind: ``bond`` (values in nm) or ``angle`` (rad).
        count: how many there are in the molecule.
        mean: their mean, with its error.
        sd: their standard deviation (that of the pool), with its error.
    """

    name: str
    kind: Kind
    count: int
    mean: Estimate
    sd: Estimate


@dataclass(frozen=True)
class BondedComparison:
    """A type of bond or angle in a run and in its reference.

    Attributes:
        name: the type.
        kind: ``bond`` or ``angle``.
        z_mean: difference of means in standard errors.
        z_sd: difference of standard deviations in standard errors.
        wasserstein: 1-D Wasserstein-1 distance of the pooled values, in nm or rad.
    """

    name: str
    kind: Kind
    z_mean: float
    z_sd: float
    wasserstein: float


def bonded_types(atoms: Atoms) -> dict[tuple[Kind, str], torch.Tensor]:
    """Atoms of each bond (n, 2) and angle (n, 3), by chemical type, bonds first."""
    adjacent = neighbours(atoms.n_atoms, atoms.bonds)
    kinds = [_kind(atoms.elements[i], len(adjacent[i])) for i in range(atoms.n_atoms)]
    rows: dict[tuple[Kind, str], list[tuple[int, ...]]] = {}
    for i, j in atoms.bonds:
        a, b = sorted((i, j), key=lambda k: (atoms.elements[k] == "H", kinds[k]))
        rows.setdefault(("bond", f"{kinds[a]}-{kinds[b]}"), []).append((a, b))
    for j in range(atoms.n_atoms):
        for n, i in enumerate(adjacent[j]):
            for k in adjacent[j][n + 1 :]:
                a, b = sorted((i, k), key=lambda m: (atoms.elements[m] == "H", kinds[m]))
                rows.setdefault(("angle", f"{kinds[a]}-{kinds[j]}-{kinds[b]}"), []).append((a, j, b))
    order = sorted(rows, key=lambda key: (key[0] == "angle", key[1].count("H"), key[1]))
    return {key: torch.tensor(rows[key], dtype=torch.long) for key in order}


def bonded_values(positions: Any, atoms: Atoms, kind: Kind, rows: torch.Tensor) -> np.ndarray:
    """Lengths (nm) or angles (rad) of the given rows: (chains, frames, rows)."""
    measure = distances if kind == "bond" else angles
    return measure(as_positions(positions, atoms), rows).numpy()


def bonded_statistics(positions: Any, atoms: Atoms) -> list[BondedStatistics]:
    """Mean and standard deviation of each type, with errors by the ESS of the per-frame mean and squared deviation.

    Args:
        positions: (chains, frames, atoms, 3) in nm.
        atoms: the molecule.
    """
    result = []
    for (kind, name), rows in bonded_types(atoms).items():
        values = bonded_values(positions, atoms, kind, rows)
        result.append(BondedStatistics(name, kind, len(rows), mean(values.mean(-1)), fluctuation(values)))
    return result


def compare_bonded(first: Any, second: Any, atoms: Atoms) -> list[BondedComparison]:
    """Each type of bond and angle in two runs of one molecule: z-scores of mean and sd by ESS, and Wasserstein-1.

    Args:
        first: positions (chains, frames, atoms, 3) in nm.
        second: those of the reference.
        atoms: the molecule of both.
    """
    result = []
    for (kind, name), rows in bonded_types(atoms).items():
        a, b = (bonded_values(p, atoms, kind, rows) for p in (first, second))
        result.append(
            BondedComparison(
                name,
                kind,
                z_score(mean(a.mean(-1)), mean(b.mean(-1))),
                z_score(fluctuation(a), fluctuation(b)),
                wasserstein(a, b, order=1, points=2000),
            )
        )
    return result


def z_score(first: Estimate, second: Estimate) -> float:
    """Difference in standard errors; NaN without errors."""
    scale = float(np.hypot(first.error, second.error))
    return (first.value - second.value) / scale if scale > 0 else float("nan")


def _kind(element: str, degree: int) -> str:
    hybrid = {("C", 4): "C(sp3)", ("C", 3): "C(sp2)", ("N", 4): "N(+)", ("N", 3): "N"}
    return hybrid.get((element, degree), element)
