"""Read the records of a PDB file, and refuse what is not one peptide in one conformation."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from ..state import CAPS
from .sequences import RESIDUES

MAX_PDB_RESIDUES = 50
"""Most residues (caps counted) of a PDB file."""

AMINO_ACIDS = frozenset(RESIDUES.values())
PROTONATION_STATES = {
    "HID": "HIS",
    "HIE": "HIS",
    "HIP": "HIS",
    "HSD": "HIS",
    "HSE": "HIS",
    "HSP": "HIS",
    "ASH": "ASP",
    "GLH": "GLU",
    "LYN": "LYS",
    "CYX": "CYS",
    "NMA": "NME",
}
"""Residue names of other programs for a protonation state, tautomer or cap."""

WATER = {"HOH", "WAT", "H2O", "DOD", "SOL", "SPC", "TIP", "TIP3", "TIP4", "TIP5", "TP3", "T3P", "T4P"}
IONS = {"NA", "CL", "K", "LI", "RB", "CS", "MG", "CA", "ZN", "MN", "FE", "FE2", "CU", "CO", "NI", "CD", "BR", "IOD"}
IONS |= {"NA+", "CL-", "K+", "SOD", "CLA", "POT", "CAL", "CES", "MG2", "ZN2", "SO4", "PO4"}


@dataclass(frozen=True)
class AtomRecord:
    """One ATOM or HETATM line."""

    line_number: int
    line: str
    name: str
    alternate: str
    residue_name: str
    chain: str
    residue_id: str

    @property
    def where(self) -> str:
        """The atom as messages name it."""
        return f"atom {self.name} of {self.residue_name} {self.residue_id} (line {self.line_number})"


@dataclass(frozen=True)
class PdbRecords:
    """What a PDB file holds, checked line by line."""

    atoms: tuple[AtomRecord, ...]
    residue_sequence: tuple[str, ...]
    is_closed: bool

    @property
    def residue_names(self) -> dict[tuple[str, str], str]:
        """Residue name as in the file by (chain, residue id), in order."""
        return {(atom.chain, atom.residue_id): atom.residue_name for atom in self.atoms}


def read_records(path: Path) -> PdbRecords:
    """Read and check a PDB file's lines.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a PDB file, or holds something else than one conformation of one peptide.
    """
    records = _parse(path, _read_text(path))
    _check_residue_names(path, records)
    _check_one_conformation(path, records)
    _check_residue_sequence(path, records)
    return records


def _read_text(path: Path) -> str:
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}; give the path of a PDB file, or a sequence such as AIVL")
    if not path.is_file():
        raise ValueError(f"{path} is not a file; give the path of a PDB file")
    data = path.read_bytes()
    if any(byte < 9 for byte in data):
        raise ValueError(f"{path} is a binary file, not PDB text; decompress or convert it to PDB")
    text = data.decode("latin-1")  # remarks may hold anything
    if not text.strip():
        raise ValueError(f"{path} is empty; expected a PDB file with ATOM records")
    return text


def _parse(path: Path, text: str) -> PdbRecords:
    atoms: list[AtomRecord] = []
    residue_sequence: list[str] = []
    n_models, is_closed, after_last_atom = 0, False, False
    for line_number, line in enumerate(text.splitlines(), 1):
        record = line[:6].strip()
        if line.startswith(("ATOM", "HETATM")):
            atoms.append(_parse_atom(path, line_number, line))
            after_last_atom = False
        elif record == "MODEL":
            n_models += 1
        elif record == "SEQRES":
            residue_sequence += line[19:70].split()
        elif atoms and record in ("TER", "END", "ENDMDL", "CONECT", "MASTER"):
            after_last_atom = True
        is_closed = after_last_atom
    if n_models > 1:
        raise ValueError(f"{path} holds {n_models} models; expected one: keep the model that you mean")
    if not atoms:
        hint = " (it looks like mmCIF: convert it)" if text.lstrip().startswith("data_") else ""
        raise ValueError(f"{path} has no ATOM records: it is not a PDB file, or was cut short{hint}")
    return PdbRecords(tuple(atoms), tuple(residue_sequence), is_closed)


def _parse_atom(path: Path, line_number: int, line: str) -> AtomRecord:
    if len(line.rstrip()) < 54:
        raise ValueError(
            f"{path}, line {line_number}: an ATOM record of {len(line.rstrip())} columns, expected at least 54: "
            "the file was cut short or is not in PDB's fixed columns"
        )
    name, residue_name = line[12:16].strip(), line[17:21].strip()
    residue_id = line[22:27].strip()
    for axis, start in zip("xyz", (30, 38, 46), strict=True):
        field = line[start : start + 8]
        try:
            value = float(field)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise ValueError(
                f"{path}, line {line_number}: {axis} of atom {name} of {residue_name} {residue_id} is "
                f"{field.strip() or 'missing'!r}, expected a number in angstrom: repair or rebuild the atom"
            )
    return AtomRecord(
        line_number=line_number,
        line=line,
        name=name,
        alternate=line[16].strip(),
        residue_name=residue_name,
        chain=line[21].strip(),
        residue_id=residue_id,
    )


def _check_residue_names(path: Path, records: PdbRecords) -> None:
    kinds = {"water": WATER, "ions": IONS}
    found: dict[str, Counter[str]] = {"water": Counter(), "ions": Counter(), "unknown residues": Counter()}
    for (_, residue_id), name in records.residue_names.items():
        if name in AMINO_ACIDS or name in CAPS or name in PROTONATION_STATES:
            continue
        kind = next((k for k, names in kinds.items() if name.upper() in names), "unknown residues")
        found[kind][f"{name or '(blank)'} {residue_id}" if kind == "unknown residues" else name] += 1
    listed = []
    for kind, counter in found.items():
        names = ", ".join(name if n == 1 else f"{n} {name}" for name, n in list(counter.items())[:4])
        if counter:
            more = ", ..." if len(counter) > 4 else ""
            listed.append(f"{kind} ({names}{more})")
    if listed:
        raise ValueError(
            f"{path} holds {' and '.join(listed)}; expected one peptide of the 20 amino acids with ACE or NME caps "
            "(the solvent is implicit): remove what is not the peptide"
        )


def _check_one_conformation(path: Path, records: PdbRecords) -> None:
    seen: dict[tuple[str, str, str], AtomRecord] = {}
    for atom in records.atoms:
        key = (atom.chain, atom.residue_id, atom.name)
        if key in seen:
            first = seen[key]
            if first.alternate != atom.alternate:
                raise ValueError(
                    f"{path} has alternate locations {first.alternate or ' '!r} and {atom.alternate or ' '!r} of "
                    f"{atom.where}; expected one conformation: keep one of them"
                )
            raise ValueError(f"{path} has {atom.where} twice, first in line {first.line_number}; keep one of them")
        seen[key] = atom
    names: dict[tuple[str, str], str] = {}
    for atom in records.atoms:
        first_name = names.setdefault((atom.chain, atom.residue_id), atom.residue_name)
        if first_name != atom.residue_name:
            raise ValueError(
                f"{path}, line {atom.line_number}: residue {atom.residue_id} is both {first_name} and "
                f"{atom.residue_name}; number the residues apart, or keep one conformation"
            )
    runs = [key for key, _ in itertools.groupby((atom.chain, atom.residue_id) for atom in records.atoms)]
    if scattered := [key for key, n in Counter(runs).items() if n > 1]:
        label = f"{records.residue_names[scattered[0]]} {scattered[0][1]}"
        raise ValueError(f"{path}: the atoms of {label} are not together; write the residues one after the other")
    chains = sorted({atom.chain for atom in records.atoms})
    if len(chains) > 1:
        shown = ", ".join(chain or "(blank)" for chain in chains)
        raise ValueError(f"{path} has {len(chains)} chains ({shown}); expected one peptide: keep one chain")
    if len(records.residue_names) > MAX_PDB_RESIDUES:
        raise ValueError(
            f"{path} has {len(records.residue_names)} residues; peptides of at most {MAX_PDB_RESIDUES} are supported"
        )


def _check_residue_sequence(path: Path, records: PdbRecords) -> None:
    """SEQRES lists the residues that the chain has even where the atoms are missing."""
    declared = [name for name in records.residue_sequence if name in AMINO_ACIDS]
    present = [PROTONATION_STATES.get(name, name) for name in records.residue_names.values()]
    present = [name for name in present if name in AMINO_ACIDS]
    if len(declared) > len(present):
        raise ValueError(
            f"{path} has atoms of {len(present)} amino acids, but its SEQRES records list {len(declared)}: "
            "residues are missing; model them first, or delete SEQRES if the fragment is what you mean"
        )
