"""The one judge of a run: what `analyse`, `report`, `evaluate`, lists and notebooks say of it comes from here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .analysis import Verdict, analyse, compare, judge
from .analysis.convergence import FEWEST_FRAMES
from .analysis.geometry import pdb_positions
from .analysis.slow import SlowMotions, slow_motions
from .analysis.speed import compare_speed
from .analysis.tica import LAG_PS
from .analysis.torsions import ring_torsions
from .trajectories import Source, Trajectory, check_same_molecule


@dataclass(frozen=True)
class Judged:
    """A run that has been read and analysed, with its reference where there is one.

    Attributes:
        source: the run.
        trajectory: its frames.
        analysis: of :func:`timewarp.analysis.analyse`.
        verdict: whether the samples can be trusted.
        reference: the reference, if there is one.
        reference_trajectory: its frames.
        comparison: of :func:`timewarp.analysis.compare`, with a reference; and ``speed``, of
            :func:`~timewarp.analysis.speed.compare_speed`, where both know how long they took and the reference is
            plain MD.
        slow: ``run`` and ``reference`` in the slow coordinates of the latter, where there are any.
        seconds: that the stored frames of the run took; None where its summary does not say so of just these.
    """

    source: Source
    trajectory: Trajectory
    analysis: dict[str, Any]
    verdict: Verdict
    reference: Source | None = None
    reference_trajectory: Trajectory | None = None
    comparison: dict[str, Any] | None = None
    slow: SlowMotions | None = None
    seconds: float | None = None

    def to_json(self) -> dict[str, Any]:
        """What ``analysis.json`` holds."""
        return {
            "run": {"name": self.source.name, "kind": self.source.kind},
            "reference": None if self.reference is None else str(self.reference.path),
            **self.analysis,
            "comparison": self.comparison,
            "verdict": self.verdict.to_json(),
        }


def judge_run(
    source: Source,
    reference: Source | None = None,
    *,
    discard: int = 0,
    stride: int = 1,
    slow: bool = False,
    lag_ps: float = LAG_PS,
    progress: Callable[[str], None] | None = None,
) -> Judged:
    """Analyse a run, lay it beside a reference where there is one, and judge it.

    Args:
        source: a run folder, or frames from elsewhere.
        reference: long MD (or a long run) of the same molecule, temperature and force field.
        discard: frames dropped from the start of each chain of ``source``.
        stride: every ``stride``-th frame of ``source`` is used.
        slow: look for slow coordinates without a reference, too.
        lag_ps: lag of TICA in ps, at most a fifth of a replica.
        progress: called with the name of each part before it is done.

    Raises:
        ValueError: different molecules, temperatures or force fields, too few frames, or one is an exploration.
    """
    tell = progress or (lambda part: None)
    source.check_unbiased()
    if reference is not None:
        check_comparable(source, reference)
    trajectory = source.trajectory(stride=stride, discard=discard)
    check_length(source, trajectory)
    temperature = source.temperature_K
    analysis = analyse(
        trajectory,
        temperature_K=temperature,
        summary=source.summary(),
        start=pdb_positions(source.topology_pdb, source.atoms.n_atoms),
        unturned=unturned_torsions(source),
        cis_trans=source.config.get("cis_trans", "fixed"),
        progress=progress,
    )
    seconds = seconds_of(source, trajectory, discard, stride)
    other = None if reference is None else reference.trajectory()
    motions = None
    if slow or other is not None:
        tell("slow coordinates")
        runs = {"run": trajectory} | ({} if other is None else {"reference": other})
        sources = {"run": source, "reference": reference}
        dynamics = [name for name in runs if (of := sources[name]) is not None and of.is_dynamics]
        motions = slow_motions(runs, dynamics=dynamics, lag_ps=lag_ps)
    analysis |= {"seconds": seconds, "slow": None if motions is None else motions.to_json()}
    if reference is None or other is None:
        return Judged(source, trajectory, analysis, judge(analysis), slow=motions, seconds=seconds)
    tell("agreement with the reference")
    of_reference = motions if motions is not None and motions.fitted == "reference" else None
    comparison = compare(trajectory, other, temperature_K=temperature, slow=of_reference)
    of_md = seconds_of(reference, other) if reference.is_dynamics else None
    comparison |= {"speed": None, "reference_seconds": of_md}
    if seconds and of_md:
        tell("speed")
        plane = None if of_reference is None else (of_reference.projected["run"], of_reference.projected["reference"])
        comparison["speed"] = compare_speed(trajectory, other, (seconds, of_md), plane)
    verdict = judge(analysis, comparison)
    return Judged(source, trajectory, analysis, verdict, reference, other, comparison, motions, seconds)


def seconds_of(source: Source, trajectory: Trajectory, discard: int = 0, stride: int = 1) -> float | None:
    """How long the frames of a run took, those discarded included; None where its summary does not say.

    A run that has grown since its summary was written does not know.
    """
    summary = source.summary() or {}
    wall_s, counted = summary.get("wall_s"), summary.get("n_samples", summary.get("frames"))
    if not isinstance(wall_s, int | float) or not wall_s > 0 or not isinstance(counted, int):
        return None
    stored = discard + (trajectory.n_frames - 1) * stride + 1
    return float(wall_s) if stored <= counted / trajectory.n_chains < stored + stride else None


def check_comparable(source: Source, reference: Source) -> None:
    """Refuse a reference that is biased, or of another molecule, temperature or force field.

    An exploration has no temperature.

    Raises:
        ValueError: it is.
    """
    reference.check_unbiased()
    check_same_molecule(source, reference)
    if source.kind != "exploration" and abs(source.temperature_K - reference.temperature_K) > 1e-6:
        raise ValueError(
            f"{reference.path} is at {reference.temperature_K:g} K and {source.path} at {source.temperature_K:g} K; "
            "give a reference at the same temperature"
        )
    ours, theirs = source.config.get("preset"), reference.config.get("preset")
    if ours and theirs and ours != theirs:
        raise ValueError(f"{reference.path} is under {theirs} and {source.path} under {ours}: not comparable")
    ours, theirs = source.config.get("energy"), reference.config.get("energy")
    if ours and theirs and ours != theirs:
        raise ValueError(f"{reference.path} and {source.path} are under different force fields: not comparable")


def check_length(source: Source, trajectory: Trajectory) -> None:
    """Refuse chains that are too short for any estimate.

    Raises:
        ValueError: they are.
    """
    if trajectory.n_frames < FEWEST_FRAMES:
        raise ValueError(
            f"{source.path} has {trajectory.n_frames} frames per chain after discarding, at least {FEWEST_FRAMES} are "
            "needed: run longer"
        )


def unturned_torsions(source: Source) -> list[str]:
    """Named torsions that no move of a run turns: those in rings.

    The kernel ``concerted`` turns rings with enough bonds that turn. The kernel ``pucker`` exchanges the two puckers of
    proline's ring, and so do some tens of picoseconds of dynamics. A network that proposes all Cartesian coordinates (a
    run with a size of its batches, ``proposals``) moves rings too.
    """
    if source.config.get("proposals") is not None:
        return []
    kernels = source.config.get("kernels", ()) if source.kind == "chain" else ()
    puckers_flip = source.kind != "chain" or "pucker" in kernels
    return ring_torsions(source.atoms, puckers_flip=puckers_flip, rings_turn="concerted" in kernels)
