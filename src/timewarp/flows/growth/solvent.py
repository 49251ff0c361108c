"""Generalised Born energies along a grid of torsion angles, in all models of :mod:`timewarp.energies.born`."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...energies import Parameters
from ...energies.born import (
    CLOSEST_NM,
    born_radii,
    born_shape,
    descreening,
    has_necks,
    inverse_f,
    neck,
    neck_tables,
    outer_radius,
    surface_coefficient,
)


@dataclass(frozen=True, eq=False)
class PairNecks:
    """What :func:`timewarp.energies.born.neck` needs at the first atom beside the second: (atoms, atoms)."""

    best: Tensor
    height: Tensor
    reach: Tensor


@dataclass(frozen=True, eq=False)
class Solvent:
    """Generalised Born numbers of each atom, energies in kT.

    Attributes:
        rho, scaled, outer: offset radius, scaled offset radius and what :func:`born_radii` divides by, in nm.
        tanh: alpha, beta, gamma of each atom.
        linear: whether Born radii have no hyperbolic tangent.
        necks: between pairs, or None where descreening has the usual form.
        product: prefactor times the product of charges, in kT nm.
        self_energy: half of its diagonal.
        surface: of the surface term, times radius^-6.
        descreening: what the second atom adds to the first one's Born integral at a typical distance, in 1/nm.
    """

    rho: Tensor
    scaled: Tensor
    outer: Tensor
    tanh: Tensor
    linear: bool
    necks: PairNecks | None
    product: Tensor
    self_energy: Tensor
    surface: Tensor
    descreening: Tensor

    @classmethod
    def build(cls, p: Parameters, kT: float, typical: Tensor) -> Solvent | None:
        """Of a molecule, or None where it has no solvent.

        Args:
            p: of its energy.
            kT: in kJ/mol.
            typical: (atoms, atoms), distances in nm of atoms whose places are not known.
        """
        if not p.has_solvent:
            return None
        everyone = torch.arange(p.n_atoms)
        necks = None
        if has_necks(p):
            tables = neck_tables(p, everyone[:, None], everyone) if p.has_necks else torch.zeros(3, *typical.shape)
            necks = PairNecks(*(table.double() for table in tables))
        product = p.gb_prefactor / kT * p.gb_charge[:, None] * p.gb_charge[None, :]
        solvent = cls(
            rho=p.gb_offset_radius,
            scaled=p.gb_scaled_radius,
            outer=outer_radius(p),
            tanh=born_shape(p),
            linear=bool(p.gb_linear),
            necks=necks,
            product=product,
            self_energy=0.5 * product.diagonal(),
            surface=surface_coefficient(p.gb_surface / kT, p.gb_radius),
            descreening=torch.zeros_like(product),
        )
        mean = _descreening(solvent, typical, everyone[:, None], everyone).fill_diagonal_(0)
        return replace(solvent, descreening=mean)


def solvation(
    s: Solvent,
    old: Tensor,
    fragment: Tensor,
    pairs: Tensor,
    unplaced: Tensor,
    positions: Tensor,
    squared: Tensor,
) -> Tensor:
    """Solvation energy in kT of all placed atoms, up to a constant, for each angle of the fragment: (batch, angles).

    Pairs of old atoms keep their distance; their energy is linearised in the inverse Born radii, which change little
    with the angle: one evaluation of a pair instead of one for each angle.

    Args:
        s: the solvent.
        old: atoms placed before.
        fragment: atoms that turn.
        pairs: of old atoms.
        unplaced: mean descreening by what is not placed.
        positions: (batch, atoms, 3) in nm.
        squared: (batch, fragment, old, angles), their squared distances.
    """
    distance = squared.sqrt()
    on_old = _descreening(s, distance, old, fragment[:, None], angles=True).sum(1)
    on_new = _descreening(s, distance, fragment[:, None], old, angles=True).sum(2)
    i, j = pairs
    among = _squared(positions, old[i], old[j])
    apart = among.sqrt()
    fixed = torch.zeros_like(positions[:, old, 0])
    fixed.index_add_(1, i, _descreening(s, apart, old[i], old[j]))
    fixed.index_add_(1, j, _descreening(s, apart, old[j], old[i]))
    f = len(fragment)
    u, v = torch.triu_indices(f, f, 1, device=fragment.device)
    inside = _squared(positions, fragment[u], fragment[v])
    own = torch.zeros_like(positions[:, fragment, 0])
    own.index_add_(1, u, _descreening(s, inside.sqrt(), fragment[u], fragment[v]))
    own.index_add_(1, v, _descreening(s, inside.sqrt(), fragment[v], fragment[u]))
    m = len(old)
    radius_old = _radii(on_old + (fixed + unplaced[:m])[..., None], s, old)
    radius_new = _radii(on_new + (own + unplaced[m:])[..., None], s, fragment)
    energy = (s.self_energy[old][:, None] / radius_old + s.surface[old][:, None] * radius_old**-6).sum(1)
    energy = energy + (
        s.self_energy[fragment][:, None] / radius_new + s.surface[fragment][:, None] * radius_new**-6
    ).sum(1)
    cross = inverse_f(squared, radius_new[:, :, None], radius_old[:, None])
    energy = energy + torch.einsum("bfog,fo->bg", cross, s.product[fragment][:, old])
    inverse = 1 / radius_old
    slope = _slopes(among, 1 / inverse.mean(-1), i, j, s.product[old[i], old[j]])
    energy = energy + torch.einsum("bo,bog->bg", slope, inverse)
    if len(u):
        bound = inverse_f(inside[..., None], radius_new[:, u], radius_new[:, v])
        energy = energy + torch.einsum("bpg,p->bg", bound, s.product[fragment[u], fragment[v]])
    return energy


def _radii(integral: Tensor, s: Solvent, which: Tensor) -> Tensor:
    """Born radii of the atoms ``which`` from their summed descreening (..., atoms, angles)."""
    return born_radii(integral, s.rho[which][:, None], s.outer[which][:, None], s.tanh[which][:, None], s.linear)


def _descreening(s: Solvent, distance: Tensor, at: Tensor, by: Tensor, angles: bool = False) -> Tensor:
    """Twice the Born integral of atoms ``by`` at atoms ``at``, which broadcast; ``angles`` come last."""
    last = (..., None) if angles else (...,)
    rho, scaled = s.rho[at][last], s.scaled[by][last]
    value = descreening(distance, rho, scaled)
    if s.necks is None:
        return value
    best, height, reach = (table[at, by][last] for table in (s.necks.best, s.necks.height, s.necks.reach))
    value = torch.where(distance.clamp(min=CLOSEST_NM) + scaled >= rho, value, 0.0)
    return value + 2 * neck(distance, best, height, reach)[0]


def _slopes(squared: Tensor, radius: Tensor, i: Tensor, j: Tensor, product: Tensor) -> Tensor:
    """Derivative of the energy of pairs (i, j) with respect to the inverse Born radius of each atom: (batch, atoms)."""
    b = radius[:, i] * radius[:, j]
    near = torch.exp(-0.25 * squared / b)
    slope = 0.5 * product * b * near * (1 + 0.25 * squared / b) * torch.rsqrt(squared + b * near) ** 3
    return torch.zeros_like(radius).index_add(1, i, slope).index_add(1, j, slope) * radius


def _squared(positions: Tensor, i: Tensor, j: Tensor) -> Tensor:
    return (positions[:, i] - positions[:, j]).square().sum(-1)
