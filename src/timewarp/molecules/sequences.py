"""Read a peptide's sequence as the user types it: one-letter codes with optional caps."""

from __future__ import annotations

from dataclasses import dataclass

RESIDUES: dict[str, str] = {
    "A": "ALA",
    "C": "CYS",
    "D": "ASP",
    "E": "GLU",
    "F": "PHE",
    "G": "GLY",
    "H": "HIS",
    "I": "ILE",
    "K": "LYS",
    "L": "LEU",
    "M": "MET",
    "N": "ASN",
    "P": "PRO",
    "Q": "GLN",
    "R": "ARG",
    "S": "SER",
    "T": "THR",
    "V": "VAL",
    "W": "TRP",
    "Y": "TYR",
}
"""One-letter codes of the 20 amino acids and their residue names."""

FRONT_CAP, BACK_CAP = "Ace", "Nme"
MAX_RESIDUES = 12
"""Longest sequence that is built from letters."""

_EXPECTED = "write L-amino acids as capital letters such as AG or AIVL, with caps as Ace-A-Nme"


@dataclass(frozen=True)
class Sequence:
    """A peptide: its letters and which ends are capped (acetyl in front, N-methyl amide behind)."""

    letters: str
    front_cap: bool
    back_cap: bool

    def __str__(self) -> str:
        return "-".join([FRONT_CAP] * self.front_cap + [self.letters] + [BACK_CAP] * self.back_cap)

    @property
    def residue_names(self) -> tuple[str, ...]:
        """PDB residue names, caps included.

        >>> parse_sequence("Ace-A-Nme").residue_names
        ('ACE', 'ALA', 'NME')
        """
        inner = [RESIDUES[letter] for letter in self.letters]
        return tuple(["ACE"] * self.front_cap + inner + ["NME"] * self.back_cap)


def parse_sequence(text: str) -> Sequence:
    """Read ``AIVL``, ``Ace-A-Nme``, ``Ace-AG`` or ``AG-Nme``.

    Raises:
        ValueError: empty, too long, unknown letters, lower case, a single amino acid without caps.

    >>> str(parse_sequence("Ace-AAA-Nme"))
    'Ace-AAA-Nme'
    """
    text = text.strip()
    if not text:
        raise ValueError(f"the sequence is empty; {_EXPECTED}")
    parts = text.split("-")
    front_cap, back_cap = parts[0] == FRONT_CAP, parts[-1] == BACK_CAP
    inner = parts[int(front_cap) : len(parts) - int(back_cap)]
    letters = inner[0] if len(inner) == 1 else ""
    if not letters or any(letter not in RESIDUES for letter in letters):
        raise ValueError(_explain(text, parts, inner))
    sequence = Sequence(letters, front_cap, back_cap)
    if len(letters) > MAX_RESIDUES:
        raise ValueError(
            f"the sequence {text} has {len(letters)} amino acids; "
            f"sequences of at most {MAX_RESIDUES} are built: shorten it, or give a PDB file"
        )
    if len(letters) == 1 and not (front_cap or back_cap):
        raise ValueError(
            f"{text} is a single free amino acid, for which the force field has no template; "
            f"cap it as {FRONT_CAP}-{text}-{BACK_CAP}, or give two residues or more"
        )
    return sequence


def _explain(text: str, parts: list[str], inner: list[str]) -> str:
    """Why a sequence cannot be read, by the likeliest mistake."""
    shown = repr(text if len(text) <= 40 else text[:37] + "...")
    caps = {FRONT_CAP.upper(), BACK_CAP.upper()}
    if any(part.upper() in caps and part not in (FRONT_CAP, BACK_CAP) for part in parts) and len(parts) > 1:
        return f"caps are written {FRONT_CAP}- in front and -{BACK_CAP} behind, got {shown}; for example Ace-A-Nme"
    if FRONT_CAP in parts[1:] or BACK_CAP in parts[:-1]:
        return f"{FRONT_CAP}- belongs in front and -{BACK_CAP} behind, got {shown}; for example Ace-A-Nme"
    if not any(inner):
        return f"{shown} has no amino acid; {_EXPECTED}"
    if len(inner) > 1:
        codes = {name: letter for letter, name in RESIDUES.items()}
        if all(part.upper() in codes for part in inner):
            letters = "".join(codes[part.upper()] for part in inner)
            return f"{shown} is in three-letter codes; write one-letter codes: {letters}"
        return f"{shown} has hyphens between residues; {_EXPECTED}"
    (letters,) = inner
    unknown = [(i, letter) for i, letter in enumerate(letters, 1) if letter.upper() not in RESIDUES]
    if unknown:
        listed = ", ".join(f"{letter!r} at position {i}" for i, letter in unknown[:5])
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        return f"unknown amino acid {listed}{more} in {shown}; the letters are {''.join(RESIDUES)}"
    i = next(i for i, letter in enumerate(letters, 1) if letter.islower())
    return (
        f"lower-case {letters[i - 1]!r} at position {i} in {shown}: "
        f"only L-amino acids in capital letters are built, such as {letters.upper()}"
    )


def is_sequence_of(text: str, residues: str) -> bool:
    """Whether a text is a sequence, and that of a molecule with these residue names, joined by hyphens.

    >>> is_sequence_of("Ace-A-Nme", "ACE-ALA-NME"), is_sequence_of("my-file", "ACE-ALA-NME")
    (True, False)
    """
    try:
        return "-".join(parse_sequence(text).residue_names) == residues
    except ValueError:
        return False
