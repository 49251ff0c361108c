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


@dataclass(frozen=True)
class Sequence:
    """A peptide: its letters and which ends are capped (acetyl in front, N-methyl amide behind)."""

    letters: str
    front_cap: bool
    back_cap: bool

    def __str__(self) -> str:
        parts = [FRONT_CAP] * self.front_cap + [self.letters] + [BACK_CAP] * self.back_cap
        return "-".join(parts)

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
    expected = "write one-letter codes such as AG or AIVL, or with caps, Ace-A-Nme"
    if not text.strip():
        raise ValueError(f"the sequence is empty; {expected}")
    if text != text.strip():
        return parse_sequence(text.strip())
    parts = text.split("-")
    front_cap, back_cap = parts[0] == FRONT_CAP, parts[-1] == BACK_CAP
    inner = parts[int(front_cap) : len(parts) - int(back_cap)]
    letters = "".join(inner)
    if len(inner) == 1 and letters and all(letter in RESIDUES for letter in letters):
        sequence = Sequence(letters, front_cap, back_cap)
        _check_length(sequence)
        return sequence
    raise ValueError(_explain(text, inner, expected))


def _check_length(sequence: Sequence) -> None:
    n = len(sequence.letters)
    if n > MAX_RESIDUES:
        raise ValueError(
            f"the sequence {sequence} has {n} amino acids; at most {MAX_RESIDUES} are built from letters, so shorten it"
        )
    if n == 1 and not (sequence.front_cap or sequence.back_cap):
        raise ValueError(
            f"{sequence} is a single free amino acid, for which the force field has no template; "
            f"cap it as {FRONT_CAP}-{sequence}-{BACK_CAP}, or use 2 residues or more"
        )


def _explain(text: str, inner: list[str], expected: str) -> str:
    return f"cannot read {text!r} as a sequence; {expected}"
