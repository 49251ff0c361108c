"""What an MD run is: settings with their units, checked, and resolved to whole numbers of steps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ..starts import BUILT
from ..units import FEMTOSECONDS_PER_PICOSECOND, PICOSECONDS_PER_NANOSECOND

ENGINES = ("auto", "batched", "openmm")
PRECISIONS = ("float32", "float64")
MOST_SEGMENT_NUMBERS = 2**24
"""Coordinates in a segment of the batched engine: 64 MB."""
MOST_REPLICAS, SHORTEST_REPLICA_NS = 32, 0.25
"""Default of the batched engine: as many replicas side by side as keep each at least so long."""


@dataclass(frozen=True)
class SimulationSettings:
    """Settings of an MD run. ``None`` stands for a default that depends on the molecule or on another field.

    Attributes:
        length_ns: production time in ns, summed over the replicas; rounded up to whole frames.
        replicas: independent trajectories. None: 1 with OpenMM; with the batched engine, which is at its best with 16
            replicas or more for each core, up to 32 (a power of two) of at least 0.25 ns each.
        timestep_fs: integration step in fs.
        hydrogen_mass_Da: mass to which hydrogens are brought, taken from the atom they are bonded to
            (repartitioning, Feenstra, Hess & Berendsen 1999); configurational averages do not depend on masses.
            None: 3 Da where the step is 1.5 fs or longer, else the natural mass. 3 Da makes the fastest
            vibration of an unconstrained methyl group slowest; at 4 Da its carbon has become the light partner.
        friction_per_ps: Langevin friction in 1/ps.
        temperature_K: in K; None: the preset's.
        frame_spacing_ps: time between stored frames in ps, a whole number of steps.
        burn_in_ps: time in ps run and dropped after minimisation.
        segment_ps: time in ps per closed segment, which is what a killed process loses at most.
            None: about 100 ps for 22 atoms, less for larger molecules.
        torsion_moves_per_ps: Metropolised torsion moves per ps; 0 for none. With them, time correlations are not
            physical, while the configurational distribution stays that of the MD.
        starts: start of each replica, cycled over them: ``"built"``, ``"spread"``, torsions to set
            (``"phi_1=60"``, ``"phi_1=60,psi_1=40"``, degrees), or ``"FILE.pdb"`` / ``"FILE.pdb#3"`` (model 3); see
            :func:`timewarp.starts.start_positions`.
        seed: of all random numbers.
        platform: OpenMM platform; ``"auto"``: Reference for small molecules with native GB, else CPU.
        engine: ``"batched"``: all replicas side by side in the compiled kernel; ``"openmm"``: a process for each;
            ``"auto"``: batched where it applies (see :func:`timewarp.simulation.choose_engine`).
        precision: of the batched engine's dynamics, ``"float32"`` or ``"float64"``.
    """

    length_ns: float = 1.0
    replicas: int | None = None
    timestep_fs: float = 2.0
    hydrogen_mass_Da: float | None = None
    friction_per_ps: float = 1.0
    temperature_K: float | None = None
    frame_spacing_ps: float = 1.0
    burn_in_ps: float = 100.0
    segment_ps: float | None = None
    torsion_moves_per_ps: float = 0.0
    starts: tuple[str, ...] = (BUILT,)
    seed: int = 0
    platform: str = "auto"
    engine: str = "auto"
    precision: str = "float32"

    def __post_init__(self) -> None:
        _positive("length_ns", self.length_ns, "ns")
        _positive("timestep_fs", self.timestep_fs, "fs")
        _positive("friction_per_ps", self.friction_per_ps, "1/ps")
        _positive("frame_spacing_ps", self.frame_spacing_ps, "ps")
        if self.temperature_K is not None:
            _positive("temperature_K", self.temperature_K, "K")
        if self.segment_ps is not None:
            _positive("segment_ps", self.segment_ps, "ps")
        if self.hydrogen_mass_Da is not None:
            _positive("hydrogen_mass_Da", self.hydrogen_mass_Da, "Da")
        if not (math.isfinite(self.burn_in_ps) and self.burn_in_ps >= 0):
            raise ValueError(f"burn_in_ps must be zero or a positive number of ps, got {self.burn_in_ps!r}")
        if not (math.isfinite(self.torsion_moves_per_ps) and self.torsion_moves_per_ps >= 0):
            raise ValueError(f"torsion_moves_per_ps must be zero or positive, got {self.torsion_moves_per_ps!r}")
        if self.engine not in ENGINES:
            raise ValueError(f"engine must be one of {', '.join(ENGINES)}, got {self.engine!r}")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {self.precision!r}")
        if self.replicas is not None and self.replicas < 1:
            raise ValueError(f"replicas must be at least 1, got {self.replicas!r}")
        if not self.starts:
            raise ValueError("starts must name at least one start, such as 'built'")
        if self.seed < 0:
            raise ValueError(f"seed must be zero or positive, got {self.seed!r}")
        steps = self.frame_spacing_ps * FEMTOSECONDS_PER_PICOSECOND / self.timestep_fs
        if round(steps) < 1 or abs(steps - round(steps)) > 1e-6:
            raise ValueError(
                f"the frame spacing must be a whole number of time steps of {self.timestep_fs:g} fs, "
                f"got {self.frame_spacing_ps:g} ps; try {max(round(steps), 1) * self.timestep_fs / 1000:g} ps"
            )

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

    def to_config(
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


def _positive(name: str, value: float, unit: str) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be a positive number of {unit}, got {value!r}")
