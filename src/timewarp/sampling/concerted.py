"""Concerted rotations: a ring, or the inside of a chain, turns about seven bonds at once, and closes exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..flows.proposer import Proposal
from ..geometry.concerted import choose, close_loops, closures_as_they_are, turn_loops
from ..geometry.loops import Loop, Tables, find_path
from ..shapes import Float
from ..state import Atoms, State
from .move import Move
from .target import Target

FAR_SHARE, HOP_SHARE = 0.1, 0.6
"""Parts of the proposals whose driver turns by any angle, and of those whose driver does not turn."""
NEAREST_TURN_DEGREES, FARTHEST_TURN_DEGREES = 2.0, 60.0
"""The driver of near proposals turns by at most an angle between these, drawn log-uniformly."""
FOLLOWING = 3.0
"""How far the closure of a near proposal may be off, in turns of the driver."""
NO_WAY = -1e6
"""Log ratio of a proposal that is no closed ring, or has no way back: never accepted."""


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

    Each step makes one of three kinds of proposal, drawn at random. *Near* ones turn the driver a little, and prefer
    closures near the present one by a Gaussian weight of the angles. *Far* ones turn it by any angle, and take any
    closure. Given the coordinates that stay, closures have volume element ``1 / |det B|`` (Dodd, Boone & Theodorou
    1993), so that

    ``log_ratio = log p(x | x') - log p(x' | x) + log |det B(x)| - log |det B(x')|``

    where p is the chance of a closure among all that its driver allows; without a preference one over their number. A
    proposal without a closure, or whose reverse does not find the present state among its closures, is never accepted.

    *Hops* leave the driver as it is and go to another closure, in proportion to ``w = exp(-U / kT) / |det B|``, for which
    the energies of all are evaluated; they are accepted with probability ``min(1, (W - w) / (W - w'))``, W the sum over
    all closures (Liu, Biometrika 83, 681 (1996)).

    The window, the kind and the turn do not depend on the state.

    Args:
        target: a target that is invariant to rigid motion.
        atoms: the molecule; the target's by default.
        loops: what to turn; by default the molecule's rings, or in a molecule without one the inside of its chain.
        far_share, hop_share: parts of the proposals of these kinds; the others are near ones.
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
        hop_share: float = HOP_SHARE,
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
            loops = atoms.rings or ([] if path is None else [path])
        if not loops:
            raise ValueError(
                f"{atoms.residues} has no ring and no chain with seven bonds that turn, six of them at three atoms: "
                "there is no concerted move"
            )
        if not (far_share >= 0 and hop_share >= 0 and far_share + hop_share <= 1):
            raise ValueError(f"far_share and hop_share must be parts of 1, got {far_share} and {hop_share}")
        self.loops, self.far_share, self.hop_share = tuple(loops), far_share, hop_share
        self.tables = Tables.of(self.loops, atoms.n_atoms, atoms.bonds)
        # Some energies, the decision (as of a torsion move), and the closures, which take the time of 10 forces on 61
        # atoms (64 chains, one core).
        self.cost = 3.0 + 110.0 / atoms.n_atoms + 37_000.0 / atoms.n_atoms**2

    def __repr__(self) -> str:
        return f"ConcertedMove({self.name!r}, {len(self.tables)} windows)"

    def propose(self, state: State, generator: torch.Generator) -> Proposal:
        """Turn one driver of every chain, or none, and close its ring."""
        n, device = state.n_chains, state.positions.device
        which = torch.randint(len(self.tables), (n,), generator=generator, device=device)
        tables = self.tables.to(device)[which]
        if float(torch.rand((), generator=generator, device=device, dtype=torch.float64)) < self.hop_share:
            return self.hop(state, tables, generator)

        def uniform() -> Tensor:
            return torch.rand(n, generator=generator, device=device, dtype=torch.float64)

        far = uniform() * (1 - self.hop_share) < self.far_share
        low, high = math.radians(NEAREST_TURN_DEGREES), math.radians(FARTHEST_TURN_DEGREES)
        largest = torch.where(far, math.pi, low * (high / low) ** uniform())
        angle = largest * (2 * uniform() - 1)
        width = torch.where(far, torch.inf, FOLLOWING * largest)
        turned = turn_loops(state.positions, tables, angle, width, uniform())
        log_ratio = self.log_ratio(turned.forward, turned.backward, turned.log_volume)
        return Proposal(turned.positions, torch.where(turned.possible, log_ratio, NO_WAY))

    def hop(self, state: State, tables: Tables, generator: torch.Generator) -> Proposal:
        """Another closure of each chain's ring, in proportion to what it would have in equilibrium."""
        x, target = state.positions, self.target
        closures, here, known = closures_as_they_are(x, tables)
        chain = torch.arange(len(x), device=x.device)
        others = closures.valid & known[:, None]
        others[chain, here] = False
        row, column = others.nonzero().unbind(1)
        candidates = close_loops(x[row], tables[row], closures.tau[row, column])
        energy = target.energy(candidates) if len(row) else state.energy[row]
        outside = target.flipped(candidates) | target.turned(candidates)
        log_weight = torch.full_like(closures.log_volume, -torch.inf)
        weight = -target.reduced_energy(energy)
        log_weight[row, column] = torch.where(torch.isfinite(weight) & ~outside, weight, -torch.inf)
        log_weight -= closures.log_volume
        own = -target.reduced_energy(state.energy) - closures.log_volume[chain, here]
        uniform = torch.rand(len(x), generator=generator, device=x.device, dtype=torch.float64)
        elsewhere = log_weight.logsumexp(-1)
        there = choose(log_weight - elsewhere[:, None].clamp(min=-1e300), uniform)
        chosen = log_weight[chain, there]
        log_weight[chain, there] = -torch.inf
        back = torch.logaddexp(log_weight.logsumexp(-1), own)  # what the others weigh, seen from there
        log_volume = closures.log_volume[chain, here] - closures.log_volume[chain, there]
        possible = torch.isfinite(chosen)
        log_ratio = self.log_ratio(chosen - elsewhere, own - back, log_volume)
        place = torch.full(others.shape, -1, dtype=torch.long, device=x.device)
        place[row, column] = torch.arange(len(row), device=x.device)
        index = place[chain, there].clamp(min=0)
        if not len(row):
            return Proposal(x, torch.full_like(own, NO_WAY), state.energy)
        return Proposal(
            torch.where(possible[:, None, None], candidates[index], x),
            torch.where(possible, log_ratio, NO_WAY),
            torch.where(possible, energy[index], state.energy),
        )

    def log_ratio(
        self, forward: Float[Tensor, " chains"], backward: Float[Tensor, " chains"], log_volume: Float[Tensor, " chains"]
    ) -> Float[Tensor, " chains"]:
        """From the log chances of both closures, and log |det B(x)| - log |det B(x')|."""
        return backward - forward + log_volume
