"""Write trajectories for other programs, through MDTraj: DCD or XTC beside a PDB, MDTraj's HDF5, or PDB models."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..files import not_written, write_atomically
from ..geometry import superpose
from ..publishing import publishing
from .folder import RunFolder
from .frame_set import FrameSet, Source
from .identity import run_identity
from .trajectory import Trajectory

if TYPE_CHECKING:
    import mdtraj

FORMATS = ("dcd", "xtc", "h5", "pdb")


def export(
    source: RunFolder | FrameSet | Trajectory,
    destination: Path | str,
    format: str = "dcd",
    stride: int = 1,
    *,
    superposed: bool = True,
    overwrite: bool = False,
    topology_pdb: str | None = None,
) -> list[Path]:
    """Write frames in a format that MDTraj, MDAnalysis, VMD or PyMOL open.

    One trajectory file per chain (``chain-000.dcd``, or ``biased-000.dcd`` of an exploration), and ``topology.pdb``
    beside them (HDF5 and PDB hold their own). Times are in ps for MD, Metropolis-Hastings steps for chains.

    DCD and HDF5 keep the positions as they are stored (float32), and with them energies to 0.001 kJ/mol. XTC rounds
    positions to 0.001 nm: energies computed from it are off by 2.1 kJ/mol (22 atoms) to 4.3 kJ/mol (67 atoms), root
    mean square, by 17 kJ/mol at most, and too high on average. PDB rounds to 0.0001 nm: 0.2 to 0.35 kJ/mol.

    Args:
        source: a run, frames of another program, or a trajectory of one.
        destination: a folder, made if need be; or a file, where there is one chain.
        format: ``"dcd"``, ``"xtc"``, ``"h5"`` or ``"pdb"``.
        stride: keep every ``stride``-th frame.
        superposed: turn each frame onto the first one of the first chain.
        overwrite: replace files that exist, whatever they are; without it, only those of an export of the same run.
        topology_pdb: PDB text; needed where ``source`` is a trajectory.

    Returns:
        The files written.

    Raises:
        ValueError: unknown format, no frames, or several chains into one file.
        FileExistsError: a file exists that is no export of the same run and ``overwrite`` is off, or another process is
            writing there; nothing is written.
    """
    import mdtraj

    if format not in FORMATS:
        raise ValueError(f"unknown format {format!r}; choose one of {', '.join(FORMATS)}")
    if format == "h5" and importlib.util.find_spec("tables") is None:  # MDTraj would print a page
        raise ValueError("HDF5 needs PyTables: `pip install tables`, or choose another format")
    if isinstance(source, Trajectory):
        trajectory = source
    else:
        trajectory, topology_pdb = source.trajectory(stride=stride), source.topology_pdb
    if topology_pdb is None:
        raise ValueError("the export of a trajectory needs topology_pdb, the PDB text of its molecule")
    if stride < 1:
        raise ValueError(f"the stride must be at least 1, got {stride}")
    every = stride if isinstance(source, Trajectory) else 1  # or it has been taken already
    positions = trajectory.positions[:, ::every]
    stem = "biased" if trajectory.kind == "exploration" else "chain"
    files = _files(Path(destination), trajectory.n_chains, format, stem)
    pdb = files[0].with_name("topology.pdb") if format in ("dcd", "xtc") else None
    targets = files + ([pdb] if pdb else [])
    of = _described(source, stride, superposed)
    topology = structure(topology_pdb, trajectory.atoms.n_atoms).topology
    names = [file.name for file in targets]
    with publishing(files[0].parent, of, names=names, force=overwrite, beside=True) as outputs:
        if pdb:
            write_atomically(outputs.work / pdb.name, topology_pdb)
        times = (trajectory.times[::every]).numpy()
        reference = positions[0, 0]
        with _plain_folder(outputs.work) as plain:
            for chain, file in zip(positions, files, strict=True):
                frames = superpose(chain, reference) if superposed else chain
                _save(mdtraj.Trajectory(frames.to(torch.float32).numpy(), topology, time=times), plain, format)
                move(plain / f"part.{format}", outputs.work / file.name)
    return files + ([pdb] if pdb else [])


def _described(source: RunFolder | FrameSet | Trajectory, stride: int, superposed: bool) -> str:
    """What an export is of; one of other frames of the same run is another one."""
    if isinstance(source, Trajectory):
        name = hashlib.sha256(source.positions.contiguous().numpy().tobytes()).hexdigest()[:16]
    else:
        name = run_identity(source)
    return f"export of {name}, every {stride}. frame{'' if superposed else ', not superposed'}"


def _save(frames: mdtraj.Trajectory, folder: Path, format: str) -> None:
    """Write frames to ``part.FORMAT`` in a folder.

    Raises:
        NotWritten: the file could not be written in full.
    """
    part = folder / f"part.{format}"
    try:
        frames.save(str(part))
    except TypeError:  # MDTraj's DCD writer stumbles over its own message where a write fails
        code = errno.ENOSPC if shutil.disk_usage(folder).free < frames.xyz.nbytes else errno.EIO
        raise not_written(part, OSError(code, os.strerror(code))) from None
    except (OSError, RuntimeError) as error:
        raise not_written(part, error if isinstance(error, OSError) else OSError(str(error))) from None


@contextlib.contextmanager
def _plain_folder(work: Path) -> Iterator[Path]:
    """A folder whose path MDTraj's C code can open: in ASCII; ``work`` itself where it is."""
    if str(work.resolve()).isascii():
        yield work
        return
    with tempfile.TemporaryDirectory(prefix="timewarp-export-") as other:
        yield Path(other)


def move(source: Path, target: Path) -> None:
    """Move a file, between file systems too.

    Raises:
        NotWritten: the disk is full, ...
    """
    try:
        shutil.move(source, target)
    except OSError as error:
        raise not_written(target, error) from None


def mdtraj_topology(run: Source) -> mdtraj.Topology:
    """The molecule of a run as MDTraj reads it, atoms in the run's order.

    Raises:
        ValueError: the run's PDB text has other atoms.
    """
    return structure(run.topology_pdb, run.atoms.n_atoms).topology


def structure(topology_pdb: str, n_atoms: int) -> mdtraj.Trajectory:
    """The one frame of a PDB text, with names as they are.

    Raises:
        ValueError: the text has another number of atoms.
    """
    import mdtraj

    with tempfile.TemporaryDirectory() as work:
        file = Path(work) / "topology.pdb"
        file.write_text(topology_pdb, encoding="utf-8")
        try:
            frame = mdtraj.load_pdb(str(file), standard_names=False)
        except Exception as error:  # whatever its parser stumbles over
            raise ValueError(f"topology_pdb cannot be read as PDB text ({type(error).__name__}: {error})") from None
    if frame.n_atoms != n_atoms:
        raise ValueError(f"topology_pdb has {frame.n_atoms} atoms, the trajectory {n_atoms}")
    return frame


def _files(destination: Path, n_chains: int, format: str, stem: str) -> list[Path]:
    if destination.suffix.lower() == f".{format}" and not destination.is_dir():
        if n_chains > 1:
            raise ValueError(f"{destination} is one file but there are {n_chains} chains; give a folder")
        return [destination]
    if destination.exists() and not destination.is_dir():
        raise FileExistsError(f"{destination} is a file; give a folder, or a name that ends in .{format}")
    return [destination / f"{stem}-{c:03d}.{format}" for c in range(n_chains)]
