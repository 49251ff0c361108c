"""Atoms of a file under our names: heavy atoms by name, hydrogens by the atom that they are on."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from openmm.app import Element, Topology

from .pdb_lines import AtomRecord
from .pdb_names import (
    PATCH_ATOMS,
    PSEUDO_ATOMS,
    heavy_name,
    is_hydrogen_name,
    known_residue,
    patched_ends,
    plain_hydrogen,
    says_state,
)
from .pdb_records import FileResidue, with_atoms
from .residues import RESIDUES, Residue

MAX_TO_H_NM = 0.16
"""A hydrogen is at most this far from its atom."""
_BONDED_TO_H_NM = 0.14


@dataclass
class Hydrogen:
    """A hydrogen of a file.

    Attributes:
        given: name in the file.
        key: stands for it in the order of atoms until it has a name.
        name: ours; empty until the residue's state is known.
        parent: our name of the heavy atom it is on.
        position: in nm.
    """

    given: str
    key: str
    name: str
    parent: str
    position: np.ndarray


@dataclass
class NamedResidue:
    """A residue of a file, in our names.

    Attributes:
        label: as messages name it, in the file's numbering.
        name: in the file.
        residue_id: number and insertion code in the file.
        known: what it is; its state is that of the name until the hydrogens have been looked at.
        is_explicit: whether the name says the state.
        heavy: positions in nm of the heavy atoms that the file has, in its order.
        hydrogens: those that the file has.
        serials: our name of each atom by its serial in the file.
        order: our names of all atoms in the order of the file.
        among_hydrogens: whether any residue of the file has hydrogens, so that their absence here says something.
    """

    label: str
    name: str
    residue_id: str
    chain: str
    known: Residue
    is_explicit: bool
    heavy: dict[str, np.ndarray] = field(default_factory=dict)
    hydrogens: list[Hydrogen] = field(default_factory=list)
    serials: dict[str, str] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    among_hydrogens: bool = False

    def on(self, *parents: str) -> list[Hydrogen]:
        """The hydrogens on these heavy atoms."""
        return [h for h in self.hydrogens if h.parent in parents]

    def swap(self, one: str, other: str) -> None:
        """Exchange the names of two equivalent heavy atoms."""
        names = {one: other, other: one}
        self.heavy = {names.get(name, name): position for name, position in self.heavy.items()}
        self.order = [names.get(name, name) for name in self.order]
        self.serials = {serial: names.get(name, name) for serial, name in self.serials.items()}
        for h in self.hydrogens:
            h.parent = names.get(h.parent, h.parent)


@cache
def states(residue: Residue) -> tuple[Residue, ...]:
    """The protonation states of a residue: equal heavy atoms and handedness, that of pH 7 first."""
    return tuple(
        other
        for other in RESIDUES.values()
        if (other.amino_acid, other.handedness, other.heavy) == (residue.amino_acid, residue.handedness, residue.heavy)
        and (not residue.is_cap or other is residue)
    )


@cache
def hydrogen_parents(residue: Residue) -> dict[str, str]:
    """The heavy atom of each hydrogen, of the residue and, in amino acids, of a charged N-terminus."""
    extra = ("H", "H2", "H3") if residue.amino_acid else ()
    names = tuple(dict.fromkeys((*residue.hydrogens, *(extra if "H" in residue.hydrogens else extra[1:]))))
    topology = Topology()
    built = topology.addResidue(residue.parent, topology.addChain("A"))
    for name in (*residue.heavy, *names):
        topology.addAtom(name, Element.getBySymbol(name[0]), built)
    topology.createStandardBonds()
    parents = {}
    for one, other in topology.bonds():
        for h, heavy in ((one, other), (other, one)):
            if h.name in names and heavy.name in residue.heavy:
                parents[h.name] = heavy.name
    return {name: parents[name] for name in names}


def name_residues(path: Path, residues: tuple[FileResidue, ...], notes: list[str]) -> list[NamedResidue]:
    """The residues in our names, CHARMM's patched caps as residues of their own.

    Raises:
        ValueError: a residue has an atom that it should not have.
    """
    split = [part for residue in residues for part in _unpatched(residue)]
    found: list[NamedResidue] = []
    left_out: list[str] = []
    for position, residue in enumerate(split):
        known = known_residue(residue.name)
        assert known is not None  # read_records has refused the others
        named = NamedResidue(
            label=residue.label,
            name=residue.name,
            residue_id=residue.residue_id,
            chain=residue.chain,
            known=known,
            is_explicit=says_state(residue.name, known),
        )
        _fill(path, residue, named, is_last=position == len(split) - 1, left_out=left_out)
        found.append(named)
    for named in found:
        named.among_hydrogens = any(residue.hydrogens for residue in found)
    if left_out:
        notes.append(f"left out {_listed(left_out)}, which stand{'s' * (len(left_out) == 1)} for no atom")
    if any(atom.name.lstrip("0123456789")[:1] == "D" for residue in split for atom in residue.atoms):
        notes.append("read deuterium as hydrogen")
    return found


def _listed(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _unpatched(residue: FileResidue) -> list[FileResidue]:
    """The residue, and before and after it the caps whose atoms carry its name; a hydrogen goes with what it is on."""
    names = frozenset(atom.name for atom in residue.atoms)
    front, back = patched_ends(names)
    if not front and not back:
        return [residue]
    owner = {name: cap for cap in (front, back) if cap for name in PATCH_ATOMS[cap]}
    heavy = [atom for atom in residue.atoms if not is_hydrogen_name(atom.name)]
    positions = np.array([atom.position for atom in heavy])
    parts: dict[str, list[AtomRecord]] = {front: [], "": [], back: []}
    for atom in residue.atoms:
        near = atom
        if is_hydrogen_name(atom.name):
            near = heavy[int(np.linalg.norm(positions - np.array(atom.position), axis=-1).argmin())]
        parts[owner.get(near.name, "")].append(atom)
    ordered = [front] * bool(front) + [""] + [back] * bool(back)
    return [with_atoms(residue, parts[name], name or None) for name in ordered]


def _fill(path: Path, residue: FileResidue, named: NamedResidue, *, is_last: bool, left_out: list[str]) -> None:
    known = named.known
    heavy = [atom for atom in residue.atoms if not is_hydrogen_name(atom.name)]
    present = frozenset(atom.name for atom in heavy)
    given: dict[str, str] = {}
    ours: dict[int, str] = {}
    for atom in heavy:
        name = heavy_name(atom.name, known, is_last=is_last, present=present)
        if name is None and atom.name.startswith(PSEUDO_ATOMS) and not known.is_cap:
            left_out.append(f"{atom.name} of {named.label}")
            continue
        if name is None:
            raise ValueError(
                f"{path}: {named.label} has an atom {atom.name!r} that this residue does not have; correct its name "
                f"(its heavy atoms are {', '.join(known.heavy)}), or the residue's"
            )
        if name in named.heavy:
            raise ValueError(
                f"{path}: {named.label} has two atoms that would be {name}: {given[name]} and {atom.name}; correct "
                "their names"
            )
        given[name] = atom.name
        named.heavy[name] = 0.1 * np.array(atom.position)
        named.serials[atom.serial] = ours[atom.line_number] = name
    parents: dict[str, str] = {}
    for state in states(known):
        parents |= hydrogen_parents(state)
    for atom in residue.atoms:
        if atom.line_number in ours:
            named.order.append(ours[atom.line_number])
        elif is_hydrogen_name(atom.name) and (hydrogen := _hydrogen(path, atom, named, parents)) is not None:
            named.hydrogens.append(hydrogen)
            named.order.append(hydrogen.key)


def _hydrogen(path: Path, atom: AtomRecord, named: NamedResidue, parents: dict[str, str]) -> Hydrogen | None:
    """The hydrogen with its heavy atom: by its name where that is near, else the nearest; None where that is "
    "missing."""
    name = plain_hydrogen(atom.name)
    name = dict(named.known.atom_aliases).get(name, name)
    key, position = f"{atom.name} of line {atom.line_number}", 0.1 * np.array(atom.position)
    apart = {heavy: float(np.linalg.norm(position - where)) for heavy, where in named.heavy.items()}
    nearest = min(apart, key=lambda heavy: apart[heavy], default="")
    by_name = parents.get(name)
    if by_name is None and name[-1:] == "1":  # HB1 and HB2 are HB3 and HB2
        by_name = parents.get(f"{name[:-1]}3")
    if by_name in apart and apart[by_name] <= MAX_TO_H_NM:
        return Hydrogen(atom.name, key, "", by_name, position)
    if nearest and apart[nearest] <= _BONDED_TO_H_NM:
        return Hydrogen(atom.name, key, "", nearest, position)
    if by_name in apart:  # too far away, which the check of distances says
        return Hydrogen(atom.name, key, "", by_name, position)
    if by_name is not None:
        return None
    raise ValueError(
        f"{path}: {named.label} has an atom {atom.name!r} that this residue does not have, and no heavy atom is within "
        f"{10 * _BONDED_TO_H_NM:.1f} angstrom of it; correct its name or position, or remove it to have it rebuilt"
    )


def set_names(path: Path, residue: NamedResidue, expected: dict[str, str]) -> None:
    """Name the hydrogens: what the file says where that is one of the expected names, else those that are left.

    Args:
        path: for messages.
        residue: its hydrogens get their names, and its order of atoms too.
        expected: name of each hydrogen that the residue's state has, with its heavy atom.

    Raises:
        ValueError: a heavy atom has more hydrogens than it can have.
    """
    for parent in dict.fromkeys(h.parent for h in residue.hydrogens):
        own = residue.on(parent)
        free = [name for name, heavy in expected.items() if heavy == parent]
        if len(own) > len(free):
            shown = ", ".join(h.given for h in own)
            raise ValueError(
                f"{path}: {residue.label} has {len(own)} hydrogen{'s' * (len(own) > 1)} on {parent} ({shown}), "
                f"expected "
                f"{len(free) or 'none'}; remove those that do not belong there, or correct the residue's name"
            )
        for h in own:
            plain = plain_hydrogen(h.given)
            plain = dict(residue.known.atom_aliases).get(plain, plain)
            for name in (plain, f"{plain[:-1]}3" if plain[-1:] == "1" else plain):
                if name in free and not (name != plain and any(plain_hydrogen(o.given) == name for o in own)):
                    h.name = name
                    free.remove(name)
                    break
        for h in sorted((h for h in own if not h.name), key=lambda h: plain_hydrogen(h.given)):
            h.name = free.pop(0)
    names = {h.key: h.name for h in residue.hydrogens}
    residue.order = [names.get(name, name) for name in residue.order]
