"""Sequences: what is read, what is refused, and what the message says."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timewarp.molecules import build_molecule
from timewarp.molecules.residues import LETTERS
from timewarp.molecules.residues import RESIDUES as TABLE
from timewarp.molecules.sequences import MAX_RESIDUES, RESIDUES, parse_sequence

BRACKETED = [f"[{name}]" for name, residue in TABLE.items() if not (residue.letter or residue.is_cap or "X" in name)]
TOKENS = [*LETTERS, *(name for name in BRACKETED if name != "[cyx]")]


@given(
    st.lists(st.sampled_from(TOKENS), min_size=2, max_size=MAX_RESIDUES),
    st.sampled_from(["", "Ace-"]),
    st.sampled_from(["", "-Nme", "-NH2"]),
)
def test_a_sequence_reads_back_what_it_writes(tokens, front, back):
    text = front + "".join(tokens) + back
    sequence = parse_sequence(text)
    assert (sequence.letters, sequence.front, sequence.back) == ("".join(tokens), front[:-1], back[1:])
    assert str(sequence) == text
    assert parse_sequence(str(sequence)) == sequence
    assert len(sequence.residue_names) == len(tokens) + bool(front) + bool(back)
    assert re.fullmatch("[A-Za-z0-9-]+", sequence.folder_name)
    ring = parse_sequence(f"cyclo({''.join(tokens)})") if len(tokens) > 2 else None
    assert ring is None or (str(ring) == f"cyclo({sequence.letters})" and ring.names == sequence.names)


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
        advice in message
        for advice in (
            "Ace-A-Nme",
            "".join(RESIDUES),
            "two residues",
            "one-letter",
            "such as",
            "an OpenMM System",
            "write",
        )
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
        ("AgA", "lower-case 'g' at position 2"),
        ("ACDEFGHIKLMNPQRSTVWYACDEFGHIKLM", "has 31 amino acids; sequences of at most 30 are built"),
        ("A", "A is a single free amino acid, .* cap it as Ace-A-Nme, or give two residues"),
        ("ACE-A-NME", "caps are written Ace- in front and -Nme behind, got 'ACE-A-NME'"),
        ("ace-A-nme", "caps are written"),
        ("Nme-A-Ace", "Ace- belongs in front and -Nme or -NH2 behind"),
        ("Ace-Nme", "'Ace-Nme' has no amino acid"),
        ("Ace--Nme", "has no amino acid"),
        ("-", "has no amino acid"),
        ("ALA-GLY", "three-letter codes; write one-letter codes: AG"),
        ("Ala-Ile-Val", "write one-letter codes: AIV"),
        ("A-G", "hyphens between residues"),
        ("ALA-SEP-DAL", r"write one-letter codes: A\[SEP\]a"),
        ("AgA", "lower-case 'g' at position 2 in 'AgA': glycine is not chiral and has no D form; write G"),
        (
            "A[AIB]K",
            r"2-aminoisobutyric acid \(Aib\) at position 2 .* an AMBER prmtop .* an OpenMM System \(FILE\.xml\)",
        ),
        ("[Orn]AK", "ornithine at position 1"),
        ("A[XYZ]K", r"unknown residue \[XYZ\] at position 2 in .*; those in brackets are HID, HIP"),
        ("A[SEP", r"unknown amino acid '\[' at position 2"),
        ("A[]K", r"unknown residue \[\] at position 2"),
        ("A[NME]", r"\[NME\] in .* is a cap: caps are written as in Ace-A-Nme and AG-NH2"),
        ("A[CYX]GC", "the CYX at position 2 in .* has no partner; write the disulphide bonds behind"),
        ("cyclo(AG)", "rings of at least 3"),
        ("cyclo(Ace-AGA)", "is a ring, which has no ends to cap"),
        ("cyclo(AGA", "unknown amino acid 'c' at position 1|unknown amino acid"),
        ("CAAC:1-5", "the disulphide bond of position 5 in CAAC:1-5: it has 4 residues"),
        ("CAAC:1-3", "position 3 in CAAC:1-3: that residue is A, not a cysteine"),
        ("CAACC:1-4,4-5", "the cysteine at position 4 in .* is in two disulphide bonds"),
        ("CAAC:1-1", "in two disulphide bonds"),
        ("CAAC:", "'' in CAAC: is no list of disulphide bonds"),
        ("CAAC:x", "'x' in CAAC:x is no list of disulphide bonds; write .* such as CYIQNCPLG-NH2:1-6"),
        ("PEPTIDE1{A.G}", "cannot be read as HELM; expected one peptide"),
        ("RNA1{R(A)P}$$$$", "cannot be read as HELM"),
        ("PEPTIDE1{A.G}|PEPTIDE2{A}$$$$", "cannot be read as HELM"),
        ("PEPTIDE1{A.[Aib].G}$$$$", r"2-aminoisobutyric acid \(Aib\) at position 2"),
        ("PEPTIDE1{A.K.G.E}$PEPTIDE1,PEPTIDE1,2:R3-4:R3|PEPTIDE1,PEPTIDE1,1:R1-3:R3$$$", "the connection"),
    ],
)
def test_bad_sequences_say_what_is_wrong(text, message):
    with pytest.raises(ValueError, match=message) as caught:
        build_molecule(text)
    assert "\n" not in str(caught.value)


def test_longest_and_shortest_are_built():
    assert build_molecule("G" * MAX_RESIDUES, minimise=False).atoms.residues == "-".join(["GLY"] * MAX_RESIDUES)
    assert re.fullmatch("ACE-TRP-NME", build_molecule("Ace-W-Nme", minimise=False).atoms.residues)


@pytest.mark.parametrize(
    ("text", "canonical", "labels"),
    [
        ("aVK", "aVK", "DAL-VAL-LYS"),
        ("[DAL][VAL][lys]", "aVk", "DAL-VAL-DLY"),
        ("A[Sep]K", "A[SEP]K", "ALA-SEP-LYS"),
        ("A[HSP][hid]", "A[HIP][hid]", "ALA-HIS-DHI"),
        ("Ac-[Hyp]-NH2", "Ace-[HYP]-NH2", "ACE-HYP-NH2"),
        ("AK-NHMe", "AK-Nme", "ALA-LYS-NME"),
        ("c(RGDfV)", "cyclo(RGDfV)", "ARG-GLY-ASP-DPN-VAL"),
        ("cyclo-(GNSRV)", "cyclo(GNSRV)", "GLY-ASN-SER-ARG-VAL"),
        ("CYIQNCPLG-NH2:6-1", "CYIQNCPLG-NH2:1-6", "CYS-TYR-ILE-GLN-ASN-CYS-PRO-LEU-GLY-NH2"),
        ("[CYX]A[cyx]:1-3", "CAc:1-3", "CYS-ALA-DCY"),
        ("PEPTIDE1{A.[dV].K}$$$$", "AvK", "ALA-DVA-LYS"),
        (
            "PEPTIDE1{[ac].C.[Hyp].C.[am]}$PEPTIDE1,PEPTIDE1,2:R3-4:R3$$$V2.0",
            "Ace-C[HYP]C-NH2:1-3",
            "ACE-CYS-HYP-CYS-NH2",
        ),
        ("PEPTIDE1{G.[Ser_PO3H2].[dR]}$PEPTIDE1,PEPTIDE1,3:R2-1:R1$$$", "cyclo(G[SEP]r)", "GLY-SEP-DAR"),
    ],
)
def test_notations(text, canonical, labels):
    sequence = parse_sequence(text)
    assert str(sequence) == canonical
    assert "-".join(sequence.residue_names) == labels
    assert parse_sequence(canonical) == sequence


def test_folder_names_are_safe_and_apart_even_where_case_is_lost():
    texts = ["AVK", "aVK", "AVk", "cyclo(AVK)", "A[SEP]K", "A[S1P]K", "CAC", "CAC:1-3", "AVK-NH2", "AV[LYN]"]
    names = [parse_sequence(text).folder_name.lower() for text in texts]
    assert len(set(names)) == len(texts)
    assert all(re.fullmatch("[a-z0-9-]+", name) for name in names)
    assert [parse_sequence(text).folder_name for text in ("AVK", "Ace-A-Nme")] == ["AVK", "Ace-A-Nme"]
