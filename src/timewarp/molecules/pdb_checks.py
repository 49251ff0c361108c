"""Checks of the residues of a file: caps at the ends, backbones whole, distances and handedness as they must be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from openmm.app import Topology

from .pdb_names import is_hydrogen_name
from .pdb_residues import MAX_TO_H_NM, NamedResidue
from .sequences import OTHER_WAYS

_BACKBONE = {"ACE": ("CH3", "C", "O"), "NME": ("N", "C"), "NHE": ("N",)}
_MAX_BOND_NM, _MAX_DISULPHIDE_NM = 0.22, 0.30
_MIN_HEAVY_NM, _MIN_H_NM = 0.18, 0.10
_MIN_BOND_NM = 0.06
_OVERLAP_NM = 0.11
"""No two heavy atoms are closer, bonded or not."""


def check_pieces(path: Path, residues: list[NamedResidue]) -> None:
    """There is more than one free amino acid.

    Raises:
        ValueError: there is not.
    """
    if not any(residue.known.amino_acid for residue in residues):
        raise ValueError(f"{path} has no amino acid, only {', '.join(r.name for r in residues)}; expected a peptide")
    if len(residues) == 1:
        raise ValueError(
            f"{path} is a single free amino acid ({residues[0].label}), for which the force field has no template; "
            "add the caps ACE and NME, or give two residues or more"
        )


def check_backbones(path: Path, residues: list[NamedResidue], *, is_closed: bool) -> None:
    """Backbones are whole.

    Raises:
        ValueError: an atom of one is missing.
    """
    for residue in residues:
        backbone = _BACKBONE.get(residue.known.name, ("N", "CA", "C", "O"))
        if missing := [name for name in backbone if name not in residue.heavy]:
            cut = "; the file seems to be cut short" if residue is residues[-1] and not is_closed else ""
            raise ValueError(
                f"{path}: {residue.label} lacks the backbone atom{'s' * (len(missing) > 1)} {', '.join(missing)}"
                f"{cut}: only side chains and hydrogens can be added, so complete the backbone first"
            )


def check_atoms(path: Path, residues: list[NamedResidue], *, is_closed: bool, is_cyclic: bool) -> None:
    """OXT is at the free end alone, and the file is not cut within its last residue.

    Raises:
        ValueError: it is elsewhere too, or the file is.
    """
    for residue in residues[: None if is_cyclic else -1]:
        if "OXT" in residue.heavy and not residue.known.is_cap:
            raise ValueError(
                f"{path}: {residue.label} has OXT, an oxygen of the end of a chain, but its C is bonded to the next "
                "residue's N; remove OXT, or part the chain after it"
            )
    last = residues[-1]
    ends = [] if last.known.is_cap or is_cyclic else ["OXT"]
    absent = {*last.known.heavy, *ends} - last.heavy.keys()
    if absent and not is_closed:
        raise ValueError(
            f"{path} ends within {last.label}, without {', '.join(sorted(absent))} and without an END or TER record: "
            "it seems to be cut short; get the whole file, or add END if it is meant so"
        )


def check_overlaps(path: Path, residues: list[NamedResidue]) -> None:
    """No two heavy atoms are nearer than any bond is long.

    Raises:
        ValueError: two are.
    """
    names = [f"{name} of {residue.label}" for residue in residues for name in residue.heavy]
    positions = np.array([position for residue in residues for position in residue.heavy.values()])
    distance = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    close = np.argwhere(np.triu(distance < _OVERLAP_NM, 1))
    if len(close):
        i, j = min(close.tolist(), key=lambda pair: (distance[*pair], pair))
        raise ValueError(_overlap(path, names[i], names[j], distance[i, j]))


def _overlap(path: Path, one: str, other: str, apart: float) -> str:
    return (
        f"{path}: atoms {one} and {other} are {apart:.3f} nm apart: they overlap; correct the positions (PDB's unit is "
        "angstrom), or remove what is wrong of a side chain to have it rebuilt"
    )


def check_handedness(path: Path, residues: list[NamedResidue]) -> None:
    """Residues that are D by their name are so by their positions (the converse is a D residue under an L name).

    Raises:
        ValueError: one is not.
    """
    for residue in residues:
        if residue.known.handedness != "D" or "CB" not in residue.heavy:
            continue
        n, c, cb, ca = (residue.heavy[name] for name in ("N", "C", "CB", "CA"))
        if np.dot(n - ca, np.cross(c - ca, cb - ca)) > 0:
            raise ValueError(
                f"{path}: {residue.label} is {residue.known.full_name} by its name, but its CA has the L form; "
                f"rename it "
                f"{residue.known.amino_acid} to keep the positions, or remove HA and the side chain, CB included, to "
                "have the D form built"
            )


def check_distances(path: Path, residues: list[NamedResidue], topology: Topology, positions: np.ndarray) -> None:
    """Bonds of sensible length, and nothing else as close as a bond.

    Raises:
        ValueError: a bond is too long, or two atoms are too close.
    """
    given: dict[tuple[int, str], str] = {}
    for residue in residues:
        given |= {(id(residue), h.name): h.given for h in residue.hydrogens}
    names = [f"{given.get((id(r), name), name)} of {r.label}" for r in residues for name in r.order]
    is_h = np.array([is_hydrogen_name(name) for r in residues for name in r.order])
    is_sulphur = [name == "SG" for r in residues for name in r.order]
    bonds = sorted(sorted((one.index, other.index)) for one, other in topology.bonds())
    distance = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    least = np.where(is_h[:, None] | is_h[None], _MIN_H_NM, _MIN_HEAVY_NM)
    for i, j in bonds:
        least[i, j] = least[j, i] = _MIN_BOND_NM
    close = np.argwhere(np.triu(distance < least, 1))
    if len(close):
        i, j = min(close.tolist(), key=lambda pair: (distance[*pair], pair))
        if distance[i, j] > _OVERLAP_NM and not is_h[i] and not is_h[j]:
            raise ValueError(
                f"{path}: {names[i]} and {names[j]} are {distance[i, j]:.3f} nm apart, as if they were bonded, a link "
                f"that the presets' force fields have no template for: correct the positions, or, if they are bonded, "
                f"{OTHER_WAYS}"
            )
        raise ValueError(_overlap(path, names[i], names[j], distance[i, j]))
    for i, j in bonds:
        longest = MAX_TO_H_NM if is_h[i] or is_h[j] else _MAX_BOND_NM
        longest = _MAX_DISULPHIDE_NM if is_sulphur[i] and is_sulphur[j] else longest
        if distance[i, j] > longest:
            raise ValueError(
                f"{path}: the bonded atoms {names[i]} and {names[j]} are {distance[i, j]:.2f} nm apart, expected "
                f"at most "
                f"{longest:.2f}; correct the positions (PDB's unit is angstrom), or remove the atom to have it rebuilt"
            )
