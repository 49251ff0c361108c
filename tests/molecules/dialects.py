"""Peptide files in the dialects of other programs, made from a canonical file by programs of transformation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

Name = Callable[["Row"], str]


@dataclass(frozen=True)
class Row:
    """An atom of a file; ``rank`` and ``siblings`` count the hydrogens on ``parent``, and ``n`` the residues."""

    serial: int | str
    name: str
    residue: str
    number: int | str
    xyz: tuple[float, float, float]
    element: str
    parent: str = ""
    rank: int = 0
    siblings: int = 0
    position: int = 0
    n: int = 0
    chain: str = "A"
    altloc: str = ""
    record: str = "ATOM"
    segment: str = ""
    charge: str = ""
    occupancy: float = 1.0

    @property
    def is_h(self) -> bool:
        return self.element == "H"

    @property
    def first(self) -> bool:
        return self.position == 0

    @property
    def last(self) -> bool:
        return self.position == self.n - 1


def rows_of(pdb: str) -> list[Row]:
    """The atoms of the program's own PDB text, with what CONECT says of hydrogens."""
    rows = []
    bonded: dict[int, list[int]] = {}
    for line in pdb.splitlines():
        if line.startswith(("ATOM", "HETATM")):
            xyz = (float(line[30:38]), float(line[38:46]), float(line[46:54]))
            rows.append(
                Row(
                    int(line[6:11]),
                    line[12:16].strip(),
                    line[17:20].strip(),
                    int(line[22:26]),
                    xyz,
                    line[76:78].strip(),
                )
            )
        elif line.startswith("CONECT"):
            one, *others = (int(line[at : at + 5]) for at in range(6, len(line), 5))
            bonded.setdefault(one, []).extend(others)
    by_serial = {row.serial: row for row in rows}
    numbers = list(dict.fromkeys(row.number for row in rows))
    whole = []
    for row in rows:
        row = replace(row, position=numbers.index(row.number), n=len(numbers))
        if row.is_h:
            (parent,) = bonded[row.serial]
            beside = [s for s in bonded[parent] if by_serial[s].is_h]
            row = replace(row, parent=by_serial[parent].name, rank=beside.index(row.serial) + 1, siblings=len(beside))
        whole.append(row)
    return whole


def line_of(row: Row, *, element: bool = True, align: str = "pdb") -> str:
    name = row.name
    if align == "pdb":
        name = name if len(name) == 4 or len(row.element) == 2 else f" {name}"
    elif align == "right":
        name = name.rjust(4)
    number = str(row.number)
    number = number + " " if number[-1:].isdigit() or number.startswith(("A", "B")) else number
    x, y, z = row.xyz
    residue = f"{row.residue:>3} " if len(row.residue) <= 3 else row.residue[:4]
    text = (
        f"{row.record:<6}{row.serial!s:>5} {name:<4}{row.altloc:1}{residue}{row.chain:1}{number:>5}   "
        f"{x:8.3f}{y:8.3f}{z:8.3f}{row.occupancy:6.2f}  0.00      {row.segment:<4}"
    )
    return f"{text}{row.element if element else '':>2}{row.charge}".rstrip()


def text_of(rows: Sequence[Row], *, end: str = "TER\nEND\n", **how) -> str:
    return "".join(line_of(row, **how) + "\n" for row in rows) + end


def each(**changes) -> Callable[[list[Row]], list[Row]]:
    """Change fields of each atom; a value may be a function of the atom."""

    def change(rows: list[Row]) -> list[Row]:
        return [replace(r, **{k: v(r) if callable(v) else v for k, v in changes.items()}) for r in rows]

    return change


def named(*rules: Name) -> Callable[[list[Row]], list[Row]]:
    """Rename atoms by rules, of which each sees what those before it have said."""

    def rename(rows: list[Row]) -> list[Row]:
        for rule in rules:
            rows = [replace(row, name=rule(row)) for row in rows]
        return rows

    return rename


# --- names of atoms ---------------------------------------------------------------------------------------------------


def stem(row: Row) -> str:
    return "H" + row.parent[1:]


def digit_first(row: Row) -> str:
    """PDB 2.3, Rosetta: 1HB, 2HB, 1HG1, 1H."""
    return f"{row.rank}{stem(row)}" if row.is_h and row.siblings > 1 else row.name


def digit_last(row: Row) -> str:
    """X-PLOR, CHARMM, GROMACS: HB1, HB2, HG11."""
    return f"{stem(row)}{row.rank}" if row.is_h and row.siblings > 1 else row.name


def amide(name: str) -> Name:
    return lambda row: name if row.is_h and row.parent == "N" and row.siblings == 1 else row.name


def ammonium(prefix: str, *, digit: str = "last") -> Name:
    """The hydrogens of the free N-terminus."""

    def rule(row: Row) -> str:
        if not (row.is_h and row.parent == "N" and row.first and row.siblings > 1):
            return row.name
        return f"{prefix}{row.rank}" if digit == "last" else f"{row.rank}{prefix}"

    return rule


def carboxylate(one: str, other: str) -> Name:
    return lambda row: {"O": one, "OXT": other}.get(row.name, row.name) if row.last else row.name


def isoleucine_cd(row: Row) -> str:
    if row.residue == "ILE" and row.name == "CD1":
        return "CD"
    return f"HD{row.rank}" if row.residue == "ILE" and row.parent == "CD1" else row.name


def hydroxyl_1(row: Row) -> str:
    return "HG1" if (row.residue, row.name) in (("SER", "HG"), ("CYS", "HG")) else row.name


def deuterated(row: Row) -> str:
    return row.name.replace("H", "D", 1) if row.is_h else row.name


def anonymous(row: Row) -> str:
    """PyMOL's H01, H02, ... for hydrogens that it added."""
    return f"H{row.serial % 100:02d}" if row.is_h else row.name


def bare_h(row: Row) -> str:
    """Open Babel's hydrogens, all called H."""
    return "H" if row.is_h else row.name


# --- names of residues ------------------------------------------------------------------------------------------------


def residues(**names: str) -> Callable[[list[Row]], list[Row]]:
    return each(residue=lambda row: names.get(row.residue, row.residue))


def terminal_names(row: Row) -> str:
    return f"N{row.residue}" if row.first else f"C{row.residue}" if row.last else row.residue


# --- whole files ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Dialect:
    """A file that is read, and what it is to be.

    Attributes:
        name: as the documentation lists it.
        of: the sequence that it is a file of.
        write: its text, from the canonical atoms.
        suffix: of the file.
        options: of ``read_pdb``.
        notes: a pattern of one of the notes, or empty for none but those of the order and the numbers of residues.
        rebuilds: whether hydrogens are added, so that positions and energy are not those of the canonical file.
    """

    name: str
    of: str
    write: Callable[[list[Row]], str]
    suffix: str = ".pdb"
    options: dict = field(default_factory=dict)
    notes: str = ""
    rebuilds: bool = False


@dataclass(frozen=True)
class Refusal:
    """A file that is refused, and the mend that its message names.

    Attributes:
        name: as the documentation lists it.
        of: the sequence that the mended file is of.
        write: its text, from the canonical atoms of ``base``.
        message: a pattern.
        mend: the text mended as the message says, from the refused text.
        base: the sequence whose canonical atoms are spoilt; by default that of ``of``.
        options: of ``read_pdb`` for the mended file.
    """

    name: str
    of: str
    write: Callable[[list[Row]], str]
    message: str
    mend: Callable[[str], str]
    base: str = ""
    options: dict = field(default_factory=dict)


def plain(*steps: Callable[[list[Row]], list[Row]], **how) -> Callable[[list[Row]], str]:
    """The text after some changes of the atoms."""

    def write(rows: list[Row]) -> str:
        for step in steps:
            rows = step(rows)
        return text_of(rows, **how)

    return write


def changed(edit: Callable[[str], str], *steps, **how) -> Callable[[list[Row]], str]:
    """The text after some changes of the atoms, and then of the text."""
    return lambda rows: edit(plain(*steps, **how)(rows))


def without(*atoms: tuple[str, int] | str) -> Callable[[list[Row]], list[Row]]:
    return lambda rows: [row for row in rows if row.name not in atoms and (row.name, row.number) not in atoms]


def lines_without(*atoms: tuple[str, int]) -> Callable[[str], str]:
    """Remove atoms of a text, by name and residue number."""

    def edit(text: str) -> str:
        return "".join(
            line
            for line in text.splitlines(keepends=True)
            if not line.startswith(("ATOM", "HETATM")) or (line[12:16].strip(), int(line[22:26])) not in atoms
        )

    return edit


def beside(row: Row, apart: float = 1.0, **changes) -> Row:
    """An atom near another one, away from the origin."""
    length = sum(v * v for v in row.xyz) ** 0.5 or 1.0
    x, y, z = (v * (1 + apart / length) for v in row.xyz)
    return replace(row, xyz=(x, y, z), **changes)
