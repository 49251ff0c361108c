"""Positions from the file beside a topology, whatever program wrote it, and whether they fit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from openmm import unit
from openmm.app import AmberInpcrdFile, CharmmCrdFile, GromacsGroFile, PDBFile, PDBxFile, Topology

from .kinds import check_readable, split_model

LONGEST_BOND_NM, SHORTEST_BOND_NM = 0.30, 0.05
_HDF, _CDF = b"\x89HDF", b"CDF"


@dataclass(frozen=True, eq=False)
class Coordinates:
    """What a coordinate file holds.

    Attributes:
        path: the file.
        positions: (atoms, 3) in nm.
        names: atom names, or none where the format has none.
        has_box: whether it has a periodic box.
        has_velocities: whether it has velocities.
        topology: of a PDB or mmCIF file.
    """

    path: Path
    positions: np.ndarray
    names: tuple[str, ...] = ()
    has_box: bool = False
    has_velocities: bool = False
    topology: Topology | None = None


def read_coordinates(source: Path) -> Coordinates:
    """Read a coordinate file of any kind that is known: AMBER, GROMACS, CHARMM, PDB (``FILE.pdb#2``) or mmCIF.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read; one line says why.
    """
    path, model = split_model(source)
    suffix = path.suffix.lower()
    check_readable(path, "a file of coordinates", binary=True)
    head = path.open("rb").read(4096)
    try:
        if suffix in (".pdb", ".ent"):
            return _from_pdb(path, PDBFile(str(path), extraParticleIdentifier=""), model)
        if suffix in (".cif", ".mmcif", ".pdbx"):
            return _from_pdb(path, PDBxFile(str(path)), model)
        if model is not None:
            raise ValueError("a model number (#) is for PDB and mmCIF files")
        if suffix == ".gro":
            gro = GromacsGroFile(str(path))
            has_box = any(
                float(abs(component._value)) > 0 for vector in gro.getPeriodicBoxVectors() for component in vector
            )
            return Coordinates(path, _nm(gro.getPositions(asNumpy=True)), tuple(gro.atomNames), has_box)
        if head.lstrip().startswith(b"*"):
            crd = CharmmCrdFile(str(path))
            return Coordinates(path, _nm(crd.positions), tuple(crd.attype))
        if head.startswith(_HDF):
            raise ValueError(
                "it is a binary restart file in NetCDF's version 4 (HDF5), which is not read: write it as text with "
                f"`cpptraj -p TOPOLOGY -y {path.name} -x {path.stem}.rst7`"
            )
        amber = AmberInpcrdFile(str(path))
    except Exception as error:  # OpenMM's readers raise many kinds
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        hint = "" if "cpptraj" in reason else "; it may be cut short, or of another format than its name says"
        raise ValueError(f"{path} cannot be read as coordinates: {reason}{hint}") from None
    return Coordinates(path, _nm(amber.positions), (), amber.boxVectors is not None, amber.velocities is not None)


def _from_pdb(path: Path, pdb: PDBFile | PDBxFile, model: int | None) -> Coordinates:
    n_models = pdb.getNumFrames()
    if model is None and n_models > 1:
        raise ValueError(f"it holds {n_models} models: say which, as {path}#1")
    if model is not None and not 1 <= model <= n_models:
        raise ValueError(f"it holds {n_models} model{'s' * (n_models > 1)}, and no model {model}")
    positions = pdb.getPositions(asNumpy=True, frame=(model or 1) - 1)
    names = tuple(atom.name for atom in pdb.topology.atoms())
    has_box = pdb.topology.getPeriodicBoxVectors() is not None
    return Coordinates(path, _nm(positions), names, has_box, False, pdb.topology)


def _nm(positions: Any) -> np.ndarray:
    return np.array(positions.value_in_unit(unit.nanometer), dtype=float).reshape(-1, 3)


def check_pairing(path: Path, topology: Topology, found: Coordinates) -> None:
    """Refuse coordinates that are of another molecule, of another order of atoms, or broken across a periodic box.

    Raises:
        ValueError: they are.
    """
    atoms = list(topology.atoms())
    if len(found.positions) != len(atoms):
        raise ValueError(
            f"{path} has {len(atoms)} atoms, and {found.path} has {len(found.positions)}; give the coordinates of the "
            "same molecule as `coordinates`"
        )
    if not np.isfinite(found.positions).all():
        bad = int((~np.isfinite(found.positions)).any(1).argmax())
        raise ValueError(f"{found.path}: the position of atom {bad + 1} ({atoms[bad].name}) is not a number; repair it")
    for index, name in enumerate(found.names):
        element = atoms[index].element
        first = name.lstrip("0123456789")[:1].upper()
        if (
            element is not None
            and first
            and first not in (element.symbol[0], atoms[index].name.lstrip("0123456789")[:1])
        ):
            raise ValueError(
                f"{found.path}: atom {index + 1} is {name}, and {atoms[index].name} in {path}: the files are of other "
                "molecules, or order their atoms differently; write both by the same program"
            )
    for one, other in topology.bonds():
        length = float(np.linalg.norm(found.positions[one.index] - found.positions[other.index]))
        if not SHORTEST_BOND_NM < length < LONGEST_BOND_NM:
            cause = (
                "the molecule seems to be broken across the periodic box: make it whole first (cpptraj: autoimage; "
                "gmx trjconv -pbc whole)"
                if found.has_box and length >= LONGEST_BOND_NM
                else "the coordinates are of another molecule or another order of atoms, or damaged"
            )
            raise ValueError(
                f"{found.path}: the bonded atoms {one.name} and {other.name} of {other.residue.name} "
                f"{other.residue.index + 1} are {length:.2f} nm apart; {cause}"
            )
