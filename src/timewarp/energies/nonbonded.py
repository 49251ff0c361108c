"""Lennard-Jones, Coulomb and generalised Born: each pair once, analytic forces, in the layout (rows, batch)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..shapes import Float
from ..units import COULOMB_CONSTANT
from .parameters import Parameters
from .rows import SumPlan, component_rows

PROBE_RADIUS_NM = 0.14


@dataclass(frozen=True)
class Distances:
    """All pairs i < j of each molecule."""

    first: Tensor
    second: Tensor
    force_sum: SumPlan

    @classmethod
    def build(cls, i: Tensor, j: Tensor, n_rows: int) -> Distances:
        """Table for pairs of atom rows."""
        n = len(i)
        sources = torch.arange(3 * n).view(3, 1, n).expand(3, 2, n)
        targets = torch.stack([i, j]) + n_rows * torch.arange(3)[:, None, None]
        signs = torch.tensor([1.0, -1.0], dtype=torch.float64)[:, None].expand(3, 2, n)
        plan = SumPlan.build(targets.flatten(), 3 * n_rows, sources.flatten(), signs.flatten())
        return cls(component_rows(i, n_rows), component_rows(j, n_rows), plan)

    def __call__(self, x: Tensor) -> tuple[Float[Tensor, "3 pairs batch"], Float[Tensor, "pairs batch"], Tensor]:
        """Vectors from j to i, squared distances and inverse distances."""
        d = x.index_select(0, self.first).sub_(x.index_select(0, self.second))
        d = d.view(3, d.shape[0] // 3, d.shape[1])
        dx, dy, dz = d
        squared = (dx * dx).addcmul_(dy, dy).addcmul_(dz, dz)
        return d, squared, squared.rsqrt()


@dataclass(frozen=True)
class Cutoff:
    """Non-periodic cutoff with reaction field and switching; exceptions carry an infinite cutoff and no field.

    Coulomb becomes qq (1/r + k r^2 - c) inside the cutoff rc, with k = (eps - 1)/(2 eps + 1)/rc^3 and
    c = 3 eps/(2 eps + 1)/rc (Tironi et al. 1995; OpenMM user guide, "Coulomb interaction with cutoff").
    """

    squared: Tensor
    field: Tensor
    shift: Tensor
    switch_start: Tensor | None
    switch_scale: Tensor | None

    @classmethod
    def build(cls, parameters: Sequence[Parameters], charge: Tensor, plain: Tensor) -> Cutoff | None:
        """Columns for pairs that are ``plain`` (no exceptions), or None where no molecule has a cutoff."""
        if all(math.isinf(p.cutoff) for p in parameters):
            return None

        def column(values: list[Tensor], exception: float) -> Tensor:
            return torch.where(plain, _per_pair(parameters, values), exception)[:, None]

        eps = [p.reaction_field_dielectric for p in parameters]
        field = column([(e - 1) / (2 * e + 1) / p.cutoff**3 for e, p in zip(eps, parameters, strict=True)], 0.0)
        shift = column([3 * e / (2 * e + 1) / p.cutoff for e, p in zip(eps, parameters, strict=True)], 0.0)
        switched = any(math.isfinite(p.switching_distance) for p in parameters)
        # An unswitched pair starts beyond every distance that it is evaluated at.
        start = column([p.switching_distance for p in parameters], math.inf)
        width = column([p.cutoff - p.switching_distance for p in parameters], math.inf)
        scale = torch.where(start.isfinite(), 1 / width, 0.0)
        start = torch.where(start.isfinite(), start, 0.0)
        return cls(
            column([p.cutoff**2 for p in parameters], math.inf),
            charge[:, None] * field,
            charge[:, None] * shift,
            start if switched else None,
            scale if switched else None,
        )


@dataclass(frozen=True)
class Plain:
    """Lennard-Jones and Coulomb, with exceptions folded into each pair's own numbers.

    Columns are (pairs, 1), so that they broadcast over the batch: ``lj12`` = 4 epsilon sigma^12,
    ``lj6`` = -4 epsilon sigma^6, ``charge`` = q_i q_j / (4 pi eps0).
    """

    lj12: Tensor
    lj6: Tensor
    charge: Tensor
    squared_cutoff: Tensor | None
    field: Tensor | None
    shift: Tensor | None
    switch_start: Tensor | None
    switch_scale: Tensor | None

    @classmethod
    def build(cls, parameters: Sequence[Parameters]) -> Plain:
        """Columns of all molecules' pairs."""
        columns = [_pair_columns(p) for p in parameters]
        epsilon, sigma, charge, plain = (torch.cat(c) for c in zip(*columns, strict=True))
        cutoff = Cutoff.build(parameters, charge, plain)
        return cls(
            (4 * epsilon * sigma**12)[:, None],
            (-4 * epsilon * sigma**6)[:, None],
            charge[:, None],
            None if cutoff is None else cutoff.squared,
            None if cutoff is None else cutoff.field,
            None if cutoff is None else cutoff.shift,
            None if cutoff is None else cutoff.switch_start,
            None if cutoff is None else cutoff.switch_scale,
        )

    def __call__(self, squared: Tensor, inverse: Tensor, with_forces: bool) -> tuple[Tensor, Tensor | None]:
        """Energies of the pairs, and -(dE/dr)/r."""
        inverse2 = inverse * inverse
        inverse6 = (inverse2 * inverse2).mul_(inverse2)
        energy = torch.addcmul(self.lj6, self.lj12, inverse6).mul_(inverse6)
        pull = None
        if with_forces:
            pull = torch.addcmul(self.lj6, self.lj12, inverse6, value=2).mul_(inverse6).mul_(6)
        if self.switch_start is not None and self.switch_scale is not None:
            # S = 1 - 10 t^3 + 15 t^4 - 6 t^5; only Lennard-Jones is switched.
            distance = squared * inverse
            t = ((distance - self.switch_start) * self.switch_scale).clamp_(0, 1)
            switch = 1 + t**3 * (-10 + t * (15 - 6 * t))
            if pull is not None:
                slope = t * t * (-30 + t * (60 - 30 * t)) * self.switch_scale
                pull = pull * switch - energy * slope * distance
            energy = energy * switch
        energy.addcmul_(self.charge, inverse)
        if pull is not None:
            pull.addcmul_(self.charge, inverse).mul_(inverse2)
        if self.squared_cutoff is not None and self.field is not None and self.shift is not None:
            inside = (squared <= self.squared_cutoff).to(squared.dtype)
            energy.addcmul_(self.field, squared).sub_(self.shift).mul_(inside)
            if pull is not None:
                pull.sub_(2 * self.field).mul_(inside)
        return energy, pull


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
    shift: Tensor | None
    atom_offset_radius: Tensor
    atom_radius: Tensor
    atom_alpha: Tensor
    atom_beta: Tensor
    atom_gamma: Tensor
    atom_self: Tensor
    atom_surface: Tensor
    both_sum: SumPlan

    @classmethod
    def build(cls, parameters: Sequence[Parameters], i: Tensor, j: Tensor, n_atoms: int) -> Born | None:
        """Table of all molecules' pairs, padded to ``n_atoms`` rows each, or None where none has a solvent."""
        if not any(p.has_solvent for p in parameters):
            return None

        def atoms(name: str, neutral: float) -> Tensor:
            column = torch.full((len(parameters), n_atoms), neutral, dtype=torch.float64)
            for row, p in zip(column, parameters, strict=True):
                values = getattr(p, name)
                row[: len(values)] = values
            return column.flatten()

        def repeated(values: list[Tensor]) -> Tensor:
            return torch.stack(values).repeat_interleave(n_atoms)

        offset_radius, radius = atoms("gb_offset_radius", 0.1), atoms("gb_radius", 0.109)
        scaled, charge = atoms("gb_scaled_radius", 0.0), atoms("gb_charge", 0.0)
        prefactor = repeated([p.gb_prefactor for p in parameters])
        surface = repeated([p.gb_surface for p in parameters])
        real = atoms("gb_charge", math.nan).isfinite()
        surface = torch.where(real, surface, 0.0)
        cut = any(p.has_solvent and math.isfinite(p.gb_cutoff) for p in parameters)
        product = prefactor[i] * charge[i] * charge[j]
        inverse_cutoff = _per_pair(parameters, [1 / p.gb_cutoff for p in parameters])
        sides = torch.stack([i, j]), torch.stack([j, i])
        described, other = offset_radius[sides[0]], scaled[sides[1]]
        return cls(
            sides[0].flatten(),
            sides[1].flatten(),
            described[..., None],
            other[..., None],
            (other**2)[..., None],
            torch.stack([p.gb_engulfed.double() for p in parameters]).repeat_interleave(n_atoms)[i][:, None],
            float((other - described).max().clamp_min(0)),
            product[:, None],
            _per_pair(parameters, [p.gb_cutoff**2 for p in parameters])[:, None] if cut else None,
            (product * inverse_cutoff)[:, None] if cut else None,
            offset_radius[:, None],
            radius[:, None],
            *(repeated([p.gb_tanh[k] for p in parameters])[:, None] for k in range(3)),
            (0.5 * prefactor * charge**2)[:, None],
            (surface * (radius + PROBE_RADIUS_NM) ** 2 * radius**6)[:, None],
            SumPlan.build(sides[0].flatten(), len(parameters) * n_atoms),
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
        close = squared.is_cuda or float(squared.amin()) < self.closest**2
        engulfing = (self.scaled - distance).clamp_min_(self.offset_radius) if close else None
        if engulfing is not None:
            integral += self.engulfed * 2 * (1 / self.offset_radius - 1 / engulfing)
        if inside is not None:
            integral *= inside
        psi = self.both_sum(integral.flatten(0, 1)).mul_(self.atom_offset_radius).mul_(0.5)
        tanh = torch.tanh(psi * (self.atom_alpha - psi * (self.atom_beta - psi * self.atom_gamma)))
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
        chain = (1 - tanh * tanh) * (self.atom_alpha - psi * (2 * self.atom_beta - 3 * psi * self.atom_gamma))
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


def pair_list(parameters: Sequence[Parameters], n_atoms: int) -> tuple[Tensor, Tensor]:
    """Rows (i, j), i < j within each molecule, of all pairs; molecule m starts at row m * n_atoms."""
    pairs = [torch.triu_indices(p.n_atoms, p.n_atoms, 1) + m * n_atoms for m, p in enumerate(parameters)]
    i, j = torch.cat(pairs, 1)
    return i, j


def _pair_columns(p: Parameters) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Per pair of one molecule: epsilon, sigma, charge product, and whether it is no exception."""
    i, j = torch.triu_indices(p.n_atoms, p.n_atoms, 1)
    epsilon = (p.epsilon[i] * p.epsilon[j]).sqrt()
    sigma = 0.5 * (p.sigma[i] + p.sigma[j])
    charge = p.charge[i] * p.charge[j]
    plain = torch.ones(len(i), dtype=torch.bool)
    if len(p.exception_atoms):
        low, high = p.exception_atoms.sort(1).values.T
        rows = low * p.n_atoms - low * (low + 1) // 2 + high - low - 1
        epsilon[rows], sigma[rows] = p.exception_epsilon, p.exception_sigma
        charge[rows], plain[rows] = p.exception_charge_product, False
    # Hydrogens without Lennard-Jones carry sigma = 1 nm, which would overflow long before anything matters.
    return epsilon, torch.where(epsilon > 0, sigma, 0.0), charge * COULOMB_CONSTANT, plain


def _per_pair(parameters: Sequence[Parameters], values: Sequence[Tensor]) -> Tensor:
    counts = [p.n_atoms * (p.n_atoms - 1) // 2 for p in parameters]
    return torch.stack(list(values)).repeat_interleave(torch.tensor(counts))
