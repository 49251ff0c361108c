"""Read a peptide's sequence as the user types it: letters, bracketed names, caps, rings and disulphides, or HELM.

``AIVL`` is of L amino acids, ``aVK`` begins with a D residue, ``A[SEP]K`` has a residue by its name, ``Ace-A-Nme`` and
``AG-NH2`` have caps, ``cyclo(GRGDSP)`` is closed head to tail, and ``CYIQNCPLG-NH2:1-6`` has a disulphide bond between
residues 1 and 6. HELM (Zhang et al. 2012), ``PEPTIDE1{A.[dV].K}$$$$``, is read as well.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass

from . import residues as table
from .helm import is_helm, read_helm
from .residues import LACKING, LETTERS, Residue, find_residue

RESIDUES: dict[str, str] = {letter: residue.label for letter, residue in LETTERS.items() if letter.isupper()}
"""One-letter codes of the 20 amino acids and their residue names."""

FRONT_CAP, BACK_CAP, AMIDE_CAP = "Ace", "Nme", "NH2"
MAX_RESIDUES = 30
"""Longest sequence that is built from letters."""
MIN_RING = 3
"""Fewest residues of a ring of trans peptide bonds."""

_FRONT = {"Ace": "Ace", "Ac": "Ace"}
_BACK = {"Nme": "Nme", "NMe": "Nme", "NHMe": "Nme", "NH2": "NH2"}
_NAMES = {"Ace": "ACE", "Nme": "NME", "NH2": "NHE"}
_EXPECTED = (
    "write L-amino acids as capital letters such as AG or AIVL, D in lower case (aVK), others in brackets (A[SEP]K), "
    "with caps as Ace-A-Nme"
)
_CYSTEINES = {"CYS": "CYX", "CYX": "CYX", "DCY": "cyx", "cyx": "cyx"}
OTHER_WAYS = (
    "give the molecule with its parameters as an AMBER prmtop (and inpcrd), or as a PDB file with "
    "--force-field FILE.xml that has the residue"
)
"""How a residue that the presets lack comes in."""


@dataclass(frozen=True)
class Sequence:
    """A peptide: its residues, what its ends are, and how it is closed.

    Attributes:
        names: of the amino acids, keys of :data:`~timewarp.molecules.residues.RESIDUES`.
        front: cap in front (``Ace``), or empty.
        back: cap behind (``Nme``, ``NH2``), or empty.
        cyclic: whether the last residue is bonded to the first.
        disulphides: pairs of positions, counted from 1, the smaller first, in order.
    """

    names: tuple[str, ...]
    front: str = ""
    back: str = ""
    cyclic: bool = False
    disulphides: tuple[tuple[int, int], ...] = ()

    def __str__(self) -> str:
        text = self.letters
        if self.cyclic:
            text = f"cyclo({text})"
        text = "-".join(part for part in (self.front, text, self.back) if part)
        return text + (":" if self.disulphides else "") + ",".join(f"{i}-{j}" for i, j in self.disulphides)

    @property
    def letters(self) -> str:
        """The amino acids in the notation, without caps.

        >>> parse_sequence("Ace-[ALA][DAL][HSP]-NH2").letters
        'Aa[HIP]'
        """
        return "".join(_spell(name) for name in self.names)

    @property
    def residues(self) -> tuple[Residue, ...]:
        """Every residue, caps included."""
        caps = [tuple(_NAMES[cap] for cap in (end,) if cap) for end in (self.front, self.back)]
        return tuple(table.RESIDUES[name] for name in (*caps[0], *self.names, *caps[1]))

    @property
    def residue_names(self) -> tuple[str, ...]:
        """Residue names of topologies and PDB files, caps included.

        >>> parse_sequence("Ace-a[HID]-NH2").residue_names
        ('ACE', 'DAL', 'HIS', 'NH2')
        """
        return tuple(residue.label for residue in self.residues)

    @property
    def is_plain(self) -> bool:
        """Whether it is an open chain of the twenty L amino acids with Ace or Nme or without."""
        is_open = not (self.cyclic or self.disulphides or self.back == AMIDE_CAP)
        return is_open and all(letter in RESIDUES for letter in self.letters)

    @property
    def folder_name(self) -> str:
        """A name for files and folders: the sequence, or its letters and a hash where a file system may mistake it.

        >>> parse_sequence("AIVL").folder_name, parse_sequence("cyclo(GRGDSP)").folder_name
        ('AIVL', 'cyclo-GRGDSP-912b45')
        """
        text = str(self)
        if self.is_plain:
            return text
        readable = re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")
        return f"{readable}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def parse_sequence(text: str) -> Sequence:
    """Read a sequence in the program's notation, or HELM.

    Raises:
        ValueError: empty, too long, unknown residues, a single amino acid without caps, rings or disulphides that
            cannot be; one line says what and where.

    >>> str(parse_sequence("Ac-AAA-NHMe")), str(parse_sequence("c(RGDfV)"))
    ('Ace-AAA-Nme', 'cyclo(RGDfV)')
    >>> str(parse_sequence("PEPTIDE1{C.[dV].C.[am]}$PEPTIDE1,PEPTIDE1,1:R3-3:R3$$$"))
    'CvC-NH2:1-3'
    """
    text = text.strip()
    if not text:
        raise ValueError(f"the sequence is empty; {_EXPECTED}")
    if is_helm(text):
        return parse_sequence(read_helm(text))
    body, _, bridges = text.partition(":")
    ring = re.fullmatch(r"(?:cyclo-?|c)\((.*)\)", body)
    parts = (ring.group(1) if ring else body).split("-")
    front = _FRONT.get(parts[0], "")
    back = _BACK.get(parts[-1], "") if len(parts) > 1 else ""
    inner = parts[int(bool(front)) : len(parts) - int(bool(back))]
    tokens = re.findall(r"\[[^\[\]]*\]|.", inner[0], re.DOTALL) if len(inner) == 1 else []
    if not tokens or any(_find(token) is None for token in tokens):
        raise ValueError(_explain(text, parts, inner, tokens))
    names = tuple(residue.name for token in tokens if (residue := _find(token)) is not None)
    if len(names) > MAX_RESIDUES:
        raise ValueError(
            f"the sequence {_shown(text)} has {len(names)} amino acids; "
            f"sequences of at most {MAX_RESIDUES} are built: shorten it, or give a PDB file"
        )
    if ring and (front or back):
        raise ValueError(f"{_shown(text)} is a ring, which has no ends to cap; write it without the caps")
    if ring and len(names) < MIN_RING:
        raise ValueError(
            f"{_shown(text)} has {len(names)} residues: rings of at least {MIN_RING} are built, "
            "since smaller ones have no trans peptide bonds; give it as a PDB file"
        )
    if len(names) == 1 and not (front or back):
        raise ValueError(
            f"{text} is a single free amino acid, for which the force field has no template; "
            f"cap it as {FRONT_CAP}-{text}-{BACK_CAP}, or give two residues or more"
        )
    pairs = _disulphides(text, bridges, names) if bridges or body != text else ()
    bridged = {i for pair in pairs for i in pair}
    names = tuple(_CYSTEINES[name] if i in bridged else name for i, name in enumerate(names, 1))
    if alone := [i for i, name in enumerate(names, 1) if name in ("CYX", "cyx") and i not in bridged]:
        raise ValueError(
            f"the CYX at position {alone[0]} in {_shown(text)} has no partner; write the disulphide bonds behind the "
            f"sequence, such as CAAC:1-4, or C for a thiol"
        )
    return Sequence(names, front, back, bool(ring), pairs)


def _find(token: str) -> Residue | None:
    """The amino acid that a letter or a bracket means, or None."""
    if not token.startswith("["):
        return LETTERS.get(token)
    name = token[1:-1]
    if name in table.RESIDUES:
        residue: Residue | None = table.RESIDUES[name]
    elif name.islower():  # D, as for letters
        natural = find_residue(name.upper())
        residue = None if natural is None or natural.handedness != "L" else _mirror(natural)
    else:
        residue = find_residue(name.upper())
    return None if residue is None or residue.is_cap else residue


def _mirror(natural: Residue) -> Residue | None:
    return LETTERS.get(natural.letter.lower()) if natural.letter else table.RESIDUES.get(natural.name.lower())


def _spell(name: str) -> str:
    residue = table.RESIDUES[name]
    if name in ("CYX", "cyx"):
        return "C" if name == "CYX" else "c"
    return residue.letter or f"[{name}]"


def _disulphides(text: str, bridges: str, names: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """Pairs of positions from ``1-6,2-9``."""
    form = "write disulphide bonds behind the sequence by the positions of their cysteines, such as CYIQNCPLG-NH2:1-6"
    found = [re.fullmatch(r"(\d{1,3})-(\d{1,3})", part.strip()) for part in bridges.split(",")]
    if any(match is None for match in found):
        raise ValueError(f"{bridges!r} in {_shown(text)} is no list of disulphide bonds; {form}")
    pairs = sorted((min(pair), max(pair)) for pair in ((int(m[1]), int(m[2])) for m in found if m is not None))
    for i in (i for pair in pairs for i in pair):
        if not 1 <= i <= len(names):
            raise ValueError(f"the disulphide bond of position {i} in {_shown(text)}: it has {len(names)} residues")
        if names[i - 1] not in _CYSTEINES:
            raise ValueError(
                f"the disulphide bond of position {i} in {_shown(text)}: that residue is {_spell(names[i - 1])}, "
                "not a cysteine; positions count amino acids from 1, caps uncounted"
            )
    if twice := [i for i, n in Counter(i for pair in pairs for i in pair).items() if n > 1]:
        raise ValueError(f"the cysteine at position {twice[0]} in {_shown(text)} is in two disulphide bonds; {form}")
    return tuple(pairs)


def _shown(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."


def _explain(text: str, parts: list[str], inner: list[str], tokens: list[str]) -> str:
    """Why a sequence cannot be read, by the likeliest mistake."""
    shown = repr(_shown(text))
    caps = {FRONT_CAP.upper(), BACK_CAP.upper(), "NHE", "NH2"}
    if any(part.upper() in caps and part not in (*_FRONT, *_BACK) for part in parts) and len(parts) > 1:
        return (
            f"caps are written {FRONT_CAP}- in front and -{BACK_CAP} behind, got {shown}; for example Ace-A-Nme "
            f"(-{AMIDE_CAP} is the amide)"
        )
    if any(part in _FRONT for part in parts[1:]) or any(part in _BACK for part in parts[:-1]):
        return f"{FRONT_CAP}- belongs in front and -{BACK_CAP} or -{AMIDE_CAP} behind, got {shown}; such as Ace-A-Nme"
    if not any(inner):
        return f"{shown} has no amino acid; {_EXPECTED}"
    if len(inner) > 1:
        known = [find_residue(part.upper()) for part in inner]
        letters = "".join(_spell(residue.name) for residue in known if residue is not None)
        if all(known):
            return f"{shown} is in three-letter codes; write one-letter codes: {letters}"
        return f"{shown} has hyphens between residues; {_EXPECTED}"
    wrong = [(i, token) for i, token in enumerate(tokens, 1) if _find(token) is None]
    i, first = wrong[0]
    if "g" in (first, first[1:-1]):
        return f"lower-case 'g' at position {i} in {shown}: glycine is not chiral and has no D form; write G"
    if first.startswith("[") and len(first) > 1:
        name = first[1:-1]
        if name.upper() in LACKING:
            full = LACKING[name.upper()]
            return f"{full} at position {i} in {shown}: the force fields have no parameters of it; {OTHER_WAYS}"
        if (cap := find_residue(name.upper())) is not None and cap.is_cap:
            return f"{first} in {shown} is a cap: caps are written as in Ace-A-Nme and AG-{AMIDE_CAP}"
        names = [residue.name for residue in table.RESIDUES.values() if not (residue.letter or residue.is_cap)]
        return (
            f"unknown residue {first} at position {i} in {shown}; those in brackets are "
            f"{', '.join(name for name in names if name.isupper())} (D in lower case); {OTHER_WAYS}"
        )
    listed = ", ".join(f"{token!r} at position {i}" for i, token in wrong[:5])
    more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
    return f"unknown amino acid {listed}{more} in {shown}; the letters are {''.join(RESIDUES)}"


def folder_name(name: str, *, in_list: bool = False) -> str:
    """A molecule's name as a name of folders: as it is, or of a sequence its :attr:`Sequence.folder_name`.

    Args:
        name: a sequence, or a file's stem.
        in_list: whether names beside it may differ in case alone, which some file systems ignore.

    >>> folder_name("aVK"), folder_name("A[SEP]K")[:8], folder_name("1uao_2")
    ('aVK', 'A-SEP-K-', '1uao_2')
    """
    if not in_list and re.fullmatch(r"[\w. -]+", name):
        return name
    try:
        return parse_sequence(name).folder_name
    except ValueError:
        return name


def is_sequence_of(text: str, residues: str) -> bool:
    """Whether a text is a sequence, and that of a molecule with these residue names, joined by hyphens.

    >>> is_sequence_of("Ace-A-Nme", "ACE-ALA-NME"), is_sequence_of("my-file", "ACE-ALA-NME")
    (True, False)
    """
    try:
        return "-".join(parse_sequence(text).residue_names) == residues
    except ValueError:
        return False
