"""Langevin molecular dynamics of a molecule."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..molecules import Molecule, build_molecule, folder_name
from ..progress import Listener, listening
from ..run import Run
from ..settings.simulation import SimulationSettings
from ..simulation import simulate as run_simulation
from ..system import System

logger = logging.getLogger("timewarp")


def simulate(
    molecule: str | Path | Molecule | System,
    *,
    out: Path | str | None = None,
    preset: str = "amber14-obc2",
    threads: int | None = None,
    progress: bool | Listener = False,
    heartbeat: Callable[[], None] | None = None,
    **settings: Any,
) -> Run:
    """Run Langevin MD of a molecule, into a run folder: minimise, burn in, produce.

    The compiled force field is kept beside the frames, for training and for sampling. The same call goes on with a run
    that was killed, exactly, and a larger ``length_ns`` extends it.

    Args:
        molecule: one-letter codes (``"AG"``), with caps (``"Ace-A-Nme"``), a PDB file, or a :class:`System`, whose
            force field and temperature are then taken.
        out: the run folder, new or to be resumed; None: ``NAME-md`` here.
        preset: force field and solvent.
        threads: of the batched engine, or processes for OpenMM's replicas; None: all cores.
        progress: True for a progress line on standard error, or a function called with a
            :class:`timewarp.progress.Report`.
        heartbeat: called about twice a second; what it raises ends the run.
        settings: fields of :class:`~timewarp.settings.simulation.SimulationSettings`: ``length_ns``, ``temperature_K``,
            ``timestep_fs``, ``torsion_moves_per_ps``, ...

    Returns:
        The run, of kind ``md``.

    Raises:
        ValueError: the molecule or a setting cannot be used.
        FileExistsError: the folder holds something else, or a run with other settings.
        timewarp.simulation.SimulationError: a replica exploded; the others were finished.

    Example:
        >>> run = simulate("AG", length_ns=0.002, burn_in_ps=1, out=folder / "md")
        >>> run.trajectory.n_frames
        2
    """
    if isinstance(molecule, System):
        if molecule.molecule is None or molecule.is_own_energy:
            raise ValueError(
                "MD needs OpenMM's system of the molecule: give a sequence or a PDB file in place of this system"
            )
        settings = {"temperature_K": molecule.temperature_K, **settings}
        molecule = molecule.molecule
    chosen = SimulationSettings.make(settings)
    if not isinstance(molecule, Molecule):
        molecule = build_molecule(molecule, preset)
        for note in molecule.notes:
            logger.warning(note)
    with listening(progress):
        folder = run_simulation(
            molecule,
            Path(out or f"{folder_name(molecule.name)}-md"),
            chosen,
            quiet=progress is not True,
            processes=threads,
            heartbeat=heartbeat,
        )
    return Run(folder)
