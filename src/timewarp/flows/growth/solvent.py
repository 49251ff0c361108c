"""Generalised Born energies along a grid of torsion angles (Onufriev, Bashford and Case 2004)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...energies.born import born_radii, descreening, inverse_f


@dataclass(frozen=True, eq=False)
class Solvent:
    """Generalised Born numbers of each atom, energies in kT.

    Attributes:
        rho, scaled, radius: offset radius, scaled offset radius and radius, in nm.
        tanh: alpha, beta, gamma.
        product: prefactor times the product of charges, in kT nm.
        self_energy: half of its diagonal.
        surface: of the surface term, times radius^-6.
        descreening: what the second atom adds to the first one's Born integral at a typical distance, in 1/nm.
    """

    rho: Tensor
    scaled: Tensor
    radius: Tensor
    tanh: Tensor
    product: Tensor
    self_energy: Tensor
    surface: Tensor
    descreening: Tensor


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
    rho, scaled = s.rho, s.scaled
    on_old = descreening(distance, rho[old][:, None], scaled[fragment][:, None, None]).sum(1)
    on_new = descreening(distance, rho[fragment][:, None, None], scaled[old][:, None]).sum(2)
    i, j = pairs
    among = _squared(positions, old[i], old[j])
    apart = among.sqrt()
    fixed = torch.zeros_like(positions[:, old, 0])
    fixed.index_add_(1, i, descreening(apart, rho[old[i]], scaled[old[j]]))
    fixed.index_add_(1, j, descreening(apart, rho[old[j]], scaled[old[i]]))
    f = len(fragment)
    u, v = torch.triu_indices(f, f, 1, device=fragment.device)
    inside = _squared(positions, fragment[u], fragment[v])
    own = torch.zeros_like(positions[:, fragment, 0])
    own.index_add_(1, u, descreening(inside.sqrt(), rho[fragment[u]], scaled[fragment[v]]))
    own.index_add_(1, v, descreening(inside.sqrt(), rho[fragment[v]], scaled[fragment[u]]))
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
    return born_radii(integral, s.rho[which][:, None], s.radius[which][:, None], s.tanh)


def _slopes(squared: Tensor, radius: Tensor, i: Tensor, j: Tensor, product: Tensor) -> Tensor:
    """Derivative of the energy of pairs (i, j) with respect to the inverse Born radius of each atom: (batch, atoms)."""
    b = radius[:, i] * radius[:, j]
    near = torch.exp(-0.25 * squared / b)
    slope = 0.5 * product * b * near * (1 + 0.25 * squared / b) * torch.rsqrt(squared + b * near) ** 3
    return torch.zeros_like(radius).index_add(1, i, slope).index_add(1, j, slope) * radius


def _squared(positions: Tensor, i: Tensor, j: Tensor) -> Tensor:
    return (positions[:, i] - positions[:, j]).square().sum(-1)
