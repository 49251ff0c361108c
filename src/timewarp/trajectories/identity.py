"""Which run some frames are of: the molecule with its stereochemistry, and everything that is fixed of the run."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from ..files import sha256
from ..restriction import Restriction
from ..state import Atoms

if TYPE_CHECKING:
    from .frame_set import Source

GROWING = frozenset(
    {"n_samples", "length_ns", "threads", "start_from", "device", "frames_per_segment", "superchains", "run"}
)
"""Entries of a configuration that may differ between two states of one run."""


def stereochemistry(topology_pdb: str, atoms: Atoms) -> str | None:
    """The handedness of each stereocentre and cis or trans of each peptide bond, such as ``"+-|tc"``.

    Args:
        topology_pdb: PDB text with the atoms in their order.
        atoms: the molecule.

    Returns:
        None where the text does not hold the atoms, or a centre of it is flat.
    """
    rows = []
    for line in topology_pdb.splitlines():
        if line.startswith(("ATOM", "HETATM")):
            try:
                rows.append([float(line[k : k + 8]) / 10 for k in (30, 38, 46)])
            except ValueError:
                return None
        elif line.startswith("ENDMDL"):
            break
    if len(rows) != atoms.n_atoms or not all(math.isfinite(value) for row in rows for value in row):
        return None
    try:
        pattern = Restriction(torch.tensor(rows, dtype=torch.float64), atoms)
    except ValueError:
        return None
    signs = "".join("+" if sign > 0 else "-" for sign in pattern.signs.tolist())
    return f"{signs}|{''.join('c' if bond else 't' for bond in pattern.is_cis.tolist())}"


def differing(first: str | None, second: str | None, atoms: Atoms) -> str:
    """Where two stereochemistries differ, in words; empty where they do not, or one is not known."""
    if first is None or second is None or first == second:
        return ""
    (signs, bonds), (other_signs, other_bonds) = first.split("|"), second.split("|")
    for row, sign, other in zip(atoms.stereocentres.tolist(), signs, other_signs, strict=True):
        if sign != other:
            return f"the handedness of {_named(atoms, row[0])}"
    for row, bond, other in zip(atoms.peptide_bonds.tolist(), bonds, other_bonds, strict=True):
        if bond != other:
            return f"cis or trans of the peptide bond to {_named(atoms, row[2])}"
    return ""


def check_same_molecule(first: Source, second: Source) -> None:
    """Refuse frames of another molecule, or of a stereoisomer.

    Raises:
        ValueError: they are.
    """
    if first.atoms.fingerprint != second.atoms.fingerprint:
        raise ValueError(f"{second.path} holds another molecule: {second.name}, not {first.name}")
    if where := differing(first.stereochemistry, second.stereochemistry, first.atoms):
        raise ValueError(
            f"{second.path} holds a stereoisomer of the molecule of {first.path}: they differ in {where}; give frames "
            "of the same molecule"
        )


def run_identity(source: Source) -> str:
    """Short hash of what a run is of and how it is made; the same while it grows, and wherever it lies."""
    fixed = {key: value for key, value in _flat(source.config) if key.rpartition(".")[2] not in GROWING}
    return _hash([source.kind, source.atoms.fingerprint, source.stereochemistry, sorted(fixed.items())])


def frames_digest(source: Source) -> str:
    """Short hash of all frames of a run: of its segment files, or of the files that another program wrote."""
    headers = getattr(source, "segment_files", None)
    if headers is None:
        return _hash([source.config.get("sha256"), source.config.get("stride"), source.config.get("discard")])
    return _hash([[path.name, sha256(path)] for path in headers])


def _flat(table: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for key, value in table.items():
        rows += _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [(f"{prefix}{key}", value)]
    return rows


def _hash(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, default=str).encode()).hexdigest()[:16]


def _named(atoms: Atoms, index: int) -> str:
    return f"{atoms.residue_names[index]} {atoms.residue_numbers[index]}"
