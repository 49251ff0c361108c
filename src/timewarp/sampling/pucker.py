"""Proline's ring flips between its two puckers: local dynamics takes some tens of picoseconds for each."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..flows.proposer import Proposal
from ..geometry import neighbours
from ..shapes import Float
from ..state import Atoms, State
from .move import Move
from .target import Target

RING = ("N", "CA", "CB", "CG", "CD")
PROLINES = ("PRO", "DPR")


@dataclass(frozen=True)
class Ring:
    """A proline's ring: atoms by their names, and pairs of hydrogens on CB, CG and CD."""

    atoms: tuple[int, int, int, int, int]
    hydrogens: tuple[tuple[int, int], ...]


def proline_rings(atoms: Atoms) -> tuple[Ring, ...]:
    """The rings of all prolines, L and D."""
    places = {(n, name): i for i, (n, name) in enumerate(zip(atoms.residue_numbers, atoms.names, strict=True))}
    names = dict(zip(atoms.residue_numbers, atoms.residue_names, strict=True))
    bonded = neighbours(atoms.n_atoms, atoms.bonds)
    rings = []
    for number in (n for n, name in names.items() if name in PROLINES):
        ring = tuple(places[number, name] for name in RING)
        pairs = tuple(tuple(j for j in bonded[i] if atoms.elements[j] == "H") for i in ring[2:])
        if all(len(pair) == 2 for pair in pairs):
            rings.append(Ring(ring, pairs))  # type: ignore[arg-type]
    return tuple(rings)


class PuckerMove(Move):
    """Reflect CG, and the hydrogens of CB, CG and CD, in the plane of CB, CD and the middle of N and CA.

    That turns an endo into an exo pucker: distances within the ring stay as they are, and the hydrogens of each carbon
    change their places, so that the names of their sides are kept. The plane is that of atoms which do not move, so
    that the map is its own inverse and preserves Cartesian volume: the proposal is symmetric. In each chain one ring is
    chosen at random, whatever the state.

    Args:
        target: what it leaves invariant.
        atoms: the molecule; the target's by default.
        name: the key of its outcomes.

    Raises:
        ValueError: the molecule has no proline.
    """

    name = "pucker"

    def __init__(self, target: Target, atoms: Atoms | None = None, name: str | None = None) -> None:
        super().__init__(target, name)
        atoms = target.atoms if atoms is None else atoms
        if atoms is None:
            raise ValueError("this target does not know its atoms: give the pucker move the molecule")
        self.rings = proline_rings(atoms)
        if not self.rings:
            raise ValueError(f"{atoms.residues} has no proline: there is no ring to flip")
        self.cost = 1.0 + 110.0 / atoms.n_atoms  # as of a torsion move

    def __repr__(self) -> str:
        return f"PuckerMove({self.name!r}, {len(self.rings)} rings)"

    def propose(self, state: State, generator: torch.Generator) -> Proposal:
        """Flip one ring of every chain."""
        x = state.positions
        which = torch.randint(len(self.rings), (len(x),), generator=generator, device=generator.device).to(x.device)
        flipped = x
        for number, ring in enumerate(self.rings):
            flipped = torch.where((which == number)[:, None, None], flip(x, ring), flipped)
        return Proposal(flipped)


def flip(x: Float[Tensor, "chains atoms 3"], ring: Ring) -> Float[Tensor, "chains atoms 3"]:
    """Positions with a ring's pucker reflected."""
    n, ca, cb, cg, cd = ring.atoms
    origin = x[:, cb]
    normal = torch.linalg.cross(x[:, cd] - origin, 0.5 * (x[:, n] + x[:, ca]) - origin)
    normal = (normal / normal.norm(dim=-1, keepdim=True))[:, None]
    first, second = (list(side) for side in zip(*ring.hydrogens, strict=True))
    to, source = [cg, *first, *second], [cg, *second, *first]
    arm = x[:, source] - origin[:, None]
    out = x.clone()
    out[:, to] = x[:, source] - 2 * (arm * normal).sum(-1, keepdim=True) * normal
    return out
