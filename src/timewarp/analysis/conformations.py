"""Backbone conformations by name: the region of the Ramachandran plot that each residue is in (ABEGO)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .free_energy import mean
from .torsions import KINDS

MOST = 64
"""Conformations that are looked at one by one; long peptides have thousands, of a few frames each."""

FEW = 400
"""Members of a conformation among which its representative is sought."""


@dataclass(frozen=True, eq=False)
class Conformations:
    """Which backbone conformation each frame is in.

    Attributes:
        names: one letter per residue, in the order of the chain; the most populated conformation first.
        labels: (chains, frames) index into the names; -1 for a frame that is not finite.
    """

    names: tuple[str, ...]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.names)

    def of(self, name: str) -> np.ndarray:
        """(chains, frames) whether a frame is in a conformation; never, if the run has not met it."""
        return self.labels == self.names.index(name) if name in self.names else np.zeros(self.labels.shape, bool)

    def populations(self) -> dict[str, float]:
        """The share of each in all frames, the largest first."""
        counts = np.bincount(self.labels[self.labels >= 0], minlength=len(self))
        return {name: float(n) / self.labels.size for name, n in zip(self.names, counts, strict=True)}

    def table(self, frame_spacing: float = 1.0, most: int = MOST) -> list[dict[str, Any]]:
        """Population of the most populated with standard errors, and when each was met: plain data.

        ``first_met`` is how far the chain that was first had come, ``median_first_met`` the median over chains (None
        where most chains never came there), in the unit of ``frame_spacing``.
        """
        rows = []
        n_chains, n_frames = self.labels.shape
        for name in self.names[:most]:
            inside = self.of(name)
            population = mean(inside.astype(np.float64))
            first = np.where(inside.any(1), inside.argmax(1), n_frames)
            middle = np.sort(first)[(n_chains - 1) // 2]
            rows.append(
                {
                    "name": name,
                    "population": population.value,
                    "error": population.error,
                    "ess": population.ess,
                    "first_met": float(first.min() * frame_spacing),
                    "median_first_met": float(middle * frame_spacing) if middle < n_frames else None,
                    "chains": int(inside.any(1).sum()),
                }
            )
        return rows


def find_conformations(angles: Mapping[str, np.ndarray]) -> Conformations | None:
    """Name the backbone conformation of every frame.

    Letters of a residue with phi and psi are those of ABEGO (Wintjens, Rooman & Wodak, J. Mol. Biol. 255, 235 (1996),
    with the borders that Rosetta uses): ``A`` (phi < 0, psi in [-75, 50) degrees), ``B`` (phi < 0, other psi), ``G``
    (phi >= 0, psi in [-100, 100)), ``E`` (phi >= 0, other psi). An end without phi is ``a`` or ``b`` by psi alone, an
    end without psi ``-`` or ``+`` by the sign of phi.

    Args:
        angles: of :func:`timewarp.analysis.torsion_angles`, (chains, frames) in rad.

    Returns:
        None for a molecule without phi and psi, or without a finite frame.

    >>> two = {"psi_1": np.deg2rad([[140.0, 0.0, 0.0]]), "phi_2": np.deg2rad([[-70.0, -70.0, 60.0]])}
    >>> find_conformations(two).names
    ('a+', 'a-', 'b-')
    """
    numbers = sorted({int(name.split("_")[1]) for name in angles if name.startswith(("phi_", "psi_"))})
    if not numbers:
        return None
    known = [angles[name] for n in numbers for name in (f"phi_{n}", f"psi_{n}") if name in angles]
    finite = np.isfinite(np.stack(known)).all(0)
    letters = [_letters(angles.get(f"phi_{n}"), angles.get(f"psi_{n}")) for n in numbers]
    shape = letters[0].shape
    words = np.stack([x[finite] for x in letters], 1)
    if len(words) == 0:
        return None
    joined = np.ascontiguousarray(words).view(f"<U{len(numbers)}").ravel()
    names, labels, counts = np.unique(joined, return_inverse=True, return_counts=True)
    order = np.lexsort((names, -counts))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    of_frame = np.full(shape, -1, dtype=np.int64)
    of_frame[finite] = rank[labels]
    return Conformations(tuple(str(names[k]) for k in order), of_frame)


def representative(angles: Mapping[str, np.ndarray], inside: np.ndarray, seed: int = 0) -> np.ndarray:
    """Frames of a conformation, the most typical first: the medoid of some of its members, then others by chance.

    Distances are those of all named torsions on the circle.

    Args:
        angles: name -> (chains, frames) in rad.
        inside: (chains, frames) which frames belong to it.
        seed: of the choice of members.

    Returns:
        Flat indices of frames.

    Raises:
        ValueError: no frame belongs to it.
    """
    members = np.flatnonzero(inside.ravel())
    if len(members) == 0:
        raise ValueError("a conformation without frames has no representative")
    members = np.random.default_rng(seed).permutation(members)[:FEW]
    known = [angles[name].ravel()[members] for name in angles if name.split("_")[0] in KINDS]
    z = np.exp(1j * np.stack(known, 1).astype(np.float64))
    closeness = (z @ z.conj().T).real.sum(1)
    best = int(closeness.argmax())
    return np.concatenate([members[best : best + 1], np.delete(members, best)])


def _letters(phi: np.ndarray | None, psi: np.ndarray | None) -> np.ndarray:
    turn = None if psi is None else np.rad2deg(psi)
    if turn is None:
        assert phi is not None
        return np.where(phi < 0, "-", "+")
    helical = (turn >= -75) & (turn < 50)
    if phi is None:
        return np.where(helical, "a", "b")
    left = np.where((turn >= -100) & (turn < 100), "G", "E")
    return np.where(phi < 0, np.where(helical, "A", "B"), left)
