"""Frames of another program as a run."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..run import Run
from ..trajectories import read_frames as read_frame_set

logger = logging.getLogger("timewarp")


def read_frames(paths: Path | str | Sequence[Path | str], top: Path | str | None = None, **options: Any) -> Run:
    """Frames of another program: DCD, XTC, TRR, NetCDF, HDF5, PDB. What was taken for granted is logged.

    The run serves as a reference (``run.verdict(reference=md)``), as training data (``train(md, out=...)``), and knows
    its molecule (``md.system``), atoms in the molecule's order, energies computed.

    Args:
        paths: one file, or several of one molecule, each a chain.
        top: the atoms of the files: PDB, PSF, prmtop, GRO or HDF5. PDB and HDF5 trajectories have their own.
        options: of :func:`timewarp.trajectories.read_frames`: ``molecule``, ``preset``, ``temperature_K``, ``stride``,
            ``discard``, ``spacing_ps``.

    Raises:
        FileNotFoundError: a file does not exist.
        ValueError: a file cannot be read, or its frames are of another molecule or incomplete; one line says why.

    Example:
        >>> run = sample("AG", samples=64, chains=8, warmup=10, out=folder / "run")
        >>> run.to_mdtraj().save_dcd(folder / "mine.dcd")
        >>> md = read_frames(folder / "mine.dcd", top=run.path / "topology.pdb", temperature_K=310)
        >>> md.energies.shape, md.system
        ((1, 64), System('AG', 20 atoms, amber14-obc2, 310 K))
    """
    found = read_frame_set(paths, top, **options)
    for note in found.notes:
        logger.info(f"{found.path}: {note}")
    return Run(found)
