"""What an exploration found, and when; beside the states that molecular dynamics found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..analysis import find_states
from ..analysis.states import STATE_RADIUS_DEGREES, circular_distance
from ..judging import check_comparable, check_length, seconds_of
from ..report.exploration import found_plot
from ..report.plots import Plot
from ..sampling.exploration import explored_states
from ..trajectories import Source

Curve = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Survey:
    """States found by an exploration; how often it was in each means nothing.

    Attributes:
        source: the exploration.
        reference: MD of the same molecule, if there is any.
        summary: the exploration's ``summary.json``.
        found: numbers of states, in all and against time, of both.
        curves: run -> seconds and states found by then.
        moves: moves of all chains, and states found by then.
    """

    source: Source
    reference: Source | None
    summary: dict[str, Any]
    found: dict[str, Any]
    curves: dict[str, Curve]
    moves: Curve

    def to_json(self) -> dict[str, Any]:
        """What ``analysis.json`` of an exploration holds."""
        return {
            "run": {"name": self.source.name, "kind": self.source.kind},
            "reference": None if self.reference is None else str(self.reference.path),
            "verdict": None,  # there is nothing to trust in biased frames
            **self.found,
        }

    def plot(self) -> Plot:
        """States found against time, and against moves."""
        return found_plot(self.curves, self.moves)


def survey(source: Source, reference: Source | None = None, *, progress: Callable[[str], None] | None = None) -> Survey:
    """Count the states that an exploration met, against time, and those of MD beside them.

    States are regions of (phi, psi) within 60 degrees of the first frame that was met there.

    Args:
        source: a finished run of ``timewarp explore``.
        reference: MD of the same molecule under the same force field.
        progress: called with the name of each part before it is done.

    Raises:
        ValueError: ``source`` is no finished exploration; the reference is biased, too short, of another molecule or
            force field, or does not know how long it took.
    """
    if source.kind != "exploration":
        raise ValueError(f"{source.path} is a run of kind {source.kind}; give the folder of `timewarp explore`")
    summary = dict(source.summary() or {})
    if "states" not in summary or "wall_s" not in summary:
        raise ValueError(f"{source.path} has no finished summary.json; let `timewarp explore` end, then try again")
    if reference is not None:
        check_comparable(source, reference)
    tell = progress or (lambda part: None)
    tell("states of the exploration")
    trajectory = source.trajectory()
    states, angles = explored_states(trajectory)
    against = summary["states"]["against_time"]
    seconds, counts, steps = (np.array([row[key] for row in against], float) for key in ("seconds", "found", "step"))
    curves: dict[str, Curve] = {
        "exploration (biased)": (np.append(seconds, summary["wall_s"]), np.append(counts, counts[-1]))
    }
    found: dict[str, Any] = {
        "exploration": {"states": len(states), "wall_s": summary["wall_s"], "against_time": against},
        "torsions": summary["states"]["torsions"],
        "radius_degrees": STATE_RADIUS_DEGREES,
        "md": None,
        "together": None,
    }
    if reference is not None:
        tell("states of the reference")
        md = reference.trajectory()
        check_length(reference, md)
        spent = seconds_of(reference, md)
        if spent is None:
            raise ValueError(
                f"{reference.path} does not say how long it took (wall_s of summary.json); let the run end, then try "
                "again"
            )
        md_states, md_angles = explored_states(md)
        when = (md_states.first // md.n_chains + 1) * spent / md.n_frames
        curves["MD"] = (np.append(when, spent), np.append(np.arange(1, len(md_states) + 1), len(md_states)))
        found["md"] = {
            "states": len(md_states),
            "wall_s": spent,
            "against_time": [{"seconds": float(t), "found": k} for k, t in enumerate(when, 1)],
            "only_in_exploration": _unseen(angles[states.first], md_angles),
            "only_in_md": _unseen(md_angles[md_states.first], angles),
        }
        found["together"] = len(find_states(np.concatenate([angles, md_angles])))
    return Survey(source, reference, summary, found, curves, (steps * trajectory.n_chains, counts))


def _unseen(founders: np.ndarray, elsewhere: np.ndarray) -> int:
    """Founders of states that no frame of the other run is in one state with."""
    radius = np.deg2rad(STATE_RADIUS_DEGREES)
    return sum(bool((circular_distance(elsewhere, founder) > radius).all()) for founder in founders)
