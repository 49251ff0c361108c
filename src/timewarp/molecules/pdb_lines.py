"""The lines of a PDB file, in its fixed columns or parted by blanks: atoms and stated bonds, unchecked."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

_FREE = re.compile(
    r"(?:ATOM|HETATM)\s*(?P<serial>\S+)\s+(?P<name>\S+)\s+(?P<residue>[A-Za-z+\-]\w{0,3}[+\-]?)\s+(?:(?P<chain>[A-Za-z])\s+)?"
    r"(?P<number>-?\d+[A-Za-z]?)\s+(?P<xyz>-?\d+\.\d+\s+-?\d+\.\d+\s+-?\d+\.\d+)(?:\s.*)?$"
)
_NEEDED_COLUMNS = 54


@dataclass(frozen=True)
class AtomRecord:
    """One atom as a file has it.

    Attributes:
        line_number: in the file, from 1.
        serial: its number in the file, as text.
        name: upper case.
        alternate: mark of the alternate location, or empty.
        residue_name: upper case, as in the file.
        chain: or, where that is blank, the segment.
        residue_id: number and insertion code.
        fields: x, y and z as text, in angstrom.
        model: which of the file's models, by its number there.
        piece: how many TER records (or other chains of mmCIF) come before it.
        occupancy: 1 where the file does not say.
    """

    line_number: int
    serial: str
    name: str
    alternate: str
    residue_name: str
    chain: str
    residue_id: str
    fields: tuple[str, str, str]
    model: int = 1
    piece: int = 0
    occupancy: float = 1.0

    @property
    def residue(self) -> str:
        """The residue as messages name it."""
        return f"{self.residue_name or '(blank)'} {self.residue_id}"

    @property
    def where(self) -> str:
        """The atom as messages name it."""
        return f"atom {self.name} of {self.residue} (line {self.line_number})"

    @property
    def position(self) -> tuple[float, float, float]:
        """In angstrom.

        Raises:
            ValueError: a coordinate is no number.
        """
        x, y, z = (float(text) for text in self.fields)
        return x, y, z


@dataclass(frozen=True)
class BondRecord:
    """A bond that a file states: two atoms by serial (CONECT), or by (chain, residue id, name) with names empty "
    "for any."""

    record: str
    ends: tuple[tuple[str, ...], tuple[str, ...]]


@dataclass
class RawRecords:
    """What a file holds, of all models and alternate locations.

    Attributes:
        residue_sequence: (chain, residue name) of SEQRES and its like.
        is_closed: whether anything follows the last atom that shows the file to be whole.
        free: lines that were parted by blanks, not by columns.
    """

    atoms: list[AtomRecord] = field(default_factory=list)
    bonds: list[BondRecord] = field(default_factory=list)
    residue_sequence: list[tuple[str, str]] = field(default_factory=list)
    is_closed: bool = False
    free: list[int] = field(default_factory=list)


def looks_like_mmcif(text: str) -> bool:
    """Whether a text is CIF rather than PDB: its first word that is no comment begins a data block."""
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            return line[:5].lower() == "data_"
    return False


def parse_pdb(path: Path, text: str) -> RawRecords:
    """Read the records ATOM, HETATM, MODEL, TER, END, CONECT, SSBOND, LINK and SEQRES.

    Tabs count as blanks up to the next multiple of eight columns. A line whose columns hold no coordinates is read by
    its blanks.

    Raises:
        ValueError: a line is neither.
    """
    raw = RawRecords()
    model, n_models, piece = 1, 0, 0
    numbers: set[int] = set()
    after_last_atom = ended = False
    for line_number, line in enumerate(text.splitlines(), 1):
        line, has_tab = line.expandtabs(8), "\t" in line
        record = line[:6].strip().upper()
        if line.upper().startswith(("ATOM ", "HETATM")):
            if ended:  # a frame of its own, though no MODEL record says so
                model, ended = model + 1, False
            raw.atoms.append(_parse_atom(path, line_number, line, model, piece, raw.free, has_tab=has_tab))
            after_last_atom = False
        elif record == "MODEL":
            n_models, ended = n_models + 1, False
            number = int(line[6:]) if line[6:].strip().isdecimal() else n_models
            model = number if number > 0 and number not in numbers else max(numbers, default=0) + 1
            numbers.add(model)
        elif record == "TER":
            piece += 1
        elif record in ("END", "ENDMDL"):
            ended = bool(raw.atoms)
        elif record == "SEQRES":
            raw.residue_sequence += [(line[11:12].strip(), name.upper()) for name in line[19:70].split()]
        elif record == "CONECT":
            raw.bonds += _conect(line)
        elif record == "SSBOND":
            ends = tuple((line[at].strip(), line[at + 2 : at + 7].strip(), "SG") for at in (15, 29))
            raw.bonds.append(BondRecord(record, _pair(ends)))
        elif record == "LINK":
            ends = tuple(
                (line[at + 9 : at + 10].strip(), line[at + 10 : at + 15].strip(), line[at : at + 4].strip().upper())
                for at in (12, 42)
            )
            raw.bonds.append(BondRecord(record, _pair(ends)))
        if raw.atoms and record in ("TER", "END", "ENDMDL", "CONECT", "MASTER"):
            after_last_atom = True
        raw.is_closed = after_last_atom
    return raw


def _pair(ends: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    one, other = ends
    return one, other


def _conect(line: str) -> list[BondRecord]:
    serials = [line[at : at + 5].strip() for at in range(6, 31, 5)]
    if any(" " in serial for serial in serials):
        serials = line[6:].split()[:5]
    first, *others = serials
    return [BondRecord("CONECT", ((first,), (other,))) for other in others if first and other]


def _parse_atom(
    path: Path, line_number: int, line: str, model: int, piece: int, free: list[int], *, has_tab: bool
) -> AtomRecord:
    text = line.rstrip()
    fields = tuple(text[at : at + 8].strip() for at in (30, 38, 46))
    found = None
    in_columns = len(text) >= _NEEDED_COLUMNS and not any(" " in part for part in fields)
    if has_tab or not in_columns or not any(re.fullmatch(r"-?\d*\.\d+", part) for part in fields):
        found = _FREE.match(text)
    if found is not None:
        free.append(line_number)
        x, y, z = found["xyz"].split()
        return AtomRecord(
            line_number=line_number,
            serial=found["serial"],
            name=found["name"].upper(),
            alternate="",
            residue_name=found["residue"].upper(),
            chain=found["chain"] or "",
            residue_id=found["number"],
            fields=(x, y, z),
            model=model,
            piece=piece,
        )
    if len(text) < _NEEDED_COLUMNS:
        raise ValueError(
            f"{path}, line {line_number}: an ATOM record of {len(text)} columns, expected at least {_NEEDED_COLUMNS}: "
            "the file was cut short or is not in PDB's fixed columns"
        )
    occupancy = text[54:60].strip()
    return AtomRecord(
        line_number=line_number,
        serial=text[6:11].strip(),
        name=text[12:16].strip().upper(),
        alternate=text[16].strip(),
        residue_name=text[17:21].strip().upper(),
        chain=text[21].strip() or text[72:76].strip(),
        residue_id=text[22:27].replace(" ", ""),
        fields=(fields[0], fields[1], fields[2]),
        model=model,
        piece=piece,
        occupancy=float(occupancy) if re.fullmatch(r"\d*\.?\d+", occupancy) else 1.0,
    )


def grouped(atoms: list[AtomRecord]) -> dict[tuple[int, str, str], list[AtomRecord]]:
    """Atoms by residue (piece, chain, residue id), in order of first appearance."""
    residues: dict[tuple[int, str, str], list[AtomRecord]] = {}
    for atom in atoms:
        residues.setdefault((atom.piece, atom.chain, atom.residue_id), []).append(atom)
    return residues
