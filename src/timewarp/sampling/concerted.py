"""Concerted rotations: a ring, or the inside of a chain, turns about seven bonds at once, and closes exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..flows.proposer import Proposal
from ..geometry.concerted import turn_loops
from ..geometry.loops import Loop, Tables, find_path, find_rings
from ..shapes import Float
from ..state import Atoms, State
from .move import Move
from .target import Target

FAR_SHARE = 0.5
"""Part of the proposals whose driver turns by any angle and whose closure may be any."""
NEAREST_TURN_DEGREES, FARTHEST_TURN_DEGREES = 2.0, 60.0
"""The driver of the others turns by at most an angle between these, drawn log-uniformly."""
FOLLOWING = 3.0
"""How far the closure of a near proposal may be off, in turns of the driver."""
NO_WAY = -1e6
"""Log ratio of a proposal that is no closed ring, or has no way back: never accepted."""


def turning_rings(atoms: Atoms) -> list[Loop]:
    """The rings of a molecule that concerted rotations turn; see :func:`timewarp.geometry.loops.find_rings`."""
    return find_rings(atoms.elements, atoms.bonds)


def inner_path(atoms: Atoms) -> Loop | None:
    """The path through a molecule whose inside they turn; see :func:`timewarp.geometry.loops.find_path`."""
    return find_path(atoms.elements, atoms.bonds)


class ConcertedMove(Move):
    """Turn a bond of a ring by a random angle, and let six others close the ring again.

    A *window* has three corners, ring atoms whose two ring bonds both turn, and a driving bond between two of them.
    When the driver has turned, the six bonds at the corners can close the ring in at most 16 ways, all of which are
    found (:func:`timewarp.geometry.closure.solve_closures`); one is chosen. Bond lengths, bond angles and all other
    dihedrals stay as they are; what hangs on the ring moves with it. The same is done inside a chain, whose ends stay
    in place.

    Two kinds of proposal, drawn at random: *near* ones turn the driver a little, and prefer closures near the present
    one by a Gaussian weight of the angles; *far* ones turn it by any angle, and take any closure. Given the coordinates
    that stay, closures have volume element ``1 / |det B|`` (Dodd, Boone & Theodorou 1993), so that

    ``log_ratio = log p(x | x') - log p(x' | x) + log |det B(x)| - log |det B(x')|``

    where p is the chance of a closure among all that its driver allows; for far proposals one over their number. The
    window, the kind and the turn do not depend on the state. A proposal without a closure, or whose reverse does not
    find the present state among its closures, is never accepted.

    Args:
        target: a target that is invariant to rigid motion.
        atoms: the molecule; the target's by default.
        loops: what to turn; by default the molecule's rings, or in a molecule without one the inside of its chain.
        far_share: part of the proposals that are far ones, from 0 to 1.
        name: the key of its outcomes.

    Raises:
        ValueError: there is nothing to turn, or the target is not invariant.
    """

    name = "concerted"

    def __init__(
        self,
        target: Target,
        atoms: Atoms | None = None,
        *,
        loops: Sequence[Loop] | None = None,
        far_share: float = FAR_SHARE,
        name: str | None = None,
    ) -> None:
        super().__init__(target, name)
        atoms = target.atoms if atoms is None else atoms
        if atoms is None:
            raise ValueError("this target does not know its atoms: give the concerted move the molecule")
        if not target.invariant:
            raise ValueError("concerted moves need a target that is invariant to rigid motion")
        if loops is None:
            path = inner_path(atoms)
            loops = turning_rings(atoms) or ([] if path is None else [path])
        if not loops:
            raise ValueError(
                f"{atoms.residues} has no ring and no chain with seven bonds that turn, six of them at three atoms: "
                "there is no concerted move"
            )
        if not 0 <= far_share <= 1:
            raise ValueError(f"far_share must be in [0, 1], got {far_share}")
        self.loops, self.far_share = tuple(loops), far_share
        self.tables = Tables.of(self.loops, atoms.n_atoms, atoms.bonds)
        self.cost = 1.0 + 300.0 / atoms.n_atoms  # one energy; the closures take the time of some forces

    def __repr__(self) -> str:
        return f"ConcertedMove({self.name!r}, {len(self.tables)} windows)"

    def propose(self, state: State, generator: torch.Generator) -> Proposal:
        """Turn one driver of every chain, and close its ring."""
        x, n, device = state.positions, state.n_chains, state.positions.device

        def uniform() -> Tensor:
            return torch.rand(n, generator=generator, device=device, dtype=torch.float64)

        which = torch.randint(len(self.tables), (n,), generator=generator, device=device)
        far = uniform() < self.far_share
        low, high = math.radians(NEAREST_TURN_DEGREES), math.radians(FARTHEST_TURN_DEGREES)
        largest = torch.where(far, math.pi, low * (high / low) ** uniform())
        angle = largest * (2 * uniform() - 1)
        width = torch.where(far, torch.inf, FOLLOWING * largest)
        turned = turn_loops(x, self.tables.to(device)[which], angle, width, uniform())
        log_ratio = self.log_ratio(turned.forward, turned.backward, turned.log_volume)
        return Proposal(turned.positions, torch.where(turned.possible, log_ratio, NO_WAY))

    def log_ratio(
        self, forward: Float[Tensor, " chains"], backward: Float[Tensor, " chains"], log_volume: Float[Tensor, " chains"]
    ) -> Float[Tensor, " chains"]:
        """From the log chances of both closures, and log |det B(x)| - log |det B(x')|."""
        return backward - forward + log_volume
