"""Lennard-Jones and Coulomb: each pair once, analytic forces, in the layout (rows, batch)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..shapes import Float
from ..units import COULOMB_CONSTANT
from .parameters import Parameters
from .rows import SumPlan, component_rows


@dataclass(frozen=True)
class Distances:
    """All pairs i < j of a molecule."""

    first: Tensor
    second: Tensor
    force_sum: SumPlan

    @classmethod
    def build(cls, i: Tensor, j: Tensor, n_atoms: int) -> Distances:
        """Table for pairs of atoms."""
        n = len(i)
        sources = torch.arange(3 * n).view(3, 1, n).expand(3, 2, n)
        targets = torch.stack([i, j]) + n_atoms * torch.arange(3)[:, None, None]
        signs = torch.tensor([1.0, -1.0], dtype=torch.float64)[:, None].expand(3, 2, n)
        plan = SumPlan.build(targets.flatten(), 3 * n_atoms, sources.flatten(), signs.flatten())
        return cls(component_rows(i, n_atoms), component_rows(j, n_atoms), plan)

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
    switch_scale: Tensor

    @classmethod
    def build(cls, p: Parameters, charge: Tensor, plain: Tensor) -> Cutoff | None:
        """Columns for pairs that are ``plain`` (no exceptions), or None where the molecule has no cutoff."""
        if math.isinf(p.cutoff):
            return None

        def column(value: Tensor, exception: float) -> Tensor:
            return torch.where(plain, value, exception)[:, None]

        eps, switched = p.reaction_field_dielectric, math.isfinite(p.switching_distance)
        return cls(
            squared=column(p.cutoff**2, math.inf),
            field=charge[:, None] * column((eps - 1) / (2 * eps + 1) / p.cutoff**3, 0.0),
            shift=charge[:, None] * column(3 * eps / (2 * eps + 1) / p.cutoff, 0.0),
            switch_start=column(p.switching_distance, 0.0) if switched else None,
            switch_scale=column(1 / (p.cutoff - p.switching_distance), 0.0),  # 0: an exception is never switched
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
    cutoff: Cutoff | None

    @classmethod
    def build(cls, p: Parameters) -> Plain:
        """Columns of a molecule's pairs."""
        epsilon, sigma, charge, plain = pair_columns(p)
        lj12, lj6 = 4 * epsilon * sigma**12, -4 * epsilon * sigma**6
        if (tables := table_columns(p)) is not None:
            lj12, lj6 = lj12 + tables[0], lj6 - tables[1]
        return cls(
            lj12=lj12[:, None],
            lj6=lj6[:, None],
            charge=charge[:, None],
            cutoff=Cutoff.build(p, charge, plain),
        )

    def __call__(self, squared: Tensor, inverse: Tensor, with_forces: bool) -> tuple[Tensor, Tensor | None]:
        """Energies of the pairs, and -(dE/dr)/r."""
        inverse2 = inverse * inverse
        inverse6 = (inverse2 * inverse2).mul_(inverse2)
        energy = torch.addcmul(self.lj6, self.lj12, inverse6).mul_(inverse6)
        pull = None
        if with_forces:
            pull = torch.addcmul(self.lj6, self.lj12, inverse6, value=2).mul_(inverse6).mul_(6)
        cutoff = self.cutoff
        if cutoff is not None and cutoff.switch_start is not None:
            # S = 1 - 10 t^3 + 15 t^4 - 6 t^5; only Lennard-Jones is switched.
            distance = squared * inverse
            t = ((distance - cutoff.switch_start) * cutoff.switch_scale).clamp_(0, 1)
            switch = 1 + t**3 * (-10 + t * (15 - 6 * t))
            if pull is not None:
                slope = t * t * (-30 + t * (60 - 30 * t)) * cutoff.switch_scale
                pull = pull * switch - energy * slope * distance
            energy = energy * switch
        energy.addcmul_(self.charge, inverse)
        if pull is not None:
            pull.addcmul_(self.charge, inverse).mul_(inverse2)
        if cutoff is not None:
            inside = (squared <= cutoff.squared).to(squared.dtype)
            energy.addcmul_(cutoff.field, squared).sub_(cutoff.shift).mul_(inside)
            if pull is not None:
                pull.sub_(2 * cutoff.field).mul_(inside)
        return energy, pull


def pair_columns(p: Parameters) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Lennard-Jones and Coulomb of each pair i < j of one molecule, exceptions included.

    Returns:
        epsilon (kJ/mol), sigma (nm, 0 where epsilon is), q_i q_j / (4 pi eps0) (kJ nm/mol), and whether the pair is no
        exception; each (pairs), in the order of :func:`torch.triu_indices`.
    """
    i, j = torch.triu_indices(p.n_atoms, p.n_atoms, 1)
    epsilon = (p.epsilon[i] * p.epsilon[j]).sqrt()
    sigma = 0.5 * (p.sigma[i] + p.sigma[j])
    charge = p.charge[i] * p.charge[j]
    plain = torch.ones(len(i), dtype=torch.bool)
    if len(p.exception_atoms):
        rows = _pair_rows(p.exception_atoms, p.n_atoms)
        epsilon[rows], sigma[rows] = p.exception_epsilon, p.exception_sigma
        charge[rows], plain[rows] = p.exception_charge_product, False
    # Hydrogens without Lennard-Jones carry sigma = 1 nm, which would overflow long before anything matters.
    return epsilon, torch.where(epsilon > 0, sigma, 0.0), charge * COULOMB_CONSTANT, plain


def table_columns(p: Parameters) -> tuple[Tensor, Tensor] | None:
    """What tables of types and single 1-4 pairs add to Lennard-Jones: c12 and c6 of c12 / r^12 - c6 / r^6.

    In kJ nm^12/mol and kJ nm^6/mol, by pair as in :func:`pair_columns`; None where there are neither.
    """
    if not len(p.lj_type) and not len(p.lj14_atoms):
        return None
    i, j = torch.triu_indices(p.n_atoms, p.n_atoms, 1)
    twelve, six = torch.zeros(2, len(i), dtype=torch.float64)
    if len(p.lj_type):
        twelve, six = (table[p.lj_type[i], p.lj_type[j]] for table in (p.lj_table_12, p.lj_table_6))
        rows = _pair_rows(p.exception_atoms, p.n_atoms)
        twelve[rows] = six[rows] = 0.0
    rows = _pair_rows(p.lj14_atoms, p.n_atoms)
    return twelve.index_add(0, rows, p.lj14_12), six.index_add(0, rows, p.lj14_6)


def _pair_rows(atoms: Tensor, n_atoms: int) -> Tensor:
    """Places of pairs of atoms, in either order, among all pairs."""
    low, high = atoms.sort(1).values.T
    return low * n_atoms - low * (low + 1) // 2 + high - low - 1


def pair_matrix(column: Float[Tensor, " pairs"], n_atoms: int) -> Float[Tensor, "atoms atoms"]:
    """A symmetric matrix from one number per pair i < j, with zeros on its diagonal."""
    matrix = column.new_zeros(n_atoms, n_atoms)
    i, j = torch.triu_indices(n_atoms, n_atoms, 1)
    matrix[i, j] = matrix[j, i] = column
    return matrix
