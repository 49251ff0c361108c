"""A molecule under a force field at a temperature: what is sampled."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from . import native
from .analysis.geometry import pdb_positions
from .energies import Energy, Parameters, Potential, compile_system
from .machine import resolve_device
from .molecules import PRESETS, Files, Kind, Molecule, build_molecule, kind_of
from .restriction import Restriction
from .sampling import Target
from .settings.sampling import PRECISIONS
from .shapes import Float
from .starts import start_positions
from .state import Atoms
from .trajectories import SUPERCHAINS, RunFolder, Source

logger = logging.getLogger("timewarp")
DEFAULT = "amber14-obc2"
"""The default preset."""
OWN_ENERGY = "own energy"
"""What a run under an energy of one's own says in place of a preset."""


class System(Target):
    """A molecule under a force field at a temperature: the Boltzmann distribution that kernels leave invariant.

    It is a :class:`~timewarp.sampling.Target`, so every kernel takes it as its first argument.

    Args:
        molecule: one-letter codes (``"AG"``), with caps (``"Ace-A-Nme"``), the path of a PDB file, of a topology with a
            force field of its own (AMBER ``prmtop``, GROMACS ``top``, CHARMM ``psf``, an OpenMM ``System`` as ``xml``)
            or of a run folder, or a molecule that is built already.
        preset: force field and solvent, a name of :data:`timewarp.molecules.PRESETS`, such as ``amber14-obc2``.
            Files with a force field of their own need none.
        temperature_K: in K; None: the preset's.
        precision: of positions and energies in memory, ``"float32"`` or ``"float64"``.
        device: torch device, such as ``"cpu"`` or ``"cuda"``.
        coordinates: file of positions for a topology (``inpcrd``, ``rst7``, ``gro``, ``crd``, ``pdb``, ``cif``); None:
            the one beside it with the same stem.
        parameters: parameter files of a CHARMM ``psf``.
        include: folders in which ``#include`` of a GROMACS ``top`` is looked up.
        solvent: ``none``, ``hct``, ``obc1``, ``obc2``, ``gbn`` or ``gbn2``; None: the preset's, ``obc2`` for a topology
            with a force field of its own.
        altloc: which alternate location of a PDB or mmCIF file.
        force_field: force-field files (XML) of OpenMM in place of the preset's, with ``solvent``.
        energy: an energy of one's own in place of the force field's: a function from positions (chains, atoms, 3) in nm
            to energies (chains,) in kJ/mol, differentiable in torch, or an object with such a method ``energy``. It
            must not change when the molecule is moved or turned as a whole.
        cis_trans: which peptide bonds may be cis as well as trans: ``"fixed"``, none, they stay as they are in the
            start; ``"proline"``, those before proline; ``"all"``, every one that is in no ring.

    Attributes:
        molecule: the molecule; None for a system that was read from a run.
        name: of the molecule, as it was given.
        preset: name of the force-field preset; ``own energy`` with an energy of one's own.
        atoms: what is known of the atoms.
        parameters: the compiled force field; None with an energy of one's own.
        built: start positions (atoms, 3) in nm, minimised, in the precision and on the device of the chains.
        restriction: chirality and cis/trans pattern of ``built``, which chains keep but where ``cis_trans`` says not.
        notes: what was added, changed or is unusual in the molecule, one line each.

    Raises:
        ValueError: the sequence, the file, the preset, a number or the device cannot be used.
        FileNotFoundError: there is no such PDB file.

    Example:
        >>> system = System("AG", temperature_K=300)
        >>> system
        System('AG', 20 atoms, amber14-obc2, 300 K)
        >>> positions = system.starts(8, torch.Generator().manual_seed(1))
        >>> system.energy(positions).shape
        torch.Size([8])
    """

    atoms: Atoms  # type: ignore[assignment]
    restriction: Restriction  # type: ignore[assignment]

    def __init__(
        self,
        molecule: str | Path | Molecule,
        *,
        preset: str = "amber14-obc2",
        temperature_K: float | None = None,
        precision: str = "float32",
        device: str = "cpu",
        coordinates: str | Path | None = None,
        parameters: str | Path | Sequence[str | Path] = (),
        include: str | Path | Sequence[str | Path] = (),
        solvent: str | None = None,
        altloc: str | None = None,
        force_field: str | Path | Sequence[str | Path] = (),
        energy: Energy | Callable[[Tensor], Tensor] | None = None,
        cis_trans: str = "fixed",
    ) -> None:
        files = Files.of(coordinates, parameters, include, solvent, altloc, force_field)
        if not isinstance(molecule, Molecule) and kind_of(molecule) is Kind.RUN:
            files.refuse(Kind.RUN, "coordinates", "parameters", "include", "solvent", "altloc", "force_field")
            self._assemble_run(RunFolder.open(molecule), temperature_K, precision, device, energy)
            return
        if isinstance(molecule, Molecule):
            built = molecule
        else:
            built = build_molecule(molecule, preset, files=files)
        self.molecule: Molecule | None = built
        compiled = compile_system(built.system) if energy is None else None
        self._assemble(
            built.name,
            built.atoms,
            compiled,
            built.start_positions,
            built.pdb,
            preset=built.preset.name,
            temperature_K=built.preset.temperature_K if temperature_K is None else temperature_K,
            precision=precision,
            device=device,
            energy=energy,
            cis_trans=cis_trans,
        )
        self.notes: tuple[str, ...] = built.notes
        for note in built.notes:
            logger.warning(note)

    @classmethod
    def of_run(cls, run: Source, *, precision: str = "float32", device: str = "cpu") -> System:
        """The system that a run was made of, from what lies beside its frames; OpenMM is not needed.

        Raises:
            ValueError: the run holds no compiled energy, or it does not say its temperature.
        """
        system = cls.__new__(cls)
        system._assemble_run(run, None, precision, device, None)
        return system

    def _assemble_run(
        self,
        run: Source,
        temperature_K: float | None,
        precision: str,
        device: str,
        energy: Energy | Callable[[Tensor], Tensor] | None,
    ) -> None:
        self.molecule, self.notes = None, ()
        if run.parameters is None and energy is None:
            raise ValueError(
                f"{run.path} has no energy.safetensors beside its frames; make the system from its molecule"
            )
        if temperature_K is None:  # an exploration has none
            temperature_K = PRESETS[DEFAULT].temperature_K if run.kind == "exploration" else run.temperature_K
        self._assemble(
            run.name,
            run.atoms,
            run.parameters if energy is None else None,
            torch.as_tensor(pdb_positions(run.topology_pdb, run.atoms.n_atoms)),
            run.topology_pdb,
            preset=str(run.config.get("preset")),
            temperature_K=temperature_K,
            precision=precision,
            device=device,
            energy=energy,
            cis_trans=run.config.get("cis_trans", "fixed"),
        )

    def _assemble(
        self,
        name: str,
        atoms: Atoms,
        parameters: Parameters | None,
        positions: Tensor,
        pdb: str,
        *,
        preset: str,
        temperature_K: float,
        precision: str,
        device: str,
        energy: Energy | Callable[[Tensor], Tensor] | None,
        cis_trans: str,
    ) -> None:
        if precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
        self.name, self.preset, self.pdb = name, preset, pdb
        self.parameters, self.precision, self.device = parameters, precision, resolve_device(device)
        self.is_own_energy = energy is not None
        if self.is_own_energy:
            self.preset = OWN_ENERGY  # or its runs would pass for those of the force field
        self.built = positions.to(self.device, getattr(torch, precision))
        if energy is None:
            assert parameters is not None
            energy = Potential(parameters, dtype=self.built.dtype, device=self.device)
            if self.device == "cpu" and not native.available():
                logger.warning(native.why_not())
        restriction = Restriction(self.built, atoms, cis_trans)
        Target.__init__(self, energy, temperature_K, restriction, atoms=atoms)

    def __repr__(self) -> str:
        own = ", an energy of one's own" if self.is_own_energy else f", {self.preset}"
        return f"System({self.name!r}, {self.atoms.n_atoms} atoms{own}, {self.temperature_K:g} K)"

    def starts(
        self,
        n_chains: int,
        generator: torch.Generator,
        start: Sequence[str] = ("spread",),
        *,
        superchains: int | None = None,
    ) -> Float[Tensor, "chains atoms 3"]:
        """Minimised start positions in nm, scattered over the conformations.

        Args:
            n_chains: chains.
            generator: source of the random torsions.
            start: where chains start, cycled over the superchains: ``"spread"`` (torsions at random, far apart),
                ``"built"``, torsions in degrees (``"phi_1=60,psi_1=40"``), or ``"FILE.pdb#MODEL"``.
            superchains: chains ``c`` with equal ``c % superchains`` share a start; None: 8, or as many as there are
                chains.

        Raises:
            ValueError: a start cannot be understood, or none with a reasonable energy was found.
        """
        return start_positions(
            self,
            self.atoms,
            self.built,
            tuple(start),
            n_chains,
            generator,
            kT=self.kT,
            restriction=self.restriction,
            superchains=min(SUPERCHAINS, n_chains) if superchains is None else superchains,
        )

    @property
    def facts(self) -> dict[str, Any]:
        """Molecule, force field and temperature, as a run's configuration has them.

        A force field that no preset names is told from others by a hash of its numbers.
        """
        return {
            "molecule": self.name,
            "preset": self.preset,
            "temperature_K": self.temperature_K,
            "energy": self.energy_digest,
        }

    @property
    def energy_digest(self) -> str | None:
        """Hash of a force field that came from files; None for one that a preset names, or an energy of one's own."""
        return None if self.parameters is None or self.preset in PRESETS else self.parameters.digest
