"""Which conformational states a run has met, and when: regions of torsion space, with no weights and no dynamics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STATE_RADIUS_DEGREES = 60.0
"""Frames are of one state if no torsion differs by more than this from the state's first frame."""


@dataclass(frozen=True)
class TorsionStates:
    """States of some frames, in the order in which they were met.

    Attributes:
        first: (states,) index of the frame that founded each.
        labels: (frames,) the state of each frame.
    """

    first: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.first)

    def visits(self) -> np.ndarray:
        """Frames of each state."""
        return np.bincount(self.labels, minlength=len(self))


def find_states(angles: np.ndarray, radius_degrees: float = STATE_RADIUS_DEGREES) -> TorsionStates:
    """Group frames by their torsions, in order: a frame that is far from all states so far founds a new one.

    It joins the first state whose founder is within ``radius_degrees`` in every torsion (leader clustering; Hartigan
    1975). What is found hangs on the order of the frames, but a state that was met stays met.

    Args:
        angles: (frames, torsions) in rad.
        radius_degrees: largest difference of a torsion within a state.

    Raises:
        ValueError: there is no torsion, the radius is not positive, or an angle is not finite.

    >>> find_states(np.deg2rad([[0.0], [170.0], [-170.0], [50.0]])).labels.tolist()
    [0, 1, 1, 0]
    """
    angles = np.asarray(angles, dtype=np.float64)
    if angles.ndim != 2 or angles.shape[1] == 0:
        raise ValueError(f"states are told apart by torsions: expected (frames, torsions), got {angles.shape}")
    if not radius_degrees > 0:
        raise ValueError(f"the radius of a state must be positive, got {radius_degrees} degrees")
    if not np.isfinite(angles).all():
        raise ValueError("an angle is not finite; check the run's frames")
    labels = np.full(len(angles), -1, dtype=np.int64)
    first: list[int] = []
    left = np.arange(len(angles))
    while len(left):
        near = circular_distance(angles[left], angles[left[0]]) <= np.deg2rad(radius_degrees)
        labels[left[near]] = len(first)
        first.append(int(left[0]))
        left = left[~near]
    return TorsionStates(np.array(first, dtype=np.int64), labels)


def farthest_first(angles: np.ndarray, n: int, start: int = 0) -> np.ndarray:
    """Indices of ``n`` rows spread as far as possible: each next one is that farthest from all before (Gonzalez 1985).

    Args:
        angles: (rows, torsions) in rad.
        n: at most the number of rows.
        start: the first row.
    """
    chosen = [start]
    distance = circular_distance(angles, angles[start])
    while len(chosen) < min(n, len(angles)):
        distance[chosen] = -1.0
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, circular_distance(angles, angles[chosen[-1]]))
    return np.array(chosen, dtype=np.int64)


def circular_distance(angles: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Largest difference of a torsion, in rad, of (..., torsions) from one centre."""
    return np.abs((angles - centre + np.pi) % (2 * np.pi) - np.pi).max(-1)
