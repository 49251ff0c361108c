"""Dialects that differ in the form of the file: columns, numbers, records, models, locations, mmCIF."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

from dialect_names import CAPPED, SHORT
from dialects import Dialect, Row, beside, changed, each, line_of, plain, text_of
from openmm.app import PDBFile, PDBxFile

HEADER = (
    "HEADER    PEPTIDE                                 28-NOV-26   1ABC\n"
    "SEQRES   1 A    5  ILE HIS LYS ASP LEU\n"
    "HELIX    1   1 ILE A    1  LEU A    5  1                                   5\n"
    "CRYST1   50.000   50.000   50.000  90.00  90.00  90.00 P 1           1\n"
    "MODEL        1\n"
)


def hybrid36(number: int) -> str:
    """Residue numbers from 10000 on: A000, A001."""
    return f"A{number:03d}"


def anisotropic(text: str) -> str:
    lines = []
    for line in text.splitlines(keepends=True):
        lines.append(line)
        if line.startswith("ATOM"):
            lines.append(f"ANISOU{line[6:28]}   2406   1892   1614    198    519   -328      {line[76:]}")
            lines.append(f"SIGATM{line[6:]}")
    return "".join(lines)


def by_blanks(rows: list[Row], blank: str = " ") -> str:
    """Fields parted by blanks, in no columns."""
    lines = []
    for r in rows:
        fields = (
            r.record,
            r.serial,
            r.name,
            r.residue,
            r.chain,
            r.number,
            *(f"{v:.4f}" for v in r.xyz),
            "1.00",
            "0.00",
        )
        lines.append(blank.join(str(f) for f in fields if f != ""))
    return "\n".join(lines) + "\nEND\n"


def models(*numbers: int, marks: bool = True, wanted: int) -> Callable[[list[Row]], str]:
    """Several models, of which those that are not wanted are moved apart."""

    def write(rows: list[Row]) -> str:
        text = ""
        for number in numbers:
            off = 0.0 if number == wanted else 3.0 * number
            moved = [replace(row, xyz=(row.xyz[0] + off * (row.position > 1), *row.xyz[1:])) for row in rows]
            text += (f"MODEL     {number:4d}\n" if marks else "") + text_of(moved, end="ENDMDL\n" if marks else "END\n")
        return text

    return write


def alternates(keep: str, *, names: bool = False) -> Callable[[list[Row]], str]:
    """Residue 3 in the locations A and B, of which one is the canonical; with names, B is another residue."""

    def write(rows: list[Row]) -> str:
        out = []
        for row in rows:
            if row.position != 2:
                out.append(row)
                continue
            for mark in "AB":
                there = row if mark == keep else beside(row, 0.4)
                if names and mark != keep:
                    if row.name not in ("N", "CA", "C", "O", "CB"):
                        continue
                    there = replace(there, residue="ALA")
                out.append(replace(there, altloc=mark, occupancy=0.6 if mark == "A" else 0.4))
        return text_of(out)

    return write


def hydrogens_last(rows: list[Row]) -> list[Row]:
    return [row for row in rows if not row.is_h] + [row for row in rows if row.is_h]


def hydrogens_behind_ter(rows: list[Row]) -> str:
    heavy, hydrogens = [row for row in rows if not row.is_h], [row for row in rows if row.is_h]
    return text_of(heavy, end="TER\n") + text_of(hydrogens, end="END\n")


def caps_last(rows: list[Row]) -> list[Row]:
    caps = [replace(row, record="HETATM") for row in rows if row.residue in ("ACE", "NME")]
    return [row for row in rows if row.residue not in ("ACE", "NME")] + caps


def shifted(text: str) -> str:
    """Everything behind the atom's name one column to the right."""
    return "".join(
        f"{line[:16]} {line[16:]}" if line.startswith("ATOM") else line for line in text.splitlines(keepends=True)
    )


def ter_everywhere(rows: list[Row]) -> str:
    text = ""
    for position in range(rows[0].n):
        text += "".join(line_of(row) + "\n" for row in rows if row.position == position) + "TER\n"
    return text + "END\n"


def mmcif_of_openmm(rows: list[Row]) -> str:
    pdb = PDBFile(io.StringIO(text_of(rows)))
    out = io.StringIO()
    PDBxFile.writeFile(pdb.topology, pdb.positions, out, keepIds=True)
    return out.getvalue()


COLUMNS = [
    "group_PDB",
    "id",
    "type_symbol",
    "label_atom_id",
    "label_alt_id",
    "label_comp_id",
    "label_asym_id",
    "label_entity_id",
    "label_seq_id",
    "pdbx_PDB_ins_code",
    "Cartn_x",
    "Cartn_y",
    "Cartn_z",
    "occupancy",
    "B_iso_or_equiv",
    "auth_seq_id",
    "auth_comp_id",
    "auth_asym_id",
    "auth_atom_id",
    "pdbx_PDB_model_num",
]


def mmcif(rows: list[Row], *more: list[Row], auth: bool = True, shift: int = 0, quote: bool = False) -> str:
    """mmCIF as the wwPDB writes it, of one or more models; without ``auth`` its own labels alone."""
    columns = [c for c in COLUMNS if auth or not c.startswith("auth")]
    text = "data_1ABC\n#\n_entry.id 1ABC\n_struct.title\n;a title\nof two lines\n;\nloop_\n"
    text += "".join(f"_atom_site.{column}\n" for column in columns)
    for model, r in [(model, r) for model, atoms in enumerate((rows, *more), 1) for r in atoms]:
        name = f'"{r.name}"' if quote or "'" in r.name else r.name
        values = {
            "group_PDB": r.record, "id": r.serial, "type_symbol": r.element, "label_atom_id": name,
            "label_alt_id": r.altloc or ".", "label_comp_id": r.residue, "label_asym_id": "A", "label_entity_id": 1,
            "label_seq_id": r.position + 1, "pdbx_PDB_ins_code": "?", "Cartn_x": f"{r.xyz[0]:.3f}",
            "Cartn_y": f"{r.xyz[1]:.3f}", "Cartn_z": f"{r.xyz[2]:.3f}", "occupancy": "1.00", "B_iso_or_equiv": "0.00",
            "auth_seq_id": int(r.number) + shift, "auth_comp_id": r.residue, "auth_asym_id": "X", "auth_atom_id": name,
            "pdbx_PDB_model_num": model,
        }  # fmt: skip
        text += " ".join(str(values[c]) for c in columns) + "\n"
    return text + "#\n"


def mmcif_models(rows: list[Row]) -> str:
    return mmcif([beside(row, 2.0 * row.position) for row in rows], rows)


FORMS = (
    Dialect("no element columns", SHORT, plain(element=False)),
    Dialect(
        "lines of 54 columns", SHORT, changed(lambda t: "".join(line[:54].rstrip() + "\n" for line in t.splitlines()))
    ),
    Dialect(
        "elements to the left, in lower case",
        SHORT,
        changed(lambda t: "".join(f"{line[:76]}{line[76:].strip().lower()}\n" for line in t.splitlines())),
    ),
    Dialect("names right-aligned", SHORT, plain(align="right")),
    Dialect("names left-aligned", SHORT, plain(align="left")),
    Dialect("names in lower case", SHORT, changed(str.lower)),
    Dialect("no chain", SHORT, plain(each(chain=""))),
    Dialect("a chain in lower case", SHORT, plain(each(chain="b"))),
    Dialect("a chain that is a digit", SHORT, plain(each(chain="1"))),
    Dialect("segments and no chain", SHORT, plain(each(chain="", segment="PEP1"))),
    Dialect("serial numbers of stars", SHORT, plain(each(serial="*****"))),
    Dialect("serial numbers all zero", SHORT, plain(each(serial=0))),
    Dialect(
        "hybrid-36 numbers",
        SHORT,
        plain(each(number=lambda r: hybrid36(r.number), serial=lambda r: f"A{r.serial:04d}")),
    ),
    Dialect("negative numbers", SHORT, plain(each(number=lambda r: r.number - 3))),
    Dialect("gaps in the numbers", SHORT, plain(each(number=lambda r: r.number * 10))),
    Dialect("insertion codes: 52, 52A, 52B", SHORT, plain(each(number=lambda r: f"52{' ABCD'[r.position]}".strip()))),
    Dialect("DOS line ends", SHORT, changed(lambda t: t.replace("\n", "\r\n"))),
    Dialect("old Mac line ends", SHORT, changed(lambda t: t.replace("\n", "\r"))),
    Dialect("a byte order mark", SHORT, changed(lambda t: "\ufeff" + t)),
    Dialect("tabs between fields", SHORT, lambda rows: by_blanks(rows, "\t"), notes="read by its blanks"),
    Dialect("fields parted by blanks", SHORT, by_blanks, notes="read by its blanks"),
    Dialect(
        "fields parted by blanks, no chain",
        SHORT,
        lambda rows: by_blanks(each(chain="")(rows)),
        notes="read by its blanks",
    ),
    Dialect("columns shifted by one", SHORT, changed(shifted), notes="read by its blanks"),
    Dialect("no TER", SHORT, plain(end="END\n")),
    Dialect("no END, no TER", SHORT, plain(end="")),
    Dialect("ENDMDL without MODEL", SHORT, plain(end="TER\nENDMDL\nEND\n")),
    Dialect("TER behind each residue", SHORT, ter_everywhere),
    Dialect(
        "blank lines and remarks between atoms",
        SHORT,
        changed(lambda t: t.replace("\n", "\n\nREMARK 999 \xc5ngstr\xf6m\n", 9)),
    ),
    Dialect("ANISOU and SIGATM", SHORT, changed(anisotropic)),
    Dialect("HEADER, SEQRES, HELIX, CRYST1, one MODEL", SHORT, changed(lambda t: HEADER + t)),
    Dialect("HETATM for all", SHORT, plain(each(record="HETATM"))),
    Dialect(
        "CONECT of other atoms",
        SHORT,
        changed(lambda t: t.replace("END\n", "CONECT    1   40\nCONECT 9001 9002\nEND\n")),
    ),
    Dialect("hydrogens behind all heavy atoms", SHORT, plain(hydrogens_last)),
    Dialect("hydrogens behind TER", SHORT, hydrogens_behind_ter),
    Dialect("caps behind the chain", CAPPED, plain(caps_last)),
    Dialect(
        "a mark of location without an alternative", SHORT, plain(each(altloc=lambda r: "A" if r.name == "CB" else ""))
    ),
    Dialect(
        "alternate locations, A chosen",
        SHORT,
        alternates("A"),
        options={"altloc": "A"},
        notes="took alternate location A of A, B",
    ),
    Dialect(
        "alternate locations, B chosen",
        SHORT,
        alternates("B"),
        options={"altloc": "B"},
        notes="took alternate location B of A, B",
    ),
    Dialect(
        "two residues in one place, A chosen", SHORT, alternates("A", names=True), options={"altloc": "A"}, notes="took"
    ),
    Dialect("models, the second chosen", SHORT, models(1, 2, 3, wanted=2), options={"model": 2}),
    Dialect("models numbered 5 and 9", SHORT, models(5, 9, wanted=9), options={"model": 9}),
    Dialect("frames parted by END", SHORT, models(1, 2, marks=False, wanted=2), options={"model": 2}),
    Dialect("mmCIF of OpenMM", SHORT, mmcif_of_openmm, suffix=".cif"),
    Dialect("mmCIF of the wwPDB: author's numbers", SHORT, lambda rows: mmcif(rows, shift=70), suffix=".cif"),
    Dialect("mmCIF with labels alone", SHORT, lambda rows: mmcif(rows, auth=False), suffix=".cif"),
    Dialect("mmCIF with quoted names, as .pdb", SHORT, lambda rows: mmcif(rows, quote=True)),
    Dialect("mmCIF models, the second chosen", SHORT, mmcif_models, suffix=".cif", options={"model": 2}),
)
