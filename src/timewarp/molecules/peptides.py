"""Build a peptide in three dimensions from its sequence, from ideal bond lengths and angles."""

from __future__ import annotations

import io
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
_PHI, _PHI_PROLINE, _PSI, _OMEGA = -139.0, -65.0, 135.0, 180.0


def build_heavy_atoms(sequence: Sequence) -> tuple[Topology, np.ndarray]:
    """Topology without hydrogens, and its positions (atoms, 3) in nm: L residues, trans, extended.

    The C-terminal carboxylate has its OXT, so that the force field's zwitterionic templates match.
    """
    topology = Topology()
    chain = topology.addChain("A")
    positions: list[np.ndarray] = []
    names = sequence.residue_names
    for index, (name, (n, alpha, carbonyl)) in enumerate(zip(names, _backbone(names), strict=True)):
        residue = topology.addResidue(name, chain, id=str(index + int(not sequence.front_cap)))
        atoms = _place_residue(name, n, alpha, carbonyl)
        if index == len(names) - 1 and not sequence.back_cap:
            atoms["OXT"] = place_atom(carbonyl, alpha, n, _C_OXT, math.radians(_CA_C_O), math.radians(_PSI))
        for atom_name, position in atoms.items():
            topology.addAtom(atom_name, Element.getBySymbol(atom_name[0]), residue)
            positions.append(position)
    topology.createStandardBonds()
    return topology, np.array(positions)


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


def _place_residue(name: str, n: np.ndarray, alpha: np.ndarray, carbonyl: np.ndarray) -> dict[str, np.ndarray]:
    oxygen = place_atom(carbonyl, alpha, n, _C_O, math.radians(_CA_C_O), math.radians(_PSI + 180))
    if name == "ACE":
        return {"CH3": alpha, "C": carbonyl, "O": oxygen}
    if name == "NME":
        return {"N": n, "C": alpha}
    template = residue_template(name)
    origin, axes = _frame(template["N"], template["CA"], template["C"])
    _, target = _frame(n, alpha, carbonyl)
    atoms = {"N": n, "CA": alpha, "C": carbonyl, "O": oxygen}
    for atom, position in template.items():
        if atom not in atoms:
            atoms[atom] = alpha + target @ (axes.T @ (position - origin))
    return atoms


def _frame(n: np.ndarray, alpha: np.ndarray, carbonyl: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Origin at CA and orthonormal axes as columns, symmetric in N and C."""
    to_n, to_c = unit(n - alpha), unit(carbonyl - alpha)
    x = unit(to_n + to_c)
    z = unit(np.cross(to_n, to_c))
    return alpha, np.stack([x, np.cross(z, x), z], axis=1)


@cache
def residue_template(name: str) -> dict[str, np.ndarray]:
    """Heavy atoms of an L residue or a cap in nm, in PDB order, from the ideal coordinates that PDBFixer ships."""
    text = (resources.files("pdbfixer") / "templates" / f"{name}.pdb").read_text()
    pdb = PDBFile(io.StringIO(text))
    positions = np.array(pdb.getPositions(asNumpy=True)._value)
    atoms = {atom.name: positions[atom.index] for atom in pdb.topology.atoms()}
    return {atom: atoms[atom] for atom in sorted(atoms, key=_pdb_order)}


def _pdb_order(name: str) -> tuple:
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


def place_missing(
    name: str, known: dict[str, np.ndarray], everything: np.ndarray, *, is_last: bool
) -> dict[str, np.ndarray]:
    """Positions (nm) of the heavy atoms that a residue lacks, outwards from the backbone.

    Bond lengths, angles and ring or branch geometry are the template's. A free torsion takes the template's
    value or one turned by a third, whichever keeps farthest from all other atoms.

    Args:
        name: residue name.
        known: positions of the residue's atoms by name, backbone complete.
        everything: positions (atoms, 3) of the whole molecule.
        is_last: whether the residue is the chain's end and needs an OXT.
    """
    template = residue_template(name)
    bonded = _template_bonds(name)
    have = dict(known)
    new: dict[str, np.ndarray] = {}
    for atom in template:
        if atom in have:
            continue
        onto = next(other for other in bonded[atom] if other in have and other in template)
        beside = sorted((other for other in bonded[onto] if other in have and other in template), key=_pdb_order)
        if len(beside) >= 2:  # relative to a sibling: stiff
            second, third = beside[0], beside[1]
            turns: tuple[float, ...] = (0.0,)
        else:
            second = beside[0]
            beyond = [other for other in bonded[second] if other in have and other in template and other != onto]
            third = min(beyond, key=_pdb_order)
            turns = (0.0, 2 * math.pi / 3, -2 * math.pi / 3)
        length, angle, dihedral = _internal(template[atom], template[onto], template[second], template[third])
        trials = [place_atom(have[onto], have[second], have[third], length, angle, dihedral + turn) for turn in turns]
        others = np.array([*everything, *new.values()])
        away = [np.partition(np.linalg.norm(others - trial, axis=1), 1)[1] for trial in trials]
        new[atom] = have[atom] = trials[int(np.argmax(away))]
    if is_last and name not in ("ACE", "NME") and "OXT" not in have:
        opposite = place_atom(have["C"], have["CA"], have["O"], _C_OXT, math.radians(_CA_C_O), math.pi)
        new["OXT"] = opposite
    return new


def _internal(i: np.ndarray, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> tuple[float, float, float]:
    """Bond length i-a, angle i-a-b and dihedral i-a-b-c (nm, rad)."""
    axis = b - a
    left, right = np.cross(a - i, axis), np.cross(axis, c - b)
    dihedral = math.atan2(np.dot(np.cross(left, right), unit(axis)), np.dot(left, right))
    angle = math.acos(np.clip(np.dot(unit(i - a), unit(axis)), -1.0, 1.0))
    return float(np.linalg.norm(i - a)), angle, dihedral
