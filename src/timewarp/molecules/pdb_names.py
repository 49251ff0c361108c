"""Names of residues and atoms in the files of other programs.

Sources: the PDB's format 2.3 and 3.3 (1HB and HB2), IUPAC, and the topologies and manuals of AMBER (NALA, CYX, HIP),
CHARMM and NAMD (HSD, HN, HT1, OT1, CAY, NT), GROMACS and GROMOS (HISB, LYSH, CD of ILE, O1 and O2), OPLS, X-PLOR and
CYANA (pseudo-atoms QB), Maestro (ARN, CYT), Rosetta (CYD), Insight (LYS+).
"""

from __future__ import annotations

from functools import cache

from .residues import LACKING, RESIDUES, Residue, find_residue

CAPS = frozenset(residue.name for residue in RESIDUES.values() if residue.is_cap)
"""Names of the caps in our table."""

PROTONATION_STATES = {
    alias: residue.amino_acid or residue.label
    for residue in RESIDUES.values()
    if residue.handedness != "D"
    and (residue.name in ("LYN", "CYM") or residue.label == (residue.amino_acid or residue.label))
    for alias in (residue.name, *residue.aliases)
    if alias != (residue.amino_acid or residue.label)
}
"""Names of a protonation state, tautomer or cap, with that of the plain residue."""

WATER = {"HOH", "WAT", "H2O", "DOD", "SOL", "SPC", "TIP", "TIP3", "TIP4", "TIP5", "TP3", "T3P", "T4P", "OPC", "HHO"}
IONS = {"NA", "CL", "K", "LI", "RB", "CS", "MG", "CA", "ZN", "MN", "FE", "FE2", "CU", "CO", "NI", "CD", "BR", "IOD"}
IONS |= {"NA+", "CL-", "K+", "SOD", "CLA", "POT", "CAL", "CES", "MG2", "ZN2", "SO4", "PO4", "CIO", "CIM", "CIP"}

_MORE_NAMES = {
    "CYD": "CYX",  # Rosetta
    "CYT": "CYM",  # Maestro
    "LYS+": "LYS",
    "ARG+": "ARG",
    "ASP-": "ASP",
    "GLU-": "GLU",
    "HIS+": "HIP",
    "CT3": "NME",
    "CT2": "NHE",
    "ACP": "ACE",
}
"""Names of other programs beyond those of the table of residues."""
_NEUTRAL_ARGININE = ("neutral arginine", "; or, to have it charged (+1), rename it ARG and give all five hydrogens")
_MORE_LACKING = {
    **dict.fromkeys(("ARGN", "ARN", "AR0"), _NEUTRAL_ARGININE),
    **dict.fromkeys(
        ("TYM", "TYRM", "TYO"), ("deprotonated tyrosine", "; or, to have it neutral (0), rename it TYR and add HH")
    ),
    "MSE": ("selenomethionine", "; or, to have methionine in its place, rename MSE to MET and its atom SE to SD"),
    "FOR": ("the formyl cap", "; or, to have an acetyl cap in its place, build ACE"),
    "ETA": ("the ethanolamide cap", ""),
    "UNK": ("a residue of no name", "; or, if it is one of those of a force field, give it that residue's name"),
}
PSEUDO_ATOMS = ("Q", "LP", "EP", "M")
"""First letters of atoms that stand for groups, lone pairs or virtual sites."""

_TERMINAL_O = ("O", "O1", "OT1", "OCT1", "OC1", "OA1", "OT", "O'", "O2", "OT2", "OCT2", "OC2", "OA2", "OXT", "O''")
_ACETYL = ("CAY", "CY", "OY")


@cache
def known_residue(name: str) -> Residue | None:
    """The residue that a file's name means (of a plain name the state of pH 7), or None."""
    name = name.upper()
    if name in _MORE_LACKING:
        return None
    found = find_residue(_MORE_NAMES.get(name, name))
    if found is None and len(name) == 4 and name[0] == "D":  # DALA of GROMACS and Rosetta
        natural = find_residue(name[1:])
        if natural is not None and natural.handedness == "L":
            same = (r for r in RESIDUES.values() if r.handedness == "D" and r.amino_acid == natural.amino_acid)
            found = next((r for r in same if r.variant == natural.variant and r.heavy == natural.heavy), None)
    return found


@cache
def lacking(name: str) -> tuple[str, str] | None:
    """Full name, and what else can be done, of a residue for which the presets have no parameters."""
    if name in _MORE_LACKING:
        return _MORE_LACKING[name]
    return (LACKING[name], "") if name in LACKING else None


def says_state(name: str, residue: Residue) -> bool:
    """Whether a file's name says a protonation state, and not the residue alone (``HIS``, ``LYS``, ``DLY``)."""
    name = name.upper()
    if len(name) == 4 and name[0] in "NC" and find_residue(name) is find_residue(name[1:]):
        name = name[1:]
    plain = {residue.amino_acid, residue.label, f"D{residue.amino_acid}"} - {"LYN", "CYM"}
    return name not in plain


def is_hydrogen_name(name: str) -> bool:
    """Whether an atom name of an amino acid is that of a hydrogen or deuterium (``HB2``, ``1HB``, ``D``)."""
    return name.lstrip("0123456789*'")[:1] in ("H", "D")


def plain_hydrogen(name: str) -> str:
    """A hydrogen's name with the leading digits behind, and H for deuterium: ``1HG2`` is ``HG21``."""
    digits = len(name) - len(name.lstrip("0123456789"))
    name = name[digits:] + name[:digits]
    return f"H{name[1:]}" if name[:1] == "D" else name


def heavy_name(name: str, residue: Residue, *, is_last: bool, present: frozenset[str]) -> str | None:
    """Our name of a heavy atom, or None where the residue has no such atom.

    Args:
        name: in the file.
        residue: of our table.
        is_last: whether it is the end of the chain, where two oxygens share the names of one.
        present: all heavy atoms of the residue, as in the file.
    """
    if name in residue.heavy and not (name == "OXT" or (is_last and name == "O2")):
        return name
    aliases = dict(residue.atom_aliases)
    if name in aliases and aliases[name] in residue.heavy:
        return aliases[name]
    if name == "CD" and residue.amino_acid == "ILE":
        return "CD1"
    if not residue.is_cap and name in _TERMINAL_O:
        oxygens = [other for other in _TERMINAL_O if other in present and (other not in residue.heavy or other == "O")]
        if len(oxygens) > 1:
            return "O" if name == oxygens[0] else "OXT" if name == oxygens[1] else None
        return "OXT" if name == "OXT" else "O"
    swapped = {"OP1": "O1P", "OP2": "O2P", "OP3": "O3P"}.get(name)
    return swapped if swapped in residue.heavy else None


def patched_ends(names: frozenset[str]) -> tuple[str, str]:
    """Which caps CHARMM's patches have put into a residue: ``ACE`` or nothing, and ``NME``, ``NHE`` or nothing."""
    front = "ACE" if set(_ACETYL) <= names else ""
    back = ""
    if "NT" in names and {"N", "C"} <= names:
        back = "NME" if "CAT" in names else "NHE"
    return front, back


PATCH_ATOMS = {"ACE": _ACETYL, "NME": ("NT", "CAT"), "NHE": ("NT",)}
"""Heavy atoms of the caps that CHARMM's patches put into the residue they cap."""
