"""Metropolis with single-torsion turns: no network, the honest baseline of every learned move."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from ..geometry import InternalTree
from ..shapes import Bool, Float, Int
from ..state import State
from .flow import jumps
from .kernel import Info, Kernel
from .metropolis import Proposal, metropolis
from .target import Target


class TorsionKernel(Kernel):
    """Turn one rotatable bond, chosen at random in each chain, by a random angle.

    The turn is drawn uniformly from ``[-window, window]``; with the default of half a turn the new angle is uniform on
    the circle. Turning a rigid part of the molecule about a bond preserves Cartesian volume, and a turn is as likely as
    its reverse, so the proposal is symmetric: ``log_q_ratio`` is 0. Which bond turns does not depend on the state.

    Args:
        target: a target that is invariant to rigid motion.
        tree: the molecule's internal-coordinate tree; its ``rotatable`` bonds turn.
        window_degrees: largest turn, at most 180.
        watched: integer (n, 4), torsions (phi, psi) whose jumps are counted.
        name: the key of its outcomes.

    Raises:
        ValueError: no bond is rotatable, the window is not in (0, 180], or the target is not invariant.
    """

    def __init__(
        self,
        target: Target,
        tree: InternalTree,
        *,
        window_degrees: float = 180.0,
        watched: Int[Tensor, "n 4"] | None = None,
        name: str = "torsion",
    ) -> None:
        if not tree.rotatable:
            raise ValueError("the molecule has no rotatable bond to turn; sample it with hmc alone")
        if not 0 < window_degrees <= 180:
            raise ValueError(f"window_degrees must be in (0, 180], got {window_degrees}")
        if not target.invariant:
            raise ValueError("torsion moves need a target that is invariant to rigid motion")
        super().__init__(target, name)
        self.window = math.radians(window_degrees)
        self.watched = torch.zeros(0, 4, dtype=torch.long) if watched is None else watched
        self.bonds = tree.torsions[:, 1:3]
        self.turning = beyond_bond(tree)

    def __repr__(self) -> str:
        return f"TorsionKernel({self.name!r}, {len(self.bonds)} bonds, up to {math.degrees(self.window):g} degrees)"

    @torch.no_grad()
    def step(self, state: State, generator: torch.Generator) -> tuple[State, Info]:
        """Turn one bond of every chain."""
        x = state.positions
        which = torch.randint(len(self.bonds), (state.n_chains,), generator=generator, device=x.device)
        uniform = torch.rand(state.n_chains, generator=generator, device=x.device, dtype=x.dtype)
        turned = turn(
            x, self.bonds.to(x.device)[which], self.turning.to(x.device)[which], self.window * (2 * uniform - 1)
        )
        candidate = self.target.recentre(turned)
        new, outcome = metropolis(state, Proposal(candidate, torch.zeros_like(uniform)), self.target, generator)
        jumped = jumps(x, candidate, self.watched) & outcome.accepted.bool()
        return new, {self.name: replace(outcome, jumped=jumped.long())}


def beyond_bond(tree: InternalTree) -> Bool[Tensor, "rotatable atoms"]:
    """For each rotatable torsion (i, a, b, c), the atoms that turn with it: those hanging on a, on b's far side."""
    children: list[list[int]] = [[] for _ in range(tree.n_atoms)]
    for atom, (onto, _, _) in enumerate(tree.references):
        if onto >= 0:
            children[onto].append(atom)
    turning = torch.zeros(len(tree.rotatable), tree.n_atoms, dtype=torch.bool)
    for row, first in enumerate(tree.rotatable):
        a, b, _ = tree.references[first]
        stack = [i for i in children[a] if i != b]
        while stack:
            atom = stack.pop()
            turning[row, atom] = True
            stack.extend(children[atom])
    return turning


def turn(
    positions: Float[Tensor, "chains atoms 3"],
    bonds: Int[Tensor, "chains 2"],
    turning: Bool[Tensor, "chains atoms"],
    angle: Float[Tensor, " chains"],
) -> Float[Tensor, "chains atoms 3"]:
    """Turn atoms about the axis of a bond (a, b), so that a dihedral i-a-b-c of a turning atom i grows by ``angle``.

    Args:
        positions: in nm.
        bonds: atoms (a, b) of each chain's bond.
        turning: which atoms turn.
        angle: in rad.
    """
    chain = torch.arange(positions.shape[0], device=positions.device)
    origin = positions[chain, bonds[:, 0]][:, None]
    axis = origin - positions[chain, bonds[:, 1]][:, None]  # from b to a: then the IUPAC dihedral grows
    axis = axis / axis.norm(dim=-1, keepdim=True)
    arm = positions - origin
    cosine, sine = angle.cos()[:, None, None], angle.sin()[:, None, None]
    along = (arm * axis).sum(-1, keepdim=True)
    moved = arm * cosine + torch.linalg.cross(axis.expand_as(arm), arm) * sine + axis * along * (1 - cosine)
    return torch.where(turning[..., None], origin + moved, positions)
