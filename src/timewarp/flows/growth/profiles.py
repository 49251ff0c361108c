"""Energies of a growing molecule along each torsion, and what lies ahead: the numbers that the network reads.

Everything that a step computes depends on the atoms placed before it, on the stiff coordinates, and on nothing else:
not on its own torsion, and not on later ones (a test). Turning a fragment about an axis makes squared distances
sinusoids of the angle, A + B cos(phi) + C sin(phi), whose three coefficients come from one configuration.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from ...shapes import Float
from ...units import COULOMB_CONSTANT
from ..circular import grid, resample, resample_at
from .handedness import signs
from .maps import dihedrals, map_energy
from .plan import GrowthPlan, Step
from .scale import angles_of, from_scale, log_slope, to_scale
from .solvent import solvation

ANGLES = 48
COARSE = 16
"""Angles at which the solvent and the look-ahead are evaluated; between them, Fourier interpolation."""
HIGHEST_KT = 25.0
"""Energies above a profile's minimum are cut off here."""
SOLUTE_RADIUS_NM = 0.2
DIELECTRIC = 78.5
SOFTNESS_NM = 0.1
CROWDING_NM = 0.35
N_SPATIAL = 14
"""Numbers of each pair of a step and a fragment in :func:`spatial`; networks that are not told of handedness leave the
last one out."""
SHELLS_NM = tuple(0.2 * (k + 1) for k in range(8))


@dataclass(frozen=True, eq=False)
class Features:
    """What the network reads of a step (or, with one more dimension, of several).

    Attributes:
        angle: the torsion now, in rad, as the step draws it (:func:`placed`); for training, and to turn from.
        profile: log of the prior, (batch, 48): -E / kT less its maximum, cut off.
        ahead: (batch, 2, 16), electrostatic energy in kT and crowding of what this torsion will carry, at the mean
            positions of what is not placed, on a uniform grid.
        bends: (batch, 2), angles at the axis, standardised.
        spatial: (batch, sites, 14), where each fragment is (or will be on average), in the step's local axes.
    """

    angle: Tensor
    profile: Tensor
    ahead: Tensor
    bends: Tensor
    spatial: Tensor

    def to(self, dtype: torch.dtype, angle: torch.dtype | None = None) -> Features:
        """The same numbers in another precision; the torsion's own, if asked, in another still."""
        numbers = {f.name: getattr(self, f.name).to(dtype) for f in fields(self)}
        return Features(**{**numbers, "angle": self.angle.to(angle or dtype)})

    def on(self, device: torch.device) -> Features:
        """The same numbers on another device."""
        return Features(*(getattr(self, f.name).to(device) for f in fields(self)))

    def at(self, k: int) -> Features:
        """Of several steps the k-th."""
        return Features(*(getattr(self, f.name)[:, k] for f in fields(self)))

    @classmethod
    def stack(cls, steps: list[Features]) -> Features:
        """Join steps along dimension 1."""
        return cls(*(torch.stack([getattr(s, f.name) for s in steps], 1) for f in fields(cls)))


@dataclass(frozen=True, eq=False)
class Axis:
    """Local axes of a torsion: along b -> a, towards c, and across; ``angle`` is the torsion's own, in rad.

    Where ``hand`` is -1, the axis across points the other way, and angles grow the other way: a mirror image.
    """

    origin: Float[Tensor, "batch 3"]
    axes: Float[Tensor, "batch 3 3"]
    angle: Float[Tensor, " batch"]
    hand: Float[Tensor, " batch"]

    @classmethod
    def of(
        cls,
        corners: tuple[int, int, int, int],
        x: Float[Tensor, "batch atoms 3"],
        hand: Float[Tensor, " batch"] | None = None,
    ) -> Axis:
        """Axes from positions."""
        hand = torch.ones_like(x[:, 0, 0]) if hand is None else hand
        i, a, b, c = (x[:, k] for k in corners)
        along = _unit(a - b)
        arm = c - b
        side = _unit(arm - (arm * along).sum(-1, keepdim=True) * along)
        axes = torch.stack([side, torch.linalg.cross(along, side) * hand[:, None], along], 1)
        local = torch.einsum("bkj,bj->bk", axes, i - a)
        return cls(a, axes, torch.atan2(local[:, 1], local[:, 0]), hand)

    def local(self, x: Float[Tensor, "batch points 3"]) -> Float[Tensor, "batch points 3"]:
        """Coordinates towards c, across, and along the axis, from atom a."""
        return torch.einsum("bkj,bpj->bpk", self.axes, x - self.origin[:, None])

    def at_zero(self, local: Float[Tensor, "batch points 3"]) -> Float[Tensor, "batch points 3"]:
        """Local coordinates of points that turn with the torsion, were it zero."""
        c, s = self.angle.cos()[:, None], self.angle.sin()[:, None]
        u, v, z = local.unbind(-1)
        return torch.stack([u * c + v * s, v * c - u * s, z], -1)


def squared_distances(
    turning: Float[Tensor, "batch m 3"], fixed: Float[Tensor, "batch n 3"], angle: Float[Tensor, " angles"]
) -> Float[Tensor, "batch m n angles"]:
    """Squared distances at some angles; ``turning`` at angle zero, both in local coordinates."""
    basis = torch.stack([torch.ones_like(angle), angle.cos(), angle.sin()])
    u, v, z = (turning[..., k, None] for k in range(3))
    fu, fv, fz = (fixed[:, None, :, k] for k in range(3))
    mean = (z - fz) ** 2 + u * u + v * v + fu * fu + fv * fv
    waves = torch.stack([mean, -2 * (u * fu + v * fv), -2 * (u * fv - v * fu)], -1)
    return (waves @ basis).clamp(min=1e-4)


def prior(plan: GrowthPlan, step: Step, x: Float[Tensor, "batch atoms 3"], axis: Axis) -> Float[Tensor, "batch 48"]:
    """-E / kT of the fragment against all that is placed, less its maximum and cut off, on the grid of angles.

    The prior's log density: of a peptide bond, whose grid is not uniform, with the slope of its scale.
    """
    turned = axis.at_zero(axis.local(x[:, step.fragment]))
    fixed = axis.local(x[:, step.old])
    angles = angles_of(ANGLES, step.twisting, x)
    squared = squared_distances(turned, fixed, angles)
    inverse = squared.rsqrt()
    inverse6 = inverse.square() ** 3
    pair = (step.lj12[..., None] * inverse6 + step.lj6[..., None]) * inverse6 + step.charge[..., None] * inverse
    energy = pair.sum((1, 2)) + _torsion_energy(step, x, axis, angles)
    if len(step.maps.first):
        now, mirrored = axis.hand * axis.angle, axis.hand[:, None] * angles
        energy = energy + map_energy(plan.map_patches, plan.map_size, step.maps, x, now, mirrored)
    if plan.solvent is not None:
        same = squared[..., :: ANGLES // COARSE]
        coarse = squared_distances(turned, fixed, grid(COARSE, x)) if step.twisting else same
        solvent = solvation(plan.solvent, step.old, step.fragment, step.pairs, step.unplaced, x, coarse)
        energy = energy + solvent @ _interpolation(step.twisting, x.dtype, x.device)
    if step.twisting:
        energy = energy + log_slope(grid(ANGLES, x))
    lowest = energy.amin(-1, keepdim=True)
    return (lowest - energy).clamp(min=-HIGHEST_KT).nan_to_num(nan=-HIGHEST_KT)


def _torsion_energy(step: Step, x: Tensor, axis: Axis, angle: Tensor) -> Tensor:
    if not len(step.terms):
        return torch.zeros_like(axis.angle)[:, None].expand(-1, len(angle))
    n = step.periodicity.to(x.dtype)
    hand = axis.hand[:, None]
    offset = hand * (n * (dihedrals(x, step.terms) - hand * axis.angle[:, None]) - step.phase)
    return (step.k[:, None] * (1 + torch.cos(n[:, None] * angle + offset[..., None]))).sum(1)


@dataclass(frozen=True, eq=False)
class Outlook:
    """Where fragments are at a step: placed ones as they are, others averaged over the torsions still to be drawn."""

    mean: Float[Tensor, "batch sites 3"]
    variance: Float[Tensor, "batch sites"]


def outlooks(plan: GrowthPlan, x: Float[Tensor, "batch atoms 3"]) -> list[Outlook]:
    """The outlook of each step, by folding torsions from the last to the first onto their axes.

    What a torsion turns has its mean over a uniform angle on the torsion's axis. Positions of atoms not placed yet may
    be anything that has the right stiff coordinates: the mean does not depend on torsions still to be drawn.
    """
    return list(_folding(plan, x))[::-1]


def outlook_at(plan: GrowthPlan, k: int, x: Float[Tensor, "batch atoms 3"]) -> Outlook:
    """The outlook of one step."""
    *_, outlook = itertools.islice(_folding(plan, x), plan.n_steps - k)
    return outlook


def _folding(plan: GrowthPlan, x: Tensor) -> Iterator[Outlook]:
    mean = torch.einsum("sn,bnk->bsk", plan.site_weights, x)
    variance = torch.zeros_like(mean[..., 0])
    for k in reversed(range(plan.n_steps)):
        yield Outlook(mean, variance)
        _, a, b, _ = plan.steps[k].corners
        along = _unit(x[:, a] - x[:, b])[:, None]
        arm = mean - x[:, a, None]
        height = (arm * along).sum(-1, keepdim=True) * along
        turns = plan.beyond[k]
        variance = torch.where(turns, variance + (arm - height).square().sum(-1), variance)
        mean = torch.where(turns[:, None], x[:, a, None] + height, mean)


def ahead(plan: GrowthPlan, k: int, axis: Axis, outlook: Outlook) -> Float[Tensor, "batch 2 16"]:
    """Screened electrostatic energy (kT) and crowding between what turns with a step and everything else.

    The fragment itself against placed ones is left out: the prior has it atom by atom.
    """
    local = axis.local(outlook.mean)
    turns = plan.beyond[k]
    one, other = turns.nonzero()[:, 0], (~turns).nonzero()[:, 0]
    squared = squared_distances(axis.at_zero(local[:, one]), local[:, other], grid(COARSE, local))
    spread = outlook.variance[:, one, None] + outlook.variance[:, None, other] + SOFTNESS_NM**2
    known = (one == k + 1)[:, None] & (other <= k)[None, :]
    squared = squared + spread[..., None]
    charges = plan.site_charge[one][:, None] * plan.site_charge[other][None, :] * ~known
    screened = squared + SOLUTE_RADIUS_NM**2 * torch.exp(-squared / (4 * SOLUTE_RADIUS_NM**2))
    bare = squared.rsqrt() - (1 - 1 / DIELECTRIC) * screened.rsqrt()
    electric = torch.einsum("btsg,ts->bg", bare, charges * (COULOMB_CONSTANT * plan.inverse_kT))
    heavy = plan.site_heavy[one][:, None] * plan.site_heavy[other][None, :] * ~known
    crowd = torch.einsum("btsg,ts->bg", torch.exp(-squared / (2 * CROWDING_NM**2)), heavy / 10)
    return torch.stack([electric, crowd], 1)


def spatial(
    axis: Axis, outlook: Outlook, beyond: Tensor, hands: Float[Tensor, "batch sites"]
) -> Float[Tensor, "batch sites 14"]:
    """Direction and distance of each fragment in a step's axes, the spread of those not placed, and handedness.

    Fragments that turn with the step have no direction across the axis yet: only their height and distance are told.
    The last number is 1 for fragments of the other handedness than the step's.
    """
    local = axis.local(outlook.mean)
    distance = (local.square().sum(-1) + 1e-4).sqrt()
    direction = local / distance[..., None]
    across = direction[..., :2].norm(dim=-1)
    free = (~beyond).to(local.dtype)
    shells = torch.tensor(SHELLS_NM, device=local.device, dtype=local.dtype)
    near = torch.exp(-((distance[..., None] - shells) ** 2) / (2 * 0.2**2))
    parts = [direction[..., 0] * free, direction[..., 1] * free, direction[..., 2], across]
    other = (1 - axis.hand[:, None] * hands) / 2
    return torch.cat([torch.stack([*parts, outlook.variance.sqrt()], -1), near, other[..., None]], -1)


def placed(step: Step, axis: Axis) -> Float[Tensor, " batch"]:
    """A step's torsion as it is drawn: in its own handedness, a peptide bond's on its own scale."""
    return to_scale(axis.angle) if step.twisting else axis.angle


def step_features(plan: GrowthPlan, k: int, x: Float[Tensor, "batch atoms 3"], outlook: Outlook) -> Features:
    """Features of step k; torsions of step k and later may have any value in ``x``."""
    step = plan.steps[k]
    hands = signs(x, plan.centres)
    axis = Axis.of(step.corners, x, hands[:, k + 1])
    i, a, b, c = (x[:, j] for j in step.corners)
    bends = torch.stack([_angle(i - a, b - a), _angle(a - b, c - b)], -1)
    return Features(
        angle=placed(step, axis),
        profile=prior(plan, step, x, axis),
        ahead=ahead(plan, k, axis, outlook),
        bends=(bends - 1.95) / 0.1,
        spatial=spatial(axis, outlook, plan.beyond[k], hands),
    )


def features(plan: GrowthPlan, x: Float[Tensor, "batch atoms 3"]) -> Features:
    """Features of all steps for complete configurations, in dimension 1."""
    return Features.stack([step_features(plan, k, x, o) for k, o in enumerate(outlooks(plan, x))])


def turn_to(
    step: Step,
    x: Float[Tensor, "batch atoms 3"],
    angle: Float[Tensor, " batch"],
    now: Float[Tensor, " batch"],
    hand: Float[Tensor, " batch"] | None = None,
) -> Float[Tensor, "batch atoms 3"]:
    """Positions with the step's torsion turned from ``now`` to ``angle``, both as the step draws them (rad).

    Args:
        step: what turns.
        x: in nm.
        angle: where to.
        now: where from.
        hand: -1 where the step is seen in the mirror; 1 by default.
    """
    _, a, b, _ = step.corners
    origin = x[:, a, None]
    along = _unit(x[:, a] - x[:, b])[:, None]
    arm = x[:, step.turning] - origin
    change = from_scale(angle) - from_scale(now) if step.twisting else angle - now
    change = change if hand is None else change * hand
    c, s = change.cos()[:, None, None], change.sin()[:, None, None]
    height = (arm * along).sum(-1, keepdim=True) * along
    moved = height + (arm - height) * c + torch.linalg.cross(along.expand_as(arm), arm) * s
    return x.index_copy(1, step.turning, origin + moved)


@functools.lru_cache(maxsize=16)
def _interpolation(twisting: bool, dtype: torch.dtype, device: torch.device) -> Tensor:
    return interpolation(twisting).to(device, dtype)


def interpolation(twisting: bool) -> Float[Tensor, "16 48"]:
    """From the uniform grid of COARSE angles to a step's grid, in float64."""
    like = torch.zeros(1, dtype=torch.float64)
    return resample_at(COARSE, angles_of(ANGLES, True, like)) if twisting else resample(COARSE, ANGLES)


def _unit(v: Tensor) -> Tensor:
    return v / v.norm(dim=-1, keepdim=True)


def _angle(u: Tensor, v: Tensor) -> Tensor:
    cosine = (u * v).sum(-1) / (u.norm(dim=-1) * v.norm(dim=-1))
    return torch.acos(cosine.clamp(-1 + math.ulp(1.0), 1 - math.ulp(1.0)))
