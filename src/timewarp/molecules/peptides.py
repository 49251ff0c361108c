"""Build a peptide in three dimensions from its sequence, from ideal bond lengths and angles."""

from __future__ import annotations

import io
import itertools
import math
from functools import cache
from importlib import resources

import numpy as np
from openmm.app import Element, PDBFile, Topology

from .hydrogens import place_atom, unit
from .sequences import Sequence

# Engh & Huber (1991), nm and degrees; phi and psi of an antiparallel sheet, where side chains keep clear of each other.
_N_CA, _CA_C, _C_N, _C_O, _C_OXT = 0.1458, 0.1525, 0.1329, 0.1231, 0.1249
_N_CA_C, _CA_C_N, _C_N_CA, _CA_C_O = 111.2, 116.2, 121.7, 120.8
# Rotamers to choose from, in degrees (Lovell et al. 2000); proline's ring is the template's.
_CHI1 = (-65.0, 180.0, 62.0)
_CHI2 = {
    **dict.fromkeys(("PHE", "TYR"), (90.0,)),
    **dict.fromkeys(("TRP", "HIS"), (90.0, -90.0)),
    **dict.fromkeys(("ASN", "ASP"), (-20.0, 20.0)),
}
_CHI2_ALIPHATIC = (180.0, 65.0, -65.0)
_PHI, _PHI_PROLINE, _PSI, _OMEGA = -139.0, -65.0, 135.0, 180.0


def build_heavy_atoms(sequence: Sequence) -> tuple[Topology, np.ndarray]:
    """Topology without hydrogens, and its positions (atoms, 3) in nm: L residues, trans, extended.

    The C-terminal carboxylate has its OXT, so that the force field's zwitterionic templates match.
    """
    names = sequence.residue_names
    residues = [_main_chain(name, *placed) for name, placed in zip(names, _backbone(names), strict=True)]
    for name, atoms in zip(names, residues, strict=True):
        atoms |= {atom: position for atom, position in _grow(name, atoms, 0.0, 0.0).items() if atom == "CB"}
    for index, atoms in enumerate(residues):
        others = np.array([position for other in residues if other is not atoms for position in other.values()])
        is_last = index == len(residues) - 1
        atoms |= place_missing(names[index], atoms, others, is_last=is_last)
    topology = Topology()
    chain = topology.addChain("A")
    for number, (name, atoms) in enumerate(zip(names, residues, strict=True), int(not sequence.front_cap)):
        residue = topology.addResidue(name, chain, id=str(number))
        for atom in atoms:
            topology.addAtom(atom, Element.getBySymbol(atom[0]), residue)
    topology.createStandardBonds()
    return topology, np.array([position for atoms in residues for position in atoms.values()])


def _backbone(names: tuple[str, ...]) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """N, CA and C of each residue (the cap's CH3 stands at CA; a cap has no N or no C)."""
    n = np.zeros(3)
    alpha = np.array([_N_CA, 0.0, 0.0])
    bend = math.radians(180 - _N_CA_C)
    carbonyl = alpha + _CA_C * np.array([math.cos(bend), math.sin(bend), 0.0])
    residues = [(n, alpha, carbonyl)]
    for name in names[1:]:
        phi = _PHI_PROLINE if name == "PRO" else _PHI
        next_n = place_atom(carbonyl, alpha, n, _C_N, math.radians(_CA_C_N), math.radians(_PSI))
        next_alpha = place_atom(next_n, carbonyl, alpha, _N_CA, math.radians(_C_N_CA), math.radians(_OMEGA))
        next_carbonyl = place_atom(next_alpha, next_n, carbonyl, _CA_C, math.radians(_N_CA_C), math.radians(phi))
        n, alpha, carbonyl = next_n, next_alpha, next_carbonyl
        residues.append((n, alpha, carbonyl))
    return residues


def _main_chain(name: str, n: np.ndarray, alpha: np.ndarray, carbonyl: np.ndarray) -> dict[str, np.ndarray]:
    oxygen = place_atom(carbonyl, alpha, n, _C_O, math.radians(_CA_C_O), math.radians(_PSI + 180))
    if name == "ACE":
        return {"CH3": alpha, "C": carbonyl, "O": oxygen}
    if name == "NME":
        return {"N": n, "C": alpha}
    return {"N": n, "CA": alpha, "C": carbonyl, "O": oxygen}


@cache
def residue_template(name: str) -> dict[str, np.ndarray]:
    """Heavy atoms of an L residue or a cap in nm, in PDB order, from the ideal coordinates that PDBFixer ships."""
    text = (resources.files("pdbfixer") / "templates" / f"{name}.pdb").read_text()
    pdb = PDBFile(io.StringIO(text))
    positions = np.array(pdb.getPositions(asNumpy=True)._value)
    atoms = {atom.name: positions[atom.index] for atom in pdb.topology.atoms()}
    return {atom: atoms[atom] for atom in sorted(atoms, key=pdb_order)}


def pdb_order(name: str) -> tuple:
    """N, CA, C, O, then the side chain outwards: Greek letter (A, B, G, D, E, Z, H), branch."""
    backbone = ("CH3", "N", "CA", "C", "O")
    if name in backbone:
        return (0, backbone.index(name), "")
    return (1, "ABGDEZH".index(name[1]), name[2:], name)


@cache
def _template_bonds(name: str) -> dict[str, tuple[str, ...]]:
    """Heavy neighbours of each heavy atom of a residue."""
    topology = Topology()
    residue = topology.addResidue(name, topology.addChain("A"))
    for atom in (*residue_template(name), "OXT"):
        topology.addAtom(atom, Element.getBySymbol(atom[0]), residue)
    topology.createStandardBonds()
    bonded: dict[str, list[str]] = {atom.name: [] for atom in residue.atoms()}
    for one, other in topology.bonds():
        bonded[one.name].append(other.name)
        bonded[other.name].append(one.name)
    return {atom: tuple(row) for atom, row in bonded.items()}


@cache
def hydrogen_names(name: str) -> frozenset[str]:
    """Names of the hydrogens that a residue may have, in any protonation state."""
    topology = Topology()
    residue = topology.addResidue(name, topology.addChain("A"))
    heavy = residue_template(name)
    for atom in heavy:
        topology.addAtom(atom, Element.getBySymbol(atom[0]), residue)
    for parent in heavy:
        for digits in ("", "1", "2", "3", "11", "12", "13", "21", "22", "23"):
            topology.addAtom(f"H{parent[1:2]}{digits}", Element.getBySymbol("H"), residue)
    topology.createStandardBonds()
    return frozenset(atom.name for bond in topology.bonds() for atom in bond if atom.name[0] == "H")


def place_missing(
    name: str, known: dict[str, np.ndarray], others: np.ndarray, *, is_last: bool
) -> dict[str, np.ndarray]:
    """Positions (nm) of the heavy atoms that a residue lacks, outwards from the backbone.

    Bond lengths, angles, rings and branches are the template's; of the usual rotamers (chi1, chi2) it is the one
    that keeps farthest from the rest of the molecule.

    Args:
        name: residue name.
        known: positions of the residue's atoms by name, backbone complete.
        others: positions (atoms, 3) of the rest of the molecule.
        is_last: whether the residue is the chain's end and needs an OXT.
    """
    new, best = {}, -1.0
    others = np.array([*others, *(known[atom] for atom in ("O", "OXT") if atom in known)])
    for chi1, chi2 in itertools.product(_CHI1, _CHI2.get(name, _CHI2_ALIPHATIC)):
        trial = _grow(name, known, math.radians(chi1), math.radians(chi2))
        beyond = [position for atom, position in trial.items() if atom != "CB"]
        clearance = float(np.linalg.norm(others[:, None] - np.array(beyond), axis=-1).min()) if beyond else 0.0
        if clearance > best + 1e-6:  # a tie must not hang on rounding
            new, best = trial, clearance
    if is_last and name not in ("ACE", "NME") and "OXT" not in known:
        new["OXT"] = place_atom(known["C"], known["CA"], known["O"], _C_OXT, math.radians(_CA_C_O), math.pi)
    return new


def _grow(name: str, known: dict[str, np.ndarray], chi1: float, chi2: float) -> dict[str, np.ndarray]:
    """The missing atoms from the template's internal coordinates, with these chi1 and chi2 (rad), and chi3 on trans."""
    template, bonded = residue_template(name), _template_bonds(name)
    have = {atom: position for atom, position in known.items() if atom in template}
    new = {}
    for atom in template:
        if atom in have:
            continue
        joined = sorted((other for other in bonded[atom] if other in have), key=pdb_order)  # the inner one first
        onto = joined[0]
        beside = sorted((other for other in bonded[onto] if other in have), key=pdb_order)
        if len(beside) >= 2:  # relative to a sibling: stiff
            second, third = beside[:2]
        else:
            (second,) = beside
            third = min((other for other in bonded[second] if other in have and other != onto), key=pdb_order)
        length, angle, dihedral = _internal(*(template[i] for i in (atom, onto, second, third)))
        if len(beside) == 1 and len(joined) >= 2:  # a gap between atoms that are there
            near = [other for other in have if any(other == j or other in bonded[j] for j in bonded[atom])]
            lengths = {other: float(np.linalg.norm(template[atom] - template[other])) for other in near}
            turns = np.radians(np.arange(0, 360, 2))
            trials = [place_atom(have[onto], have[second], have[third], length, angle, turn) for turn in turns]
            new[atom] = have[atom] = _closest_fit(trials, have, lengths)
            continue
        if len(beside) == 1 and name != "PRO":
            dihedral = {"CA": chi1, "CB": chi2, "CG": math.pi, "CD": math.pi}.get(second, dihedral)
        new[atom] = have[atom] = place_atom(have[onto], have[second], have[third], length, angle, dihedral)
    return new


def _closest_fit(trials: list[np.ndarray], have: dict[str, np.ndarray], lengths: dict[str, float]) -> np.ndarray:
    """The trial position whose distances from the atoms that are there fit best."""

    def misfit(trial: np.ndarray) -> float:
        return sum(float(np.linalg.norm(trial - have[atom]) - length) ** 2 for atom, length in lengths.items())

    return min(trials, key=misfit)


def _internal(i: np.ndarray, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> tuple[float, float, float]:
    """Bond length i-a, angle i-a-b and dihedral i-a-b-c (nm, rad)."""
    axis = b - a
    left, right = np.cross(a - i, axis), np.cross(axis, c - b)
    dihedral = math.atan2(np.dot(np.cross(left, right), unit(axis)), np.dot(left, right))
    angle = math.acos(np.clip(np.dot(unit(i - a), unit(axis)), -1.0, 1.0))
    return float(np.linalg.norm(i - a)), angle, dihedral
