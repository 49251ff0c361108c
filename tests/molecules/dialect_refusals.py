"""Peptide files that are refused, with the mend that the message names done by program."""

from __future__ import annotations

from dataclasses import replace

from dialect_forms import alternates, models
from dialect_names import CAPPED, SHORT
from dialects import Refusal, Row, beside, each, lines_without, plain, residues, text_of, without


def with_atoms(*atoms: tuple[str, int, str, dict]):
    """Add an atom one angstrom outwards of (name, number), with changes; the element comes first."""

    def add(rows: list[Row]) -> list[Row]:
        out = list(rows)
        for name, number, element, changes in atoms:
            at = next(row for row in rows if (row.name, row.number) == (name, number))
            out.insert(out.index(at) + 1, beside(at, changes.pop("apart", 1.0), element=element, **changes))
        return out

    return add


def far(*rows: Row):
    return lambda given: [*given, *rows]


def molecule(residue: str, *atoms: tuple[str, str], number: int = 90, record: str = "HETATM") -> list[Row]:
    return [
        Row(900 + i, name, residue, number, (40.0 + i, 40.0, 40.0), element, record=record)
        for i, (name, element) in enumerate(atoms)
    ]


def drop(*names: str):
    """Delete the lines of residues of these names."""
    return lambda text: "".join(
        line
        for line in text.splitlines(keepends=True)
        if not line.startswith(("ATOM", "HETATM")) or line[17:21].strip() not in names
    )


def called(old: str, new: str):
    return lambda text: text.replace(f" {old:<4}"[:5], f" {new:<4}"[:5])


def first_part(text: str) -> str:
    return text.split("TER\n")[0] + "TER\nEND\n"


def chain_a(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if line[21:22] != "B")


def twice(chain: str = "A"):
    def write(rows: list[Row]) -> str:
        away = [replace(row, chain=chain, xyz=(row.xyz[0] + 40, *row.xyz[1:])) for row in rows]
        return text_of(rows, end="TER\n") + text_of(away)

    return write


def unnamed(text: str) -> str:
    return text.replace("UNK", "VAL")


def in_nm(rows: list[Row]) -> list[Row]:
    return [replace(row, xyz=(row.xyz[0] / 10, row.xyz[1] / 10, row.xyz[2] / 10)) for row in rows]


def in_angstrom(text: str) -> str:
    out = []
    for line in text.splitlines(keepends=True):
        if line.startswith("ATOM"):
            xyz = "".join(f"{10 * float(line[at : at + 8]):8.3f}" for at in (30, 38, 46))
            line = line[:30] + xyz + line[54:]
        out.append(line)
    return "".join(out)


# The mended file is the molecule ``of``; where heavy atoms or hydrogens were rebuilt, positions are others.
REFUSALS = (
    Refusal(
        "LYS with two hydrogens on NZ, as neutral lysine",
        "A[LYN]G",
        plain(residues(LYN="LYS")),
        r"LYS 2 has 2 hydrogens on NZ \(HZ1, HZ2\), as LYN has it \(charge 0\), and not LYS \(charge \+1\); "
        r"rename .* LYN",
        called("LYS", "LYN"),
    ),
    Refusal(
        "LYS with two hydrogens on NZ, as charged lysine",
        "AKG",
        plain(residues(LYN="LYS")),
        r"or remove HZ1, HZ2 to have it built as LYS",
        lines_without(("HZ1", 2), ("HZ2", 2)),
        base="A[LYN]G",
    ),
    Refusal(
        "LYS with one hydrogen on NZ",
        "AKG",
        plain(without(("HZ1", 2), ("HZ2", 2))),
        r"LYS 2 has 1 hydrogen on NZ \(HZ3\), but LYS has 3 \(charge \+1\), LYN has 2 \(charge 0\); .* remove HZ3",
        lines_without(("HZ3", 2)),
    ),
    Refusal(
        "LYN with three hydrogens on NZ",
        "AKG",
        plain(residues(LYS="LYN")),
        r"LYN 2 has 3 hydrogens on NZ .* as LYS has it \(charge \+1\), and not LYN \(charge 0\); rename .* LYS",
        called("LYN", "LYS"),
    ),
    Refusal(
        "HIP with one hydrogen on the ring",
        "A[HID]G",
        plain(residues(HIS="HIP")),
        r"HIP 2 has 1 hydrogen on ND1 and NE2 \(HD1\), as HID has it \(charge 0\), and not HIP \(charge \+1\)",
        called("HIP", "HID"),
    ),
    Refusal(
        "an acid with a proton on both oxygens",
        "A[ASH]G",
        plain(with_atoms(("OD1", 2, "H", {"name": "HD1"}))),
        r"ASP 2 has 2 hydrogens on OD2|ASP 2 has 1 hydrogen on OD1 \(HD1\), expected none; remove",
        lines_without(("HD1", 2)),
    ),
    Refusal(
        "a free N-terminus with two hydrogens",
        SHORT,
        plain(without(("H3", 1))),
        r"N of ILE 1 has 2 hydrogens, a neutral amine \(charge 0\); .* \(charge \+1\): remove H, H2",
        lines_without(("H", 1), ("H2", 1)),
    ),
    Refusal(
        "a free end with HXT",
        SHORT,
        plain(with_atoms(("OXT", 5, "H", {"name": "HXT"}))),
        r"HXT of LEU 5 makes its end a carboxylic acid \(charge 0\); .*\(charge -1\): remove HXT",
        lines_without(("HXT", 5)),
    ),
    Refusal(
        "CYS without HG",
        "A[CYM]G",
        plain(residues(CYM="CYS")),
        r"SG of CYS 2 has no hydrogen and no bond .* rename it CYM for the thiolate \(charge -1\), or CYSH",
        called("CYS", "CYM"),
    ),
    Refusal(
        "CYS without HG, as the thiol",
        "ACG",
        plain(residues(CYM="CYS")),
        r"or CYSH to have the thiol's HG added \(charge 0\)",
        called("CYS", "CYSH"),
        base="A[CYM]G",
    ),
    Refusal(
        "CYM with HG",
        "ACG",
        plain(residues(CYS="CYM")),
        r"CYM 2 has HG on SG \(charge 0\), but its name says the thiolate \(charge -1\); rename it CYS",
        called("CYM", "CYS"),
    ),
    Refusal(
        "CYX without a partner",
        "ACGGCA",
        plain(residues(CYS="CYX"), without("HG")),
        r"CYX 2 is named as the cysteine of a disulphide bond, but no other SG .*; for a thiol rename it CYSH "
        r".*ACGGCA:2-5 is "
        r"built so",
        called("CYX", "CYSH"),
    ),
    Refusal(
        "SSBOND of sulphurs that are far apart",
        "ACGGCA",
        lambda rows: "SSBOND   1 CYS A    2    CYS A    5                          1555   1555  2.03\n" + text_of(rows),
        r"SSBOND record joins SG of CYS 2 and SG of CYS 5, which are \d.\d\d nm apart, .* for two thiols, delete "
        r"the record "
        r"and name",
        lambda text: text.split("\n", 1)[1],
    ),
    Refusal(
        "CONECT of the ends that are far apart",
        SHORT,
        lambda rows: text_of(
            rows, end=f"TER\nCONECT{1:5d}{next(r.serial for r in rows if r.name == 'C' and r.number == 5):5d}\nEND\n"
        ),
        r"CONECT record joins C of LEU 5 and N of ILE 1 to a ring, but they are .*cyclo\(IHKDL\) is built so\), "
        r"or delete "
        r"the record",
        lambda text: "".join(line for line in text.splitlines(keepends=True) if not line.startswith("CONECT")),
    ),
    Refusal(
        "neutral arginine: four hydrogens",
        "ARG",
        plain(without(("HE", 2))),
        r"ARG 2 has 4 hydrogens on NE, NH1 and NH2 \(neutral, charge 0\), .*5 alone \(charge \+1\): remove HH11",
        lines_without(*((name, 2) for name in ("HH11", "HH12", "HH21", "HH22"))),
    ),
    Refusal(
        "neutral arginine by name",
        "ARG",
        plain(residues(ARG="ARN"), without(("HE", 2), ("HH11", 2), ("HH12", 2), ("HH21", 2), ("HH22", 2))),
        r"ARN 2 \(neutral arginine\) is part of the peptide, .* prmtop .*; or, to have it charged \(\+1\), "
        r"rename it ARG",
        called("ARN", "ARG"),
    ),
    Refusal(
        "tyrosine without HH",
        "AYG",
        plain(without("HH")),
        r"OH of TYR 2 has no hydrogen, .* \(charge -1\); add HH, or remove all hydrogens of the residue",
        lines_without(*((name, 2) for name in ("H", "HA", "HB2", "HB3", "HD1", "HD2", "HE1", "HE2"))),
    ),
    Refusal(
        "selenomethionine MSE",
        "AMG",
        plain(
            each(
                residue=lambda r: "MSE" if r.residue == "MET" else r.residue,
                name=lambda r: "SE" if r.name == "SD" else r.name,
            )
        ),
        r"MSE 2 \(selenomethionine\) is part of the peptide, .*; or, to have methionine in its place, rename "
        r"MSE to MET",
        lambda text: called("MSE", "MET")(text).replace(" SE  MET", " SD  MET"),
    ),
    Refusal(
        "a residue of no name, UNK",
        "AVG",
        plain(residues(VAL="UNK")),
        r"UNK 2 \(a residue of no name\) is part of the peptide, .* give it that residue's name",
        unnamed,
    ),
    Refusal(
        "a D name and L positions",
        "AVG",
        plain(residues(VAL="DVA")),
        r"DVA 2 is D-valine by its name, but its CA has the L form; rename it VAL",
        called("DVA", "VAL"),
    ),
    Refusal(
        "a D name and L positions, as D",
        "AvG",
        plain(residues(VAL="DVA")),
        r"or remove HA and the side chain, CB included",
        lambda text: "".join(
            line
            for line in text.splitlines(keepends=True)
            if line[17:20] != "DVA" or line[12:16].strip() in ("N", "H", "CA", "C", "O")
        ),
        base="AVG",
    ),
    Refusal(
        "water",
        SHORT,
        plain(far(*molecule("HOH", ("O", "O")), *molecule("HOH", ("O", "O"), number=91))),
        r"holds water \(2 HOH\) beside the peptide; .* delete the lines",
        drop("HOH"),
    ),
    Refusal(
        "ions",
        SHORT,
        plain(far(*molecule("NA", ("NA", "NA")), *molecule("CL", ("CL", "CL"), number=91))),
        r"holds ions \(NA, CL\) beside the peptide",
        drop("NA", "CL"),
    ),
    Refusal(
        "a ligand",
        SHORT,
        plain(far(*molecule("LIG", ("C1", "C"), ("O1", "O")))),
        r"holds other molecules \(LIG 90\) beside the peptide; .*to none of which the peptide is bonded",
        drop("LIG"),
    ),
    Refusal("two chains", SHORT, twice("B"), r"has 2 chains \(A, B\); expected one peptide: keep one chain", chain_a),
    Refusal(
        "two copies parted by TER",
        SHORT,
        twice(),
        r"holds 2 molecules, parted by TER .*keep the lines of one",
        first_part,
    ),
    Refusal(
        "several models",
        SHORT,
        models(1, 2, wanted=2),
        r"holds 2 models; .*\(1, 2\), such as given.pdb#1",
        lambda text: text,
        options={"model": 2},
    ),
    Refusal(
        "alternate locations",
        SHORT,
        alternates("B"),
        r"alternate locations 'A' and 'B' of .* \(A has occupancy 0.60, B has occupancy 0.40\), such as --altloc A",
        lambda text: text,
        options={"altloc": "B"},
    ),
    Refusal(
        "a cap that is not at its end",
        CAPPED,
        lambda rows: text_of([replace(r, residue={"NME": "ACE"}.get(r.residue, r.residue)) for r in rows]),
        r"the cap ACE 4 is not in front of the chain",
        lambda text: "".join(
            line.replace("ACE", "NME") if line[22:26] == "   4" else line for line in text.splitlines(keepends=True)
        ),
    ),
    Refusal(
        "positions in nanometres",
        SHORT,
        plain(in_nm),
        r"they overlap; correct the positions \(PDB's unit is angstrom\)",
        in_angstrom,
    ),
    Refusal(
        "an unknown heavy atom",
        SHORT,
        plain(each(name=lambda r: "CX" if (r.name, r.number) == ("CD1", 5) else r.name)),
        r"LEU 5 has an atom 'CX' that this residue does not have; correct its name \(its heavy atoms are N, CA",
        lambda text: text.replace(" CX  LEU", " CD1 LEU"),
    ),
    Refusal(
        "OXT inside the chain",
        SHORT,
        plain(with_atoms(("O", 2, "O", {"name": "OXT", "apart": 1.3}))),
        r"HIS 2 has OXT, an oxygen of the end of a chain, .* remove OXT",
        lines_without(("OXT", 2)),
    ),
    Refusal(
        "three hydrogens on an inner N",
        SHORT,
        plain(with_atoms(("N", 3, "H", {"name": "H2"}), ("N", 3, "H", {"name": "H3", "apart": -1.0}))),
        r"N of LYS 3 has 3 hydrogens \(.*\), but it is inside the chain, where it has 1 hydrogen",
        lines_without(("H2", 3), ("H3", 3)),
    ),
    Refusal(
        "residues that SEQRES lists are missing",
        SHORT,
        lambda rows: "SEQRES   1 A    7  GLY ILE HIS LYS ASP LEU GLY\n" + text_of(rows),
        r"atoms of 5 amino acids, but its SEQRES records list 7: .*or delete SEQRES",
        lambda text: text.split("\n", 1)[1],
    ),
    Refusal(
        "a line that was cut short",
        SHORT,
        lambda rows: text_of(rows)[:-60] + "\n",
        r"an ATOM record of \d+ columns, expected at least 54: the file was cut short",
        lambda text: "".join(line for line in text.splitlines(keepends=True) if len(line) > 60) + "END\n",
    ),
)
