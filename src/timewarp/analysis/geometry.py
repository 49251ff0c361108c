"""Is every frame still the molecule: chirality, cis/trans, bonds, clashes, non-finite positions."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from ..geometry import distances
from ..restriction import Restriction
from ..shapes import Bool, Float, Int
from ..state import Atoms
from .torsions import as_positions

BOND_STRETCH = 1.4
"""A bond longer than this many times its length in the reference frame counts as broken."""

CLASH_NM = 0.085
"""Atoms four or more bonds apart and closer than this overlap."""

FRAMES_AT_ONCE = 20_000
MOST_PAIRS = 5_000
"""So many pairs of atoms, of some 100 atoms, are all measured."""
NUMBERS_AT_ONCE = 20_000_000
"""Of one temporary array, so that memory does not grow with the molecule, and a signal is soon heard."""


@dataclass(frozen=True)
class GeometryCheck:
    """Frames (over all chains) in which something is wrong; all zero for a sound run.

    Attributes:
        frames: how many were looked at.
        nonfinite: with a position or energy that is not finite.
        chirality_flips: with at least one stereocentre of the other hand.
        cis_trans_flips: with at least one peptide bond on the other side of 90 degrees.
        broken_bonds: with at least one bond stretched by 40 % or more.
        clashes: with two atoms, four or more bonds apart, closer than 0.085 nm.
        flipped_centres: names of the stereocentres concerned.
        flipped_peptide_bonds: names of the peptide bonds concerned (``omega_i``).
    """

    frames: int
    nonfinite: int
    chirality_flips: int
    cis_trans_flips: int
    broken_bonds: int
    clashes: int
    flipped_centres: tuple[str, ...] = ()
    flipped_peptide_bonds: tuple[str, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether nothing was found."""
        return not (self.nonfinite or self.chirality_flips or self.cis_trans_flips or self.broken_bonds or self.clashes)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "sound": self.sound}


def check_geometry(
    positions: Any,
    atoms: Atoms,
    reference: Any | None = None,
    energies: Any | None = None,
    cis_trans: str = "fixed",
) -> GeometryCheck:
    """Compare every frame with a reference frame.

    Args:
        positions: (chains, frames, atoms, 3) in nm.
        atoms: the molecule.
        reference: one frame (atoms, 3) with the right chirality, cis/trans pattern and intact bonds, such as the start
            positions; the first frame of the first chain by default.
        energies: (chains, frames), to be looked at for non-finite values too.
        cis_trans: which peptide bonds may be of either kind.

    Raises:
        ValueError: positions or reference of another shape, or a reference that is not finite or flat at a
            stereocentre.
    """
    frames = as_positions(positions, atoms).reshape(-1, atoms.n_atoms, 3)
    start = frames[0] if reference is None else torch.as_tensor(reference)
    if tuple(start.shape) != (atoms.n_atoms, 3) or not bool(torch.isfinite(start).all()):
        raise ValueError(
            f"the reference frame must be {atoms.n_atoms} finite positions, got shape {tuple(start.shape)}"
        )
    start = start.to(torch.float64)
    centres, peptide = atoms.stereocentres, atoms.peptide_bonds
    bonds = torch.tensor(atoms.bonds, dtype=torch.long).reshape(-1, 2)
    far = far_pairs(atoms)
    restriction = Restriction(start, atoms, cis_trans)
    longest = BOND_STRETCH * distances(start, bonds)

    counts = torch.zeros(5, dtype=torch.long)
    flipped, turned = torch.zeros(len(centres), dtype=torch.bool), torch.zeros(len(peptide), dtype=torch.bool)
    for chunk in frames.split(max(1, min(FRAMES_AT_ONCE, NUMBERS_AT_ONCE // (3 * min(len(far), MOST_PAIRS) + 1)))):
        finite = torch.isfinite(chunk).all(-1).all(-1)
        good = chunk[finite]
        wrong_hand, wrong_side = restriction.flipped_centres(good), restriction.turned_bonds(good)
        broken = (distances(good, bonds) > longest).any(-1)
        clash = clashing(good, far)
        flipped |= wrong_hand.any(0)
        turned |= wrong_side.any(0)
        counts += torch.stack(
            [(~finite).sum(), wrong_hand.any(-1).sum(), wrong_side.any(-1).sum(), broken.sum(), clash.sum()]
        )
    bad_energies = 0 if energies is None else int((~np.isfinite(np.asarray(energies))).sum())
    nonfinite, hands, sides, broken_bonds, clashes = counts.tolist()
    return GeometryCheck(
        len(frames),
        max(nonfinite, bad_energies),
        hands,
        sides,
        broken_bonds,
        clashes,
        flipped_centres=tuple(label(atoms, int(i)) for i in centres[flipped, 0]),
        flipped_peptide_bonds=tuple(_label_of_bond(atoms, row) for row in peptide[turned].tolist()),
    )


def _label_of_bond(atoms: Atoms, row: list[int]) -> str:
    if tuple(row) in atoms.main_chain_bonds:
        return f"omega_{atoms.residue_numbers[row[1]]}"
    return f"{label(atoms, row[1])}-{atoms.names[row[2]]}"


def clashing(positions: Float[Tensor, "frames atoms 3"], far: Int[Tensor, "n 2"]) -> Bool[Tensor, " frames"]:
    """Which frames have two atoms of the given pairs closer than :data:`CLASH_NM`.

    All pairs of a small molecule are measured. Those of a large one, whose number grows with the square of its size,
    are looked for with a tree.

    Args:
        positions: in nm, finite.
        far: pairs of atoms.
    """
    if len(far) <= MOST_PAIRS:
        return (distances(positions, far) < CLASH_NM).any(-1)
    n = positions.shape[1]
    is_far = np.zeros((n, n), dtype=bool)
    is_far[far[:, 0], far[:, 1]] = is_far[far[:, 1], far[:, 0]] = True
    found = torch.zeros(len(positions), dtype=torch.bool)
    for number, frame in enumerate(positions):
        close = cKDTree(frame.numpy()).query_pairs(1.001 * CLASH_NM, output_type="ndarray")
        close = torch.from_numpy(close[is_far[close[:, 0], close[:, 1]]])
        if len(close):
            found[number] = bool((distances(frame, close) < CLASH_NM).any())
    return found


def far_pairs(atoms: Atoms) -> Tensor:
    """Pairs of atoms (n, 2) at least four bonds apart."""
    near = torch.eye(atoms.n_atoms) + atoms.adjacency.float()
    within_three = torch.linalg.matrix_power(near, 3) > 0
    return torch.nonzero(torch.triu(~within_three, diagonal=1))


def label(atoms: Atoms, index: int) -> str:
    """An atom's name for people, such as ``ALA1:CA``."""
    return f"{atoms.residue_names[index]}{atoms.residue_numbers[index]}:{atoms.names[index]}"


def pdb_positions(text: str, n_atoms: int) -> np.ndarray | None:
    """Positions in nm of the first model of a PDB file, or None if it does not hold ``n_atoms`` atoms."""
    rows = []
    for line in text.splitlines():
        if line.startswith("ENDMDL"):
            break
        if line.startswith(("ATOM", "HETATM")):
            rows.append([float(line[k : k + 8]) / 10 for k in (30, 38, 46)])
    return np.array(rows) if len(rows) == n_atoms else None
