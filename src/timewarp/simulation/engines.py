"""Which engine runs an MD: the batched one wherever it applies, OpenMM elsewhere."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from .. import native
from ..energies import Parameters, UnknownForceError, compile_system
from ..molecules import Molecule
from ..settings.simulation import SimulationSettings
from ..trajectories import RunFolder


@dataclasses.dataclass(frozen=True, eq=False)
class EngineChoice:
    """What :func:`choose_engine` found.

    Attributes:
        settings: with ``engine`` and ``replicas`` resolved.
        parameters: the compiled force field, for the batched engine.
        note: why OpenMM takes over where the batched engine was preferred; empty otherwise.
        recorded: whether the run's configuration says which engine made it (not before there were two).
    """

    settings: SimulationSettings
    parameters: Parameters | None
    note: str = ""
    recorded: bool = True


def resolve_for_presets(settings: SimulationSettings) -> SimulationSettings:
    """Engine and replicas for molecules under the presets, all of which the batched engine knows, on this machine."""
    if settings.engine == "auto":
        batched = native.available() and settings.platform == "auto"
        settings = dataclasses.replace(settings, engine="batched" if batched else "openmm")
    return dataclasses.replace(settings, replicas=settings.n_replicas)


def choose_engine(molecule: Molecule, settings: SimulationSettings, path: Path) -> EngineChoice:
    """Resolve the engine and the number of replicas.

    An existing run in ``path`` goes on with its own engine and replicas, unless the settings say otherwise.

    Raises:
        ValueError: the batched engine is asked for and cannot run this.
    """
    stored = RunFolder.open(path).config if (path / "config.toml").exists() else None
    engine, replicas, recorded = settings.engine, settings.replicas, True
    if stored is not None:
        recorded = "engine" in stored
        engine = stored.get("engine", "openmm") if engine == "auto" else engine
        replicas = stored.get("replicas") if replicas is None else replicas
    parameters, why_not = None, ""
    if engine != "openmm":
        parameters, why_not = _batched(molecule, settings.platform)
        if parameters is None and engine == "batched":
            raise ValueError(f"the batched engine cannot run {molecule.name}: {why_not}")
    engine = "openmm" if parameters is None else "batched"
    resolved = dataclasses.replace(settings, engine=engine, replicas=replicas)
    resolved = dataclasses.replace(resolved, replicas=resolved.n_replicas)
    return EngineChoice(resolved, parameters, f"MD with OpenMM: {why_not}" if why_not else "", recorded)


def _batched(molecule: Molecule, platform: str) -> tuple[Parameters | None, str]:
    """The compiled force field, or why the batched engine does not apply."""
    if platform != "auto":
        return None, f"the platform {platform} is OpenMM's"
    if not native.available():
        return None, native.why_not()
    try:
        return compile_system(molecule.system), ""
    except UnknownForceError as error:
        return None, str(error)
