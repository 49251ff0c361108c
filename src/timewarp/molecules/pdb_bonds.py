"""The bonds between residues: peptide bonds, rings, disulphides, and what no force field of the presets has."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from collections.abc import Sequence as Sequence_
from pathlib import Path

import numpy as np

from .pdb_lines import BondRecord
from .pdb_records import MAX_BOND_NM
from .pdb_residues import NamedResidue
from .sequences import OTHER_WAYS, Sequence

MAX_DISULPHIDE_NM = 0.30
_LONGEST_STATED_NM = 0.22

Ends = tuple[tuple[NamedResidue, str], tuple[NamedResidue, str]]


def distance(one: tuple[NamedResidue, str], other: tuple[NamedResidue, str]) -> float:
    """Between two heavy atoms, in nm."""
    return float(np.linalg.norm(one[0].heavy[one[1]] - other[0].heavy[other[1]]))


def check_chain(path: Path, residues: list[NamedResidue]) -> bool:
    """Check that each residue is bonded to the next; return whether the last is bonded to the first.

    Raises:
        ValueError: the chain is broken.
    """
    for before, after in itertools.pairwise(residues):
        apart = distance((before, "C"), (after, "N"))
        if apart > MAX_BOND_NM:
            raise ValueError(
                f"{path}: the chain is broken between {before.label} and {after.label}: C and N are {apart:.2f} nm "
                "apart, expected 0.13; model the missing residues, or keep one piece"
            )
    first, last = residues[0], residues[-1]
    if len(residues) < 3 or last.known.name in ("NME", "NHE") or first.known.name == "ACE":
        return False
    return distance((last, "C"), (first, "N")) < MAX_BOND_NM


def disulphides(
    path: Path, residues: list[NamedResidue], bonds: tuple[BondRecord, ...]
) -> list[tuple[NamedResidue, NamedResidue]]:
    """Pairs of cysteines whose sulphurs are bonded: within 0.3 nm of each other, and without hydrogens.

    Raises:
        ValueError: the file states such a bond where the positions have none, or one sulphur is near two others.
    """
    cysteines = [r for r in residues if r.known.amino_acid == "CYS" and "SG" in r.heavy]
    pairs = [
        (one, other)
        for one, other in itertools.combinations(cysteines, 2)
        if distance((one, "SG"), (other, "SG")) <= MAX_DISULPHIDE_NM and not one.on("SG") and not other.on("SG")
    ]
    for residue in cysteines:
        partners = [pair for pair in pairs if any(part is residue for part in pair)]
        if len(partners) > 1:
            nearest = min(partners, key=lambda pair: distance((pair[0], "SG"), (pair[1], "SG")))
            pairs = [pair for pair in pairs if pair is nearest or all(pair is not other for other in partners)]
    for record, (one, other) in stated(residues, bonds):
        if one[1] != "SG" or other[1] != "SG" or any({id(a), id(b)} == {id(one[0]), id(other[0])} for a, b in pairs):
            continue
        apart = distance(one, other)
        protons = [f"{h.given} of {end[0].label}" for end in (one, other) for h in end[0].on("SG")]
        if apart <= MAX_DISULPHIDE_NM and protons:
            raise ValueError(
                f"{path}: its {record} record joins SG of {one[0].label} and SG of {other[0].label}, but there is "
                f"{' and '.join(protons)}: remove it for the disulphide, or the record for two thiols"
            )
        raise ValueError(
            f"{path}: its {record} record joins SG of {one[0].label} and SG of {other[0].label}, which are "
            f"{apart:.2f} nm "
            f"apart, expected 0.20: give positions in which the bond is closed (the sequence "
            f"{as_sequence(residues, ((one[0], other[0]),))} is built so), or, for two thiols, delete the record and "
            "name the residues CYSH"
        )
    return pairs


def check_stated(path: Path, residues: list[NamedResidue], bonds: tuple[BondRecord, ...], *, is_cyclic: bool) -> None:
    """Refuse stated bonds between residues that are bonds by their length, and that no template has.

    Raises:
        ValueError: there is such a bond, or a stated ring is open.
    """
    index = {id(residue): i for i, residue in enumerate(residues)}
    for record, (one, other) in stated(residues, bonds):
        if one[0] is other[0] or one[1] == other[1] == "SG":
            continue
        i, j = sorted((index[id(one[0])], index[id(other[0])]))
        names = {one[1], other[1]}
        is_peptide = names == {"C", "N"}
        apart = distance(one, other)
        if is_peptide and (j == i + 1 or (is_cyclic and (i, j) == (0, len(residues) - 1))):
            continue
        if is_peptide and (i, j) == (0, len(residues) - 1):
            raise ValueError(
                f"{path}: its {record} record joins C of {residues[j].label} and N of {residues[i].label} to a "
                f"ring, but "
                f"they are {apart:.2f} nm apart, expected 0.13: give positions in which the ring is closed (the "
                f"sequence "
                f"{as_sequence(residues, is_cyclic=True)} is built so), or delete the record for an open chain"
            )
        if apart <= _LONGEST_STATED_NM:
            raise ValueError(
                f"{path}: {one[1]} of {one[0].label} and {other[1]} of {other[0].label} are bonded ({record}), a link "
                f"that the presets' force fields have no template for: {OTHER_WAYS}"
            )


def as_sequence(
    residues: list[NamedResidue],
    bridges: Sequence_[tuple[NamedResidue, NamedResidue]] = (),
    *,
    is_cyclic: bool = False,
) -> str:
    """The molecule in the notation of sequences."""
    inner = [residue for residue in residues if not residue.known.is_cap]
    names = [{"CYX": "CYS", "cyx": "DCY"}.get(residue.known.name, residue.known.name) for residue in inner]
    place = {id(residue): i for i, residue in enumerate(inner, 1)}
    pairs = [sorted((place[id(one)], place[id(other)])) for one, other in bridges]
    back = {"NME": "Nme", "NHE": "NH2"}.get(residues[-1].known.name, "")
    front = "Ace" if residues[0].known.name == "ACE" else ""
    return str(Sequence(tuple(names), front, back, is_cyclic, tuple((i, j) for i, j in pairs)))


def stated(residues: list[NamedResidue], bonds: tuple[BondRecord, ...]) -> Iterator[tuple[str, Ends]]:
    """The stated bonds between heavy atoms of the molecule, with the record that says so."""
    by_serial = {serial: (residue, name) for residue in residues for serial, name in residue.serials.items()}
    by_id: dict[tuple[str, str], NamedResidue] = {}
    for residue in residues:
        by_id.setdefault((residue.chain, residue.residue_id), residue)
        by_id.setdefault(("", residue.residue_id), residue)
    for bond in bonds:
        ends = []
        for end in bond.ends:
            if len(end) == 1:
                found = by_serial.get(end[0])
            else:
                owner = by_id.get((end[0], end[1])) or by_id.get(("", end[1]))
                found = (owner, end[2]) if owner is not None and end[2] in owner.heavy else None
            if found is not None:
                ends.append(found)
        if len(ends) == 2:
            yield bond.record, (ends[0], ends[1])
