"""Sequences: what is read, what is refused, and what the message says."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timewarp.molecules import build_molecule
from timewarp.molecules.sequences import MAX_RESIDUES, RESIDUES, parse_sequence


@given(st.text("".join(RESIDUES), min_size=2, max_size=MAX_RESIDUES), st.booleans(), st.booleans())
def test_a_sequence_reads_back_what_it_writes(letters, front, back):
    text = "Ace-" * front + letters + "-Nme" * back
    sequence = parse_sequence(text)
    assert (sequence.letters, sequence.front_cap, sequence.back_cap) == (letters, front, back)
    assert str(sequence) == text
    assert len(sequence.residue_names) == len(letters) + front + back


def refusal(text: str) -> str:
    """The message of a refused sequence; empty if it is read."""
    try:
        parse_sequence(text)
    except ValueError as error:
        return str(error)
    return ""


@given(st.text(max_size=15))
def test_any_text_is_read_or_refused_with_advice_in_one_line(text):
    message = refusal(text)
    read = message == ""
    assert read or any(
        advice in message for advice in ("Ace-A-Nme", "".join(RESIDUES), "two residues", "one-letter", "such as")
    )
    assert len(message.splitlines()) <= 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the sequence is empty; write L-amino acids as capital letters such as AG"),
        ("  ", "the sequence is empty"),
        ("AXG", "unknown amino acid 'X' at position 2 in 'AXG'; the letters are ACDEFGHIKLMNPQRSTVWY"),
        ("BAZ", "unknown amino acid 'B' at position 1, 'Z' at position 3"),
        ("A G", "unknown amino acid ' ' at position 2"),
        ("AΔ", "unknown amino acid 'Δ' at position 2"),
        ("XXXXXXX", "and 2 more"),
        (
            "aivl",
            "lower-case 'a' at position 1 in 'aivl': only L-amino acids in capital letters are built, such as AIVL",
        ),
        ("AgA", "lower-case 'g' at position 2"),
        ("ACDEFGHIKLMNP", "has 13 amino acids; sequences of at most 12 are built"),
        ("A", "A is a single free amino acid, .* cap it as Ace-A-Nme, or give two residues"),
        ("ACE-A-NME", "caps are written Ace- in front and -Nme behind, got 'ACE-A-NME'"),
        ("ace-A-nme", "caps are written"),
        ("Nme-A-Ace", "Ace- belongs in front and -Nme behind"),
        ("Ace-Nme", "'Ace-Nme' has no amino acid"),
        ("Ace--Nme", "has no amino acid"),
        ("-", "has no amino acid"),
        ("ALA-GLY", "three-letter codes; write one-letter codes: AG"),
        ("Ala-Ile-Val", "write one-letter codes: AIV"),
        ("A-G", "hyphens between residues"),
        ("Ace-a-Nme", "lower-case 'a' at position 1 in 'Ace-a-Nme'"),
    ],
)
def test_bad_sequences_say_what_is_wrong(text, message):
    with pytest.raises(ValueError, match=message) as caught:
        build_molecule(text)
    assert "\n" not in str(caught.value)


def test_longest_and_shortest_are_built():
    assert build_molecule("G" * MAX_RESIDUES, minimise=False).atoms.residues == "-".join(["GLY"] * MAX_RESIDUES)
    assert re.fullmatch("ACE-TRP-NME", build_molecule("Ace-W-Nme", minimise=False).atoms.residues)
