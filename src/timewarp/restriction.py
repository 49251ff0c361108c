"""The stereochemistry that a molecule keeps: the handedness of its stereocentres, cis or trans of its peptide bonds."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .geometry import measure_dihedrals, measure_volumes
from .shapes import Bool, Float, Int
from .state import Atoms

CIS_TRANS = ("fixed", "proline", "all")
"""Which peptide bonds may be cis or trans: none, those before proline (tertiary amides), or all that are in no ring."""


class Restriction:
    """The stereochemistry of a reference structure: the sign of each stereocentre, cis or trans of each peptide bond.

    A peptide bond (X-Pro included) is cis where its ``|omega|`` is below 90 degrees. A configuration that differs from
    the reference in either *crosses*: a target's density is zero there, so that every kernel rejects it. Peptide bonds
    that are *free* may be either.

    Args:
        reference: positions that fix the pattern, in nm.
        atoms: the molecule; says where its stereocentres and peptide bonds are.
        cis_trans: which peptide bonds are free, one of :data:`CIS_TRANS`.

    Attributes:
        free: boolean (bonds), which of ``atoms.peptide_bonds`` are free.
        free_torsions: atoms of ``atoms.tree.proper`` that carry the torsions of free bonds.
        wells: of the other peptide bonds outside of rings, by the atom that carries the torsion: whether the torsion is
            near 0 (not pi) in the reference, as the tree measures it.

    Raises:
        ValueError: the reference is not finite, a stereocentre of it is flat, or ``cis_trans`` is none of the three.
    """

    def __init__(self, reference: Float[Tensor, "atoms 3"], atoms: Atoms, cis_trans: str = "fixed") -> None:
        if reference.shape[0] != atoms.n_atoms:
            raise ValueError(f"the reference has {reference.shape[0]} atoms, the molecule {atoms.n_atoms}")
        if not torch.isfinite(reference).all():
            raise ValueError("the reference positions are not finite; start from a minimised structure")
        device = reference.device
        self.stereocentres = atoms.stereocentres.to(device)
        self.peptide_bonds = atoms.peptide_bonds.to(device)
        self.signs = measure_volumes(reference, self.stereocentres).sign()
        self.is_cis = cis(reference, self.peptide_bonds)
        self.cis_trans = cis_trans
        self.free = free_bonds(atoms, cis_trans).to(device)
        opened = {frozenset(row[1:3]) for row in self.peptide_bonds[self.free].tolist()}
        self.free_torsions = tuple(i for i in atoms.twisting if frozenset(atoms.tree.references[i][:2]) in opened)
        kept = [i for i in atoms.twisting if i not in self.free_torsions]
        rows = torch.tensor([(i, *atoms.tree.references[i]) for i in kept], dtype=torch.long).reshape(-1, 4)
        near_zero = measure_dihedrals(reference, rows.to(device)).abs() < math.pi / 2
        self.wells = dict(zip(kept, near_zero.tolist(), strict=True))
        if (self.signs == 0).any():
            flat = int(self.stereocentres[int((self.signs == 0).nonzero()[0]), 0])
            raise ValueError(f"atom {flat} ({atoms.names[flat]}) is a stereocentre, but is flat in the reference")

    def __repr__(self) -> str:
        pattern = "".join("+" if s > 0 else "-" for s in self.signs.tolist())
        n_cis = int(self.is_cis.sum())
        return (
            f"Restriction(stereocentres {pattern or 'none'}, "
            f"peptide bonds {len(self.is_cis) - n_cis} trans {n_cis} cis"
            f"{f', {int(self.free.sum())} of them free' if self.free.any() else ''})"
        )

    def flipped_centres(self, positions: Float[Tensor, "*batch atoms 3"]) -> Bool[Tensor, "*batch centres"]:
        """Which stereocentres are of the other handedness. NaN positions are not called flipped."""
        return measure_volumes(positions, self.stereocentres) * self.signs.to(positions) <= 0

    def turned_bonds(self, positions: Float[Tensor, "*batch atoms 3"]) -> Bool[Tensor, "*batch bonds"]:
        """Which peptide bonds that are not free are of the other kind (cis for trans, or trans for cis)."""
        return (cis(positions, self.peptide_bonds) != self.is_cis) & ~self.free

    def flipped(self, positions: Float[Tensor, "*batch atoms 3"]) -> Bool[Tensor, "*batch"]:
        """Which configurations have a stereocentre of the other handedness. NaN positions are not called flipped."""
        return self.flipped_centres(positions).any(-1)

    def turned(self, positions: Float[Tensor, "*batch atoms 3"]) -> Bool[Tensor, "*batch"]:
        """Which configurations have a peptide bond that is not free of the other kind (cis for trans, or back)."""
        return self.turned_bonds(positions).any(-1)

    def crossed(self, positions: Float[Tensor, "*batch atoms 3"]) -> Bool[Tensor, "*batch"]:
        """Which configurations differ from the reference in a stereocentre or a peptide bond."""
        return self.flipped(positions) | self.turned(positions)


def free_bonds(atoms: Atoms, cis_trans: str) -> Bool[Tensor, " bonds"]:
    """Which of a molecule's peptide bonds may be cis as well as trans.

    Before proline, and in other tertiary amides, both are populated at room temperature; elsewhere cis is rare. Bonds
    in rings are never free: no move turns them.

    Raises:
        ValueError: ``cis_trans`` is none of :data:`CIS_TRANS`.
    """
    if cis_trans not in CIS_TRANS:
        raise ValueError(f"cis_trans must be one of {', '.join(CIS_TRANS)}, got {cis_trans!r}")
    turning = {frozenset(atoms.tree.references[i][:2]) for i in atoms.twisting}
    hydrogens = torch.tensor([e == "H" for e in atoms.elements])
    free = []
    for _, carbon, nitrogen, _ in atoms.peptide_bonds.tolist():
        tertiary = not bool((atoms.adjacency[nitrogen] & hydrogens).any())
        wanted = cis_trans == "all" or (cis_trans == "proline" and tertiary)
        free.append(wanted and frozenset((carbon, nitrogen)) in turning)
    return torch.tensor(free, dtype=torch.bool)


def cis(positions: Float[Tensor, "*batch atoms 3"], peptide_bonds: Int[Tensor, "n 4"]) -> Bool[Tensor, "*batch n"]:
    """Which peptide bonds are cis: ``|omega|`` below 90 degrees.

    Args:
        positions: in nm.
        peptide_bonds: the atoms CA-C-N-CA of each, as in :attr:`timewarp.state.Atoms.peptide_bonds`.
    """
    return measure_dihedrals(positions, peptide_bonds).abs() < math.pi / 2
