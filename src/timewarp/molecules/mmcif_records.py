"""The atoms and stated bonds of an mmCIF file, through gemmi."""

from __future__ import annotations

from pathlib import Path

import gemmi

from .pdb_lines import AtomRecord, BondRecord, RawRecords

_COORDINATES = ("Cartn_x", "Cartn_y", "Cartn_z")
_BONDS = {"disulf": "SSBOND", "covale": "LINK"}


def parse_mmcif(path: Path, text: str) -> RawRecords:
    """Read the first block with atoms: the authors' numbering where it is given, the labels' elsewhere.

    Raises:
        ValueError: it is not CIF, or has no Cartesian coordinates of atoms.
    """
    try:
        document = gemmi.cif.read_string(text)
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{path} cannot be read as mmCIF: {reason}; get the whole file, or convert it to PDB"
        ) from None
    block = next((b for b in document if _column(b, "_atom_site.Cartn_x")), None)
    if block is None:
        raise ValueError(
            f"{path} has no atoms with Cartesian coordinates (_atom_site.Cartn_x): it is not mmCIF of a structure; "
            "convert it to PDB"
        )
    raw = RawRecords(is_closed=True)
    raw.atoms = _atoms(path, block)
    raw.bonds = _bonds(block)
    return raw


def _column(block: gemmi.cif.Block, tag: str) -> list[str]:
    """The values of a tag, unquoted, empty for ``?`` and ``.``; an empty list where it is absent."""
    return [gemmi.cif.as_string(value) if value not in ("?", ".") else "" for value in block.find_values(tag)]


def _first_of(block: gemmi.cif.Block, n: int, *names: str) -> list[str]:
    """Per atom, the first of several columns that says anything."""
    columns = [column for name in names if (column := _column(block, f"_atom_site.{name}"))]
    return [next((column[i] for column in columns if column[i]), "") for i in range(n)]


def _atoms(path: Path, block: gemmi.cif.Block) -> list[AtomRecord]:
    xyz = [_column(block, f"_atom_site.{name}") for name in _COORDINATES]
    n = len(xyz[0])
    if any(len(column) != n for column in xyz):
        raise ValueError(f"{path} has not all of {', '.join(_COORDINATES)} for each atom; get the whole file")
    names = _first_of(block, n, "auth_atom_id", "label_atom_id")
    residues = _first_of(block, n, "auth_comp_id", "label_comp_id")
    chains = _first_of(block, n, "auth_asym_id", "label_asym_id")
    numbers = _first_of(block, n, "auth_seq_id", "label_seq_id")
    codes = _first_of(block, n, "pdbx_PDB_ins_code")
    parts = _first_of(block, n, "label_asym_id")
    alternates = _first_of(block, n, "label_alt_id")
    models = _first_of(block, n, "pdbx_PDB_model_num")
    occupancies = _first_of(block, n, "occupancy")
    serials = _first_of(block, n, "id")
    piece_of: dict[str, int] = {}
    return [
        AtomRecord(
            line_number=i + 1,
            serial=serials[i],
            name=names[i].upper(),
            alternate=alternates[i],
            residue_name=residues[i].upper(),
            chain=chains[i],
            residue_id=numbers[i] + codes[i],
            fields=(xyz[0][i], xyz[1][i], xyz[2][i]),
            model=int(models[i]) if models[i].isdecimal() else 1,
            piece=piece_of.setdefault(parts[i], len(piece_of)),
            occupancy=gemmi.cif.as_number(occupancies[i], 1.0),
        )
        for i in range(n)
    ]


def _bonds(block: gemmi.cif.Block) -> list[BondRecord]:
    table = block.get_mmcif_category("_struct_conn.")

    def end(row: int, partner: int) -> tuple[str, ...]:
        values = []
        for one, other in (("auth_asym_id", "label_asym_id"), ("auth_seq_id", "label_seq_id")):
            column = table.get(f"ptnr{partner}_{one}") or table.get(f"ptnr{partner}_{other}") or []
            values.append(str(column[row] or "") if row < len(column) else "")
        code = (table.get(f"pdbx_ptnr{partner}_PDB_ins_code") or [None] * (row + 1))[row]
        name = (table.get(f"ptnr{partner}_label_atom_id") or [""] * (row + 1))[row]
        return values[0], values[1] + (code or ""), str(name or "").upper()

    return [
        BondRecord(_BONDS[str(kind).lower()], (end(row, 1), end(row, 2)))
        for row, kind in enumerate(table.get("conn_type_id", []))
        if str(kind).lower() in _BONDS
    ]
