"""Build a peptide in three dimensions from its sequence, from ideal bond lengths and angles."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Callable
from functools import cache
from importlib import resources

import numpy as np
from openmm.app import Element, PDBFile, Topology

from ..state import CAPS
from .definitions import register_residues
from .hydrogens import place_atom, unit
from .residues import RESIDUES, Residue
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
_ESTER = ("OG", "CB", "CA", 0.161, 180.0)
_PHOSPHATES = {
    ("SER", "P"): _ESTER,
    **{("THR", end): ("OG1", *_ESTER[1:]) for end in "PO"},
    **{("TYR", end): ("OH", "CZ", "CE1", 0.161, 90.0) for end in "PR"},
    ("HIS", "D"): ("ND1", "CE1", "NE2", 0.178, 180.0),
    ("HIS", "E"): ("NE2", "CE1", "ND1", 0.178, 180.0),
}
"""By amino acid and last letter of the name: the atoms from which the phosphorus is placed, length, dihedral."""
_PHI, _PHI_PROLINE, _PSI, _OMEGA = -139.0, -65.0, 135.0, 180.0


register_residues()


def build_heavy_atoms(
    sequence: Sequence, torsions: list[tuple[float, float]] | None = None
) -> tuple[Topology, np.ndarray]:
    """Topology without hydrogens, and its positions (atoms, 3) in nm: an open chain with trans peptide bonds.

    Residues have their parents' names (:class:`~timewarp.molecules.residues.Residue`), whose bonds OpenMM knows. The
    C-terminal carboxylate has its OXT, so that the force field's zwitterionic templates match. D residues are mirror
    images of L residues, and so are their phi and psi.

    Args:
        sequence: what to build; that it may be a ring or have disulphides is left out of account.
        torsions: phi and psi in degrees of each residue, caps included; extended by default.
    """
    kinds = sequence.residues
    names = [kind.parent for kind in kinds]
    torsions = extended(kinds) if torsions is None else torsions
    residues = [
        _main_chain(name, psi, *placed)
        for name, (_, psi), placed in zip(names, torsions, _backbone(torsions), strict=True)
    ]
    for kind, atoms in zip(kinds, residues, strict=True):
        first = _as_l(kind, lambda name, known: _grow(name, known, 0.0, 0.0), atoms)
        atoms |= {atom: position for atom, position in first.items() if atom == "CB"}
    for index, (kind, atoms) in enumerate(zip(kinds, residues, strict=True)):
        others = np.array([position for other in residues if other is not atoms for position in other.values()])
        atoms |= place_missing_of(kind, atoms, others, is_last=index == len(residues) - 1)
    topology = Topology()
    chain = topology.addChain("A")
    for number, (name, atoms) in enumerate(zip(names, residues, strict=True), int(not sequence.front)):
        residue = topology.addResidue(name, chain, id=str(number))
        for atom in atoms:
            topology.addAtom(atom, Element.getBySymbol(atom[0]), residue)
    topology.createStandardBonds()
    return topology, np.array([position for atoms in residues for position in atoms.values()])


def extended(kinds: tuple[Residue, ...]) -> list[tuple[float, float]]:
    """Phi and psi in degrees of an extended chain; a cap in front goes with the residue behind it."""
    d_forms = [kind.handedness == "D" for kind in (*kinds[1:2], *kinds[1:])] if kinds[0].is_cap else None
    signs = [-1 if is_d else 1 for is_d in (d_forms or [kind.handedness == "D" for kind in kinds])]
    return [
        (sign * (_PHI_PROLINE if _is_proline(kind) else _PHI), sign * _PSI)
        for sign, kind in zip(signs, kinds, strict=True)
    ]


def _is_proline(residue: Residue) -> bool:
    return residue.amino_acid == "PRO"


def _backbone(torsions: list[tuple[float, float]]) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """N, CA and C of each residue (the cap's CH3 stands at CA; a cap has no N or no C)."""
    n = np.zeros(3)
    alpha = np.array([_N_CA, 0.0, 0.0])
    bend = math.radians(180 - _N_CA_C)
    carbonyl = alpha + _CA_C * np.array([math.cos(bend), math.sin(bend), 0.0])
    residues = [(n, alpha, carbonyl)]
    for (_, psi), (phi, _) in itertools.pairwise(torsions):
        next_n = place_atom(carbonyl, alpha, n, _C_N, math.radians(_CA_C_N), math.radians(psi))
        next_alpha = place_atom(next_n, carbonyl, alpha, _N_CA, math.radians(_C_N_CA), math.radians(_OMEGA))
        next_carbonyl = place_atom(next_alpha, next_n, carbonyl, _CA_C, math.radians(_N_CA_C), math.radians(phi))
        n, alpha, carbonyl = next_n, next_alpha, next_carbonyl
        residues.append((n, alpha, carbonyl))
    return residues


def _main_chain(name: str, psi: float, n: np.ndarray, alpha: np.ndarray, carbonyl: np.ndarray) -> dict[str, np.ndarray]:
    oxygen = place_atom(carbonyl, alpha, n, _C_O, math.radians(_CA_C_O), math.radians(psi + 180))
    if name == "ACE":
        return {"CH3": alpha, "C": carbonyl, "O": oxygen}
    if name == "NME":
        return {"N": n, "C": alpha}
    if name == "NH2":
        return {"N": n}
    return {"N": n, "CA": alpha, "C": carbonyl, "O": oxygen}


def _as_l(kind: Residue, grow: Callable[..., dict[str, np.ndarray]], known: dict[str, np.ndarray], *more: np.ndarray):
    """What a function of L residues places, mirrored for a D residue."""
    if kind.handedness != "D":
        return grow(kind.parent, known, *more)
    mirror = np.array([1.0, 1.0, -1.0])
    placed = grow(kind.parent, {atom: mirror * at for atom, at in known.items()}, *(mirror * at for at in more))
    return {atom: mirror * at for atom, at in placed.items()}


def place_missing_of(
    kind: Residue, known: dict[str, np.ndarray], others: np.ndarray, *, is_last: bool
) -> dict[str, np.ndarray]:
    """:func:`place_missing` for a residue of either handedness."""

    def place(name: str, atoms: dict[str, np.ndarray], rest: np.ndarray) -> dict[str, np.ndarray]:
        return place_missing(name, atoms, rest, is_last=is_last)

    return _as_l(kind, place, known, others)


@cache
def residue_template(name: str) -> dict[str, np.ndarray]:
    """Heavy atoms of an L residue or a cap in nm, in PDB order, from the ideal coordinates that PDBFixer ships."""
    if name == "NH2":
        return {"N": np.zeros(3)}
    if name in RESIDUES and RESIDUES[name].amino_acid not in ("", name):
        return _derived_template(RESIDUES[name])
    text = (resources.files("pdbfixer") / "templates" / f"{name}.pdb").read_text()
    pdb = PDBFile(io.StringIO(text))
    positions = np.array(pdb.getPositions(asNumpy=True)._value)
    atoms = {atom.name: positions[atom.index] for atom in pdb.topology.atoms()}
    return {atom: atoms[atom] for atom in sorted(atoms, key=pdb_order)}


def _derived_template(residue: Residue) -> dict[str, np.ndarray]:
    """Heavy atoms of a residue that has more of them than its amino acid, from standard bond lengths and angles.

    Hydroxyproline's OD1 is trans to the carbonyl (4R). Of phosphates the P-O bonds are 0.161 (ester), 0.178 (to
    nitrogen) and 0.150 nm, as in the crystal structures that Allen et al. (1987) averaged.
    """
    atoms = dict(residue_template(residue.amino_acid))
    if residue.name == "HYP":
        cb, cg, cd = (atoms[name] for name in ("CB", "CG", "CD"))
        middle = unit(2 * cg - cb - cd)
        upright = unit(np.cross(cb - cg, cd - cg))
        half = math.radians(109.47 / 2)
        atoms["OD1"] = cg + 0.142 * (math.cos(half) * middle + math.sin(half) * upright)
    else:
        onto, second, third, length, dihedral = _PHOSPHATES[residue.amino_acid, residue.name[-1]]
        a, b, c = (atoms[name] for name in (onto, second, third))
        atoms["P"] = place_atom(a, b, c, length, math.radians(120.0), math.radians(dihedral))
        for name, turn in (("O1P", 180.0), ("O2P", 60.0), ("O3P", -60.0)):
            atoms[name] = place_atom(atoms["P"], a, b, 0.150, math.radians(108.0), math.radians(turn))
    return {atom: atoms[atom] for atom in sorted(atoms, key=pdb_order)}


def pdb_order(name: str) -> tuple:
    """N, CA, C, O, then the side chain outwards: Greek letter (A, B, G, D, E, Z, H), branch; phosphates last."""
    if name == "P" or (name[0] == "O" and name[-1] == "P"):
        return (2, name != "P", name)
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
    if is_last and name not in CAPS and "OXT" not in known:
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
        if len(beside) == 1 and name not in ("PRO", "HYP"):
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
