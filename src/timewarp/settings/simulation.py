"""Settings of molecular dynamics: what an MD run is, resolved to whole numbers of steps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ..units import FEMTOSECONDS_PER_PICOSECOND, PICOSECONDS_PER_NANOSECOND
from . import LARGEST_SEED, Settings, setting
from .sampling import PRECISIONS

BUILT = "built"
"""Start specification: the molecule's own minimised positions."""
ENGINES = ("auto", "batched", "openmm")
MOST_SEGMENT_NUMBERS = 2**24
"""Coordinates in a segment of the batched engine: 64 MB."""
MOST_REPLICAS, SHORTEST_REPLICA_NS = 32, 0.25
"""Default of the batched engine: as many replicas side by side as keep each at least so long."""


@dataclass(frozen=True, kw_only=True)
class SimulationSettings(Settings):
    """Settings of an MD run. ``None`` stands for a default that depends on the molecule or on another field."""

    length_ns: float = setting(
        1.0,
        "production time, summed over the replicas; rounded up to whole frames",
        unit="ns",
        above=0,
        most=1e6,
        group="the run",
    )
    replicas: int | None = setting(
        None,
        "independent trajectories",
        least=1,
        most=65536,
        shown="with the batched engine up to 32 of 0.25 ns or more each, with OpenMM 1",
        group="the run",
    )
    frame_spacing_ps: float = setting(
        1.0, "time between stored frames, a whole number of steps", unit="ps", above=0, most=1e6, group="the run"
    )
    burn_in_ps: float = setting(
        100.0, "time run and dropped after minimisation", unit="ps", least=0, most=1e6, group="the run"
    )
    segment_ps: float | None = setting(
        None,
        "time per closed segment, which is what a killed run loses at most",
        unit="ps",
        above=0,
        most=1e6,
        shown="some ten seconds of work",
        group="the run",
    )
    start: tuple[str, ...] = setting(
        (BUILT,),
        "where replicas start, once per start and cycled over the replicas: built, spread (torsions at random, far "
        "apart), torsions in degrees (phi_1=60 or phi_1=60,psi_1=40), or FILE.pdb, FILE.pdb#MODEL",
        metavar="START",
        key="starts",
        shown="built",
        group="the run",
    )
    seed: int = setting(
        0,
        "seed of all random numbers; the same seed gives the same result on the same machine",
        least=0,
        most=LARGEST_SEED,
        group="the run",
    )
    temperature_K: float | None = setting(
        None,
        "temperature",
        unit="K",
        least=1,
        most=10_000,
        short="-t",
        shown="the preset's; 300 for amber99sbildn-obc, 310 for all others",
    )
    timestep_fs: float = setting(2.0, "integration step", unit="fs", above=0, most=100, group="the dynamics")
    hydrogen_mass_Da: float | None = setting(
        None,
        "mass of hydrogens, taken from the bonded heavy atom (Feenstra, Hess & Berendsen 1999); configurational "
        "averages do not depend on masses. At 3 Da the fastest vibration of an unconstrained methyl group is slowest",
        unit="Da",
        above=0,
        most=12,
        shown="3 for time steps of 1.5 fs or more, else natural",
        group="the dynamics",
    )
    friction_per_ps: float = setting(
        1.0, "Langevin friction (the Timewarp paper used 0.3)", unit="1/ps", above=0, most=1e4, group="the dynamics"
    )
    torsion_moves_per_ps: float = setting(
        0.0,
        "Metropolised torsion moves: slow barriers are crossed and the distribution stays exact, but time correlations "
        "are no longer physical",
        unit="1/ps",
        least=0,
        most=1e4,
        group="the dynamics",
    )
    engine: str = setting(
        "auto",
        "batched: all replicas side by side in the compiled kernel; openmm: one process each; auto: batched wherever "
        "it applies",
        choices=ENGINES,
        group="the dynamics",
    )
    precision: str = setting("float32", "of the batched engine's dynamics", choices=PRECISIONS, group="the dynamics")
    platform: str = setting(
        "auto",
        "OpenMM platform: Reference, CPU, CUDA, OpenCL; takes the OpenMM engine",
        metavar="NAME",
        shown="the fastest on one core for this molecule",
        group="the dynamics",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.start:
            raise ValueError("`start` must name at least one start, such as 'built'")
        steps = self.frame_spacing_ps * FEMTOSECONDS_PER_PICOSECOND / self.timestep_fs
        if round(steps) < 1 or abs(steps - round(steps)) > 1e-6:
            raise ValueError(
                f"the frame spacing must be a whole number of time steps of {self.timestep_fs:g} fs, "
                f"got {self.frame_spacing_ps:g} ps; try {max(round(steps), 1) * self.timestep_fs / 1000:g} ps"
            )

    @property
    def starts(self) -> tuple[str, ...]:
        """Where replicas start, under the name of the configuration."""
        return self.start

    # --- whole numbers of steps ---------------------------------------------------------------------------------

    @property
    def frame_steps(self) -> int:
        """Steps between frames."""
        return round(self.frame_spacing_ps * FEMTOSECONDS_PER_PICOSECOND / self.timestep_fs)

    @property
    def burn_in_steps(self) -> int:
        """Steps of burn-in."""
        return round(self.burn_in_ps * FEMTOSECONDS_PER_PICOSECOND / self.timestep_fs)

    @property
    def frames_per_replica(self) -> int:
        """Frames of each replica."""
        frames = self.length_ns * PICOSECONDS_PER_NANOSECOND / self.n_replicas / self.frame_spacing_ps
        return max(1, math.ceil(frames - 1e-9))

    @property
    def n_replicas(self) -> int:
        """Replicas, where ``None`` is resolved by the engine."""
        if self.replicas is not None:
            return self.replicas
        if self.engine != "batched":
            return 1
        longest_enough = max(1, min(MOST_REPLICAS, int(self.length_ns / SHORTEST_REPLICA_NS + 1e-9)))
        return 1 << (longest_enough.bit_length() - 1)  # a power of two: whole vectors

    def segment_frames(self, n_atoms: int) -> int:
        """Frames per closed segment: some ten seconds of work, whatever the length, so that a run can be extended."""
        segment_ps = self.segment_ps
        if segment_ps is None:
            segment_ps = (1000.0 if self.engine == "batched" else 100.0) * min(1.0, (22 / n_atoms) ** 2)
        frames = segment_ps / self.frame_spacing_ps
        if self.engine == "batched":
            frames = min(frames, MOST_SEGMENT_NUMBERS / (3 * n_atoms * self.n_replicas))
        return max(1, round(frames))

    @property
    def torsion_interval_steps(self) -> int:
        """Steps between rounds of torsion moves: about 1 ps, a divisor or a multiple of :attr:`frame_steps`."""
        wanted = max(1, round(FEMTOSECONDS_PER_PICOSECOND / self.timestep_fs))
        if self.frame_steps <= wanted:
            return self.frame_steps * max(1, round(wanted / self.frame_steps))
        rounds = next(k for k in range(round(self.frame_steps / wanted), 0, -1) if self.frame_steps % k == 0)
        return self.frame_steps // rounds

    @property
    def torsion_moves_per_round(self) -> int:
        """Torsion moves in each round; at least one where there are any."""
        if self.torsion_moves_per_ps == 0:
            return 0
        interval_ps = self.torsion_interval_steps * self.timestep_fs / FEMTOSECONDS_PER_PICOSECOND
        return max(1, round(self.torsion_moves_per_ps * interval_ps))

    @property
    def resolved_hydrogen_mass_Da(self) -> float | None:
        """Mass of hydrogens in Da, or None for the natural one."""
        if self.hydrogen_mass_Da is None and self.timestep_fs >= 1.5:
            return 3.0
        return self.hydrogen_mass_Da

    def resolved(
        self, *, molecule: str, preset: str, temperature_K: float, n_atoms: int, platform: str
    ) -> dict[str, Any]:
        """The resolved configuration, as stored in ``config.toml``; ``engine`` must not be ``"auto"`` any more."""
        batched = self.engine == "batched"
        return {
            "molecule": molecule,
            "preset": preset,
            "temperature_K": float(temperature_K),
            "length_ns": float(self.length_ns),
            "replicas": self.n_replicas,
            "timestep_fs": float(self.timestep_fs),
            "hydrogen_mass_Da": self.resolved_hydrogen_mass_Da,
            "friction_per_ps": float(self.friction_per_ps),
            "frame_spacing_ps": float(self.frame_spacing_ps),
            "burn_in_ps": float(self.burn_in_ps),
            "segment_frames": self.segment_frames(n_atoms),
            "torsion_moves_per_ps": float(self.torsion_moves_per_ps),
            "starts": list(self.starts),
            "seed": self.seed,
            "engine": self.engine,
            "platform": None if batched else platform,
            "precision": self.precision if batched else None,
            "dynamics": self.torsion_moves_per_ps == 0,
        }
