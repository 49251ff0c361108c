"""The torsions that chemists name: phi, psi, omega and chi of every residue, found by atom names and bonds."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from ..geometry import dihedrals, neighbours, ring_bonds
from ..shapes import Int
from ..state import Atoms
from .other_torsions import other_torsions

Quadruple = tuple[int, int, int, int]

CHI_ATOMS: tuple[tuple[tuple[str, ...], ...], ...] = (
    (("N", "CA", "CB"), ("CG", "CG1", "SG", "OG", "OG1")),
    (("CA", "CB", "CG"), ("CD", "CD1", "OD1", "ND1", "SD")),
    (("CA", "CB", "CG1"), ("CD1", "CD")),
    (("CA", "CB", "OG"), ("P",)),
    (("CA", "CB", "OG1"), ("P",)),
    (("CB", "CG", "CD"), ("NE", "CE", "OE1")),
    (("CB", "CG", "SD"), ("CE",)),
    (("CG", "CD", "NE"), ("CZ",)),
    (("CG", "CD", "CE"), ("NZ",)),
    (("CD", "NE", "CZ"), ("NH1",)),
)
"""First three atoms of a side-chain torsion, and the fourth: the first name that the residue has (IUPAC-IUB 1970)."""

CHI_NUMBER: tuple[int, ...] = (1, 2, 2, 2, 2, 3, 3, 4, 4, 5)
"""Which chi each row of :data:`CHI_ATOMS` is."""

KINDS = ("phi", "psi", "omega", "chi1", "chi2", "chi3", "chi4", "chi5")
"""Kinds of torsion, in the order in which they are listed."""


def kind_of_torsion(name: str) -> str:
    """``phi``, ``psi``, ``omega`` or ``chi``; ``other`` for one that is named by its atoms.

    >>> kind_of_torsion("chi1_3"), kind_of_torsion("C3-C4-O5-P1")
    ('chi', 'other')
    """
    stem = name.split("_")[0]
    return stem.rstrip("0123456789") if stem in KINDS else "other"


@runtime_checkable
class TrajectoryLike(Protocol):
    """What analysis needs of a trajectory; :class:`timewarp.trajectories.Trajectory` is one."""

    @property
    def atoms(self) -> Atoms:
        """The molecule."""

    @property
    def positions(self) -> Any:
        """Array or tensor (chains, frames, atoms, 3), in nm."""

    @property
    def energies(self) -> Any:
        """Array or tensor (chains, frames), in kJ/mol."""

    @property
    def frame_spacing(self) -> float:
        """Time (ps) or Metropolis-Hastings steps between frames."""

    @property
    def unit(self) -> str:
        """``ps`` or ``step``."""

    @property
    def superchains(self) -> tuple[int, ...]:
        """The label of each chain: chains with one label shared a start."""


def named_torsions(atoms: Atoms) -> dict[str, Quadruple]:
    """Atoms of each named torsion, by residue and then in the order of :data:`KINDS`.

    Names are ``phi_1``, ``psi_1``, ``omega_1``, ``chi1_1`` and so on, with the residue number, caps uncounted.
    ``phi_i`` is C(i-1)-N-CA-C and ``psi_i`` is N-CA-C-N(i+1), through caps where there are any, so that Ace-A-Nme has
    ``phi_1`` and ``psi_1``. ``omega_i`` is CA-C-N(i+1)-CA(i+1), the torsion of the peptide bond *behind* residue i
    (IUPAC-IUB 1970); so ``omega_0`` is that between an acetyl cap and residue 1. Proline's phi, chi1 and chi2
    are listed too: they are angles, though no proposal turns them. In a ring of residues ``phi_1`` and the last psi and
    omega go across the bond that closes it.

    What is no amino acid, and what a modified amino acid has besides, is named by its atoms: see
    :func:`timewarp.analysis.other_torsions.other_torsions`.

    Args:
        atoms: the molecule, with PDB atom names.
    """
    adjacent = neighbours(atoms.n_atoms, atoms.bonds)
    residues: dict[int, dict[str, int]] = {}
    for index, number in enumerate(atoms.residue_numbers):
        residues.setdefault(number, {})[atoms.names[index]] = index
    omegas = {atoms.residue_numbers[row[1]]: row for row in atoms.main_chain_bonds}

    found: dict[str, Quadruple] = {}
    for number, named in sorted(residues.items()):
        if {"N", "CA", "C"} <= named.keys():
            n, ca, c = named["N"], named["CA"], named["C"]
            before = [j for j in adjacent[n] if atoms.names[j] == "C" and atoms.residue_numbers[j] != number]
            behind = [j for j in adjacent[c] if atoms.names[j] == "N" and atoms.residue_numbers[j] != number]
            before = before or [j for j in adjacent[n] if j != ca and _is_carbonyl(atoms, adjacent, j)]
            behind = behind or [j for j in adjacent[c] if j != ca and atoms.elements[j] == "N"]
            if before:
                found[f"phi_{number}"] = (before[0], n, ca, c)
            if behind:
                found[f"psi_{number}"] = (n, ca, c, behind[0])
        if number in omegas:
            found[f"omega_{number}"] = omegas[number]
        for (stem, ends), chi in zip(CHI_ATOMS, CHI_NUMBER, strict=True):
            last = next((name for name in ends if name in named), None)
            if last is not None and set(stem) <= named.keys() and f"chi{chi}_{number}" not in found:
                quadruple = (*(named[name] for name in stem), named[last])
                if all(b in adjacent[a] for a, b in pairwise(quadruple)):
                    found[f"chi{chi}_{number}"] = quadruple  # type: ignore[assignment]
    return found | other_torsions(atoms, found.values())


def _is_carbonyl(atoms: Atoms, adjacent: list[list[int]], index: int) -> bool:
    """Whether an atom is a carbonyl carbon: CHARMM's caps belong to the residue and have names of their own."""
    oxygens = [j for j in adjacent[index] if atoms.elements[j] == "O" and len(adjacent[j]) == 1]
    return atoms.elements[index] == "C" and len(oxygens) == 1


def torsion_angles(source: Any, atoms: Atoms | None = None, names: list[str] | None = None) -> dict[str, np.ndarray]:
    """Named torsions of every frame.

    Args:
        source: a trajectory (anything with ``positions`` and ``atoms``), or positions (chains, frames, atoms, 3) or
            (frames, atoms, 3) in nm as an array or tensor.
        atoms: the molecule, needed with bare positions.
        names: only these; all of :func:`named_torsions` by default.

    Returns:
        name -> float32 array (chains, frames) (or (frames,)) in rad, in [-pi, pi].

    Raises:
        ValueError: no atoms given, positions of another molecule, or an unknown name.
    """
    atoms = source.atoms if atoms is None and hasattr(source, "atoms") else atoms
    if atoms is None:
        raise ValueError("bare positions need the molecule as well: torsion_angles(positions, atoms)")
    positions = as_positions(getattr(source, "positions", source), atoms)
    known = named_torsions(atoms)
    wanted = list(known) if names is None else names
    if unknown := [name for name in wanted if name not in known]:
        raise ValueError(f"{atoms.residues} has no torsion {unknown[0]}; it has {', '.join(known) or 'none'}")
    result = {}
    for name in wanted:  # one at a time: the four gathered atoms of 1e6 frames are 48 MB, those of all torsions not
        result[name] = dihedrals(positions, torch.tensor([known[name]]))[..., 0].numpy()
    return result


def as_positions(positions: Any, atoms: Atoms) -> Tensor:
    """Positions as a tensor on the CPU, checked against the molecule.

    Raises:
        ValueError: the last two dimensions are not (atoms, 3).
    """
    tensor = torch.as_tensor(positions).detach().cpu()
    if tensor.ndim < 3 or tuple(tensor.shape[-2:]) != (atoms.n_atoms, 3):
        raise ValueError(
            f"expected positions of shape (chains, frames, {atoms.n_atoms}, 3) for {atoms.residues}, "
            f"got {tuple(tensor.shape)}"
        )
    return tensor


def backbone(names: list[str] | dict[str, Any]) -> list[tuple[str, str]]:
    """The (phi, psi) pairs of residues that have both.

    >>> backbone(["psi_1", "phi_2", "psi_2", "phi_3"])
    [('phi_2', 'psi_2')]
    """
    numbers = [name.removeprefix("phi_") for name in names if name.startswith("phi_")]
    return [(f"phi_{n}", f"psi_{n}") for n in numbers if f"psi_{n}" in names]


def backbone_planes(names: list[str] | dict[str, Any]) -> dict[str, tuple[str, str]]:
    """The (phi, psi) planes to look at: those of residues that have both, or else across each peptide bond.

    A dipeptide with free ends has no residue with both, but psi_1 and phi_2, on either side of its peptide bond.

    >>> backbone_planes(["phi_2", "psi_2", "phi_3"])
    {'residue 2': ('phi_2', 'psi_2')}
    >>> backbone_planes(["psi_1", "phi_2"])
    {'residues 1 and 2': ('phi_2', 'psi_1')}
    """
    own = {f"residue {phi.removeprefix('phi_')}": (phi, psi) for phi, psi in backbone(names)}
    if own:
        return own
    numbers = [int(name.removeprefix("phi_")) for name in names if name.startswith("phi_")]
    return {f"residues {n - 1} and {n}": (f"phi_{n}", f"psi_{n - 1}") for n in numbers if f"psi_{n - 1}" in names}


def backbone_torsions(atoms: Atoms) -> Int[Tensor, "n 4"]:
    """Atoms of every phi and psi; of a molecule without any, of all torsions about bonds that turn."""
    rows = [row for name, row in named_torsions(atoms).items() if name.startswith(("phi_", "psi_"))]
    rows = rows or list(soft_torsions(atoms).values())
    return torch.tensor(rows, dtype=torch.long).reshape(-1, 4)


def soft_torsions(atoms: Atoms) -> dict[str, Quadruple]:
    """Those of :func:`named_torsions` about bonds that turn: no peptide bonds, no rings."""
    turning = {frozenset(row[1:3]) for row in atoms.tree.torsions.tolist()}
    return {name: row for name, row in named_torsions(atoms).items() if frozenset(row[1:3]) in turning}


def turning_torsions(atoms: Atoms) -> dict[str, Quadruple]:
    """Those of :func:`soft_torsions`, and those in rings that concerted rotations turn."""
    turning = {frozenset(row[1:3]) for row in atoms.tree.torsions.tolist()}
    turning |= {frozenset(bond) for ring in atoms.rings for bond in ring.bonds}
    return {name: row for name, row in named_torsions(atoms).items() if frozenset(row[1:3]) in turning}


def ring_torsions(atoms: Atoms, *, puckers_flip: bool = False, rings_turn: bool = False) -> list[str]:
    """Those of :func:`named_torsions` about bonds in a ring: no torsion move or learned proposal turns them.

    Args:
        atoms: the molecule.
        puckers_flip: leave out those of proline's own ring, whose two puckers something else exchanges. A torsion of
            proline that is in a larger ring as well stays.
        rings_turn: leave out those of the larger rings, which concerted rotations turn, and those of the stiff bonds
            between: their peptide bonds, and proline's bonds if its pucker flips.
    """
    opened = {"CG"} if puckers_flip else set()
    cut = {i for i, name in enumerate(atoms.names) if name in opened and atoms.residue_names[i] in ("PRO", "DPR")}
    turned = {frozenset(bond) for ring in atoms.rings for bond in ring.bonds} if rings_turn else set()
    kept = [bond for bond in atoms.bonds if not cut & set(bond) and frozenset(bond) not in turned]
    rings = ring_bonds(atoms.n_atoms, kept)
    return [name for name, row in named_torsions(atoms).items() if frozenset(row[1:3]) in rings]
