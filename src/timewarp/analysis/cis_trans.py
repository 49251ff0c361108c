"""Cis populations of peptide bonds that may be either."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..restriction import free_bonds
from ..state import Atoms
from .convergence import rhat
from .free_energy import phi_basin

CIS = " cis"
"""Behind the name of an omega: the indicator of its being cis."""


def is_cis(angles: np.ndarray) -> np.ndarray:
    """Which omegas (rad) are cis: below 90 degrees in size."""
    return np.abs(np.asarray(angles)) < math.pi / 2


def free_omegas(atoms: Atoms, cis_trans: str) -> list[str]:
    """Names of the omegas of free peptide bonds, as :func:`timewarp.analysis.named_torsions` has them."""
    rows = atoms.peptide_bonds[free_bonds(atoms, cis_trans)]
    return [f"omega_{atoms.residue_numbers[int(row[1])]}" for row in rows]


def cis_populations(
    angles: Mapping[str, np.ndarray], free: Sequence[str], superchains: Sequence[int] | None = None
) -> dict[str, dict[str, Any]]:
    """Fraction of samples that is cis, its standard error, effective sample size and nested R-hat, of each free bond.

    Args:
        angles: of all named torsions, (chains, frames) in rad.
        free: which of them.
        superchains: the label of each chain.
    """
    table = {}
    for name in free:
        cis = is_cis(angles[name])
        found = phi_basin(np.where(cis, 1.0, -1.0))
        table[name] = {
            "cis": found.population,
            "error": found.population_error,
            "delta_F": found.delta_F,
            "delta_F_error": found.error,
            "ess": found.ess,
            "rhat": rhat(cis.astype(np.float64), superchains),
            "crossings": found.crossings,
        }
    return table
