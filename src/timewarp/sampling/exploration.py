"""Exploration: a learned proposal without Metropolis-Hastings. It finds states fast, and how often means nothing."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..analysis import find_states, named_torsions, soft_torsions
from ..analysis.states import STATE_RADIUS_DEGREES, TorsionStates, farthest_first
from ..flows.proposer import Proposal, Proposer, SpeculativeProposer
from ..geometry import dihedrals
from ..shapes import Float
from ..state import Atoms, State
from ..trajectories import Trajectory
from ..trajectories.description import BIASED
from .chains import ChainRecord
from .kernel import Info, Kernel, Outcome
from .metropolis import jumps
from .summary import count_crossings
from .target import Restriction, Target

THRESHOLD_KJ_MOL = 300.0
"""A sample is refused if it is higher in energy than the last one by more than this (Klein et al. 2023)."""
MOST_LISTED = 1000
"""States that a summary lists."""


class ExplorationKernel(Kernel):
    """Take what the proposal draws, unless its energy rises too far or it crosses the target's restriction.

    This is the exploration algorithm of Klein et al. (2023, section 4.2): x' is taken if ``U(x') - U(x)`` is at most
    the threshold. The paper refuses other chirality; we refuse the other kind of peptide bond as well, since the states
    are to be confirmed on a target that excludes both. Nothing here leaves the Boltzmann distribution
    invariant: ``exact`` is False, a :class:`Cycle` refuses it, and its run is of kind ``exploration``.

    In its :class:`Outcome`, ``accepted`` and ``acceptance`` are the samples that were taken.

    Args:
        target: the distribution whose states are looked for.
        proposer: where candidates come from.
        threshold_kJ_mol: the largest rise of the energy, in kJ/mol.
        name: the key of its outcomes.

    Raises:
        ValueError: the threshold is not a number of 0 or more.
    """

    exact: ClassVar[bool] = False

    def __init__(
        self,
        target: Target,
        proposer: Proposer,
        *,
        threshold_kJ_mol: float = THRESHOLD_KJ_MOL,
        name: str = "explore",
    ) -> None:
        if not (math.isfinite(threshold_kJ_mol) and threshold_kJ_mol >= 0):
            raise ValueError(f"the energy threshold must be 0 kJ/mol or more, got {threshold_kJ_mol}; try 300")
        super().__init__(target, name)
        self.proposer = proposer
        self.threshold_kJ_mol = threshold_kJ_mol

    def __repr__(self) -> str:
        return f"ExplorationKernel({self.name!r}, {self.threshold_kJ_mol:g} kJ/mol, {self.proposer!r})"

    @torch.no_grad()
    def step(self, state: State, generator: torch.Generator) -> tuple[State, Info]:
        """One candidate of every chain, taken or refused."""
        drawn = self._draw(state.positions, generator)
        candidate = drawn.positions if drawn.is_centred else self.target.recentre(drawn.positions)
        energy = self.target.energy(candidate)
        finite = torch.isfinite(energy) & torch.isfinite(candidate).all(-1).all(-1)
        flipped = self.target.flipped(candidate) & finite
        crossed = flipped | (self.target.turned(candidate) & finite)
        taken = finite & ~crossed & (energy.double() - state.energy.double() <= self.threshold_kJ_mol)
        new = State(
            torch.where(taken[:, None, None], candidate, state.positions), torch.where(taken, energy, state.energy)
        )
        outcome = Outcome(
            proposed=torch.ones_like(taken, dtype=torch.long),
            accepted=taken.long(),
            nonfinite=(~finite).long(),
            restricted=crossed.long(),
            flipped=flipped.long(),
            jumped=(jumps(state.positions, candidate, self.target.watched) & taken).long(),
            acceptance=taken.double(),
        )
        return new, {self.name: outcome}

    def _draw(self, x: Tensor, generator: torch.Generator) -> Proposal:
        """One candidate per chain; its log ratio is not worked out where that is work of its own."""
        if isinstance(self.proposer, SpeculativeProposer):
            none = torch.zeros(len(x), dtype=torch.long, device=x.device)
            return Proposal(self.proposer.speculate(x, 1, none, generator)[0][0])
        return self.proposer.propose(x, generator)


def state_torsions(atoms: Atoms) -> dict[str, tuple[int, int, int, int]]:
    """The torsions that tell states apart: every phi and psi, or, without any, those of all rotatable bonds.

    Raises:
        ValueError: no bond of the molecule turns.
    """
    found = {name: row for name, row in named_torsions(atoms).items() if name.startswith(("phi_", "psi_"))}
    if not found:
        found = soft_torsions(atoms)
    if not found:
        rows = atoms.tree.torsions.tolist()
        found = {f"torsion_{i}": (row[0], row[1], row[2], row[3]) for i, row in enumerate(rows)}
    if not found:
        raise ValueError(f"{atoms.residues} has no rotatable bond: it has one state")
    return found


def explored_states(trajectory: Trajectory) -> tuple[TorsionStates, np.ndarray]:
    """States of a run in the order in which they were met (all chains side by side), and the angles of its frames.

    Returns:
        The states, whose frame ``i`` is frame ``i // n_chains`` of chain ``i % n_chains``; angles (frames, torsions).
    """
    rows = torch.tensor(list(state_torsions(trajectory.atoms).values()))
    angles = dihedrals(trajectory.positions, rows).transpose(0, 1).flatten(0, 1).double().numpy()
    return find_states(angles), angles


def summarise_exploration(trajectory: Trajectory, record: ChainRecord, restriction: Restriction) -> dict[str, Any]:
    """The measured part of an exploration's summary: what was found and when, and no average of anything.

    Args:
        trajectory: all stored frames.
        record: what :func:`timewarp.sampling.run_chains` returned.
        restriction: the stereochemistry that no frame may have left.
    """
    states, angles = explored_states(trajectory)
    n_chains = trajectory.n_chains
    energies = trajectory.energies.T.flatten().numpy()
    lowest = np.full(len(states), np.inf)
    np.minimum.at(lowest, states.labels, energies)
    steps = trajectory.steps.numpy()[states.first // n_chains]
    per_step = record.wall_s / max(int(trajectory.steps[-1]), 1)
    names = list(state_torsions(trajectory.atoms))
    outcome = record.tally["explore"]
    counts = {key: int(value.sum()) for key, value in outcome.tensors().items()}
    flips, turns = count_crossings(trajectory, restriction)
    visits = states.visits()
    return {
        "biased": True,
        "warning": BIASED,
        "n_chains": n_chains,
        "n_frames": trajectory.n_frames,
        "wall_s": record.wall_s,
        "energy_evaluations": record.energy_evaluations,
        "moves": {
            "proposed": counts["proposed"],
            "taken": counts["accepted"],
            "refused_energy": counts["proposed"] - counts["accepted"] - counts["restricted"] - counts["nonfinite"],
            "refused_chirality": counts["flipped"],
            "refused_cis_trans": counts["restricted"] - counts["flipped"],
            "nonfinite": counts["nonfinite"],
            "jumped": counts["jumped"],
        },
        "chirality_flips": flips,
        "cis_trans_flips": turns,
        "states": {
            "torsions": names,
            "radius_degrees": STATE_RADIUS_DEGREES,
            "found": len(states),
            "against_time": [
                {"step": int(step), "seconds": float(step * per_step), "found": int((steps <= step).sum())}
                for step in np.unique(steps)
            ],
            "listed": [
                {
                    **{name: round(float(np.rad2deg(a)), 1) for name, a in zip(names, angles[frame], strict=True)},
                    "first_step": int(steps[k]),
                    "frames": int(visits[k]),
                    "lowest_energy": float(lowest[k]),
                }
                for k, frame in enumerate(states.first[:MOST_LISTED].tolist())
            ],
        },
    }


def distinct_states(
    trajectory: Trajectory, n: int, restriction: Restriction | None = None
) -> Float[Tensor, "states atoms 3"]:
    """At most ``n`` configurations of different states of an exploration: each state's lowest in energy.

    If there are more states than that, those that are farthest from each other in torsion space are taken, the lowest
    in energy first.

    Args:
        trajectory: of the exploration.
        n: how many are wanted.
        restriction: frames outside of it are left out.

    Raises:
        ValueError: all frames are outside the restriction.
    """
    frames = trajectory.positions.transpose(0, 1).flatten(0, 1)
    energies = trajectory.energies.T.flatten().numpy()
    inside = np.ones(len(frames), dtype=bool)
    if restriction is not None:
        x = frames.to(restriction.signs.device)
        inside = ~restriction.crossed(x).cpu().numpy()
    if not inside.any():
        raise ValueError(
            "every frame of the exploration has another chirality or cis/trans pattern than the molecule; explore it "
            "from the same structure"
        )
    states, angles = explored_states(trajectory)
    best: dict[int, int] = {}
    for frame in np.flatnonzero(inside)[np.argsort(energies[inside], kind="stable")].tolist():
        best.setdefault(int(states.labels[frame]), frame)
    rows = np.array(list(best.values()))  # lowest in energy first
    return frames[rows[farthest_first(angles[rows], n)]]
