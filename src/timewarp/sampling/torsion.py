"""Metropolis with single-torsion turns: no network, the honest baseline of every learned move."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..flows.proposer import Proposal
from ..geometry import InternalTree, beyond_bonds, ring_bonds, turn
from ..state import Atoms, State
from .move import Move
from .target import Target


class TorsionMove(Move):
    """Turn one bond, chosen at random in each chain, by a random angle.

    A rotatable bond turns by an angle drawn uniformly from ``[-window, window]``; with the default of half a turn the
    new angle is uniform on the circle. A stiff bond that is in no ring (a peptide bond) turns by at most the smaller
    ``stiff_window``: local dynamics takes long to move the heavy halves of a molecule about such a bond, and this move
    takes one energy. Where there are bonds of both kinds, each kind is chosen half of the time. A stiff bond that may
    be cis as well as trans turns by half a turn more every other time.

    Turning a rigid part of the molecule about a bond preserves Cartesian volume, and a turn is as likely as its
    reverse, so the proposal is symmetric. Which bond turns does not depend on the state.

    Args:
        target: a target that is invariant to rigid motion.
        tree: the internal-coordinate tree whose ``rotatable`` bonds turn; the molecule's by default.
        stiff: atoms of ``tree.proper`` whose bonds turn a little; by default those of :func:`stiff_torsions` with the
            molecule's tree, none with another.
        window_degrees: largest turn of a rotatable bond, at most 180.
        stiff_window_degrees: largest turn of a stiff bond, at most 180.
        free: those of ``stiff`` whose bonds may be cis as well as trans; by default those that the target's restriction
            leaves free.
        name: the key of its outcomes.

    Raises:
        ValueError: there is no bond to turn, a window is not in (0, 180], or the target is not invariant.
    """

    name = "torsion"

    def __init__(
        self,
        target: Target,
        tree: InternalTree | None = None,
        *,
        stiff: Sequence[int] | None = None,
        window_degrees: float = 180.0,
        stiff_window_degrees: float = 25.0,
        free: Sequence[int] | None = None,
        name: str | None = None,
    ) -> None:
        if free is None:
            free = () if target.restriction is None else target.restriction.free_torsions
        if tree is None:
            if target.atoms is None:
                raise ValueError("this target does not know its atoms: give the torsion move a tree")
            tree = target.atoms.tree
            stiff = stiff_torsions(target.atoms) if stiff is None else stiff
        stiff = () if stiff is None else stiff
        turning = (*tree.rotatable, *stiff)
        if not turning:
            raise ValueError("the molecule has no rotatable bond to turn; sample it with hmc alone")
        for window in (window_degrees, stiff_window_degrees):
            if not 0 < window <= 180:
                raise ValueError(f"window_degrees must be in (0, 180], got {window}")
        if not target.invariant:
            raise ValueError("torsion moves need a target that is invariant to rigid motion")
        super().__init__(target, name)
        # One energy, and the decision, which takes the time of a force on some 110 atoms (64 chains, one core).
        self.cost = 1.0 + 110.0 / len(tree.order)
        self.bonds = torch.tensor([tree.references[i][:2] for i in turning])
        self.turning = beyond_bonds(tree, turning)
        self.flips = torch.tensor([i in free for i in turning])
        n_soft, n_stiff = len(tree.rotatable), len(stiff)
        windows = [window_degrees] * n_soft + [stiff_window_degrees] * n_stiff
        self.windows = torch.deg2rad(torch.tensor(windows, dtype=torch.float64))
        self.weights = torch.tensor(
            [1 / max(n_soft, 1)] * n_soft + [1 / max(n_stiff, 1)] * n_stiff, dtype=torch.float64
        )

    def __repr__(self) -> str:
        return f"TorsionMove({self.name!r}, {len(self.bonds)} bonds)"

    def propose(self, state: State, generator: torch.Generator) -> Proposal:
        """Turn one bond of every chain."""
        x = state.positions
        weights = self.weights.to(x.device)
        which = torch.multinomial(weights, state.n_chains, replacement=True, generator=generator)
        uniform = torch.rand(state.n_chains, generator=generator, device=x.device, dtype=x.dtype)
        angle = self.windows.to(x)[which] * (2 * uniform - 1)
        if self.flips.any():
            other = torch.rand(state.n_chains, generator=generator, device=x.device, dtype=x.dtype) < 0.5
            angle = angle + torch.pi * (other & self.flips.to(x.device)[which])
        return Proposal(turn(x, self.bonds.to(x.device)[which], self.turning.to(x.device)[which], angle))


def stiff_torsions(atoms: Atoms) -> tuple[int, ...]:
    """Atoms that carry the proper torsion of a stiff bond that is in no ring: peptide bonds, guanidinium, carboxyl."""
    rings = ring_bonds(atoms.n_atoms, atoms.bonds)
    tree = atoms.tree
    stiff = (i for i in tree.proper if i not in tree.rotatable)
    return tuple(i for i in stiff if frozenset(tree.references[i][:2]) not in rings)
