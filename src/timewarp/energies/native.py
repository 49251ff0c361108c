"""The potential energy as the compiled kernel reads it, built from the same tables as the torch version."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import native
from .bonded import Torsions
from .born import Born, born_shape
from .cmap import bicubic_coefficients
from .pairs import Plain
from .parameters import HIGHEST_PERIODICITY, Parameters

POWERS = HIGHEST_PERIODICITY + 1


def native_potential(parameters: Parameters) -> Any:
    """One molecule's energies and forces on the CPU, in the compiled kernel.

    It has ``evaluate(positions, energies, forces, with_forces, single, n_threads)``, which fills contiguous arrays
    (batch) in kJ/mol and (batch, atoms, 3) in kJ/(mol nm); and ``leapfrog(masses, positions, momenta, step_ps, n_steps,
    single, n_threads)``, which moves positions (nm) and momenta (Da nm/ps) along a position-first trajectory, in place.

    Raises:
        RuntimeError: the compiled kernels are not there.
    """
    return native.core().EnergyPotential(**_tables(parameters))


def _tables(p: Parameters) -> dict[str, Any]:
    n = p.n_atoms
    i, j = torch.triu_indices(n, n, 1)
    plain, born, torsions = Plain.build(p), Born.build(p, i, j), Torsions.build(p)
    pair = torch.zeros(len(i), 4, dtype=torch.float64)
    pair[:, 0], pair[:, 1], pair[:, 2] = plain.charge[:, 0], plain.lj12[:, 0], plain.lj6[:, 0]
    pair_cut = torch.zeros(0, 5, dtype=torch.float64)
    born_atom, globals_ = torch.zeros(0, 8, dtype=torch.float64), torch.zeros(6, dtype=torch.float64)
    pair_neck = torch.zeros(0, 5, dtype=torch.float64)
    if born is not None:
        pair[:, 3] = born.charge[:, 0]
        columns = [1 / born.atom_outer, born_shape(p), born.atom_self]
        born_atom = torch.cat([born.atom_offset_radius, p.gb_scaled_radius[:, None], *columns, born.atom_surface], 1)
        globals_[0] = torch.nan_to_num(p.gb_cutoff**2, posinf=_FAR**2)
        globals_[1] = 1 / p.gb_cutoff
        globals_[2], globals_[3] = float(p.gb_engulfed), born.closest
        globals_[5] = float(p.gb_linear)
        if (necks := born.necks) is not None:
            sides = torch.stack([necks.best, 2 * necks.height], -1)[:, :, 0].transpose(0, 1).flatten(1)
            pair_neck = torch.cat([sides, necks.reach[0]], 1)
    cut = plain.cutoff is not None or (born is not None and bool(torch.isfinite(p.gb_cutoff)))
    if cut:
        pair_cut = torch.zeros(len(i), 5, dtype=torch.float64)
        pair_cut[:, 0] = _FAR**2
    if plain.cutoff is not None:
        c = plain.cutoff
        pair_cut[:, 0] = torch.nan_to_num(c.squared[:, 0], posinf=_FAR**2)
        pair_cut[:, 1], pair_cut[:, 2] = c.field[:, 0], c.shift[:, 0]
        if c.switch_start is not None:
            pair_cut[:, 3], pair_cut[:, 4] = c.switch_start[:, 0], c.switch_scale[:, 0]
            globals_[4] = 1
    maps = len(p.cmap_atoms) > 0
    size = p.cmap_grids.shape[-1] if maps else 0
    patches = bicubic_coefficients(p.cmap_grids).reshape(-1, 16) if maps else torch.zeros(0, 16, dtype=torch.float64)
    quadruples, even, odd = _torsions(p, torsions)
    return {
        "n_atoms": n,
        "bond_atoms": _int(p.bond_atoms, 2),
        "bond": _real(torch.stack([p.bond_length, p.bond_k], 1)),
        "angle_atoms": _int(p.angle_atoms, 3),
        "angle": _real(torch.stack([p.angle_theta, p.angle_k], 1)),
        "torsion_atoms": _int(quadruples, 4),
        "torsion_degree": _int(torch.stack([_degree(even).clamp_min(0), _degree(odd)], 1), 2),
        "even": _real(even),
        "odd": _real(odd),
        "improper_atoms": _int(p.improper_atoms, 4),
        "improper": _real(torch.stack([p.improper_angle, p.improper_k, p.improper_period.clamp(max=_FAR)], 1)),
        "map_atoms": _int(p.cmap_atoms, 8),
        "map_first": _int(p.cmap_map * size**2),
        "map_patches": _real(patches),
        "map_size": size,
        "pair": _real(pair),
        "pair_cut": _real(pair_cut),
        "pair_neck": _real(pair_neck),
        "born_atom": _real(born_atom),
        "born": _real(globals_),
    }


_FAR = 1e9
"""Beyond every distance in nm and every angle: stands for infinity, and its square is finite in single precision."""


def _torsions(p: Parameters, torsions: Torsions | None) -> tuple[Tensor, Tensor, Tensor]:
    """Distinct quadruples (n, 4) and the powers of cos(phi) of both polynomials (n, POWERS)."""
    if torsions is None:
        return torch.zeros(0, 4), torch.zeros(0, POWERS), torch.zeros(0, POWERS)
    quadruples = p.torsion_atoms.unique(dim=0)
    even, odd = torch.zeros(2, len(quadruples), POWERS, dtype=torch.float64)
    even[:, : len(torsions.even)] = torsions.even[..., 0].T
    if torsions.odd is not None:
        odd[:, : len(torsions.odd)] = torsions.odd[..., 0].T
    return quadruples, even, odd


def _degree(powers: Tensor) -> Tensor:
    """Highest power with a coefficient; -1 for none."""
    return torch.where(powers != 0, torch.arange(powers.shape[1]), -1).amax(1)


def _int(values: Tensor, columns: int | None = None) -> np.ndarray:
    values = values if columns is None else values.reshape(-1, columns)
    return np.ascontiguousarray(values.numpy(), dtype=np.int32)


def _real(values: Tensor) -> np.ndarray:
    return np.ascontiguousarray(values.numpy(), dtype=np.float64)
