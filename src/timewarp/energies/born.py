"""Generalised Born solvent: each pair once, analytic forces, in the layout (rows, batch)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .parameters import Parameters
from .rows import SumPlan

PROBE_RADIUS_NM = 0.14
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


def born_radii(integral: Tensor, rho: Tensor, radius: Tensor, tanh: Tensor) -> Tensor:
    """Born radii in nm from summed :func:`descreening`, offset radii and radii; ``tanh`` holds alpha, beta, gamma."""
    psi = 0.5 * rho * integral
    alpha, beta, gamma = tanh.unbind()
    return 1 / (1 / rho - torch.tanh(psi * (alpha - psi * (beta - psi * gamma))) / radius)


def inverse_f(squared: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """1 / f_GB of Still et al. (1990), in 1/nm, from squared distances and two Born radii."""
    product = first * second
    return torch.rsqrt(squared + product * torch.exp(-0.25 * squared / product))


def surface_coefficient(surface: Tensor, radius: Tensor) -> Tensor:
    """What the inverse sixth power of a Born radius is multiplied by in the surface term of Schaefer et al. (1998)."""
    return surface * (radius + PROBE_RADIUS_NM) ** 2 * radius**6


@dataclass(frozen=True)
class Born:
    """Generalised Born solvent of Onufriev, Bashford and Case (2004), with the surface term of Schaefer et al. (1998).

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
    atom_radius: Tensor
    tanh: Tensor
    atom_self: Tensor
    atom_surface: Tensor
    both_sum: SumPlan

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
            atom_radius=radius,
            tanh=p.gb_tanh,
            atom_self=(0.5 * p.gb_prefactor * p.gb_charge**2)[:, None],
            atom_surface=surface_coefficient(p.gb_surface, radius),
            both_sum=SumPlan.build(described.flatten(), p.n_atoms),
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
        if inside is not None:
            integral *= inside
        psi = self.both_sum(integral.flatten(0, 1)).mul_(self.atom_offset_radius).mul_(0.5)
        alpha, beta, gamma = self.tanh
        tanh = torch.tanh(psi * (alpha - psi * (beta - psi * gamma)))
        radius = (1 / self.atom_offset_radius - tanh / self.atom_radius).reciprocal_()

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
        chain = (1 - tanh * tanh) * (alpha - psi * (2 * beta - 3 * psi * gamma))
        by_integral = by_radius * radius**2 * chain * self.atom_offset_radius / self.atom_radius
        weight = by_integral.index_select(0, self.described).view(2, *squared.shape)

        # d(integral)/dr = -((1 + s^2/r^2)(1/L^2 - 1/U^2)/8 + log(L/U)/(4 r^2)), here times -4.
        inverse2 = inverse * inverse
        steepness = (self.scaled_squared * inverse2).add_(1).mul_(gap).mul_(total).mul_(0.5)
        steepness.addcmul_(log_ratio, inverse2)
        if engulfing is not None:
            # Without the correction, the integral of an atom inside another still depends on L = s - r.
            wholly = (self.scaled - distance > self.offset_radius).to(squared.dtype)
            steepness -= (1 - self.engulfed) * wholly * 4 / engulfing**2
        if inside is not None:
            steepness *= inside
        steepness.mul_(weight)
        pull.addcmul_(steepness[0].add_(steepness[1]), inverse, value=0.25)
        return energy, atom_energy + surface, pull
