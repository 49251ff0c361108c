"""The experiment on exploration: states found against time, beside MD."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UserError
from . import read, tell, write

if TYPE_CHECKING:
    from ...trajectories import RunFolder


def exploration(args: argparse.Namespace) -> int:
    """States that an exploration found, and when; and when MD found its own."""
    from ...analysis import find_states
    from ...analysis.states import STATE_RADIUS_DEGREES, circular_distance
    from ...report.experiments import found_plot
    from ...sampling.exploration import explored_states
    from ...trajectories import RunFolder

    run = RunFolder.open(args.run)
    if run.kind != "exploration":
        raise UserError(f"{args.run} is a run of kind {run.kind}; give the folder of `timewarp explore`")
    summary = run.summary() or {}
    if "states" not in summary or "wall_s" not in summary:
        raise UserError(f"{args.run} has no finished summary.json; let `timewarp explore` end, then try again")
    trajectory = run.trajectory()
    states, angles = explored_states(trajectory)
    against = summary["states"]["against_time"]
    seconds, found, moves = (np.array([row[k] for row in against], float) for k in ("seconds", "found", "step"))
    curves = {"exploration (biased)": (np.append(seconds, summary["wall_s"]), np.append(found, found[-1]))}
    data: dict[str, Any] = {
        "exploration": {
            "run": str(args.run),
            "states": len(states),
            "wall_s": summary["wall_s"],
            "against_time": against,
        },
        "torsions": summary["states"]["torsions"],
        "radius_degrees": STATE_RADIUS_DEGREES,
    }
    print(
        f"exploration: {len(states)} states in {summary['wall_s']:.1f} s (biased: how often each occurs means nothing)"
    )
    if args.reference is not None:
        _check_same(run, RunFolder.open(args.reference), args)
        source = read(args.reference, args, thinned=False)
        tell(args, f"states of {args.reference}")
        md_states, md_angles = explored_states(source.trajectory)
        per_frame = source.seconds() / source.trajectory.n_frames
        when = (md_states.first // source.trajectory.n_chains + 1) * per_frame
        curves["MD"] = (np.append(when, source.seconds()), np.append(np.arange(1, len(md_states) + 1), len(md_states)))
        radius = np.deg2rad(STATE_RADIUS_DEGREES)

        def unseen(founders: np.ndarray, elsewhere: np.ndarray) -> int:
            """Founders that no frame of the other run is in one state with."""
            return sum(bool((circular_distance(elsewhere, f) > radius).all()) for f in founders)

        only_here = unseen(angles[states.first], md_angles)
        only_there = unseen(md_angles[md_states.first], angles)
        data["md"] = {
            "run": str(args.reference),
            "states": len(md_states),
            "wall_s": source.seconds(),
            "against_time": [{"seconds": float(t), "found": k} for k, t in enumerate(when, 1)],
            "only_in_exploration": only_here,
            "only_in_md": only_there,
        }
        print(f"MD:          {len(md_states)} states in {source.seconds():.1f} s")
        print(f"only exploration met {only_here} of its states, only MD {only_there} of its own")
        together = find_states(np.concatenate([angles, md_angles]))
        data["together"] = len(together)
    return write(
        args, "exploration", data, [("exploration", found_plot(curves, (moves * run.config["n_chains"], found)))]
    )


def _check_same(run: RunFolder, other: RunFolder, args: argparse.Namespace) -> None:
    """Refuse MD of another molecule or force field.

    Raises:
        UserError: they differ.
    """
    if run.atoms.fingerprint != other.atoms.fingerprint:
        raise UserError(f"{args.reference} holds another molecule: {other.name}, not {run.name}")
    here, there = run.config.get("preset"), other.config.get("preset")
    if here != there:
        raise UserError(f"{args.reference} is under {there} and {args.run} under {here}: not comparable")
