"""What a run of chains amounts to: acceptance, jumps, convergence, cost, as plain data for ``summary.json``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..analysis import backbone_torsions, cis_populations, diagnose, torsion_angles
from ..geometry import dihedrals, jumps
from ..shapes import Float
from ..trajectories import Trajectory
from .chains import ChainRecord
from .kernel import Info
from .target import Restriction

FRAMES_AT_ONCE = 20_000
PAIRS = 100_000


def summarise(trajectory: Trajectory, record: ChainRecord, restriction: Restriction) -> dict[str, Any]:
    """The measured part of a sampling run's summary.

    Args:
        trajectory: all stored samples.
        record: what :func:`timewarp.sampling.run_chains` returned.
        restriction: the stereochemistry that no sample may have left.
    """
    convergence = diagnose(trajectory)
    flips, turns = count_crossings(trajectory, restriction)
    wall_s = max(record.wall_s, 1e-9)
    return {
        "n_chains": trajectory.n_chains,
        "n_samples": trajectory.n_chains * trajectory.n_frames,
        "wall_s": record.wall_s,
        "energy_evaluations": record.energy_evaluations,
        "force_evaluations": record.force_evaluations,
        "kernels": kernel_table(record.tally, independent_jump_rate(trajectory)),
        "rhat": convergence["rhat"],
        "ess": convergence["ess"],
        "ess_per_second": {name: value / wall_s for name, value in convergence["ess"].items()},
        "cis_trans": _cis_trans(trajectory, restriction),
        "chirality_rejected": sum(int(o.flipped.sum()) for o in record.tally.values()),
        "chirality_flips": flips,
        "cis_trans_flips": turns,
        "samples_per_second": trajectory.n_chains * trajectory.n_frames / wall_s,
        "warmup_wall_s": record.warmup_wall_s,
        "warmup_energy_evaluations": record.warmup_energy_evaluations,
        "warmup_force_evaluations": record.warmup_force_evaluations,
        "tuning": record.tuning,
    }


def _cis_trans(trajectory: Trajectory, restriction: Restriction) -> dict[str, Any]:
    """Which peptide bonds stayed as they were, and how often the others are cis."""
    names = [f"omega_{trajectory.atoms.residue_numbers[row[1]]}" for row in restriction.peptide_bonds.tolist()]
    free = [name for name, is_free in zip(names, restriction.free.tolist(), strict=True) if is_free]
    kinds = ["cis" if is_cis else "trans" for is_cis in restriction.is_cis.tolist()]
    return {
        "setting": restriction.cis_trans,
        "kept": {name: kind for name, kind in zip(names, kinds, strict=True) if name not in free},
        "free": cis_populations(torsion_angles(trajectory, names=free), free, trajectory.superchains),
    }


def kernel_table(tally: Info, independent_jumps: float) -> dict[str, dict[str, Any]]:
    """Acceptance of each kernel over production, non-finite proposals counted as rejected, and of each chain.

    Args:
        tally: outcomes by kernel name.
        independent_jumps: fraction of independent pairs of samples that differ by a jump; a kernel's ``jump`` is that
            fraction among its accepted moves, divided by this.
    """
    table: dict[str, dict[str, Any]] = {}
    for name, outcome in tally.items():
        proposed, accepted = int(outcome.proposed.sum()), int(outcome.accepted.sum())
        table[name] = {
            "proposed": proposed,
            "accepted": accepted,
            "acceptance": accepted / proposed if proposed else None,
            "nonfinite": int(outcome.nonfinite.sum()),
            "restricted": int(outcome.restricted.sum()),
            "acceptance_per_chain": _ratios(outcome.accepted, outcome.proposed),
        }
        jumped = int(outcome.jumped.sum())
        can_jump = accepted > 0 and independent_jumps > 0
        table[name]["jump"] = jumped / accepted / independent_jumps if can_jump else None
        table[name]["jumped"] = jumped
    return table


def independent_jump_rate(trajectory: Trajectory, seed: int = 0) -> float:
    """Fraction of pairs of samples of *different* chains that differ by more than 60 degrees in a phi or psi."""
    torsions = backbone_torsions(trajectory.atoms)
    n_chains, n_frames = trajectory.n_chains, trajectory.n_frames
    if len(torsions) == 0 or n_chains < 2:
        return 0.0
    generator = torch.Generator().manual_seed(seed)
    first = torch.randint(n_chains, (PAIRS,), generator=generator)
    second = (first + torch.randint(1, n_chains, (PAIRS,), generator=generator)) % n_chains
    frames = torch.randint(n_frames, (2, PAIRS), generator=generator)
    angles = dihedrals(trajectory.positions, torsions)
    return float(jumps(angles[first, frames[0]], angles[second, frames[1]]).any(-1).double().mean())


def count_crossings(trajectory: Trajectory, restriction: Restriction) -> tuple[int, int]:
    """Samples with another chirality, and with another cis/trans pattern, than the reference. Both must be 0."""
    flips = turns = 0
    frames: Float[Tensor, "frames atoms 3"] = trajectory.positions.flatten(0, 1)
    for chunk in frames.split(FRAMES_AT_ONCE):
        chunk = chunk.to(restriction.signs.device)
        flips += int(restriction.flipped(chunk).sum())
        turns += int(restriction.turned(chunk).sum())
    return flips, turns


def _ratios(part: Tensor, whole: Tensor) -> list[float]:
    return [round(a / max(b, 1), 4) for a, b in zip(part.tolist(), whole.tolist(), strict=True)]
