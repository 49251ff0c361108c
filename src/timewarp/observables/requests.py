"""What is asked for, as text: ``couplings``, ``distance=1:CA,4:CA``, ``noe=2:HB*,4:H``."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass

from ..state import Atoms

WITH_ATOMS = {"distance": 2, "noe": 2, "noe3": 2, "dihedral": 4}
"""Requests that name atoms, and how many."""
PLAIN = ("couplings", "rg", "end-to-end", "hbonds", "sasa", "dssp", "contacts", "conformations")
DEFAULT = ("couplings", "conformations", "rg", "end-to-end", "hbonds", "dssp")
HOW = (
    f"{', '.join(PLAIN)}, distance=1:CA,4:CA, noe=2:HB*,4:H (averaged as r^-6; noe3 as r^-3), "
    "dihedral=1:N,1:CA,1:C,2:N, or rmsd=FILE.pdb"
)
_ALIASES = {"HN": "H"}


@dataclass(frozen=True)
class Request:
    """One request.

    Attributes:
        text: as it was given.
        kind: the part before ``=``.
        of: the part behind it; empty for none.
    """

    text: str
    kind: str
    of: str = ""


def parse(text: str) -> Request:
    """Read one request.

    Raises:
        ValueError: it cannot be understood.

    >>> parse("noe=2:HB*,4:H").kind
    'noe'
    """
    kind, _, of = text.partition("=")
    kind = kind.strip().lower()
    if kind in PLAIN and not of:
        return Request(text, kind)
    if kind in WITH_ATOMS and len(of.split(",")) == WITH_ATOMS[kind]:
        return Request(text, kind, of)
    if kind == "rmsd" and of:
        return Request(text, kind, of)
    raise ValueError(f"cannot understand the observable {text!r}; write {HOW}")


def find_atoms(atoms: Atoms, name: str) -> list[int]:
    """Indices of the atoms that ``RESIDUE:ATOM`` names; ``*``, ``#`` or ``%`` at the end stands for several protons.

    Args:
        atoms: the molecule.
        name: such as ``2:HA`` or ``3:HB*``; residues are counted from 1, a cap in front is 0. ``HN`` is the amide
            proton ``H``.

    Raises:
        ValueError: there is no such atom, or the name is not of this form.
    """
    number, colon, atom = name.strip().partition(":")
    if not colon or not number.lstrip("-").isdigit() or not atom:
        raise ValueError(f"an atom is written RESIDUE:NAME, such as 2:HA, got {name!r}")
    pattern = _ALIASES.get(atom.upper(), atom.upper()).replace("#", "*").replace("%", "*")
    residue = [i for i in range(atoms.n_atoms) if atoms.residue_numbers[i] == int(number)]
    found = [i for i in residue if fnmatch.fnmatchcase(atoms.names[i].upper(), pattern)]
    if not found:
        names = ", ".join(atoms.names[i] for i in residue)
        known = (
            f"residue {number} ({atoms.residue_names[residue[0]]}) has {names}"
            if residue
            else (f"residues are numbered {min(atoms.residue_numbers)} to {max(atoms.residue_numbers)}")
        )
        raise ValueError(f"there is no atom {name!r}: {known}")
    return found
