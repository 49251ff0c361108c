"""Peptide bonds drawn first, from what is rigid about them; the growth then draws all other torsions, given these.

What an omega feels most is near: its own torsion terms, and the four atoms on either side of its bond, whose distances
depend on it and on stiff coordinates alone. So omegas are independent of each other and of all soft torsions given the
stiff coordinates, as far as this density goes: the Boltzmann factor of that energy on the scale of :mod:`.scale`, and a
correction of even harmonics, the same in both wells, by a small network that reads chemistry and stiff coordinates.
Metropolis-Hastings does the rest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...energies import Parameters
from ...energies.rows import moved
from ...geometry import angles, beyond_bonds, dihedrals, neighbours, turn, wrap
from ...shapes import Float
from ...state import Atoms
from ..chemistry import N_TORSION_FEATURES, atom_chemistry
from ..circular import grid, log_prob, sample
from .handedness import nearest_centres, no_centres, signs
from .plan import Regrowth, pair_tables, proper_terms
from .profiles import ANGLES, HIGHEST_KT
from .scale import NEAR_PI, NEAR_ZERO, SHUT, angles_of, from_scale, log_slope, own_well, shut, to_scale

N_STIFF = 4
HARMONICS = 4
HIDDEN = 24
CIS_WEIGHTS = (0.01, 0.12)
"""How often a bond that may be either is drawn cis, and in tertiary amides (X-Pro): about what such bonds are.

What is rigid about a bond does not say: by its energy alone two of three X-Pro bonds would be cis.
"""


@runtime_checkable
class Density(Protocol):
    """A growth that draws and scores."""

    def redraw(self, x: Tensor, chosen: Regrowth, generator: torch.Generator, score: bool = True) -> Any:
        """See :meth:`.flow.GrowthFlow.redraw`."""

    def score(self, x: Tensor, chosen: Regrowth) -> Tensor:
        """See :meth:`.flow.GrowthFlow.score`."""


@dataclass(frozen=True, eq=False)
class Twists:
    """The peptide bonds of a molecule, and the numbers of their energy at a temperature.

    Attributes:
        carriers: atoms of the tree that carry the torsions.
        corners: integer (bonds, 4), atoms (i, a, b, c) of each torsion.
        turning: (bonds, atoms), what turns with each.
        near, far: (bonds, 2), the other neighbours of b and of a.
        lj12, lj6, charge: (bonds, 2, 2) of far x near, in kT.
        terms, periodicity, phase, k: torsion terms, k in kT; ``of`` says of which bond.
        centres: (bonds, 4), as of :class:`.plan.GrowthPlan`.
        static: chemistry of each bond.
        cis_near_zero: (bonds), whether the bond is cis where the torsion is near 0, as the tree measures it.
        cis_weight: (bonds), how often it is drawn cis where both wells are open.
    """

    carriers: tuple[int, ...]
    corners: Tensor
    turning: Tensor
    near: Tensor
    far: Tensor
    lj12: Tensor
    lj6: Tensor
    charge: Tensor
    terms: Tensor
    of: Tensor
    periodicity: Tensor
    phase: Tensor
    k: Tensor
    centres: Tensor
    static: Tensor
    cis_near_zero: Tensor
    cis_weight: Tensor

    @classmethod
    def build(cls, atoms: Atoms, parameters: Parameters, kT: float, chirality: bool) -> Twists | None:
        """Tables in float64 on the CPU; None for a molecule without such a bond."""
        tree, adjacent = atoms.tree, neighbours(atoms.n_atoms, atoms.bonds)
        carriers = atoms.twisting
        if not carriers:
            return None

        def others(i: int, bonded: int) -> list[int]:
            found = [j for j in adjacent[i] if j != bonded]
            return (found + found)[:2]

        corners = torch.tensor([(i, *tree.references[i]) for i in carriers])
        turning = beyond_bonds(tree, carriers)
        far = torch.tensor([others(a, b) for _, a, b, _ in corners.tolist()])
        near = torch.tensor([others(b, a) for _, a, b, _ in corners.tolist()])
        lj12, lj6, charge = (t[far[:, :, None], near[:, None, :]] / kT for t in pair_tables(parameters))
        rows = [proper_terms(parameters, corners[n], turning[n]) for n in range(len(carriers))]
        picked = torch.cat([row.nonzero()[:, 0] for row in rows])
        membership = F.one_hot(corners[:, 1], atoms.n_atoms).double()
        centres = nearest_centres(atoms, corners, F.pad(membership, (0, 0, 1, 0), value=1.0))
        alphas = {frozenset(row[1:3]): {row[0], row[3]} for row in atoms.peptide_bonds.tolist()}
        ends = [(alphas.get(frozenset((a, b)), {i, c}), i, c) for i, a, b, c in corners.tolist()]
        tertiary = [
            not any(atoms.elements[j] == "H" for n in (a, b) for j in adjacent[n]) for _, a, b, _ in corners.tolist()
        ]
        return cls(
            cis_near_zero=torch.tensor([(i in alpha) == (c in alpha) for alpha, i, c in ends]),
            cis_weight=torch.tensor([CIS_WEIGHTS[kind] for kind in tertiary], dtype=torch.float64),
            carriers=carriers,
            corners=corners,
            turning=turning,
            near=near,
            far=far,
            lj12=lj12,
            lj6=lj6,
            charge=charge,
            terms=parameters.torsion_atoms[picked],
            of=torch.cat([torch.full((int(row.sum()),), n) for n, row in enumerate(rows)]),
            periodicity=parameters.torsion_periodicity[picked].double(),
            phase=parameters.torsion_phase[picked].double(),
            k=parameters.torsion_k[picked].double() / kT,
            centres=centres[1:] if chirality else no_centres(len(carriers)),
            static=atom_chemistry(atoms)[corners].flatten(1).double(),
        )

    def to(self, device: torch.device | str) -> Twists:
        """A copy of the tables on a device."""
        return moved(self, torch.float64, torch.device(device))


@dataclass(frozen=True, eq=False)
class Seen:
    """What is read of the peptide bonds of some configurations, each in its own handedness.

    Attributes:
        place: (batch, bonds), the torsions on the scale of :mod:`.scale`.
        profile: (batch, bonds, 48), log of the prior.
        stiff: (batch, bonds, 4), how far both ends are from planar, and the angles at the bond.
        hands: (batch, bonds).
    """

    place: Tensor
    profile: Tensor
    stiff: Tensor
    hands: Tensor


def see(t: Twists, x: Float[Tensor, "batch atoms 3"]) -> Seen:
    """All of it at once, in double precision; but for ``place`` it depends on stiff coordinates alone."""
    x = x.double()
    hands = signs(x, t.centres)
    a, b, c = (x[:, t.corners[:, n]] for n in (1, 2, 3))
    along = F.normalize(a - b, dim=-1)
    side = c - b
    side = F.normalize(side - (side * along).sum(-1, keepdim=True) * along, dim=-1)
    axes = torch.stack([side, torch.linalg.cross(along, side) * hands[..., None], along], -2)
    near, far, first = (
        torch.einsum("bnkj,bnpj->bnpk", axes, x[:, rows] - a[:, :, None]) for rows in (t.near, t.far, t.corners[:, :1])
    )
    angle = torch.atan2(first[..., 0, 1], first[..., 0, 0])
    to = angles_of(ANGLES, True, x)
    # Squared distances are sinusoids of how far the far side has turned from where it is.
    turned = to - angle[..., None]
    fu, fv, fz = (far[..., :, None, k] for k in range(3))
    nu, nv, nz = (near[..., None, :, k] for k in range(3))
    mean = (fz - nz) ** 2 + fu * fu + fv * fv + nu * nu + nv * nv
    cosine, sine = -2 * (fu * nu + fv * nv), -2 * (fu * nv - fv * nu)
    squared = (
        mean[..., None]
        + cosine[..., None] * turned.cos()[:, :, None, None]
        + sine[..., None] * turned.sin()[:, :, None, None]
    ).clamp(min=1e-4)
    inverse6 = squared**-3
    pair = (t.lj12[..., None] * inverse6 + t.lj6[..., None]) * inverse6 + t.charge[..., None] * squared.rsqrt()
    energy = pair.sum((2, 3))
    if len(t.terms):
        now = dihedrals(x, t.terms)
        hand = hands[:, t.of]
        offset = hand * (t.periodicity * now - t.phase)
        each = t.k[:, None] * torch.cos(t.periodicity[:, None] * turned[:, t.of] + offset[..., None])
        energy = energy.index_add(1, t.of, each)
    profile = -energy - log_slope(grid(ANGLES, x))
    profile = (profile - profile.amax(-1, keepdim=True)).clamp(min=-HIGHEST_KT).nan_to_num(nan=-HIGHEST_KT)
    planar = [
        wrap(torch.atan2(p[..., 0, 1], p[..., 0, 0]) - torch.atan2(p[..., 1, 1], p[..., 1, 0])) for p in (near, far)
    ]
    planar = [torch.where(gap > 0, gap - torch.pi, gap + torch.pi) for gap in planar]
    bends = angles(x, torch.cat([t.corners[:, :3], t.corners[:, 1:]])).unflatten(1, (2, -1)) - 2.1
    return Seen(to_scale(angle), profile, torch.stack([*planar, *bends.unbind(1)], -1) / 0.1, hands)


class TwistHead(nn.Module):
    """The correction of the prior, and how much of the prior counts; both start at nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.widen = nn.Linear(N_TORSION_FEATURES + N_STIFF, HIDDEN)
        self.read = nn.Linear(HIDDEN, 2 * HARMONICS + 1)
        nn.init.zeros_(self.read.weight)
        nn.init.zeros_(self.read.bias)

    def forward(self, seen: Seen, static: Tensor) -> Float[Tensor, "batch bonds 48"]:
        """Log density, not normalised, on the grid, in float64."""
        stiff = seen.stiff.clamp(-5, 5)
        inputs = torch.cat([static.expand(*stiff.shape[:2], -1), stiff], -1).to(self.read.weight.dtype)
        out = self.read(F.silu(self.widen(inputs))).double()
        multiples = 2 * torch.arange(1, HARMONICS + 1, device=out.device)[:, None] * grid(ANGLES, out)
        waves = torch.cat([multiples.cos(), multiples.sin()])
        return (1 + out[..., -1:]) * seen.profile + out[..., :-1] @ waves


def redraw_first(
    density: Density,
    head: TwistHead,
    x: Float[Tensor, "batch atoms 3"],
    chosen: Regrowth,
    generator: torch.Generator,
    score: bool,
) -> tuple[Float[Tensor, "batch atoms 3"], Float[Tensor, " batch"], Float[Tensor, " batch"] | None]:
    """Candidates with peptide bonds and then all torsions of the growth drawn anew, and both log densities.

    Stiff coordinates stay, so that peptide bonds of both states have one density; the growth is scored in each state
    given the peptide bonds of that state.
    """
    t = chosen.twists
    assert isinstance(t, Twists)
    rest = replace(chosen, twists=None, twist_wells=())
    seen = see(t, x)
    logits = logits_of(head, t, seen, chosen.twist_wells)
    turned, first = draw(t, seen, logits, x, generator)
    candidates, forward, _ = density.redraw(turned, rest, generator, score=False)
    backward = density.score(x, rest) + log_density(logits, seen.place) if score else None
    return candidates, forward + first, backward


def log_density(logits: Tensor, place: Tensor) -> Float[Tensor, " batch"]:
    """Of all peptide bonds together, with respect to d omega."""
    return (log_prob(logits, place) + log_slope(place)).sum(-1)


def logits_of(head: TwistHead, t: Twists, seen: Seen, wells: tuple[int, ...]) -> Float[Tensor, "batch bonds 48"]:
    """Without the wells that are shut; where both are open, cis has its weight."""
    logits = head(seen, t.static)
    near = grid(ANGLES, logits).cos()
    is_cis = torch.where(t.cis_near_zero[:, None], near > 1e-9, near < -1e-9)
    cis, trans = (logits.masked_fill(~part, SHUT).logsumexp(-1) for part in (is_cis, ~is_cis))
    wanted = torch.logit(t.cis_weight) + trans - cis
    logits = logits + wanted[..., None] * is_cis
    return logits.masked_fill(shut(ANGLES, wells).to(logits.device), SHUT) if wells else logits


def draw(
    t: Twists, seen: Seen, logits: Tensor, x: Float[Tensor, "batch atoms 3"], generator: torch.Generator
) -> tuple[Float[Tensor, "batch atoms 3"], Float[Tensor, " batch"]]:
    """Positions with all peptide bonds drawn anew, and the log density of these."""
    uniform = torch.rand(seen.place.shape, generator=generator, dtype=torch.float64, device=x.device)
    place = sample(logits, uniform)
    change = (from_scale(place) - from_scale(seen.place)) * seen.hands
    new = x.double()
    for n in range(len(t.carriers)):
        bonds = t.corners[n, 1:3].expand(len(x), 2)
        new = turn(new, bonds, t.turning[n].expand(len(x), -1), change[:, n])
    return new.to(x), log_density(logits, place)


def own_well_loss(head: TwistHead, static: Tensor, seen: Seen) -> Float[Tensor, "batch bonds"]:
    """-log density of each peptide bond within its well: frames say nothing of how much the other one weighs."""
    logits = head(seen, static).masked_fill(own_well(ANGLES, seen.place), SHUT)
    return -log_prob(logits, seen.place) - log_slope(seen.place)


def wells_of(t: Twists, x: Float[Tensor, "frames atoms 3"]) -> tuple[int, ...]:
    """In which well each peptide bond of the first configuration is."""
    return tuple(NEAR_ZERO if c > 0 else NEAR_PI for c in see(t, x[:1]).place[0].cos().tolist())
