"""From a PDB file to a complete topology: checks of the structure, missing atoms added and reported."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import numpy as np
from openmm import unit
from openmm.app import Atom, Element, Modeller, PDBFile, Residue, Topology

from .hydrogens import add_hydrogens, is_hydrogen
from .ordering import reorder
from .pdb_records import AMINO_ACIDS, PROTONATION_STATES, PdbRecords, read_records
from .peptides import hydrogen_names, place_missing, residue_template

_BACKBONE = {"ACE": ("CH3", "C", "O"), "NME": ("N", "C")}
_MAX_PEPTIDE_BOND_NM, _MAX_BOND_NM, _MAX_BOND_TO_H_NM, _MAX_DISULPHIDE_NM = 0.20, 0.22, 0.16, 0.30
_MIN_HEAVY_NM, _MIN_H_NM = 0.18, 0.10
_MIN_BOND_NM = 0.06


def read_pdb(path: Path) -> tuple[Topology, np.ndarray, tuple[str, ...]]:
    """Topology with all hydrogens, positions (atoms, 3) in nm, and notes of what was added or taken for granted.

    Protonation is that of pH 7 where the file gives no hydrogens. A histidine keeps the tautomer that its
    hydrogens (or else its name: HID, HIE, HIP) say, and is HIE otherwise. Atoms are put in the order of a molecule
    that is built from its sequence.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not one whole peptide; one line says what was found and what to do.
    """
    records = read_records(path)
    try:
        pdb = PDBFile(io.StringIO(_clean_text(records)))
    except Exception as error:  # OpenMM's reader raises many kinds
        raise ValueError(f"{path} cannot be read as PDB: {error}; check its columns against the PDB format") from None
    topology = pdb.topology
    counts = (topology.getNumResidues(), topology.getNumAtoms())
    if counts != (len(records.residue_names), len(records.atoms)):
        raise ValueError(
            f"{path} has {len(records.atoms)} atoms in {len(records.residue_names)} residues, but OpenMM reads "
            f"{counts[1]} in {counts[0]}; check its columns against the PDB format"
        )
    topology.setPeriodicBoxVectors(None)
    positions = np.array(pdb.getPositions(asNumpy=True)._value, dtype=float)
    _check_pieces(path, topology)
    topology, positions = _drop_stray_hydrogens(topology, positions)
    _check_atoms(path, topology, records)
    _check_chain(path, topology, positions)
    _check_distances(path, topology, positions)
    notes: list[str] = []
    topology, positions = _add_heavy_atoms(topology, positions, notes)
    variants = _variants(topology, records, notes)
    topology, positions, n_added = add_hydrogens(topology, positions, variants)
    if n_added:
        notes.append(f"added {n_added} hydrogen{'s' * (n_added > 1)} (pH 7)")
    topology, positions, moved = reorder(topology, positions)
    if moved and not n_added:  # with atoms added the file's order is gone anyway
        notes.append("atoms put in the program's order, which its topology.pdb and trajectories have")
    for one, other in topology.bonds():
        if one.name == other.name == "SG":
            ends = sorted((one.residue, other.residue), key=lambda residue: residue.index)
            notes.append(f"disulphide bond between {_label(ends[0])} and {_label(ends[1])}")
    return topology, positions, tuple(notes)


def _clean_text(records: PdbRecords) -> str:
    """The atoms alone, with the names of plain residues, for OpenMM's reader (which knows other atom names)."""
    lines = []
    for atom in records.atoms:
        name = PROTONATION_STATES.get(atom.residue_name, atom.residue_name)
        lines.append(f"ATOM  {atom.line[6:16]} {name:>3} {atom.line[21:78]}")
    return "\n".join([*lines, "END", ""])


def _label(residue: Residue) -> str:
    return f"{residue.name} {residue.id}{residue.insertionCode.strip()}"


def _name(atom: Atom) -> str:
    return f"{atom.name} of {_label(atom.residue)}"


def _drop_stray_hydrogens(topology: Topology, positions: np.ndarray) -> tuple[Topology, np.ndarray]:
    """Without the hydrogens whose own heavy atom is missing: they come back with it."""
    bonded = {atom for bond in topology.bonds() for atom in bond}
    stray = [
        atom
        for atom in topology.atoms()
        if atom not in bonded and is_hydrogen(atom) and atom.name in hydrogen_names(atom.residue.name)
    ]
    if not stray:
        return topology, positions
    modeller = Modeller(topology, positions * unit.nanometer)
    modeller.delete(stray)
    return modeller.topology, np.array(modeller.getPositions().value_in_unit(unit.nanometer), dtype=float)


def _check_pieces(path: Path, topology: Topology) -> None:
    residues = list(topology.residues())
    if topology.getNumChains() > 1:
        raise ValueError(f"{path} has {topology.getNumChains()} chains; expected one peptide: keep one chain")
    for residue in residues[1:]:
        if residue.name == "ACE":
            raise ValueError(
                f"{path}: the cap {_label(residue)} is not in front of the chain; put it first, or remove it"
            )
    for residue in residues[:-1]:
        if residue.name == "NME":
            raise ValueError(
                f"{path}: the cap {_label(residue)} is not at the end of the chain; put it last, or remove it"
            )
    amino_acids = [residue for residue in residues if residue.name in AMINO_ACIDS]
    if not amino_acids:
        raise ValueError(f"{path} has no amino acid, only {', '.join(r.name for r in residues)}; expected a peptide")
    if len(residues) == 1:
        raise ValueError(
            f"{path} is a single free amino acid ({_label(residues[0])}), for which the force field has no template; "
            "add the caps ACE and NME, or give two residues or more"
        )


def _check_atoms(path: Path, topology: Topology, records: PdbRecords) -> None:
    bonded = {atom for bond in topology.bonds() for atom in bond}
    residues = list(topology.residues())
    for residue in residues:
        names = {atom.name for atom in residue.atoms()}
        backbone = _BACKBONE.get(residue.name, ("N", "CA", "C", "O"))
        if missing := [name for name in backbone if name not in names]:
            cut = "; the file seems to be cut short" if residue is residues[-1] and not records.is_closed else ""
            raise ValueError(
                f"{path}: {_label(residue)} lacks the backbone atom{'s' * (len(missing) > 1)} {', '.join(missing)}"
                f"{cut}: only side chains and hydrogens can be added, so complete the backbone first"
            )
        known = set(residue_template(residue.name)) | {"OXT"}
        for atom in residue.atoms():
            if (atom not in bonded) if is_hydrogen(atom) else (atom.name not in known):
                raise ValueError(
                    f"{path}: {_label(residue)} has an atom {atom.name!r} that this residue does not have; "
                    "correct its name (PDB standard names), or remove it"
                )
    last = residues[-1]
    wanted = {*residue_template(last.name), *([] if last.name == "NME" else ["OXT"])}
    absent = wanted - {atom.name for atom in last.atoms()}
    if absent and not records.is_closed:
        raise ValueError(
            f"{path} ends within {_label(last)}, without {', '.join(sorted(absent))} and without an END or TER record: "
            "it seems to be cut short; get the whole file, or add END if it is meant so"
        )


def _check_chain(path: Path, topology: Topology, positions: np.ndarray) -> None:
    for before, after in itertools.pairwise(topology.residues()):
        c = next(atom.index for atom in before.atoms() if atom.name == "C")
        n = next(atom.index for atom in after.atoms() if atom.name == "N")
        distance = float(np.linalg.norm(positions[c] - positions[n]))
        if distance > _MAX_PEPTIDE_BOND_NM:
            raise ValueError(
                f"{path}: the chain is broken between {_label(before)} and {_label(after)}: C and N are "
                f"{distance:.2f} nm apart, expected 0.13; model the missing residues, or keep one piece"
            )


def _check_distances(path: Path, topology: Topology, positions: np.ndarray) -> None:
    """Bonds of sensible length, and nothing else as close as a bond."""
    atoms = list(topology.atoms())
    is_h = np.array([is_hydrogen(atom) for atom in atoms])
    distance = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    least = np.where(is_h[:, None] | is_h[None], _MIN_H_NM, _MIN_HEAVY_NM)
    for one, other in topology.bonds():
        least[one.index, other.index] = least[other.index, one.index] = _MIN_BOND_NM
    close = np.argwhere(np.triu(distance < least, 1))
    if len(close):
        i, j = min(close.tolist(), key=lambda pair: (distance[*pair], pair))
        raise ValueError(
            f"{path}: atoms {_name(atoms[i])} and {_name(atoms[j])} are {distance[i, j]:.3f} nm apart: they overlap, "
            "or are joined in a way that is not supported (rings, cross-links); correct the positions "
            "(PDB's unit is angstrom)"
        )
    for i, j in sorted(sorted((one.index, other.index)) for one, other in topology.bonds()):
        longest = _MAX_BOND_TO_H_NM if is_h[i] or is_h[j] else _MAX_BOND_NM
        longest = _MAX_DISULPHIDE_NM if atoms[i].name == atoms[j].name == "SG" else longest
        if distance[i, j] > longest:
            raise ValueError(
                f"{path}: the bonded atoms {_name(atoms[i])} and {_name(atoms[j])} are {distance[i, j]:.2f} nm apart, "
                f"expected at most {longest:.2f}; correct the positions (PDB's unit is angstrom), or remove the atom "
                "to have it rebuilt"
            )


def _add_heavy_atoms(topology: Topology, positions: np.ndarray, notes: list[str]) -> tuple[Topology, np.ndarray]:
    """Complete side chains and the terminal carboxylate; the same objects where nothing is missing."""
    residues = list(topology.residues())
    owner = np.array([atom.residue.index for atom in topology.atoms()])
    added: dict[int, dict[str, np.ndarray]] = {}
    for residue in residues:
        known = {atom.name: positions[atom.index] for atom in residue.atoms()}
        before = [position for new in added.values() for position in new.values()]
        others = np.array([*positions[owner != residue.index], *before])
        new = place_missing(residue.name, known, others, is_last=residue is residues[-1])
        if side_chain := [name for name in new if name != "OXT"]:
            notes.append(
                f"added missing atom{'s' * (len(side_chain) > 1)} {', '.join(side_chain)} of {_label(residue)}"
            )
        if "OXT" in new:
            notes.append(f"added the terminal OXT of {_label(residue)}")
        if new:
            added[residue.index] = new
    if not added:
        return topology, positions
    complete = Topology()
    chain = complete.addChain("A")
    rows: list[np.ndarray] = []
    for residue in residues:
        copy = complete.addResidue(residue.name, chain, residue.id, residue.insertionCode)
        for atom in residue.atoms():
            complete.addAtom(atom.name, atom.element, copy)
            rows.append(positions[atom.index])
        for name, position in added.get(residue.index, {}).items():
            complete.addAtom(name, Element.getBySymbol(name[0]), copy)
            rows.append(position)
    complete.createStandardBonds()
    pairs = [bond for bond in topology.bonds() if bond[0].name == bond[1].name == "SG"]
    sulphurs = {atom.residue.index: atom for atom in complete.atoms() if atom.name == "SG"}
    for one, other in pairs:
        complete.addBond(sulphurs[one.residue.index], sulphurs[other.residue.index])
    return complete, np.array(rows)


def _variants(topology: Topology, records: PdbRecords, notes: list[str]) -> list[str | None]:
    """Protonation state of each residue in OpenMM's naming; None leaves the choice to pH 7."""
    given = list(records.residue_names.values())
    variants: list[str | None] = []
    for residue, name in zip(topology.residues(), given, strict=True):
        hydrogens = {atom.name for atom in residue.atoms() if is_hydrogen(atom)}
        variant = None
        if residue.name == "HIS":
            on_ring = ("HD1" in hydrogens, "HE2" in hydrogens)
            named = {"HSD": "HID", "HSE": "HIE", "HSP": "HIP"}.get(name, name)
            variant = {(True, True): "HIP", (True, False): "HID", (False, True): "HIE"}.get(on_ring)
            if variant is None:
                variant = named if named in ("HID", "HIE", "HIP") else "HIE"
                notes.append(f"no hydrogen on the ring nitrogens of {_label(residue)}: took {variant}")
        elif name in ("ASH", "GLH", "LYN"):
            variant = name
        variants.append(variant)
    return variants
