"""The stereochemistry that a molecule keeps: the handedness of its stereocentres, cis or trans of its peptide bonds."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .geometry import measure_dihedrals, measure_volumes
from .shapes import Bool, Float, Int
from .state import Atoms


class Restriction:
    """The stereochemistry of a reference structure: the sign of each stereocentre, cis or trans of each peptide bond.

    A peptide bond (X-Pro included) is cis where its ``|omega|`` is below 90 degrees. A configuration that differs from
    the reference in either *crosses*: a target's density is zero there, so that every kernel rejects it.

    Args:
        reference: positions that fix the pattern, in nm.
        atoms: the molecule; says where its stereocentres and peptide bonds are.

    Raises:
        ValueError: the reference is not finite, or a stereocentre of it is flat.
    """

    def __init__(self, reference: Float[Tensor, "atoms 3"], atoms: Atoms) -> None:
        if reference.shape[0] != atoms.n_atoms:
            raise ValueError(f"the reference has {reference.shape[0]} atoms, the molecule {atoms.n_atoms}")
        if not torch.isfinite(reference).all():
            raise ValueError("the reference positions are not finite; start from a minimised structure")
        device = reference.device
        self.stereocentres = atoms.stereocentres.to(device)
        self.peptide_bonds = atoms.peptide_bonds.to(device)
        self.signs = measure_volumes(reference, self.stereocentres).sign()
        self.is_cis = cis(reference, self.peptide_bonds)
        if (self.signs == 0).any():
            flat = int(self.stereocentres[int((self.signs == 0).nonzero()[0]), 0])
            raise ValueError(f"atom {flat} ({atoms.names[flat]}) is a stereocentre, but is flat in the reference")

    def __repr__(self) -> str:
        pattern = "".join("+" if s > 0 else "-" for s in self.signs.tolist())
        n_cis = int(self.is_cis.sum())
        return (
            f"Restriction(stereocentres {pattern or 'none'}, "
            f"peptide bonds {len(self.is_cis) - n_cis} trans {n_cis} cis)"
        )

    def flipped_centres(self, positions: Float[Tensor, "*batch atoms 3"]) -> Bool[Tensor, "*batch centres"]:
        """Which stereocentres are of the other handedness. NaN positions are not called flipped."""
        return measure_volumes(positions, self.stereocentres) * self.signs.to(positions) <= 0

    def turned_bonds(self, positions: Float[Tensor, "*batch atoms 3"]) -> Bool[Tensor, "*batch bonds"]:
        """Which peptide bonds are of the other kind (cis for trans, or trans for cis)."""
        return cis(positions, self.peptide_bonds) != self.is_cis

    def flipped(self, positions: Float[Tensor, "*batch atoms 3"]) -> Bool[Tensor, "*batch"]:
        """Which configurations have a stereocentre of the other handedness. NaN positions are not called flipped."""
        return self.flipped_centres(positions).any(-1)

    def turned(self, positions: Float[Tensor, "*batch atoms 3"]) -> Bool[Tensor, "*batch"]:
        """Which configurations have a peptide bond of the other kind (cis for trans, or trans for cis)."""
        return self.turned_bonds(positions).any(-1)

    def crossed(self, positions: Float[Tensor, "*batch atoms 3"]) -> Bool[Tensor, "*batch"]:
        """Which configurations differ from the reference in a stereocentre or a peptide bond."""
        return self.flipped(positions) | self.turned(positions)


def cis(positions: Float[Tensor, "*batch atoms 3"], peptide_bonds: Int[Tensor, "n 4"]) -> Bool[Tensor, "*batch n"]:
    """Which peptide bonds are cis: ``|omega|`` below 90 degrees.

    Args:
        positions: in nm.
        peptide_bonds: the atoms CA-C-N-CA of each, as in :attr:`timewarp.state.Atoms.peptide_bonds`.
    """
    return measure_dihedrals(positions, peptide_bonds).abs() < math.pi / 2
