"""From the records of a PDB or mmCIF file to the residues of one molecule in one conformation."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .pdb_lines import AtomRecord, BondRecord, RawRecords, grouped, looks_like_mmcif, parse_pdb
from .pdb_names import CAPS, IONS, PROTONATION_STATES, WATER, known_residue, lacking
from .sequences import OTHER_WAYS

__all__ = ["IONS", "MAX_PDB_RESIDUES", "PROTONATION_STATES", "WATER", "FileResidue", "PdbRecords", "read_records"]
MAX_PDB_RESIDUES = 50
"""Most residues (caps counted) of a PDB file."""
MAX_BOND_NM = 0.20
"""Heavy atoms of two residues that are this close are bonded."""
IN_PRESETS = "the force fields of the presets have no parameters for it"


@dataclass(frozen=True)
class FileResidue:
    """The atoms of a residue, as a file has them.

    Attributes:
        name: in the file, upper case.
        residue_id: number and insertion code, as in the file.
        chain: of the file.
        piece: how many TER records came before it.
        atoms: its records.
    """

    name: str
    residue_id: str
    chain: str
    piece: int
    atoms: tuple[AtomRecord, ...]

    @property
    def label(self) -> str:
        """The residue as messages name it, in the file's own numbering."""
        return f"{self.name or '(blank)'} {self.residue_id}"

    def position(self, name: str) -> np.ndarray | None:
        """Of the atom of this name, in nm; None where there is none."""
        return next((0.1 * np.array(atom.position) for atom in self.atoms if atom.name == name), None)


@dataclass(frozen=True)
class PdbRecords:
    """What a file holds, of the model and the alternate locations that were chosen.

    Attributes:
        residues: in the order of the file.
        bonds: that the file states.
        is_closed: whether the file shows that it is whole.
        notes: what was left out or taken for granted.
    """

    residues: tuple[FileResidue, ...]
    bonds: tuple[BondRecord, ...]
    is_closed: bool
    notes: tuple[str, ...] = ()


def read_records(path: Path, model: int | None = None, altloc: str | None = None) -> PdbRecords:
    """Read a PDB or mmCIF file, choose model and alternate locations, and refuse what is not one peptide.

    Args:
        path: the file; whether it is mmCIF, its text says.
        model: the number of the model in the file; None where it has one.
        altloc: the mark of the alternate locations to keep; None where there are none.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, or holds something else than one conformation of one peptide.
    """
    text = _read_text(path)
    is_mmcif = looks_like_mmcif(text)
    if is_mmcif:
        from .mmcif_records import parse_mmcif  # gemmi takes 60 ms

        raw = parse_mmcif(path, text)
    else:
        raw = parse_pdb(path, text)
    if not raw.atoms:
        raise ValueError(f"{path} has no ATOM records: it is not a PDB file, or was cut short")
    notes = []
    if raw.free:
        notes.append(f"line {raw.free[0]} is not in PDB's columns: read by its blanks")
    atoms = _choose_model(path, raw, model)
    atoms = _choose_alternates(path, atoms, altloc, notes)
    _check_numbers(path, atoms)
    residues = _residues(path, atoms, is_mmcif=is_mmcif)
    _check_kinds(path, residues)
    if len(residues) > MAX_PDB_RESIDUES:
        raise ValueError(
            f"{path} has {len(residues)} residues; peptides of at most {MAX_PDB_RESIDUES} are supported: keep a "
            "shorter piece"
        )
    residues = _one_molecule(path, residues, raw.bonds)
    _check_caps(path, residues)
    _check_residue_sequence(path, residues, raw)
    return PdbRecords(residues, tuple(raw.bonds), raw.is_closed, tuple(notes))


def _read_text(path: Path) -> str:
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}; give the path of a PDB file, or a sequence such as AIVL")
    if not path.is_file():
        raise ValueError(f"{path} is not a file; give the path of a PDB file")
    data = path.read_bytes()
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        data = data.decode("utf-16").encode()
    if any(byte < 9 for byte in data):
        raise ValueError(f"{path} is a binary file, not PDB text; decompress or convert it to PDB")
    text = data.removeprefix(b"\xef\xbb\xbf").decode("latin-1")  # remarks may hold anything
    if not text.strip():
        raise ValueError(f"{path} is empty; expected a PDB file with ATOM records")
    return text


def _choose_model(path: Path, raw: RawRecords, model: int | None) -> list[AtomRecord]:
    numbers = list(dict.fromkeys(atom.model for atom in raw.atoms))
    listed = ", ".join(map(str, numbers)) if len(numbers) <= 6 else f"{numbers[0]} to {numbers[-1]}"
    if model is None and len(numbers) > 1:
        raise ValueError(
            f"{path} holds {len(numbers)} models; expected one: choose it by its number ({listed}), such as "
            f"{path.name}#{numbers[0]}"
        )
    if model is not None and model not in numbers:
        held = f"only model {listed}" if len(numbers) == 1 else f"the models {listed}"
        raise ValueError(f"{path} has no model {model}, {held}; choose one as {path.name}#{numbers[0]}")
    return [atom for atom in raw.atoms if model is None or atom.model == model]


def _choose_alternates(path: Path, atoms: list[AtomRecord], altloc: str | None, notes: list[str]) -> list[AtomRecord]:
    """One location of each atom; a mark without an alternative says nothing."""
    residues = grouped(atoms)
    marks = {key: list(dict.fromkeys(a.alternate for a in group if a.alternate)) for key, group in residues.items()}
    listed = ", ".join(sorted({mark for row in marks.values() for mark in row}))
    if altloc is not None and altloc not in {mark for row in marks.values() for mark in row}:
        raise ValueError(
            f"{path} has no alternate location {altloc!r}, only {listed}; choose one of them, or leave altloc out"
            if listed
            else f"{path} has no alternate locations, but altloc is {altloc!r}; leave it out"
        )
    dropped: set[int] = set()
    for key, group in residues.items():
        plain = {atom.name for atom in group if not atom.alternate}
        if len(marks[key]) < 2 and not any(atom.alternate and atom.name in plain for atom in group):
            continue
        if altloc is None:
            first = next(atom for atom in group if atom.alternate)
            raise ValueError(
                f"{path} has alternate locations {' and '.join(map(repr, marks[key]))} of {first.where}; expected one "
                f"conformation: keep one of them with altloc ({_occupied(group, marks[key])}), such as --altloc "
                f"{marks[key][0]}"
            )
        chosen = altloc
        if altloc not in marks[key]:
            chosen = max(marks[key], key=lambda mark: _mean_occupancy(group, mark))
            notes.append(f"{group[0].residue} has no alternate location {altloc}: took {chosen}")
        marked = {atom.name for atom in group if atom.alternate == chosen}
        dropped |= {
            id(atom)
            for atom in group
            if (atom.alternate and atom.alternate != chosen) or (not atom.alternate and atom.name in marked)
        }
    if dropped:
        notes.append(f"took alternate location {altloc} of {listed}")
    return [atom for atom in atoms if id(atom) not in dropped]


def _mean_occupancy(group: list[AtomRecord], mark: str) -> float:
    values = [atom.occupancy for atom in group if atom.alternate == mark]
    return sum(values) / len(values)


def _occupied(group: list[AtomRecord], marks: list[str]) -> str:
    return ", ".join(f"{mark} has occupancy {_mean_occupancy(group, mark):.2f}" for mark in marks)


def _check_numbers(path: Path, atoms: list[AtomRecord]) -> None:
    for atom in atoms:
        for axis, text in zip("xyz", atom.fields, strict=True):
            try:
                value = float(text)
            except ValueError:
                value = math.nan
            if not math.isfinite(value):
                raise ValueError(
                    f"{path}, line {atom.line_number}: {axis} of atom {atom.name} of {atom.residue} is "
                    f"{text or 'missing'!r}, expected a number in angstrom: repair or rebuild the atom"
                )


def _residues(path: Path, atoms: list[AtomRecord], *, is_mmcif: bool) -> tuple[FileResidue, ...]:
    """Residues, each with its atoms together; the same number under two names is two residues only with a cap."""
    what = "atom" if is_mmcif else "line"
    residues = []
    for (piece, chain, residue_id), group in _rejoined(grouped(atoms)).items():
        names = list(dict.fromkeys(atom.residue_name for atom in group))
        if len(names) > 1 and len([name for name in names if not _is_cap(name)]) > 1:
            odd = next(atom for atom in group if atom.residue_name != names[0])
            raise ValueError(
                f"{path}, {what} {odd.line_number}: residue {residue_id} is both {names[0]} and "
                f"{odd.residue_name}; number the residues apart, or keep one conformation"
            )
        for name in names:
            members = [atom for atom in group if atom.residue_name == name]
            seen: dict[str, AtomRecord] = {}
            for atom in members:
                if atom.name in seen and not (atom.name in ("H", "D") and atom.fields != seen[atom.name].fields):
                    raise ValueError(
                        f"{path} has {atom.where} twice, first in {what} {seen[atom.name].line_number}; keep one of "
                        "them, or number the residues apart"
                    )
                seen[atom.name] = atom
            residues.append(FileResidue(name, residue_id, chain, piece, tuple(members)))
    return tuple(residues)


def _rejoined(groups: dict[tuple[int, str, str], list[AtomRecord]]) -> dict[tuple[int, str, str], list[AtomRecord]]:
    """Atoms that were listed behind a TER record, such as added hydrogens, back in the residue that lacks them."""
    joined: dict[tuple[int, str, str], list[AtomRecord]] = {}
    first: dict[tuple[str, str, str], tuple[int, str, str]] = {}
    for key, group in groups.items():
        place = first.setdefault((*key[1:], group[0].residue_name), key)
        names = {atom.name for atom in joined.get(place, [])}
        if place == key or any(atom.name in names for atom in group):
            joined[key] = group
        else:
            joined[place] = [*joined[place], *group]
    return joined


def _is_cap(name: str) -> bool:
    residue = known_residue(name)
    return residue is not None and residue.name in CAPS


def _check_kinds(path: Path, residues: tuple[FileResidue, ...]) -> None:
    """Refuse water, ions and what else is no peptide; and, by name, residues of the peptide without parameters."""
    peptide = [residue for residue in residues if known_residue(residue.name) is not None]
    strangers = [residue for residue in residues if known_residue(residue.name) is None]
    solutes = [r for r in strangers if r.name not in WATER and not (r.name in IONS and len(r.atoms) <= 5)]
    joined = [r for r in solutes if lacking(r.name) or _is_amino_acid(r) or _touches(r, peptide)]
    if joined:
        first = joined[0]
        why, mend = lacking(first.name) or ("", "")
        raise ValueError(
            f"{path}: {first.label}{f' ({why})' if why else ''} is part of the peptide, and {IN_PRESETS}: {OTHER_WAYS}"
            f"{mend}"
        )
    found: dict[str, Counter[str]] = {"water": Counter(), "ions": Counter(), "other molecules": Counter()}
    for residue in strangers:
        kind = "water" if residue.name in WATER else "ions" if residue.name in IONS else "other molecules"
        found[kind][residue.label if kind == "other molecules" else residue.name] += 1
    listed = []
    for kind, counter in found.items():
        names = ", ".join(name if n == 1 else f"{n} {name}" for name, n in list(counter.items())[:4])
        if counter:
            listed.append(f"{kind} ({names}{', ...' if len(counter) > 4 else ''})")
    if listed and not peptide:
        raise ValueError(
            f"{path} has no amino acid, only {' and '.join(listed)}; expected a peptide: give another molecule as an "
            "AMBER prmtop (and inpcrd)"
        )
    if listed:
        raise ValueError(
            f"{path} holds {' and '.join(listed)} beside the peptide; expected the peptide alone, since the solvent is "
            "implicit: delete the lines of these residues, to none of which the peptide is bonded"
        )


def _is_amino_acid(residue: FileResidue) -> bool:
    return {"N", "CA", "C", "O"} <= {atom.name for atom in residue.atoms}


def _touches(residue: FileResidue, peptide: list[FileResidue]) -> bool:
    """Whether a heavy atom is as close to one of the peptide as a bond is."""
    own = _heavy(residue)
    others = [position for other in peptide for position in _heavy(other)]
    if not own or not others:
        return False
    apart = np.linalg.norm(np.array(own)[:, None] - np.array(others)[None], axis=-1)
    return bool(apart.min() < MAX_BOND_NM)


def _heavy(residue: FileResidue) -> list[np.ndarray]:
    return [0.1 * np.array(atom.position) for atom in residue.atoms if atom.name.lstrip("0123456789")[:1] not in "HD"]


def carbonyl(residue: FileResidue) -> np.ndarray | None:
    """Position of the carbon that the next residue is bonded to, in nm; None in a cap behind."""
    known = known_residue(residue.name)
    if known is not None and known.name in ("NME", "NHE"):
        return None
    position = residue.position("C")
    return residue.position("CY") if position is None else position


def _in_chain_order(residues: tuple[FileResidue, ...]) -> tuple[FileResidue, ...]:
    """Along the bonds C-N where these join all residues, from the free N (of a ring: as in the file); else as given."""
    n = len(residues)
    ends = [(carbonyl(residue), residue.position("N")) for residue in residues]
    after: dict[int, int] = {}
    for i, j in itertools.permutations(range(n), 2):
        c, nitrogen = ends[i][0], ends[j][1]
        if c is not None and nitrogen is not None and float(np.linalg.norm(c - nitrogen)) < MAX_BOND_NM:
            if i in after or j in after.values():
                return residues
            after[i] = j
    starts = [i for i in range(n) if i not in after.values()] or [0]
    if len(starts) > 1:
        return residues
    order = [starts[0]]
    while order[-1] in after and after[order[-1]] != order[0]:
        order.append(after[order[-1]])
    return tuple(residues[i] for i in order) if len(order) == n else residues


def _one_molecule(path: Path, residues: tuple[FileResidue, ...], bonds: list[BondRecord]) -> tuple[FileResidue, ...]:
    """The residues along the chain, whatever chains and TER records part that the bonds join.

    Raises:
        ValueError: there are several molecules.
    """
    ordered = _in_chain_order(residues)
    parts = [list(part) for _, part in itertools.groupby(ordered, key=lambda residue: (residue.chain, residue.piece))]
    molecules = [parts[0]]
    for part in parts[1:]:
        c, nitrogen = carbonyl(molecules[-1][-1]), part[0].position("N")
        if c is not None and nitrogen is not None and float(np.linalg.norm(c - nitrogen)) < MAX_BOND_NM:
            molecules[-1] += part
        else:
            molecules.append(part)
    if len(molecules) == 1:
        return ordered
    chains = sorted({residue.chain for residue in residues})
    joined = any(bond.record == "SSBOND" and bond.ends[0][0] != bond.ends[1][0] for bond in bonds)
    if len(chains) > 1:
        shown = ", ".join(chain or "(blank)" for chain in chains)
        between = ", joined by a disulphide bond" if joined else ""
        raise ValueError(
            f"{path} has {len(chains)} chains ({shown}{between}); expected one peptide: "
            + (OTHER_WAYS.split(", or")[0] if joined else "keep one chain and delete the lines of the others")
        )
    spans = ", ".join(f"{part[0].label} to {part[-1].label}" for part in molecules[:3])
    first = molecules[1][0].atoms[0].line_number
    more = ", ..." if len(molecules) > 3 else ""
    raise ValueError(
        f"{path} holds {len(molecules)} molecules, parted by TER records ({spans}{more}; the second begins in line "
        f"{first}); expected one: keep the lines of one"
    )


def _check_caps(path: Path, residues: tuple[FileResidue, ...]) -> None:
    known = [known_residue(residue.name) for residue in residues]
    for residue, kind in list(zip(residues, known, strict=True))[1:]:
        if kind is not None and kind.name == "ACE":
            raise ValueError(
                f"{path}: the cap {residue.label} is not in front of the chain; put it first, or remove it"
            )
    for residue, kind in list(zip(residues, known, strict=True))[:-1]:
        if kind is not None and kind.name in ("NME", "NHE"):
            raise ValueError(
                f"{path}: the cap {residue.label} is not at the end of the chain; put it last, or remove it"
            )


def _check_residue_sequence(path: Path, residues: tuple[FileResidue, ...], raw: RawRecords) -> None:
    """SEQRES lists the residues that the chain has even where the atoms are missing."""
    chains = {residue.chain for residue in residues}
    declared = [(chain, name) for chain, name in raw.residue_sequence if not _is_cap(name)]
    own = [name for chain, name in declared if chain in chains] or [name for _, name in declared]
    present = [residue for residue in residues if not _is_cap(residue.name)]
    if len(own) > len(present):
        raise ValueError(
            f"{path} has atoms of {len(present)} amino acids, but its SEQRES records list {len(own)}: "
            "residues are missing; model them first, or delete SEQRES if the fragment is what you mean"
        )


def with_atoms(residue: FileResidue, atoms: list[AtomRecord], name: str | None = None) -> FileResidue:
    """A residue with other atoms, and perhaps another name."""
    return replace(residue, atoms=tuple(atoms), name=residue.name if name is None else name)
