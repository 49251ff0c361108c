"""Build a peptide in three dimensions from its sequence, from ideal bond lengths and angles."""

from __future__ import annotations

import io
import math
from functools import lru_cache
from importlib import resources

import numpy as np
from openmm.app import Element, PDBFile, Topology

from .hydrogens import place_atom, unit
from .sequences import Sequence

# Engh & Huber (1991), nm and degrees; phi and psi of an antiparallel sheet, where side chains keep clear of each other.
_N_CA, _CA_C, _C_N, _C_O = 0.1458, 0.1525, 0.1329, 0.1231
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
    backbone = _backbone(names)
    for number, name, (n, alpha, carbonyl) in zip(
        range(int(not sequence.front_cap), len(names) + 1), names, backbone, strict=False
    ):
        residue = topology.addResidue(name, chain, id=str(number))
        atoms = _place_residue(name, n, alpha, carbonyl)
        if name == names[-1] and number == len(names) - int(sequence.front_cap) and not sequence.back_cap:
            atoms["OXT"] = place_atom(carbonyl, alpha, n, 0.125, math.radians(_CA_C_O), math.radians(_PSI))
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


@lru_cache(maxsize=None)
def residue_template(name: str) -> dict[str, np.ndarray]:
    """Heavy atoms of an L residue, nm, from the template that PDBFixer ships (idealised, Chemical Component Dictionary)."""
    text = (resources.files("pdbfixer") / "templates" / f"{name}.pdb").read_text()
    pdb = PDBFile(io.StringIO(text))
    positions = np.array(pdb.getPositions(asNumpy=True)._value)
    return {atom.name: positions[atom.index] for atom in pdb.topology.atoms()}
