"""Write trajectories for other programs, through MDTraj: PDB with DCD or XTC, MDTraj's HDF5, or PDB models."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..geometry import superpose
from .folder import RunFolder
from .trajectory import Trajectory

if TYPE_CHECKING:
    import mdtraj

FORMATS = ("dcd", "xtc", "h5", "pdb")


def export(
    source: RunFolder | Trajectory,
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
    beside them (HDF5 and PDB hold their own). Times are in ps for
    MD, Metropolis-Hastings steps for chains. XTC rounds positions to 0.001 nm: take energies from the run.

    Args:
        source: a run, or a trajectory of one.
        destination: a folder, made if need be; or a file, where there is one chain.
        format: ``"dcd"``, ``"xtc"``, ``"h5"`` or ``"pdb"``.
        stride: keep every ``stride``-th frame.
        superposed: turn each frame onto the first one of the first chain.
        overwrite: replace files that exist.
        topology_pdb: PDB text; needed where ``source`` is a trajectory.

    Returns:
        The files written.

    Raises:
        ValueError: unknown format, no frames, or several chains into one file.
        FileExistsError: a file exists and ``overwrite`` is off; nothing is written.
    """
    import mdtraj

    if format not in FORMATS:
        raise ValueError(f"unknown format {format!r}; choose one of {', '.join(FORMATS)}")
    if format == "h5" and importlib.util.find_spec("tables") is None:  # MDTraj would print a page
        raise ValueError("HDF5 needs PyTables: `pip install tables`, or choose another format")
    if isinstance(source, RunFolder):
        trajectory, topology_pdb = source.trajectory(stride=stride), source.topology_pdb
        stride = 1
    else:
        trajectory = source
    if topology_pdb is None:
        raise ValueError("the export of a trajectory needs topology_pdb, the PDB text of its molecule")
    if stride < 1:
        raise ValueError(f"the stride must be at least 1, got {stride}")
    positions = trajectory.positions[:, ::stride]
    stem = "biased" if trajectory.kind == "exploration" else "chain"
    files = _files(Path(destination), trajectory.n_chains, format, stem)
    pdb = files[0].with_name("topology.pdb") if format in ("dcd", "xtc") else None
    targets = files + ([pdb] if pdb else [])
    if not overwrite and (there := [f for f in targets if f.exists()]):
        raise FileExistsError(f"{there[0]} exists; choose another destination, or overwrite (--force)")
    files[0].parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=files[0].parent, prefix=".export-") as work:
        start = Path(work) / "topology.pdb"
        start.write_text(topology_pdb, encoding="utf-8")
        topology = _read_topology(start, trajectory.atoms.n_atoms)
        if pdb:
            os.replace(start, pdb)
        times = (trajectory.times[::stride]).numpy()
        reference = positions[0, 0]
        for chain, file in zip(positions, files, strict=True):
            frames = superpose(chain, reference) if superposed else chain
            part = Path(work) / f"part.{format}"
            mdtraj.Trajectory(frames.to(torch.float32).numpy(), topology, time=times).save(str(part))
            os.replace(part, file)
    return files + ([pdb] if pdb else [])


def mdtraj_topology(run: RunFolder) -> mdtraj.Topology:
    """The molecule of a run as MDTraj reads it, atoms in the run's order.

    Raises:
        ValueError: the run's PDB file has other atoms.
    """
    return _read_topology(run.path / "topology.pdb", run.atoms.n_atoms)


def _read_topology(pdb: Path, n_atoms: int) -> mdtraj.Topology:
    import mdtraj

    topology = mdtraj.load_pdb(str(pdb), standard_names=False).topology
    if topology.n_atoms != n_atoms:
        raise ValueError(f"topology_pdb has {topology.n_atoms} atoms, the trajectory {n_atoms}")
    return topology


def _files(destination: Path, n_chains: int, format: str, stem: str) -> list[Path]:
    if destination.suffix.lower() == f".{format}" and not destination.is_dir():
        if n_chains > 1:
            raise ValueError(f"{destination} is one file but there are {n_chains} chains; give a folder")
        return [destination]
    if destination.exists() and not destination.is_dir():
        raise FileExistsError(f"{destination} is a file; give a folder, or a name that ends in .{format}")
    return [destination / f"{stem}-{c:03d}.{format}" for c in range(n_chains)]
