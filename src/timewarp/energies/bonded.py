"""Bonds, angles, torsions and correction maps: energies and analytic forces in the layout (rows, batch)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..shapes import Float
from .cmap import bicubic_coefficients, interpolate
from .parameters import Parameters
from .rows import CYCLIC, SumPlan, component_rows, cross, dot

SMALLEST_CROSS = 1e-6
"""Below this |u x v| (nm^2) an angle counts as straight; OpenMM's own guard."""


@dataclass(frozen=True)
class Bonds:
    """0.5 k (r - r0)^2."""

    first: Tensor
    second: Tensor
    length: Tensor
    k: Tensor
    energy_sum: SumPlan
    force_sum: SumPlan

    @classmethod
    def build(cls, p: Parameters) -> Bonds | None:
        """Table of a molecule's bonds, or None where there are none."""
        atoms, n_atoms = p.bond_atoms, p.n_atoms
        if not len(atoms):
            return None
        i, j = atoms.T
        return cls(
            component_rows(i, n_atoms),
            component_rows(j, n_atoms),
            p.bond_length[:, None],
            p.bond_k[:, None],
            SumPlan.build(i, n_atoms),
            _force_plan(n_atoms, 1, [(i, 0, 1.0), (j, 0, -1.0)]),
        )

    def __call__(self, x: Tensor, with_forces: bool) -> tuple[Tensor, Tensor | None]:
        """Energies by row and forces by row and axis."""
        d = _difference(x, self.first, self.second, 3)
        r = dot(d, d).sqrt_()
        stretch = r - self.length
        pull = stretch * self.k
        energy = self.energy_sum(stretch.mul_(pull).mul_(0.5))
        if not with_forces:
            return energy, None
        force = d.mul_(pull.div_(r).neg_())
        return energy, self.force_sum(force.flatten(0, 1))


@dataclass(frozen=True)
class Angles:
    """0.5 k (theta - theta0)^2."""

    ends: Tensor
    centres: Tensor
    theta: Tensor
    k: Tensor
    energy_sum: SumPlan
    force_sum: SumPlan

    @classmethod
    def build(cls, p: Parameters) -> Angles | None:
        """Table of a molecule's angles, or None where there are none."""
        atoms, n_atoms = p.angle_atoms, p.n_atoms
        if not len(atoms):
            return None
        i, j, k = atoms.T
        return cls(
            component_rows(torch.cat([i, k]), n_atoms, CYCLIC),
            component_rows(torch.cat([j, j]), n_atoms, CYCLIC),
            p.angle_theta[:, None],
            p.angle_k[:, None],
            SumPlan.build(j, n_atoms),
            _force_plan(n_atoms, 2, [(i, 0, 1.0), (j, 0, -1.0), (k, 1, 1.0), (j, 1, -1.0)]),
        )

    def __call__(self, x: Tensor, with_forces: bool) -> tuple[Tensor, Tensor | None]:
        """Energies by row and forces by row and axis."""
        arms = _difference(x, self.ends, self.centres, 5, 2)
        u, v = arms.unbind(1)
        normal = cross(u, v)
        sine = dot(normal, normal).sqrt_()
        arms = arms[:3]
        cosine = dot(u[:3], v[:3])
        bend = torch.atan2(sine, cosine).sub_(self.theta)
        torque = bend * self.k
        energy = self.energy_sum(bend.mul_(torque).mul_(0.5))
        if not with_forces:
            return energy, None
        # d theta/d u = (u (u.v)/|u|^2 - v)/|u x v|, and the same with u and v exchanged.
        torque.div_(sine.clamp_min_(SMALLEST_CROSS)).neg_()
        force = (arms * (cosine / dot(arms, arms))).sub_(arms.flip(1)).mul_(torque)
        return energy, self.force_sum(force.flatten(0, 2))


@dataclass(frozen=True)
class DihedralGeometry:
    """Of each four-atom term: the angle's cosine and sine, bond vectors b1, b2, b3 and normals b1 x b2, b2 x b3."""

    cosine: Float[Tensor, "terms batch"]
    sine: Float[Tensor, "terms batch"]
    bonds: Float[Tensor, "3 3 terms batch"]
    normals: Float[Tensor, "3 2 terms batch"]
    squared_normals: Float[Tensor, "2 terms batch"]
    squared_axis: Float[Tensor, "terms batch"]


@dataclass(frozen=True)
class Dihedrals:
    """Geometry of four-atom terms; angles by the IUPAC sign, as OpenMM's."""

    heads: Tensor
    tails: Tensor
    force_sum: SumPlan

    @classmethod
    def build(cls, atoms: Tensor, n_atoms: int) -> Dihedrals:
        """Table for rows of four atoms."""
        i, j, k, m = atoms.T
        # Blocks: 0 the force on the first atom, 1 minus that on the last, 2 the share that moves from j to k.
        parts = [(i, 0, 1.0), (j, 0, -1.0), (j, 2, -1.0), (k, 2, 1.0), (k, 1, 1.0), (m, 1, -1.0)]
        heads, tails = torch.cat([j, k, m]), torch.cat([i, j, k])
        return cls(
            component_rows(heads, n_atoms, CYCLIC),
            component_rows(tails, n_atoms, CYCLIC),
            _force_plan(n_atoms, 3, parts),
        )

    def geometry(self, x: Float[Tensor, "rows batch"]) -> DihedralGeometry:
        """Angles and what their forces need."""
        bonds = _difference(x, self.heads, self.tails, 5, 3)
        normals = cross(bonds[:, :2], bonds[:, 1:])
        bonds = bonds[:3]
        axis = bonds[:, 1]
        squared_axis, squared = dot(axis, axis), dot(normals, normals)
        inverse = (squared[0] * squared[1]).rsqrt_()
        cosine = dot(normals[:, 0], normals[:, 1]).mul_(inverse)
        sine = dot(bonds[:, 0], normals[:, 1]).mul_(inverse.mul_(squared_axis.sqrt()))
        return DihedralGeometry(cosine, sine, bonds, normals, squared, squared_axis)

    def forces(self, torque: Float[Tensor, "terms batch"], g: DihedralGeometry) -> Float[Tensor, "rows batch"]:
        """Forces by row and axis for torque = dE/dphi (Blondel and Karplus 1996, equation 27)."""
        axis, outer = g.bonds[:, 1], g.bonds[:, ::2]
        force = torch.empty(3, 3, *torque.shape, dtype=torque.dtype, device=torque.device)
        ends = force[:, :2]
        torch.mul(g.normals, (torque * g.squared_axis.sqrt()) / g.squared_normals, out=ends)
        # With p = b1.b2/|b2|^2 and q = b3.b2/|b2|^2, the second atom feels -(1 + p) f1 + q f4.
        torch.sum(ends * (dot(outer, axis[:, None]) / g.squared_axis), 1, out=force[:, 2])
        return self.force_sum(force.flatten(0, 2))


@dataclass(frozen=True)
class Torsions:
    """k (1 + cos(n phi - phase)), summed over all terms on the same four atoms.

    With c = cos phi and s = sin phi the sum is P(c) + s Q(c): no angle, no trigonometric function per configuration.
    """

    dihedrals: Dihedrals
    even: Tensor
    odd: Tensor | None
    energy_sum: SumPlan

    @classmethod
    def build(cls, p: Parameters) -> Torsions | None:
        """Table of a molecule's torsions, or None where there are none."""
        atoms, n_atoms = p.torsion_atoms, p.n_atoms
        if not len(atoms):
            return None
        quadruples, group = atoms.unique(dim=0, return_inverse=True)
        periodicity, phase, k = p.torsion_periodicity, p.torsion_phase, p.torsion_k
        first, second = _chebyshev(int(periodicity.max()))
        shape = (first.shape[0], len(quadruples))
        even, odd = torch.zeros(shape, dtype=torch.float64), torch.zeros(shape, dtype=torch.float64)
        even.index_add_(1, group, first[:, periodicity] * (k * torch.cos(phase)))
        even[0].index_add_(0, group, k)
        sine_weight = k * torch.sin(phase)
        # The phase pi is not exact in floating point; its sine of 1e-16 must not cost a second polynomial.
        sine_weight[sine_weight.abs() < 1e-12 * k.abs()] = 0.0
        odd.index_add_(1, group, second[:, periodicity] * sine_weight)
        return cls(
            Dihedrals.build(quadruples, n_atoms),
            even[..., None],
            odd[..., None] if odd.any() else None,
            SumPlan.build(quadruples[:, 1], n_atoms),
        )

    def __call__(self, x: Tensor, with_forces: bool) -> tuple[Tensor, Tensor | None]:
        """Energies by row and forces by row and axis."""
        geometry = self.dihedrals.geometry(x)
        cosine, sine = geometry.cosine, geometry.sine
        value, slope = _horner(self.even, cosine, with_forces)
        torque = None if slope is None else slope.mul_(sine).neg_()
        if self.odd is not None:
            factor, factor_slope = _horner(self.odd, cosine, with_forces)
            value = value + sine * factor
            if torque is not None and factor_slope is not None:
                torque = torque + cosine * factor - sine * sine * factor_slope
        energy = self.energy_sum(value)
        return energy, None if torque is None else self.dihedrals.forces(torque, geometry)


@dataclass(frozen=True)
class Impropers:
    """k min(d, period - d)^2 with d = |phi - angle|; without a period, k d^2."""

    dihedrals: Dihedrals
    angle: Tensor
    k: Tensor
    period: Tensor
    energy_sum: SumPlan

    @classmethod
    def build(cls, p: Parameters) -> Impropers | None:
        """Table of a molecule's harmonic impropers, or None where there are none."""
        atoms, n_atoms = p.improper_atoms, p.n_atoms
        if not len(atoms):
            return None
        columns = (p.improper_angle[:, None], p.improper_k[:, None], p.improper_period[:, None])
        return cls(Dihedrals.build(atoms, n_atoms), *columns, SumPlan.build(atoms[:, 1], n_atoms))

    def __call__(self, x: Tensor, with_forces: bool) -> tuple[Tensor, Tensor | None]:
        """Energies by row and forces by row and axis."""
        geometry = self.dihedrals.geometry(x)
        difference = torch.atan2(geometry.sine, geometry.cosine).sub_(self.angle)
        direct = difference.abs()
        round_about = self.period - direct
        away = torch.minimum(direct, round_about)
        pull = away * self.k
        energy = self.energy_sum(away * pull)
        if not with_forces:
            return energy, None
        sign = torch.where(direct <= round_about, 2.0, -2.0).to(pull.dtype) * difference.sign()
        return energy, self.dihedrals.forces(pull.mul_(sign), geometry)


@dataclass(frozen=True)
class Maps:
    """Correction maps on pairs of torsions."""

    first: Dihedrals
    second: Dihedrals
    coefficients: Tensor
    first_patch: Tensor
    size: int
    energy_sum: SumPlan

    @classmethod
    def build(cls, p: Parameters) -> Maps | None:
        """Table of a molecule's maps, or None where there are none."""
        atoms, n_atoms = p.cmap_atoms, p.n_atoms
        if not len(atoms):
            return None
        size = p.cmap_grids.shape[-1]
        return cls(
            Dihedrals.build(atoms[:, :4], n_atoms),
            Dihedrals.build(atoms[:, 4:], n_atoms),
            bicubic_coefficients(p.cmap_grids).reshape(-1, 16),
            p.cmap_map[:, None] * size**2,
            size,
            SumPlan.build(atoms[:, 1], n_atoms),
        )

    def __call__(self, x: Tensor, with_forces: bool) -> tuple[Tensor, Tensor | None]:
        """Energies by row and forces by row and axis."""
        geometries = self.first.geometry(x), self.second.geometry(x)
        angles = [torch.atan2(g.sine, g.cosine) for g in geometries]
        energy, *torques = interpolate(self.coefficients, self.first_patch, self.size, *angles)
        if not with_forces:
            return self.energy_sum(energy), None
        tables = (self.first, self.second)
        forces = [t.forces(torque, g) for t, torque, g in zip(tables, torques, geometries, strict=True)]
        return self.energy_sum(energy), forces[0] + forces[1]


def _difference(x: Tensor, heads: Tensor, tails: Tensor, *shape: int) -> Float[Tensor, "components *rows"]:
    """Vectors from the tails to the heads, viewed as (*shape, terms, batch)."""
    d = x.index_select(0, heads).sub_(x.index_select(0, tails))
    return d.view(*shape, -1, x.shape[1])


def _force_plan(n_atoms: int, n_blocks: int, parts: Sequence[tuple[Tensor, int, float]]) -> SumPlan:
    """Sum of (atom, block, sign) contributions from force rows laid out (axis, block, term)."""
    targets, sources, signs = [], [], []
    for atoms, block, sign in parts:
        terms = torch.arange(len(atoms))
        for axis in range(3):
            targets.append(atoms + axis * n_atoms)
            sources.append(terms + (axis * n_blocks + block) * len(atoms))
            signs.append(torch.full((len(atoms),), sign, dtype=torch.float64))
    return SumPlan.build(torch.cat(targets), 3 * n_atoms, torch.cat(sources), torch.cat(signs))


def _chebyshev(order: int) -> tuple[Tensor, Tensor]:
    """Powers of c (rows) in cos(n phi) = T_n(c) and in sin(n phi)/s = U_(n-1)(c), for n = 0 ... order (columns)."""
    first = torch.zeros(order + 1, order + 1, dtype=torch.float64)
    second = torch.zeros_like(first)
    first[0, 0] = 1.0
    if order:
        first[1, 1] = second[0, 1] = 1.0
    for n in range(2, order + 1):
        for table in (first, second):
            table[1:, n] = 2 * table[:-1, n - 1]
            table[:, n] -= table[:, n - 2]
    return first, second


def _horner(coefficients: Tensor, c: Tensor, with_slope: bool) -> tuple[Tensor, Tensor | None]:
    """Value and derivative of a polynomial in c, highest power first."""
    value = coefficients[-1].expand_as(c)
    slope = torch.zeros_like(c) if with_slope else None
    for row in reversed(coefficients[:-1]):
        if slope is not None:
            slope = torch.addcmul(value, slope, c)
        value = torch.addcmul(row, value, c)
    return value, slope
