"""Trajectory files of other programs, through MDTraj: frames in chunks, with the topology that belongs to them."""

from __future__ import annotations

import contextlib
import ctypes
import gzip
import itertools
import os
import re
import struct
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from .dcd_structure import check_dcd
from .matching import FileAtoms, bonds_by_distance, pieces
from .probing import check_readable

if TYPE_CHECKING:
    import mdtraj

MAGIC: dict[str, tuple[tuple[int, bytes], ...]] = {
    ".dcd": ((4, b"CORD"), (8, b"CORD")),
    ".xtc": ((0, struct.pack(">i", 1995)), (0, struct.pack(">i", 2023))),
    ".trr": ((0, struct.pack(">i", 1993)),),
    ".h5": ((0, b"\x89HDF"),),
    ".hdf5": ((0, b"\x89HDF"),),
    ".nc": ((0, b"CDF"), (0, b"\x89HDF")),
    ".ncdf": ((0, b"CDF"), (0, b"\x89HDF")),
    ".netcdf": ((0, b"CDF"), (0, b"\x89HDF")),
    ".pdb": (),
    ".pdb.gz": ((0, b"\x1f\x8b"),),
}
"""Trajectory formats by suffix, and the bytes that a file of each has (place, bytes), one of several."""
HAVE_TOPOLOGY = (".pdb", ".pdb.gz", ".h5", ".hdf5")
HAVE_TIMES = (".xtc", ".trr", ".h5", ".hdf5", ".nc", ".ncdf", ".netcdf")
"""Formats that say at what time each frame was taken."""
TOPOLOGIES = (".pdb", ".pdb.gz", ".psf", ".prmtop", ".parm7", ".prm7", ".gro", ".h5")
ELEMENTS_OF_PEPTIDES = "HCNOS"
MOST_ATOMS = 2000
"""More than any peptide that is built has; files with more hold something else as well."""


def suffix_of(path: Path) -> str:
    """The suffix; ``.pdb.gz`` is one."""
    return ".pdb.gz" if path.name.endswith(".pdb.gz") else path.suffix


def check_file(path: Path, what: str, suffixes: tuple[str, ...]) -> str:
    """Suffix of a file that is there and is what its suffix says.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is of no format that is read, or not of the format that its name says, or empty.
    """
    if not path.exists():
        raise FileNotFoundError(f"there is no {what} {path}")
    if not path.is_file():
        raise ValueError(f"{path} is not a file; give a {what}")
    suffix = suffix_of(path)
    if suffix not in suffixes:
        raise ValueError(f"{path} is no {what} that is read, by its suffix {suffix!r}; expected {', '.join(suffixes)}")
    with open(path, "rb") as handle:
        head = handle.read(16)
    if not head:
        raise ValueError(f"{path} is empty; expected a {what}")
    signs = MAGIC.get(suffix, ())
    if signs and not any(head[place : place + len(sign)] == sign for place, sign in signs):
        raise ValueError(
            f"{path} is not a {suffix} file: it starts with {head[:8]!r}; give it the suffix of its format"
        )
    return suffix


def read_topology(path: Path) -> mdtraj.Topology:
    """The atoms of a topology file: PDB, PSF, prmtop, GRO or MDTraj's HDF5.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read.
    """
    import mdtraj

    check_file(path, "topology", TOPOLOGIES)
    with _reading(path):
        return mdtraj.load_topology(str(path))


def iterate(path: Path, topology: mdtraj.Topology | None, chunk: int) -> Iterator[mdtraj.Trajectory]:
    """The frames of a trajectory file, at most ``chunk`` at once (a PDB file is read as a whole).

    Args:
        path: the file.
        topology: of its atoms; None takes the file's own (PDB, HDF5).
        chunk: frames.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, has other atoms than the topology, or was cut short.
    """
    import mdtraj

    suffix = check_file(path, "trajectory", tuple(MAGIC))
    if suffix in (".pdb", ".pdb.gz"):
        with _reading(path):
            whole = mdtraj.load_pdb(str(path))
        for start in range(0, whole.n_frames, chunk):
            yield whole[start : start + chunk]
        return
    if suffix == ".dcd":
        check_dcd(path)
    check_readable(path, suffix)
    seen = 0
    own = suffix in HAVE_TOPOLOGY
    with contextlib.ExitStack() as stack:
        with _reading(path), _silent_stdout():  # the DCD reader prints what it finds in the header
            file = stack.enter_context(mdtraj.open(str(path)))
        while True:
            with _reading(path):
                part = file.read_as_traj(n_frames=chunk) if own else file.read_as_traj(topology, n_frames=chunk)
            if len(part) == 0:
                break
            seen += len(part)
            yield part
    if suffix == ".dcd":
        with open(path, "rb") as handle:
            handle.seek(8)
            (claimed,) = struct.unpack("=i", handle.read(4))
            handle.seek(0)
            native = handle.read(4) == struct.pack("=i", 84)
        if native and claimed > seen:
            raise ValueError(
                f"{path} was cut short: its header says {claimed} frames, and it holds {seen} whole ones; get the "
                f"whole file, or write these to a new one with MDTraj: load({path.name!r}, top=...).save('whole.dcd')"
            )


def make_whole(frames: mdtraj.Trajectory, bonds: Sequence[tuple[int, int]]) -> bool:
    """Move atoms to the periodic image next to the atom that they are bonded to, in place.

    Args:
        frames: of one molecule.
        bonds: those that join its atoms.

    Returns:
        Whether there is a box; without one nothing is done.
    """
    if not _has_box(frames):
        return False
    outwards = [bond for piece in pieces(frames.n_atoms, bonds) for bond in piece]
    frames.make_molecules_whole(inplace=True, sorted_bonds=np.array(outwards, dtype=np.int32).reshape(-1, 2))
    return True


def describe(topology: mdtraj.Topology, first: mdtraj.Trajectory) -> FileAtoms:
    """The atoms of a topology, with bonds from the distances of a frame where the topology's do not join all atoms.

    Elements of amino acids are the first letter of their atoms' names: MDTraj takes those of a PSF from the masses,
    which are others where hydrogen masses were repartitioned.

    Args:
        topology: of the file.
        first: one frame of it.
    """
    import mdtraj

    elements = []
    for atom in topology.atoms:
        letter = atom.name.lstrip("0123456789'")[:1].upper()
        symbol = atom.element.symbol if atom.element is not None else "?"
        is_halogen = symbol in ("Cl", "Br") and atom.name.upper().startswith(symbol.upper())
        elements.append(letter if letter and letter in ELEMENTS_OF_PEPTIDES and not is_halogen else symbol)
    bonds = tuple(sorted({(min(a.index, b.index), max(a.index, b.index)) for a, b in topology.bonds}))
    n = topology.n_atoms
    if len(pieces(n, bonds)) > 1 and n <= MOST_ATOMS:
        pairs = np.array(list(itertools.combinations(range(n), 2)))
        distance = torch.zeros(n, n)
        row = mdtraj.compute_distances(first[0], pairs, periodic=_has_box(first))[0]
        distance[pairs[:, 0], pairs[:, 1]] = torch.from_numpy(row)
        bonds = bonds_by_distance(elements, distance + distance.T)
    return FileAtoms(
        elements=tuple(elements),
        names=tuple(atom.name for atom in topology.atoms),
        residues=tuple(atom.residue.index for atom in topology.atoms),
        residue_names=tuple((residue.name, f"{residue.name} {residue.resSeq}") for residue in topology.residues),
        bonds=bonds,
    )


def _has_box(frames: mdtraj.Trajectory) -> bool:
    lengths = frames.unitcell_lengths
    return lengths is not None and bool(np.isfinite(lengths).all() and (lengths > 0).all())


def first_model(path: Path) -> str:
    """The text of a PDB file up to the end of its first model."""
    opened = gzip.open if suffix_of(path) == ".pdb.gz" else open
    with opened(path, "rt", encoding="latin-1") as handle:
        lines = itertools.takewhile(lambda line: not line.startswith("ENDMDL"), handle)
        kept = [line.rstrip("\n") for line in lines if not line.startswith("MODEL ")]
    return "\n".join([*(line for line in kept if line.strip() != "END"), "END", ""])


def as_pdb(file: FileAtoms, positions: torch.Tensor) -> str:
    """PDB text of one configuration (nm) under the file's names, one residue after the other."""
    lines: list[str] = []
    for i in sorted(range(len(file.names)), key=lambda i: file.residues[i]):
        name = file.names[i] if len(file.names[i]) > 3 else f" {file.names[i]}"
        residue = file.residue_names[file.residues[i]][0]
        x, y, z = (10 * float(v) for v in positions[i])
        lines.append(
            f"ATOM  {len(lines) + 1:>5} {name:<4.4} {residue[-3:]:>3} A{file.residues[i] + 1:>4}    "
            f"{x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00          {file.elements[i]:>2}"
        )
    return "\n".join([*lines, "TER", "END", ""])


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Errors of the readers as ValueErrors that name the file; their warnings are left out."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except MemoryError:
        raise
    except Exception as error:  # MDTraj's readers raise many kinds
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        if other := re.search(r"must be shape \(Any, (\d+), 3\).*\(\d+, (\d+), 3\)", reason):
            message = f"{path} has {other[2]} atoms and its topology {other[1]}; give the topology of this trajectory"
        else:
            reason = "no HDF5 file that can be opened" if reason.startswith("HDF5 error") else reason
            message = f"{path} cannot be read, it is damaged or was cut short: {reason}"
        raise ValueError(message) from None


@contextlib.contextmanager
def _silent_stdout() -> Iterator[None]:
    """Without what compiled code prints."""
    try:
        kept = os.dup(1)
    except OSError:  # a process without a standard output
        yield
        return
    flush = ctypes.CDLL(None).fflush if os.name == "posix" else lambda stream: None
    sys.stdout.flush()
    flush(None)
    try:
        with open(os.devnull, "w") as nothing:
            os.dup2(nothing.fileno(), 1)
        yield
        flush(None)
    finally:
        os.dup2(kept, 1)
        os.close(kept)
