"""Concerted rotations: a ring, or the inside of a chain, turns about seven bonds at once, and closes exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..flows.proposer import Proposal
from ..geometry.closure import Closures
from ..geometry.concerted import all_closures, choose, close_loops, present_closure, turn_loops
from ..geometry.loops import Tables
from ..geometry.rings import Loop, find_path
from ..shapes import Bool, Float, Int
from ..state import Atoms, State
from .move import Move
from .target import Target

FAR_SHARE, HOP_SHARE = 0.2, 0.5
"""Parts of the proposals whose driver turns by any angle, and of those whose driver does not turn."""
FLIP_SHARE, FLIP_DEGREES = 0.5, 30.0
"""Part of the far ones that mirror the driver's dihedral, and how far off at most."""
NEAREST_TURN_DEGREES, FARTHEST_TURN_DEGREES = 2.0, 60.0
"""The driver of near proposals turns by at most an angle between these, drawn log-uniformly."""
FOLLOWING = 3.0
"""How far the closure of a near proposal may be off, in turns of the driver."""
NO_WAY = -1e6
"""Log ratio of a proposal that is no closed ring, or has no way back: never accepted."""


def inner_path(atoms: Atoms) -> Loop | None:
    """The path through a molecule whose inside they turn; see :func:`timewarp.geometry.rings.find_path`."""
    return find_path(atoms.elements, atoms.bonds)


class ConcertedMove(Move):
    """Turn a bond of a ring by a random angle, and let six others close the ring again.

    A *window* has three corners, ring atoms whose two ring bonds both turn, and a driving bond between two of them.
    When the driver has turned, the six bonds at the corners can close the ring in at most 16 ways, all of which are
    found (:func:`timewarp.geometry.closure.solve_closures`); one is chosen. Bond lengths, bond angles and all other
    dihedrals stay as they are; what hangs on the ring moves with it. The same is done inside a chain, whose ends stay
    in place.

    Each step makes one of three kinds of proposal, drawn at random. *Near* ones turn the driver a little, and prefer
    closures near the present one by a Gaussian weight of the angles. Given the coordinates that stay, closures have
    volume element ``1 / |det B|`` (Dodd, Boone & Theodorou 1993), so that

    ``log_ratio = log p(x | x') - log p(x' | x) + log abs(det B(x)) - log abs(det B(x'))``

    where p is the chance of a closure among all that its driver allows. A proposal without a closure, or whose reverse
    does not find the present state among its closures, is never accepted.

    *Far* ones turn the driver by any angle, or to minus its dihedral and some 30 degrees around, and take a closure in
    proportion to ``w = exp(-U / kT) / |det B|``, for which the energies of all are evaluated. So they are accepted with
    probability ``min(1, W' / W)``, W the sum over all closures (configurational bias; Wu & Deem 1999). *Hops* leave the
    driver as it is and go to another closure by the same weights; they are accepted with probability
    ``min(1, (W - w) / (W - w'))`` (Liu, Biometrika 83, 681 (1996)).

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

        def uniform() -> Tensor:
            return torch.rand(n, generator=generator, device=device, dtype=torch.float64)

        which = torch.randint(len(self.tables), (n,), generator=generator, device=device)
        tables = self.tables.to(device)[which]
        kind = float(torch.rand((), generator=generator, device=device, dtype=torch.float64))
        if kind < self.hop_share:
            return self.hop(state, tables, uniform())
        if kind < self.hop_share + self.far_share:
            flip, turn = uniform() < FLIP_SHARE, 2 * uniform() - 1
            angle = torch.where(
                flip, math.radians(FLIP_DEGREES) * turn - 2 * tables.dihedral(state.positions), math.pi * turn
            )
            return self.leap(state, tables, angle, uniform())
        low, high = math.radians(NEAREST_TURN_DEGREES), math.radians(FARTHEST_TURN_DEGREES)
        largest = low * (high / low) ** uniform()
        angle = largest * (2 * uniform() - 1)
        turned = turn_loops(state.positions, tables, angle, FOLLOWING * largest, uniform())
        log_ratio = self.log_ratio(turned.forward, turned.backward, turned.log_volume)
        return Proposal(turned.positions, torch.where(turned.possible, log_ratio, NO_WAY))

    def hop(self, state: State, tables: Tables, uniform: Float[Tensor, " chains"]) -> Proposal:
        """Another closure of each chain's ring, in proportion to what it would have in equilibrium."""
        chain, still = torch.arange(state.n_chains, device=uniform.device), torch.zeros_like(uniform)
        closures = all_closures(state.positions, tables, still)
        here, known = present_closure(state.positions, tables, closures)
        others = closures.valid & known[:, None]
        others[chain, here] = False
        candidates = self.weigh(state, tables, still, closures, others)
        own = self.own_weight(state, closures, here)
        there = candidates.draw(uniform)
        forward = candidates.log_weight[chain, there] - candidates.total()
        # What the others weigh, seen from there.
        backward = own - torch.logaddexp(candidates.total(without=there), own)
        log_volume = closures.log_volume[chain, here] - closures.log_volume[chain, there]
        return candidates.propose(state, there, self.log_ratio(forward, backward, log_volume))

    def leap(
        self, state: State, tables: Tables, angle: Float[Tensor, " chains"], uniform: Float[Tensor, " chains"]
    ) -> Proposal:
        """A closure of each chain's ring with its driver turned, in proportion to what it has in equilibrium."""
        chain, still = torch.arange(state.n_chains, device=uniform.device), torch.zeros_like(uniform)
        onwards = all_closures(state.positions, tables, angle)
        back = all_closures(state.positions, tables, still)
        here, known = present_closure(state.positions, tables, back)
        known &= onwards.valid.any(-1)
        candidates = self.weigh(state, tables, angle, onwards, onwards.valid & known[:, None])
        others = back.valid & known[:, None]
        others[chain, here] = False
        own = self.own_weight(state, back, here)
        there = candidates.draw(uniform)
        forward = candidates.log_weight[chain, there] - candidates.total()
        backward = own - torch.logaddexp(self.weigh(state, tables, still, back, others).total(), own)
        log_volume = back.log_volume[chain, here] - onwards.log_volume[chain, there]
        return candidates.propose(state, there, self.log_ratio(forward, backward, log_volume))

    def weigh(
        self, state: State, tables: Tables, angle: Tensor, closures: Closures, wanted: Bool[Tensor, "chains 16"]
    ) -> Candidates:
        """The wanted closures, with their energies and weights ``log w = -U / kT - log |det B|``."""
        row, column = wanted.nonzero().unbind(1)
        x = close_loops(state.positions[row], tables[row], angle[row], closures.tau[row, column])
        energy = self.target.energy(x) if len(row) else state.energy[row]
        weight = -self.target.reduced_energy(energy)
        good = torch.isfinite(weight)
        if len(row):
            good &= ~(self.target.flipped(x) | self.target.turned(x))
        log_weight = torch.full_like(closures.log_volume, -torch.inf)
        log_weight[row, column] = torch.where(good, weight - closures.log_volume[row, column], -torch.inf)
        place = torch.zeros(wanted.shape, dtype=torch.long, device=x.device)
        place[row, column] = torch.arange(len(row), device=x.device)
        return Candidates(x, energy, log_weight, place)

    def own_weight(self, state: State, closures: Closures, here: Int[Tensor, " chains"]) -> Float[Tensor, " chains"]:
        """log w of the present states."""
        volume = closures.log_volume[torch.arange(len(here), device=here.device), here]
        return -self.target.reduced_energy(state.energy) - volume

    def log_ratio(
        self,
        forward: Float[Tensor, " chains"],
        backward: Float[Tensor, " chains"],
        log_volume: Float[Tensor, " chains"],
    ) -> Float[Tensor, " chains"]:
        """From the log chances of both closures, and log abs(det B(x)) - log abs(det B(x'))."""
        return backward - forward + log_volume


@dataclass(frozen=True)
class Candidates:
    """Closures of all chains' rings, one after the other, and a table of their weights.

    Attributes:
        positions: in nm.
        energy: in kJ/mol.
        log_weight: of each chain's closures; minus infinity for those that are none, or outside the restriction.
        place: where a closure is among the positions.
    """

    positions: Float[Tensor, "candidates atoms 3"]
    energy: Float[Tensor, " candidates"]
    log_weight: Float[Tensor, "chains 16"]
    place: Int[Tensor, "chains 16"]

    def total(self, without: Int[Tensor, " chains"] | None = None) -> Float[Tensor, " chains"]:
        """Log of the sum of each chain's weights, of which one may be left out."""
        if without is None:
            return self.log_weight.logsumexp(-1)
        return self.log_weight.scatter(1, without[:, None], -torch.inf).logsumexp(-1)

    def draw(self, uniform: Float[Tensor, " chains"]) -> Int[Tensor, " chains"]:
        """One closure of each chain in proportion to the weights; any where there is none."""
        return choose(self.log_weight - self.total()[:, None].clamp(min=-1e300), uniform)

    def propose(self, state: State, there: Int[Tensor, " chains"], log_ratio: Float[Tensor, " chains"]) -> Proposal:
        """The chosen closures; the present state, never accepted, where there is none."""
        chain = torch.arange(len(there), device=there.device)
        possible = torch.isfinite(self.log_weight[chain, there]) & torch.isfinite(log_ratio)
        x, energy = state.positions.clone(), state.energy.clone()
        chosen = self.place[chain, there][possible]
        x[possible], energy[possible] = self.positions[chosen], self.energy[chosen].to(energy)
        return Proposal(x, torch.where(possible, log_ratio, NO_WAY), energy)
