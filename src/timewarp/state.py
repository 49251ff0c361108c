"""The OpenMM-free description of a molecule, and the states that samplers move."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from .geometry import InternalTree, amide_bonds, build_tree, find_stereocentres, neighbours, ring_bonds
from .geometry.rings import Loop, find_rings
from .shapes import Bool, Float

CAPS = frozenset({"ACE", "NME", "NHE", "NH2"})
"""Names of residues that cap a peptide and are no amino acids."""
_MAIN_CHAIN = frozenset({"N", "CA", "C"})


@dataclass(frozen=True)
class Atoms:
    """What is known of a molecule's atoms without a force-field library; saved as ``atoms.json``.

    Attributes:
        elements: element symbols.
        names: PDB atom names.
        residue_names: PDB residue name of each atom.
        residue_numbers: 1 to n for amino acids, 0 for a cap in front, n + 1 for one behind.
        masses: in Da.
        charges: partial charges in elementary charges.
        bonds: pairs of atom indices.
    """

    elements: tuple[str, ...]
    names: tuple[str, ...]
    residue_names: tuple[str, ...]
    residue_numbers: tuple[int, ...]
    masses: tuple[float, ...]
    charges: tuple[float, ...]
    bonds: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        lengths = {name: len(getattr(self, name)) for name in self.__dataclass_fields__ if name != "bonds"}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"each per-atom field needs one entry per atom, got lengths {lengths}")
        if bad := [b for b in self.bonds if not (min(b) >= 0 and max(b) < self.n_atoms and b[0] != b[1])]:
            raise ValueError(f"bond {bad[0]} does not join two of the {self.n_atoms} atoms")

    def __repr__(self) -> str:
        return f"Atoms({self.formula}, {self.n_atoms} atoms, {len(self.bonds)} bonds, residues {self.residues})"

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.elements)

    @property
    def formula(self) -> str:
        """Molecular formula in Hill order."""
        count = {e: self.elements.count(e) for e in set(self.elements)}
        order = [e for e in ("C", "H") if e in count] + sorted(set(count) - {"C", "H"})
        return "".join(f"{e}{count[e] if count[e] > 1 else ''}" for e in order)

    @property
    def n_amino_acids(self) -> int:
        """Number of residues with the main chain of an amino acid; caps, ligands and nucleotides do not count."""
        named = dict(zip(self.residue_numbers, self.residue_names, strict=True))
        return sum(name not in CAPS and self._residue(number).keys() >= _MAIN_CHAIN for number, name in named.items())

    @property
    def residues(self) -> str:
        """Residue names in order, joined by hyphens, such as ``ACE-ALA-NME``."""
        name_of = dict(zip(self.residue_numbers, self.residue_names, strict=True))
        return "-".join(name_of[number] for number in sorted(name_of))

    @cached_property
    def tree(self) -> InternalTree:
        """The spanning tree of the internal coordinates."""
        return build_tree(self.elements, self.bonds)

    @cached_property
    def stereocentres(self) -> Tensor:
        """Integer (n, 4): centre and three of its neighbours; the sign of their signed volume is the chirality."""
        return torch.tensor(find_stereocentres(self.elements, self.bonds), dtype=torch.long).reshape(-1, 4)

    @cached_property
    def peptide_bonds(self) -> Tensor:
        """Integer (n, 4): the atoms CA-C-N-CA (or the caps' CH3 and C) of each peptide bond's omega.

        Peptide bonds between residues by their atom names come first (the one that closes a ring of residues last),
        then all other amide bonds that can be cis or trans, found by the bond graph.
        """
        named = self.main_chain_bonds
        known = {frozenset(row[1:3]) for row in named}
        others = [row for row in amide_bonds(self.elements, self.bonds) if frozenset(row[1:3]) not in known]
        return torch.tensor([*named, *others], dtype=torch.long).reshape(-1, 4)

    @cached_property
    def main_chain_bonds(self) -> tuple[tuple[int, int, int, int], ...]:
        """Atoms CA-C-N-CA of the peptide bonds between residues that name their atoms C and N."""
        rows = []
        adjacent = neighbours(self.n_atoms, self.bonds)
        by_number = {number: self._residue(number) for number in sorted(set(self.residue_numbers))}
        for number, here in by_number.items():
            alpha = here.get("CA", here.get("CH3"))
            if alpha is None or "C" not in here:
                continue
            for n in adjacent[here["C"]]:
                there = by_number[self.residue_numbers[n]]
                beta = there.get("CA", there.get("CH3", there.get("C")))
                if self.names[n] == "N" and self.residue_numbers[n] != number and beta is not None:
                    rows.append((alpha, here["C"], n, beta))
        return tuple(rows)

    @cached_property
    def twisting(self) -> tuple[int, ...]:
        """Atoms of ``tree.proper`` that carry the torsion of a peptide bond, X-Pro included, outside of rings.

        These bonds are stiff to :attr:`InternalTree.rotatable`; they have two wells, cis and trans.
        """
        amides = {frozenset(row[1:3]) for row in self.peptide_bonds.tolist()}
        amides -= ring_bonds(self.n_atoms, self.bonds) if amides else set()
        if not amides:
            return ()
        return tuple(i for i in self.tree.proper if frozenset(self.tree.references[i][:2]) in amides)

    @cached_property
    def in_ring(self) -> tuple[bool, ...]:
        """For each atom, whether it belongs to a ring."""
        members = {i for bond in ring_bonds(self.n_atoms, self.bonds) for i in bond}
        return tuple(i in members for i in range(self.n_atoms))

    @cached_property
    def rings(self) -> tuple[Loop, ...]:
        """The rings that concerted rotations turn: those with bonds enough that turn, which proline's has not."""
        return tuple(find_rings(self.elements, self.bonds))

    @cached_property
    def adjacency(self) -> Bool[Tensor, "atoms atoms"]:
        """Boolean bond matrix, symmetric, False on the diagonal."""
        matrix = torch.zeros(self.n_atoms, self.n_atoms, dtype=torch.bool)
        for i, j in self.bonds:
            matrix[i, j] = matrix[j, i] = True
        return matrix

    @cached_property
    def fingerprint(self) -> str:
        """Short hash of names, residues and bonds, in atom order: the same under any force field."""
        identity = [
            self.elements,
            self.names,
            self.residue_names,
            self.residue_numbers,
            sorted(map(sorted, self.bonds)),
        ]
        return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]

    def _residue(self, number: int) -> dict[str, int]:
        return {self.names[i]: i for i in range(self.n_atoms) if self.residue_numbers[i] == number}

    def to_json(self) -> dict[str, Any]:
        """Plain data for :func:`timewarp.files.write_json`."""
        return {"schema": 1, **asdict(self)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Atoms:
        """Inverse of :meth:`to_json`.

        Raises:
            ValueError: a field is missing or of the wrong kind.
        """
        from .schemas import AtomsFile, check  # pydantic, which takes a while to load

        check(AtomsFile, data, "a description of atoms (atoms.json)")
        try:
            return cls(
                elements=tuple(str(v) for v in data["elements"]),
                names=tuple(str(v) for v in data["names"]),
                residue_names=tuple(str(v) for v in data["residue_names"]),
                residue_numbers=tuple(int(v) for v in data["residue_numbers"]),
                masses=tuple(float(v) for v in data["masses"]),
                charges=tuple(float(v) for v in data["charges"]),
                bonds=tuple((int(i), int(j)) for i, j in data["bonds"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a description of atoms: {type(error).__name__} {error}") from None


def repartition_hydrogen_mass(atoms: Atoms, hydrogen_mass_Da: float | None = 3.0) -> Float[Tensor, " atoms"]:
    """Masses in Da with mass moved onto each hydrogen from the heavy atom that it is bonded to.

    Slower hydrogens allow a longer time step, and the molecule as a whole moves as before (Feenstra, Hess & Berendsen
    1999; Hopkins et al. 2015).

    Args:
        atoms: the molecule.
        hydrogen_mass_Da: what each hydrogen gets; None leaves all masses as they are.

    Raises:
        ValueError: a heavy atom would be left with less mass than a hydrogen's.
    """
    masses = torch.tensor(atoms.masses, dtype=torch.float64)
    if hydrogen_mass_Da is None:
        return masses
    for pair in atoms.bonds:
        for hydrogen, heavy in (pair, pair[::-1]):
            if atoms.elements[hydrogen] == "H" and atoms.elements[heavy] != "H":
                masses[heavy] -= hydrogen_mass_Da - masses[hydrogen]
                masses[hydrogen] = hydrogen_mass_Da
    if bool((masses < min(1.0, hydrogen_mass_Da)).any()):
        lightest = int(masses.argmin())
        raise ValueError(
            f"hydrogen_mass_Da = {hydrogen_mass_Da:g} leaves atom {lightest} ({atoms.names[lightest]}) with "
            f"{float(masses[lightest]):.3g} Da; try 3"
        )
    return masses


@dataclass(frozen=True)
class State:
    """A batch of chains.

    Attributes:
        positions: in nm.
        energy: potential energy in kJ/mol, kept so that it is never evaluated twice.
    """

    positions: Float[Tensor, "chains atoms 3"]
    energy: Float[Tensor, " chains"]

    @property
    def n_chains(self) -> int:
        """Number of chains."""
        return self.positions.shape[0]
