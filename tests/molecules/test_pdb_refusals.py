"""PDB files that are refused: each with one line that says what was found and what to do."""

import gzip

import pytest

from timewarp.molecules import build_molecule

WHOLE = build_molecule("AIVL", minimise=False).pdb
CAPPED = build_molecule("Ace-A-Nme", minimise=False).pdb
FREE_LINE = (
    "{record:<6}{serial:>5} {name:<4} {residue:>3} {chain}{number:>4}    "
    "{x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00          {element:>2}"
)


def extra(
    residue: str,
    name: str,
    element: str,
    *,
    record: str = "HETATM",
    chain: str = "A",
    number: int = 90,
    near: tuple[str, int] | None = None,
) -> str:
    """A line for an additional atom: far away, or one angstrom along x from the atom ``near``."""
    xyz = (90.0, 90.0, 90.0)
    for line in WHOLE.splitlines():
        if line.startswith("ATOM") and (line[12:16].strip(), int(line[22:26])) == near:
            xyz = (float(line[30:38]) + 1.0, float(line[38:46]), float(line[46:54]))
    x, y, z = xyz
    fields = {"record": record, "serial": 900, "name": name, "residue": residue, "chain": chain, "number": number}
    return FREE_LINE.format(**fields, x=x, y=y, z=z, element=element)


def with_lines(*lines: str, text: str = WHOLE) -> str:
    return text.replace("TER ", "\n".join(lines) + "\nTER ", 1)


def without(*atoms: tuple[str, int], text: str = WHOLE) -> str:
    return edit(lambda line, atom: None if atom in atoms else line, text)


def edit(change, text: str = WHOLE) -> str:
    """Change or drop (None) atom lines; ``change(line, (atom name, residue number))``."""
    lines = []
    for line in text.splitlines():
        if line.startswith(("ATOM", "HETATM")):
            line = change(line, (line[12:16].strip(), int(line[22:26])))
        if line is not None and not line.startswith("CONECT"):
            lines.append(line)
    return "\n".join(lines) + "\n"


def at(atom: tuple[str, int], x: str, text: str = WHOLE) -> str:
    return edit(lambda line, here: line[:30] + f"{x:>8}" + line[38:] if here == atom else line, text)


def moved(number: int, distance: float) -> str:
    """All residues from this number on moved along x, in angstrom."""
    return edit(lambda line, atom: f"{line[:30]}{float(line[30:38]) + distance * (atom[1] >= number):8.3f}{line[38:]}")


def overlapping() -> str:
    (target,) = (line for line in WHOLE.splitlines() if line[12:16] == " CB " and line[22:26] == "   1")
    return edit(lambda line, atom: line[:30] + target[30:54] + line[54:] if atom == ("CD1", 4) else line)


LINES = WHOLE.splitlines(keepends=True)
N_ATOMS = sum(line.startswith("ATOM") for line in LINES)
TWICE = WHOLE.replace("END\n", "")

BAD = {
    "ligand": (
        with_lines(extra("LIG", "C1", "C")),
        r"other molecules \(LIG 90\) beside the peptide; .*delete the lines",
    ),
    "modified residue": (
        WHOLE.replace("ALA", "AIB"),
        r"AIB 1 \(.*Aib.*\) is part of the peptide, .* prmtop .*OpenMM System",
    ),
    "selenomethionine": (
        WHOLE.replace("ALA", "MSE"),
        r"MSE 1 \(selenomethionine\) is part .*rename MSE to MET and its atom SE",
    ),
    "neutral arginine": (WHOLE.replace("ALA", "ARN"), r"ARN 1 \(neutral arginine\) is part of the peptide"),
    "unknown residue in the chain": (WHOLE.replace("VAL", "XYZ"), r"XYZ 3 is part of the peptide, .*prmtop"),
    "group on a side chain": (
        with_lines(extra("MYR", "C1", "C", near=("CD1", 4))),
        r"MYR 90 is part of the peptide, and .* prmtop",
    ),
    "D-residue name": (
        WHOLE.replace("ALA", "DAL"),
        r"DAL 1 is D-alanine by its name, but its CA has the L form; rename",
    ),
    "nucleotide": (with_lines(extra("DA", "P", "P")), r"other molecules \(DA 90\) beside the peptide"),
    "water": (
        with_lines(extra("HOH", "O", "O"), extra("HOH", "O", "O", number=91)),
        r"holds water \(2 HOH\) beside the peptide; .*implicit.*delete",
    ),
    "ion": (with_lines(extra("NA", "NA", "NA"), extra("CL", "CL", "CL", number=91)), r"holds ions \(NA, CL\)"),
    "water and ligand": (
        with_lines(extra("WAT", "O", "O"), extra("LIG", "C1", "C", number=91)),
        r"water \(WAT\) and other molecules \(LIG 91\)",
    ),
    "alternate locations": (
        edit(lambda line, atom: f"{line[:16]}A{line[17:]}\n{line[:16]}B{line[17:]}" if atom == ("CB", 1) else line),
        r"alternate locations 'A' and 'B' of atom CB of ALA 1 .*keep one",
    ),
    "an atom twice": (
        edit(lambda line, atom: f"{line}\n{line}" if atom == ("CB", 1) else line),
        r"atom CB of ALA 1 .* twice",
    ),
    "NaN": (at(("CA", 2), "nan"), r"line 15: x of atom CA of ILE 2 is 'nan', expected a number in angstrom"),
    "infinity": (at(("CA", 2), "-inf"), r"x of atom CA of ILE 2 is '-inf'"),
    "stars": (at(("CA", 2), "********"), r"x of atom CA of ILE 2 is '\*{8}'"),
    "no coordinate": (at(("CA", 2), ""), r"x of atom CA of ILE 2 is 'missing'"),
    "overlap": (overlapping(), r"atoms CB of ALA 1 and CD1 of LEU 4 are 0.000 nm apart: they overlap"),
    "all at the origin": (
        edit(lambda line, atom: f"{line[:30]}{'   0.000' * 3}{line[54:]}"),
        r"atoms N of ALA 1 and \w+ of ALA 1 are 0.000 nm apart: they overlap",
    ),
    "nanometres": (
        edit(
            lambda line, atom: (
                line[:30] + "".join(f"{float(line[i : i + 8]) / 10:8.3f}" for i in (30, 38, 46)) + line[54:]
            )
        ),
        r"they overlap.*PDB's unit is angstrom",
    ),
    "far atom": (
        at(("CD1", 4), "900.000"),
        r"bonded atoms CG of LEU 4 and CD1 of LEU 4 are \d+.\d\d nm apart, expected at most 0.22",
    ),
    "missing backbone": (
        without(("CA", 2)),
        r"ILE 2 lacks the backbone atom CA: only side chains and hydrogens can be added",
    ),
    "missing carbonyl": (without(("C", 3), ("O", 3)), r"VAL 3 lacks the backbone atoms C, O"),
    "missing cap atom": (without(("C", 2), text=CAPPED), r"NME 2 lacks the backbone atom C"),
    "missing residue": (
        edit(lambda line, atom: None if atom[1] == 2 else line),
        r"chain is broken between ALA 1 and VAL 3: C and N are 0.\d\d nm apart, .*model the missing",
    ),
    "chain break": (moved(3, 5.0), r"chain is broken between ILE 2 and VAL 3"),
    "residues of SEQRES missing": (
        "SEQRES   1 A    6  GLY ALA ILE VAL LEU GLY\n" + WHOLE,
        r"atoms of 4 amino acids, but its SEQRES records list 6: residues are missing",
    ),
    "several chains": (
        with_lines(*(f"{line[:21]}B{line[22:].rstrip()}" for line in LINES[:N_ATOMS])),
        r"has 2 chains \(A, B\); expected one peptide: keep one chain",
    ),
    "two pieces of one chain": (
        WHOLE.replace("CONECT", "REMARK").replace("END\n", "")
        + edit(
            lambda line, atom: f"{line[:22]}{atom[1] + 10:4d}{line[26:30]}{float(line[30:38]) + 90:8.3f}{line[38:]}"
        ),
        r"holds 2 molecules, parted by TER records \(ALA 1 to LEU 4, ALA 11 to LEU 14; .* line \d+\); .*keep the lines",
    ),
    "two copies with the same numbers": (
        WHOLE.split("CONECT")[0] + edit(lambda line, atom: f"{line[:30]}{float(line[30:38]) + 90:8.3f}{line[38:]}"),
        r"holds 2 molecules, parted by TER records \(ALA 1 to LEU 4, ALA 1 to LEU 4; the second begins in line 69\)",
    ),
    "several models": (
        "MODEL        1\n" + TWICE + "ENDMDL\nMODEL        2\n" + TWICE + "ENDMDL\nEND\n",
        r"holds 2 models; expected one",
    ),
    "two residues with one number": (
        edit(lambda line, atom: f"{line[:22]}   1{line[26:]}" if atom[1] == 2 and atom[0] == "CD1" else line),
        r"residue 1 is both ALA and ILE",
    ),
    "too many residues": (
        "\n".join(extra("GLY", name, name[0], number=n) for n in range(60) for name in ("N", "CA", "C", "O")),
        r"has 60 residues; peptides of at most 50 are supported",
    ),
    "cut within a line": (
        "".join(LINES[:30]) + LINES[30][:40],
        r"line 31: an ATOM record of \d+ columns, expected at least 54: .*cut short",
    ),
    "cut within a backbone": (
        "".join(LINES[: N_ATOMS - 18]),
        r"LEU 4 lacks the backbone atom.*the file seems to be cut short",
    ),
    "cut within a side chain": (
        edit(
            lambda line, atom: line,
            "".join(line for line in LINES[:N_ATOMS] if line[12:16].strip() not in ("CD1", "CD2")),
        ),
        r"ends within LEU 4, without CD1, CD2 and without an END or TER record",
    ),
    "cut between residues": (
        "".join(line for line in LINES[:N_ATOMS] if int(line[22:26]) < 3),
        r"ends within ILE 2, without OXT and without an END or TER record",
    ),
    "empty": ("", r"is empty; expected a PDB file with ATOM records"),
    "blank": ("\n \n", r"is empty"),
    "not PDB": ("here is a poem\nwithout atoms\n", r"has no ATOM records: it is not a PDB file"),
    "mmCIF": ("data_1ABC\n_entry.id 1ABC\n", r"has no atoms with Cartesian coordinates .*not mmCIF of a structure"),
    "free format": ("ATOM 1 N ALA A 1 0.0 0.0\n", r"line 1: an ATOM record of 24 columns, expected at least 54"),
    "single amino acid": (
        edit(lambda line, atom: line if atom[1] == 1 else None),
        r"single free amino acid \(ALA 1\).*ACE and NME",
    ),
    "only caps": (
        edit(lambda line, atom: None if atom[1] == 1 else line, CAPPED),
        r"no amino acid, only ACE, NME|chain is broken",
    ),
    "cap behind": (
        edit(lambda line, atom: None if atom[1] == 0 else line, CAPPED).replace("NME", "ACE"),
        r"the cap ACE 2 is not in front of the chain",
    ),
    "unknown atom name": (
        WHOLE.replace(" CB  ALA", " CX  ALA"),
        r"ALA 1 has an atom 'CX' that this residue does not have; correct its name",
    ),
    "a hydrogen on nothing": (
        with_lines(extra("LEU", "HX9", "H", record="ATOM", number=4)),
        r"LEU 4 has an atom 'HX9' that this residue does not have, and no heavy atom is within 1.4 angstrom",
    ),
    "a hydrogen too many": (
        with_lines(extra("LEU", "HX9", "H", record="ATOM", number=4, near=("CD1", 4))),
        r"LEU 4 has 4 hydrogens on CD1 \(HD11, HD12, HD13, HX9\), expected 3; remove",
    ),
    "an acid group protonated": (
        with_lines(extra("LEU", "HXT", "H", record="ATOM", number=4, near=("OXT", 4))),
        r"HXT of LEU 4 makes its end a carboxylic acid \(charge 0\).* \(charge -1\): remove HXT",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_files_are_refused_in_one_line(kind, tmp_path):
    text, message = BAD[kind]
    path = tmp_path / "given.pdb"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        build_molecule(path)
    assert "\n" not in str(caught.value)
    assert "given.pdb" in str(caught.value)
    assert path.read_text() == text


def test_the_file_that_is_spoilt_here_is_good(tmp_path):
    for text in (WHOLE, CAPPED, with_lines()):
        path = tmp_path / "given.pdb"
        path.write_text(text)
        assert build_molecule(path, minimise=False).notes == ()


@pytest.mark.parametrize("source", ["missing.pdb", "folder/AG", "AG.PDB"])
def test_a_missing_file_is_said_to_be_missing(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"there is no file .*give the path of a PDB file, or a sequence"):
        build_molecule(source)


def test_remarks_may_hold_any_text(tmp_path):
    path = tmp_path / "given.pdb"
    path.write_bytes("REMARK   Angström, von Jürgen\r\n".encode("latin-1") + WHOLE.replace("\n", "\r\n").encode())
    assert build_molecule(path, minimise=False).notes == ()


def test_folders_and_binary_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="is not a file"):
        build_molecule(tmp_path)
    packed = tmp_path / "packed.pdb.gz"
    packed.write_bytes(gzip.compress(WHOLE.encode()))
    with pytest.raises(ValueError, match="is a binary file, not PDB text"):
        build_molecule(packed)
