"""From a PDB or mmCIF file to a complete topology: checks of the structure, missing atoms added and reported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from openmm.app import Element, Topology

from .hydrogens import add_hydrogens
from .ordering import reorder
from .pdb_bonds import as_sequence, check_chain, check_stated, disulphides
from .pdb_checks import (
    check_atoms,
    check_backbones,
    check_distances,
    check_handedness,
    check_overlaps,
    check_pieces,
)
from .pdb_protonation import choose_state, terminal_hydrogens
from .pdb_records import read_records
from .pdb_residues import NamedResidue, name_residues, set_names
from .peptides import place_missing_of


def read_pdb(
    path: Path, *, model: int | None = None, altloc: str | None = None
) -> tuple[Topology, np.ndarray, tuple[str, ...]]:
    """Topology with all hydrogens, positions (atoms, 3) in nm, and notes of what was added or taken for granted.

    Protonation is what the file's hydrogens say, else what the names of the residues say, else that of pH 7. A file
    whose hydrogens are those of no state of a residue is refused. Atoms are put in the order of a molecule that is
    built from its sequence.

    Args:
        path: of a PDB or mmCIF file, in the naming of any of the common programs.
        model: number of the model in the file; None where it has one.
        altloc: mark of the alternate locations to keep, such as ``A``; None where there are none.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not one whole peptide; one line says what was found and what to do.
    """
    records = read_records(path, model, altloc)
    notes = list(records.notes)
    residues = name_residues(path, records.residues, notes)
    check_pieces(path, residues)
    check_backbones(path, residues, is_closed=records.is_closed)
    check_overlaps(path, residues)
    is_cyclic = check_chain(path, residues)
    bridges = disulphides(path, residues, records.bonds)
    check_stated(path, residues, records.bonds, is_cyclic=is_cyclic)
    check_atoms(path, residues, is_closed=records.is_closed, is_cyclic=is_cyclic)
    check_handedness(path, residues)
    expected, of_states = _hydrogens(path, residues, bridges, is_cyclic=is_cyclic)
    topology, positions = _topology(residues, bridges, is_cyclic=is_cyclic)
    check_distances(path, residues, topology, positions)
    if _add_heavy_atoms(residues, notes, is_cyclic=is_cyclic):
        topology, positions = _topology(residues, bridges, is_cyclic=is_cyclic)
    notes += of_states
    variants = [list(names.items()) for names in expected]
    topology, positions, n_added = add_hydrogens(topology, positions, variants)
    if n_added:
        notes.append(f"added {n_added} hydrogen{'s' * (n_added > 1)} (pH 7)")
    topology, positions, moved = reorder(topology, positions)
    if moved and not n_added:  # with atoms added the file's order is gone anyway
        notes.append("atoms put in the program's order, which its topology.pdb and trajectories have")
    for residue, named in zip(topology.residues(), residues, strict=True):
        residue.name = named.known.label
    if is_cyclic:
        notes.append(f"closed head to tail: {residues[-1].label} is bonded to {residues[0].label}")
    notes += [f"disulphide bond between {one.label} and {other.label}" for one, other in bridges]
    return topology, positions, tuple(notes)


def _hydrogens(
    path: Path,
    residues: list[NamedResidue],
    bridges: list[tuple[NamedResidue, NamedResidue]],
    *,
    is_cyclic: bool,
) -> tuple[list[dict[str, str]], list[str]]:
    """Settle each residue's state and name its hydrogens; those that it has, with their heavy atoms, and notes."""
    bridged = {id(residue) for pair in bridges for residue in pair}
    open_ones = [r for r in residues if r.known.name.upper() == "CYX" and id(r) not in bridged]
    closed = ""
    if len(open_ones) == 2:
        closed = f" (the sequence {as_sequence(residues, [*bridges, (open_ones[0], open_ones[1])])} is built so)"
    notes: list[str] = []
    expected = []
    for position, residue in enumerate(residues):
        choose_state(path, residue, in_disulphide=id(residue) in bridged, notes=notes, closed=closed)
        names = terminal_hydrogens(
            path,
            residue,
            is_first=position == 0 and not is_cyclic,
            is_last=position == len(residues) - 1 and not is_cyclic,
            notes=notes,
        )
        set_names(path, residue, names)
        expected.append(names)
    return expected, notes


def _topology(
    residues: list[NamedResidue], bridges: list[tuple[NamedResidue, NamedResidue]], *, is_cyclic: bool
) -> tuple[Topology, np.ndarray]:
    """OpenMM's topology under the parents' names, whose bonds it knows, and positions (atoms, 3) in nm."""
    topology = Topology()
    chain = topology.addChain("A")
    atoms = {}
    rows = []
    for residue in residues:
        where = residue.heavy | {h.name: h.position for h in residue.hydrogens}
        number = residue.residue_id.rstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
        made = topology.addResidue(residue.known.parent, chain, number, residue.residue_id[len(number) :])
        for name in residue.order:
            atoms[id(residue), name] = topology.addAtom(name, Element.getBySymbol(name[0]), made)
            rows.append(where[name])
    topology.createStandardBonds()
    for one, other in bridges:
        topology.addBond(atoms[id(one), "SG"], atoms[id(other), "SG"])
    if is_cyclic:
        topology.addBond(atoms[id(residues[-1]), "C"], atoms[id(residues[0]), "N"])
    return topology, np.array(rows)


def _add_heavy_atoms(residues: list[NamedResidue], notes: list[str], *, is_cyclic: bool) -> bool:
    """Complete side chains and the terminal carboxylate; whether anything was missing."""
    was_missing = False
    for residue in residues:
        others = [
            position
            for other in residues
            if other is not residue
            for position in (*other.heavy.values(), *(h.position for h in other.hydrogens))
        ]
        known = residue.heavy | {h.name: h.position for h in residue.hydrogens}
        is_last = residue is residues[-1] and not is_cyclic
        new = place_missing_of(residue.known, known, np.array(others), is_last=is_last)
        if side_chain := [name for name in new if name != "OXT"]:
            notes.append(f"added missing atom{'s' * (len(side_chain) > 1)} {', '.join(side_chain)} of {residue.label}")
        residue.heavy |= new
        residue.order += list(new)
        was_missing |= bool(new)
    return was_missing
