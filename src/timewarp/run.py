"""A run as an object: what every verb returns, and what a notebook opens."""

from __future__ import annotations

import html
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .judging import Judged, judge_run
from .trajectories import RunFolder, Source, Trajectory, check_same_molecule

if TYPE_CHECKING:
    import mdtraj

    from .analysis import Verdict
    from .observables import Observations
    from .report import Picture
    from .state import Atoms
    from .system import System

WHAT = {
    "chain": "chains of exact samples",
    "md": "molecular dynamics",
    "exploration": "exploration, biased",
    "frames": "frames of another program",
}


class Run:
    """One run of ``sample``, ``simulate`` or ``explore``, or a trajectory of another program.

    Frames are read when they are first asked for, and kept.

    Args:
        source: the run folder (a path, or opened), or frames of another program.
        discard: frames dropped from the start of each chain.
        stride: every ``stride``-th frame is kept.

    Attributes:
        folder: the opened run folder, or the frames.

    Raises:
        FileNotFoundError: there is no run.
        ValueError: it is damaged.

    Example:
        >>> from timewarp import sample
        >>> run = sample("AG", samples=64, chains=8, warmup=10, out=folder / "run")
        >>> run.torsions["psi_1"].shape, run.energies.shape
        ((8, 8), (8, 8))
    """

    def __init__(self, source: Path | str | Source, *, discard: int = 0, stride: int = 1) -> None:
        self.folder: Source = RunFolder.open(source) if isinstance(source, Path | str) else source
        self.discard, self.stride = discard, stride

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}: {self.name}, {WHAT[self.kind]}, {self._n_stored:,} stored frames per chain)"

    def _repr_html_(self) -> str:
        rows = {"molecule": self.name, "kind": self.kind, "folder": str(self.path)}
        rows |= {key: self.config[key] for key in ("preset", "temperature_K", "model") if key in self.config}
        if self._n_stored:
            rows["chains x frames"] = f"{self.trajectory.n_chains} x {self.trajectory.n_frames:,}"
        for name, row in ((self.summary or {}).get("kernels") or {}).items():
            if row.get("acceptance") is not None:
                rows[f"{name}, accepted"] = f"{100 * row['acceptance']:.1f} %"
        cells = (f"<tr><th>{html.escape(k)}</th><td>{html.escape(str(v))}</td></tr>" for k, v in rows.items())
        return f"<table>{''.join(cells)}</table>"

    @property
    def _n_stored(self) -> int:
        return sum(self.folder.n_frames(stream) for stream in self.folder.streams)

    @property
    def path(self) -> Path:
        """The run folder, or the file of the frames."""
        return self.folder.path

    @property
    def name(self) -> str:
        """The molecule, as it was given."""
        return self.folder.name

    @property
    def kind(self) -> str:
        """``chain``, ``md``, ``exploration``, or ``frames`` of another program."""
        return self.folder.kind

    @property
    def atoms(self) -> Atoms:
        """The molecule."""
        return self.folder.atoms

    @property
    def config(self) -> Mapping[str, Any]:
        """How it was made."""
        return self.folder.config

    @property
    def summary(self) -> Mapping[str, Any] | None:
        """``summary.json``: acceptance, convergence, cost; None while the run goes on."""
        return self.folder.summary()

    @cached_property
    def trajectory(self) -> Trajectory:
        """All chains, as the analysis functions take them."""
        return self.folder.trajectory(stride=self.stride, discard=self.discard)

    @property
    def positions(self) -> np.ndarray:
        """(chains, frames, atoms, 3) in nm, float32."""
        return self.trajectory.positions.numpy()

    @property
    def energies(self) -> np.ndarray:
        """(chains, frames) in kJ/mol, float64."""
        return self.trajectory.energies.numpy()

    @cached_property
    def torsions(self) -> dict[str, np.ndarray]:
        """phi, psi, omega and chi of every residue by name (``phi_1``, ``chi1_2``), (chains, frames) in rad."""
        from .analysis import torsion_angles

        return torsion_angles(self.trajectory)

    def diagnose(self) -> dict[str, dict[str, float]]:
        """Nested R-hat and effective sample size of every torsion, the energy and each phi > 0."""
        from .analysis import diagnose

        return diagnose(self.trajectory, self.torsions)

    def judge(self, reference: Run | None = None) -> Judged:
        """Everything that ``timewarp analyse`` finds: convergence, populations, geometry, and the verdict.

        Args:
            reference: long MD of the same molecule, temperature and force field, to lay the run beside.

        Raises:
            ValueError: it is an exploration, too short, or does not say its temperature; or the reference is of another
                target.
        """
        other = None if reference is None else reference.folder
        return judge_run(self.folder, other, discard=self.discard, stride=self.stride)

    def verdict(self, reference: Run | None = None) -> Verdict:
        """Whether the samples can be trusted, and why; see :meth:`judge`."""
        return self.judge(reference).verdict

    def observables(self, *requests: str, **options: Any) -> Observations:
        """Couplings, distances, NOEs and other observables by name, each with a standard error of its own.

        Args:
            requests: such as ``"couplings"``, ``"noe=2:HA,3:H"``; see :mod:`timewarp.observables.requests`.
            options: ``own``, ``experiment`` and ``karplus`` of :func:`timewarp.observables.observe`.

        Raises:
            ValueError: a request cannot be understood, or the run is biased.
        """
        from .observables import observe

        return observe(self.folder, requests, discard=self.discard, stride=self.stride, **options)

    @cached_property
    def system(self) -> System:
        """The molecule under its force field at the run's temperature, to sample or to score with."""
        from .system import System  # loads OpenMM

        return System.of_run(self.folder)

    def ramachandran(self, reference: Run | None = None) -> Picture:
        """Free energy over (phi, psi) of each residue, beside that of another run if one is given.

        Raises:
            ValueError: the molecule has no phi and psi, or the other run is of another molecule.
        """
        from .report import figure_of, ramachandran_plot

        plot = ramachandran_plot(self._angles(reference))
        if plot is None:
            raise ValueError(f"{self.name} has no residue with both phi and psi")
        return figure_of(plot)

    def free_energies(self, reference: Run | None = None) -> Picture:
        """Free energy along every torsion with its error, beside that of another run if one is given.

        Raises:
            ValueError: there is no named torsion, or the other run is of another molecule.
        """
        from .report import figure_of, profiles_plot

        plot = profiles_plot(self._angles(reference))
        if plot is None:
            raise ValueError(f"{self.name} has no named torsion")
        return figure_of(plot)

    def to_mdtraj(self, chain: int | None = None) -> mdtraj.Trajectory:
        """Frames of one chain, or of all one after the other, as MDTraj has them (nm; ps, or steps of a chain).

        Raises:
            IndexError: there is no such chain.
        """
        import mdtraj

        from .trajectories import mdtraj_topology

        t = self.trajectory
        if chain is not None and not 0 <= chain < t.n_chains:
            raise IndexError(f"{self.path} has chains 0 to {t.n_chains - 1}, got {chain}")
        chosen = slice(None) if chain is None else slice(chain, chain + 1)
        positions = self.positions[chosen]
        times = np.tile(t.times.numpy(), len(positions))
        return mdtraj.Trajectory(positions.reshape(-1, *positions.shape[2:]), mdtraj_topology(self.folder), time=times)

    def to_arviz(self) -> Any:
        """Sines and cosines of the torsions, and the energy, by chain and draw, for ArviZ.

        Returns:
            ``InferenceData`` (ArviZ 0.x) or a ``DataTree`` (1.x) with a group ``posterior``.
        """
        import arviz

        posterior = {"energy": self.energies}
        for name, angle in self.torsions.items():
            posterior |= {f"sin {name}": np.sin(angle), f"cos {name}": np.cos(angle)}
        if int(arviz.__version__.split(".")[0]) < 1:
            return arviz.from_dict(posterior=posterior)
        return arviz.from_dict({"posterior": posterior})

    def _angles(self, reference: Run | None) -> dict[str, dict[str, np.ndarray]]:
        angles = {self.kind: self.torsions}
        if reference is not None:
            check_same_molecule(self.folder, reference.folder)
            name = "MD" if reference.kind == "md" else reference.kind
            angles[name if name not in angles else f"{name}, reference"] = reference.torsions
        return angles
