"""What a run folder says of itself, beside its frames: configuration, molecule, force field, summary."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from ..energies import Parameters
from ..files import read_json, read_toml
from ..state import Atoms
from .identity import stereochemistry

SCHEMA = 1
KINDS = ("md", "chain", "exploration", "frames")
ENERGY_FILE = "energy.safetensors"
BIASED = (
    "biased: states found by exploration, without Metropolis-Hastings; how often each occurs means nothing until "
    "`timewarp sample --start-from` confirms them"
)
"""What is said of an exploration wherever it is met."""


class Description:
    """The files of a run folder that are not frames; :class:`~timewarp.trajectories.RunFolder` adds these.

    Attributes:
        path: the folder.
        kind: ``"md"``, ``"chain"``, ``"exploration"`` or ``"frames"``.
        name: of the molecule, as the user gave it.
        atoms: the molecule.
        config: the resolved configuration, without the ``[run]`` table.
    """

    path: Path
    kind: str
    name: str
    atoms: Atoms
    config: dict[str, Any]

    @property
    def topology_pdb(self) -> str:
        """PDB text of the start positions."""
        path = self.path / "topology.pdb"
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is not text ({error}); it is damaged") from None

    @cached_property
    def stereochemistry(self) -> str | None:
        """Of the start: see :func:`timewarp.trajectories.identity.stereochemistry`."""
        return stereochemistry(self.topology_pdb, self.atoms)

    @property
    def parameters(self) -> Parameters | None:
        """The compiled energy of the molecule, or None where the folder has none (``energy.safetensors``).

        Raises:
            ValueError: the file is damaged.
        """
        path = self.path / ENERGY_FILE
        return Parameters.load(path) if path.exists() else None

    def summary(self) -> dict[str, Any] | None:
        """What ``summary.json`` holds, or None before it is written."""
        from ..schemas import SummaryFile, check  # pydantic takes a while to load

        path = self.path / "summary.json"
        if not path.exists():
            return None
        found = read_json(path)
        check(SummaryFile, found, path)
        return found

    @property
    def temperature_K(self) -> float:
        """From the configuration or the summary.

        Raises:
            ValueError: neither says, or it is not a temperature.
        """
        tables = [self.config, *(v for v in self.config.values() if isinstance(v, Mapping)), self.summary() or {}]
        for table in tables:
            if "temperature_K" in table:
                value = table["temperature_K"]
                if not isinstance(value, (int, float)) or not 0 < value < math.inf:
                    raise ValueError(
                        f"{self.path} says temperature_K = {value!r}; expected a positive number of kelvin"
                    )
                return float(value)
        raise ValueError(f"{self.path / 'config.toml'} does not say temperature_K")

    @property
    def is_dynamics(self) -> bool:
        """Whether frames follow each other in physical time: MD without torsion moves."""
        return self.kind == "md" and self.config.get("dynamics") is not False

    @property
    def molecule_argument(self) -> str:
        """MOLECULE with which a command line names the molecule again: its sequence, or the run's own PDB file.

        A molecule that came with a force field of its own is named by the run folder, which holds it.
        """
        if self.config.get("energy") is not None:
            return str(self.path)
        from ..molecules.sequences import is_sequence_of  # that room loads OpenMM

        known = is_sequence_of(self.name, self.atoms.residues)
        return self.name if known else str(self.path / "topology.pdb")

    def check_unbiased(self) -> None:
        """Refuse an exploration where equilibrium samples are needed.

        Raises:
            ValueError: the run is an exploration.
        """
        if self.kind == "exploration":
            raise ValueError(
                f"{self.path} is an exploration, and so biased: how often a state occurs in it means nothing; sample "
                f"its states with `timewarp sample {shlex.quote(self.molecule_argument)} --start-from "
                f"{shlex.quote(str(self.path))}`, and give that run"
            )


def read_config(path: Path) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """The table ``[run]`` of a run's configuration, and the rest.

    Raises:
        ValueError: it is not the configuration of a run.
    """
    config = read_toml(path / "config.toml")
    head = config.pop("run", {})
    if not isinstance(head, Mapping) or head.get("schema") != SCHEMA or head.get("kind") not in KINDS:
        raise ValueError(f"{path / 'config.toml'} is not the configuration of a run (schema {SCHEMA} expected)")
    timestep = config.get("timestep_fs")
    known = isinstance(timestep, int | float) and not isinstance(timestep, bool) and 0 < timestep < 1e12
    if head["kind"] == "md" and not known:
        raise ValueError(
            f"{path / 'config.toml'}: timestep_fs must be a positive number of femtoseconds, got {timestep!r}; it "
            "is damaged or was edited"
        )
    return head, config
