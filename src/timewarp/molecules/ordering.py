"""One order of atoms for each molecule, however a file orders them, so that its network and its runs fit it."""

from __future__ import annotations

import numpy as np
from openmm.app import Topology

from .hydrogens import is_hydrogen
from .peptides import pdb_order


def reorder(topology: Topology, positions: np.ndarray) -> tuple[Topology, np.ndarray, bool]:
    """Put the atoms of each residue in the order that a molecule built from its sequence has.

    Heavy atoms as N, CA, C, O, the side chain outwards, OXT, each followed by its hydrogens by name.

    Args:
        topology: complete, with hydrogens.
        positions: (atoms, 3) in nm.

    Returns:
        topology, positions and whether anything moved.
    """
    parent = {atom: atom for atom in topology.atoms()}
    for one, other in topology.bonds():
        for hydrogen, heavy in ((one, other), (other, one)):
            if is_hydrogen(hydrogen) and not is_hydrogen(heavy):
                parent[hydrogen] = heavy
    atoms = sorted(
        topology.atoms(),
        key=lambda atom: (
            atom.residue.index,
            _rank(parent[atom].name),
            is_hydrogen(atom),
            len(atom.name),
            atom.name,
        ),
    )
    order = [atom.index for atom in atoms]
    if order == sorted(order):
        return topology, positions, False
    sorted_topology = Topology()
    chain = sorted_topology.addChain("A")
    residues = {r: sorted_topology.addResidue(r.name, chain, r.id, r.insertionCode) for r in topology.residues()}
    new = {atom: sorted_topology.addAtom(atom.name, atom.element, residues[atom.residue]) for atom in atoms}
    for bond in topology.bonds():
        sorted_topology.addBond(new[bond[0]], new[bond[1]], bond.type, bond.order)
    return sorted_topology, positions[order], True


def _rank(name: str) -> tuple:
    return (3, 0, "") if name == "OXT" else pdb_order(name)
