"""Generalised Born solvent: each pair once, analytic forces, in the layout (rows, batch)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..shapes import Float
from .parameters import Parameters
from .rows import SumPlan

PROBE_RADIUS_NM = 0.14
NECK_2, NECK_6 = 100.0, 0.3 * 1000000
"""Of the second and sixth power in the neck's fall, in nm^-2 and nm^-6, as OpenMM writes them."""
LARGEST_NM = 3.0
"""Born radii are cut off here in :func:`born_radii`, as AMBER does; the energy itself has no limit, as OpenMM's."""
CLOSEST_NM = 0.02
"""Atoms that are closer descreen each other as if they were this far apart (in :func:`descreening` alone)."""


def descreening(distance: Tensor, rho: Tensor, scaled: Tensor) -> Tensor:
    """Twice the Born integral of one atom (of scaled radius ``scaled``) at another (of offset radius ``rho``), 1/nm.

    All in nm, broadcast against each other. Hawkins, Cramer and Truhlar (1996), as in OpenMM's GBSAOBCForce without
    the correction of an atom inside another.
    """
    distance = distance.clamp(min=CLOSEST_NM)
    upper = torch.maximum(distance + scaled, rho)
    lower = torch.maximum((distance - scaled).abs(), rho)
    inverse_upper, inverse_lower = 1 / upper, 1 / lower
    total, gap = inverse_lower + inverse_upper, inverse_lower - inverse_upper
    bent = 1 - 0.25 * (distance - scaled * scaled / distance) * total
    return bent * gap + 0.5 * torch.log(lower * inverse_upper) / distance


def neck(distance: Tensor, best: Tensor, height: Tensor, reach: Tensor) -> tuple[Tensor, Tensor]:
    """Born integral of the neck between two atoms in 1/nm, and minus its slope; zero beyond ``reach``.

    All in nm, but ``height`` in 1/nm. Mongan et al. (2007), equation 8; ``best`` is where the integral is largest.
    """
    near = (distance <= reach).to(distance.dtype)
    x = torch.minimum(distance, reach) - best
    squared = x * x
    fall = 1 / (1 + squared * (NECK_2 + NECK_6 * squared * squared))
    value = height * fall * near
    return value, value * fall * x * (2 * NECK_2 + 6 * NECK_6 * squared * squared)


def neck_tables(p: Parameters, i: Tensor, j: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What :func:`neck` needs at atom ``i`` beside atom ``j``; atoms broadcast."""
    best, height = (t[p.gb_neck_type[i], p.gb_neck_type[j]] for t in (p.gb_neck_distance, p.gb_neck_height))
    return best, height, p.gb_radius[i] + p.gb_radius[j] + p.gb_neck_reach


def has_necks(p: Parameters) -> bool:
    """Whether pairs need the kernels' general form: necks, or a negative scaled radius (sulphur under GBn2)."""
    return p.has_necks or bool((p.gb_scaled_radius < 0).any())


def born_shape(p: Parameters) -> Float[Tensor, "atoms 3"]:
    """Alpha, beta and gamma of each atom."""
    return p.gb_atom_tanh if len(p.gb_atom_tanh) else p.gb_tanh.expand(p.n_atoms, 3)


def outer_radius(p: Parameters) -> Float[Tensor, " atoms"]:
    """What :func:`saturation` is divided by, in nm: the radius, or the offset radius without a hyperbolic tangent."""
    return p.gb_offset_radius if p.gb_linear else p.gb_radius


def born_radii(integral: Tensor, rho: Tensor, outer: Tensor, tanh: Tensor, linear: bool) -> Tensor:
    """Born radii in nm from summed :func:`descreening`, offset radii and :func:`outer_radius`.

    ``tanh`` holds alpha, beta, gamma in its last dimension. A radius is :data:`LARGEST_NM` at most without a
    hyperbolic tangent.
    """
    psi = 0.5 * rho * integral
    if linear:
        return 1 / (1 / rho - psi / outer).clamp(min=1 / LARGEST_NM)
    alpha, beta, gamma = tanh.unbind(-1)
    return 1 / (1 / rho - torch.tanh(psi * (alpha - psi * (beta - psi * gamma))) / outer)


def inverse_f(squared: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """1 / f_GB of Still et al. (1990), in 1/nm, from squared distances and two Born radii."""
    product = first * second
    return torch.rsqrt(squared + product * torch.exp(-0.25 * squared / product))


def surface_coefficient(surface: Tensor, radius: Tensor) -> Tensor:
    """What the inverse sixth power of a Born radius is multiplied by in the surface term of Schaefer et al. (1998)."""
    return surface * (radius + PROBE_RADIUS_NM) ** 2 * radius**6


@dataclass(frozen=True)
class Necks:
    """Columns (2, pairs, 1) of :func:`neck`, and whether there is more to descreening than the usual form."""

    best: Tensor
    height: Tensor
    reach: Tensor

    @classmethod
    def build(cls, p: Parameters, i: Tensor, j: Tensor) -> Necks | None:
        """Table of pairs seen from both sides, or None where :func:`has_necks` says that there is none."""
        if not has_necks(p):
            return None
        columns = neck_tables(p, i, j) if p.has_necks else torch.zeros(3, *i.shape, dtype=torch.float64)
        return cls(*(column[..., None] for column in columns))


@dataclass(frozen=True)
class Born:
    """Generalised Born solvent, with the surface term of Schaefer et al. (1998).

    Born radii of Hawkins, Cramer and Truhlar (1996; ``linear``), of Onufriev, Bashford and Case (2004), and of Mongan
    et al. (2007) and Nguyen, Roe and Simmerling (2013), who add an integral for the necks between atoms.

    Every pair is seen from both sides, so columns of the descreening integrals are (2, pairs, 1): first what j does
    to i, then what i does to j. Atom columns are (rows, 1).
    """

    described: Tensor
    other: Tensor
    offset_radius: Tensor
    scaled: Tensor
    scaled_squared: Tensor
    engulfed: Tensor
    closest: float
    charge: Tensor
    squared_cutoff: Tensor | None
    shift: Tensor
    atom_offset_radius: Tensor
    atom_outer: Tensor
    tanh: Tensor
    linear: bool
    atom_self: Tensor
    atom_surface: Tensor
    both_sum: SumPlan
    necks: Necks | None

    @classmethod
    def build(cls, p: Parameters, i: Tensor, j: Tensor) -> Born | None:
        """Table of a molecule's pairs i < j, or None where it has no solvent."""
        if not p.has_solvent:
            return None
        radius, offset_radius = p.gb_radius[:, None], p.gb_offset_radius[:, None]
        described, other = torch.stack([i, j]), torch.stack([j, i])
        outer, inner = p.gb_offset_radius[described], p.gb_scaled_radius[other]
        product = p.gb_prefactor * p.gb_charge[i] * p.gb_charge[j]
        return cls(
            described=described.flatten(),
            other=other.flatten(),
            offset_radius=outer[..., None],
            scaled=inner[..., None],
            scaled_squared=(inner**2)[..., None],
            engulfed=p.gb_engulfed.double(),
            closest=float((inner - outer).max().clamp_min(0)) if len(i) else 0.0,
            charge=product[:, None],
            squared_cutoff=p.gb_cutoff**2 if math.isfinite(p.gb_cutoff) else None,
            shift=(product * (1 / p.gb_cutoff))[:, None],
            atom_offset_radius=offset_radius,
            atom_outer=outer_radius(p)[:, None],
            tanh=p.gb_atom_tanh.T[..., None] if len(p.gb_atom_tanh) else p.gb_tanh,
            linear=bool(p.gb_linear),
            atom_self=(0.5 * p.gb_prefactor * p.gb_charge**2)[:, None],
            atom_surface=surface_coefficient(p.gb_surface, radius),
            both_sum=SumPlan.build(described.flatten(), p.n_atoms),
            necks=Necks.build(p, described, other),
        )

    def __call__(self, squared: Tensor, inverse: Tensor, with_forces: bool) -> tuple[Tensor, Tensor, Tensor | None]:
        """Energies of the pairs and of the atoms, and -(dE/dr)/r of the pairs."""
        inside = None if self.squared_cutoff is None else (squared <= self.squared_cutoff).to(squared.dtype)
        distance = squared * inverse

        # Descreening: outer U = r + s and inner L = max(|r - s|, rho). U is held at rho as well: where r + s < rho
        # (atom j wholly inside i) L = U, and both the integral and its slope are exactly zero, as they must be.
        outer = (distance + self.scaled).clamp_min_(self.offset_radius).reciprocal_()
        reach = (distance - self.scaled).abs_().clamp_min_(self.offset_radius)
        log_ratio = (reach * outer).log_()
        inner = reach.reciprocal_()
        total = inner + outer
        gap = inner.sub_(outer)
        integral = torch.addcmul(distance, self.scaled_squared, inverse, value=-1).mul_(total).mul_(-0.25).add_(1)
        integral.mul_(gap).addcmul_(log_ratio, inverse, value=0.5)
        # Only where atoms nearly coincide; a NaN anywhere in the chunk must not hide another configuration's overlap.
        always = squared.is_cuda or torch.compiler.is_compiling()  # where asking costs more than the correction
        close = self.closest > 0 and (always or not float(squared.amin()) >= self.closest**2)
        engulfing = (self.scaled - distance).clamp_min_(self.offset_radius) if close else None
        if engulfing is not None:
            integral += self.engulfed * 2 * (1 / self.offset_radius - 1 / engulfing)
        neck_slope, counts = None, torch.ones(())
        if self.necks is not None:
            # A negative scaled radius has a meaning only where r + s reaches the offset radius.
            counts = (distance + self.scaled >= self.offset_radius).to(squared.dtype)
            value, neck_slope = neck(distance, self.necks.best, self.necks.height, self.necks.reach)
            integral = integral.mul_(counts).add_(value, alpha=2)
        if inside is not None:
            integral *= inside
        psi = self.both_sum(integral.flatten(0, 1)).mul_(self.atom_offset_radius).mul_(0.5)
        alpha, beta, gamma = self.tanh
        tanh = psi if self.linear else torch.tanh(psi * (alpha - psi * (beta - psi * gamma)))
        radius = (1 / self.atom_offset_radius - tanh / self.atom_outer).reciprocal_()

        atom_energy = self.atom_self / radius
        surface = self.atom_surface * radius**-6
        partners = radius.index_select(0, self.other).view(2, *squared.shape)
        product = partners[0] * partners[1]
        ratio = squared / product
        damped = (ratio * -0.25).exp_()
        inverse_f = torch.addcmul(squared, product, damped).rsqrt_()
        energy = inverse_f * self.charge
        if not with_forces:
            if inside is not None:
                energy = energy.sub_(self.shift).mul_(inside)
            return energy, atom_energy + surface, None

        # Direct part of -(dE/dr)/r, then the chain over both Born radii.
        slope = inverse_f.mul_(inverse_f).mul_(energy)
        if inside is not None:
            energy = energy.sub_(self.shift).mul_(inside)
            slope *= inside
        pull = torch.addcmul(slope, slope, damped, value=-0.25)
        per_product = slope.mul_(damped).mul_(ratio.mul_(0.25).add_(1)).mul_(-0.5)
        by_radius = self.both_sum(partners.mul_(per_product).flatten(0, 1))
        by_radius -= (atom_energy + 6 * surface) / radius
        chain = 1 if self.linear else (1 - tanh * tanh) * (alpha - psi * (2 * beta - 3 * psi * gamma))
        by_integral = by_radius * radius**2 * chain * self.atom_offset_radius / self.atom_outer
        weight = by_integral.index_select(0, self.described).view(2, *squared.shape)

        # d(integral)/dr = -((1 + s^2/r^2)(1/L^2 - 1/U^2)/8 + log(L/U)/(4 r^2)), here times -4.
        inverse2 = inverse * inverse
        steepness = (self.scaled_squared * inverse2).add_(1).mul_(gap).mul_(total).mul_(0.5)
        steepness.addcmul_(log_ratio, inverse2)
        if engulfing is not None:
            # Without the correction, the integral of an atom inside another still depends on L = s - r.
            wholly = (self.scaled - distance > self.offset_radius).to(squared.dtype)
            steepness -= (1 - self.engulfed) * wholly * 4 / engulfing**2
        if neck_slope is not None:
            steepness = steepness.mul_(counts).add_(neck_slope, alpha=4)
        if inside is not None:
            steepness *= inside
        steepness.mul_(weight)
        pull.addcmul_(steepness[0].add_(steepness[1]), inverse, value=0.25)
        return energy, atom_energy + surface, pull
