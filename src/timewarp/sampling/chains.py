"""Many chains at once: warm-up, production into a run folder, and exact resumption."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from ..progress import Progress
from ..shapes import Float
from ..state import State
from ..trajectories import RunFolder
from ..trajectories.segments import Like
from .kernel import Info, Kernel, Outcome, Tuning, add_infos

STREAM = 0
"""All chains of a run are side by side in one stream."""


@dataclass(frozen=True)
class ChainSettings:
    """How much to sample.

    Attributes:
        n_chains: chains side by side.
        n_samples: stored samples over all chains; rounded up to a multiple of ``n_chains``.
        thin: MH steps (cycles of all kernels) per stored sample.
        warmup: MH steps before production; kernels adapt in them, and nothing of them is stored.
        seed: of the generator that everything random comes from.
        frames_per_segment: frames of a closed segment; a killed run loses at most one open segment.
    """

    n_chains: int = 128
    n_samples: int = 20_000
    thin: int = 1
    warmup: int = 200
    seed: int = 0
    frames_per_segment: int = 50

    def __post_init__(self) -> None:
        for name in ("n_chains", "n_samples", "thin", "frames_per_segment"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("warmup", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")

    @property
    def n_frames(self) -> int:
        """Stored frames of each chain."""
        return -(-self.n_samples // self.n_chains)


@dataclass
class ChainRecord:
    """What a run has done so far, over all of its processes.

    Attributes:
        tally: outcomes of production by kernel name.
        tuning: tuned numbers, frozen before production.
        wall_s: time spent on production: sampling and storing (that of an open segment that was lost is not in it).
        warmup_wall_s: time spent on start positions and warm-up.
        energy_evaluations: energies alone, warm-up and start positions included.
        force_evaluations: energies with forces, likewise.
        warmup_energy_evaluations: those of them that were made before production.
        warmup_force_evaluations: likewise.
    """

    tally: Info
    tuning: Tuning
    wall_s: float = 0.0
    warmup_wall_s: float = 0.0
    energy_evaluations: int = 0
    force_evaluations: int = 0
    warmup_energy_evaluations: int = 0
    warmup_force_evaluations: int = 0


def run_chains(
    kernel: Kernel,
    starts: Callable[[torch.Generator], Float[Tensor, "chains atoms 3"]],
    run: RunFolder,
    settings: ChainSettings,
    *,
    device: str | torch.device = "cpu",
    tuning: Mapping[str, Mapping[str, float]] | None = None,
    quiet: bool = False,
    heartbeat: Callable[[], None] = lambda: None,
    length: Callable[[int], int] | None = None,
) -> ChainRecord:
    """Sample until the run folder holds ``settings.n_samples``, going on exactly from what it already holds.

    Every closed segment carries the state from which the next one starts: positions and energies as they are in
    memory, the generator, the tuning, the counters. A process killed during warm-up repeats it from the seed, which
    gives the same chain; one killed later loses its open segment, and makes the same one again. How many samples are
    asked for has no influence on the chain, so that a finished run is extended by asking for more.

    Args:
        kernel: one step of it is one MH step; usually a :class:`timewarp.sampling.Cycle`.
        starts: makes the start positions; called only if the run is new.
        run: the run folder.
        settings: how much.
        device: where the chains live; the generator too.
        tuning: replayed instead of adapting, such as ``{"hmc": {"step_fs": 1.9}}``.
        quiet: no progress lines.
        heartbeat: called after each step of the warm-up and each stored frame; what it raises ends the run.
        length: in place of ``settings.n_samples``: asked after each closed segment how many frames of each chain are
            wanted, given how many there are; the run ends where that is no more.

    Raises:
        ValueError: the folder's checkpoint does not fit these kernels, or it is not of the kind that they make: an
            exploration if they do not leave their target invariant, a chain if they do.
        FileExistsError: another process is writing to the folder.
    """
    if run.kind != (kind := "chain" if kernel.exact else "exploration"):
        raise ValueError(f"{kernel!r} makes a run of kind {kind}, and {run.path} is of kind {run.kind}")
    with run.lock():
        chains = _Chains(kernel, settings, torch.Generator(device).manual_seed(settings.seed))
        checkpoint = run.last_state(STREAM)
        if tuning:
            kernel.retune(tuning)
        if checkpoint is not None:
            run.check_state(STREAM, checkpoint, chains.expected(checkpoint, run.atoms.n_atoms), "tuning. tally.")
            chains.restore(checkpoint, device)
        else:
            chains.warm_up(starts, quiet, heartbeat)
        done = run.n_frames(STREAM)
        wanted = settings.n_frames if length is None else length(done)
        with Progress(
            "sampling" if kernel.exact else "exploring (biased)",
            wanted * settings.n_chains,
            done=min(done, wanted) * settings.n_chains,
            unit="samples",
            quiet=quiet,
        ) as bar:
            while done < wanted:
                until = min(wanted, (done // settings.frames_per_segment + 1) * settings.frames_per_segment)
                frames = chains.advance(until - done, bar, heartbeat)
                began = time.monotonic()
                run.append(STREAM, *frames, chains.checkpoint())
                chains.record.wall_s += time.monotonic() - began
                done = until
                if length is not None:
                    wanted = max(done, length(done))
                    bar.aim(wanted * settings.n_chains)
    return chains.record


class _Chains:
    """The state of all chains of a run in memory, to and from a checkpoint."""

    def __init__(self, kernel: Kernel, settings: ChainSettings, generator: torch.Generator) -> None:
        self.kernel = kernel
        self.settings = settings
        self.generator = generator
        self.state: State | None = None
        self.cycle = 0
        self.record = ChainRecord({}, {})
        self._counted = (0, 0)

    def warm_up(self, starts: Callable[[torch.Generator], Tensor], quiet: bool, heartbeat: Callable[[], None]) -> None:
        """Start positions, then the settings' number of MH steps with adaptation; freezes the kernels."""
        began = time.monotonic()
        self.state = self.kernel.init(starts(self.generator))
        if self.state.n_chains != self.settings.n_chains:
            raise ValueError(f"{self.settings.n_chains} chains need as many starts, got {self.state.n_chains}")
        self.kernel.begin_warmup(self.settings.warmup)
        with Progress("warm-up", self.settings.warmup, unit="steps", quiet=quiet or not self.settings.warmup) as bar:
            for _ in range(self.settings.warmup):
                self.state, info = self.kernel.step(self.state, self.generator)
                self.kernel.adapt(info, self.state)
                bar.advance(1, _acceptances(info))
                heartbeat()
        self.kernel.freeze()
        self.record.tuning = self.kernel.tuning
        self.record.warmup_wall_s = time.monotonic() - began
        self._count()
        self.record.warmup_energy_evaluations = self.record.energy_evaluations
        self.record.warmup_force_evaluations = self.record.force_evaluations

    def advance(self, n_frames: int, bar: Progress, heartbeat: Callable[[], None]) -> tuple[Tensor, Tensor, Tensor]:
        """Run until ``n_frames`` more frames are stored: positions, energies and step numbers."""
        began = time.monotonic()
        assert self.state is not None
        positions, energies, steps = [], [], []
        for _ in range(n_frames):
            for _ in range(self.settings.thin):
                self.state, info = self.kernel.step(self.state, self.generator)
                self.record.tally = add_infos(self.record.tally, info)
            self.cycle += self.settings.thin
            positions.append(self.state.positions.float().cpu())
            energies.append(self.state.energy.double().cpu())
            steps.append(self.cycle)
            bar.advance(self.settings.n_chains, _acceptances(info))
            heartbeat()
        self._count()
        self.record.wall_s += time.monotonic() - began
        return torch.stack(positions), torch.stack(energies), torch.tensor(steps)

    def checkpoint(self) -> dict[str, Tensor]:
        """Everything that the rest of the chain depends on, and what has been counted."""
        assert self.state is not None
        record = self.record
        tensors = {
            "positions": self.state.positions,
            "energies": self.state.energy,
            "generator": self.generator.get_state(),
            "cycle": torch.tensor(self.cycle),
            **{f"record.{name}": torch.tensor(getattr(record, name), dtype=kind) for name, kind in _NUMBERS.items()},
        }
        for name, values in record.tuning.items():
            tensors |= {f"tuning.{name}.{key}": torch.tensor(v, dtype=torch.float64) for key, v in values.items()}
        for name, outcome in record.tally.items():
            tensors |= {f"tally.{name}.{key}": value for key, value in outcome.tensors().items()}
        return tensors

    def expected(self, checkpoint: Mapping[str, Tensor], n_atoms: int) -> Like:
        """Type and shape of each tensor of a checkpoint, as far as they are known before the kernels are."""
        n = self.settings.n_chains
        precision = getattr(self.kernel.target, "precision", None)
        kind = None if precision is None else getattr(torch, precision)
        found: dict[str, tuple[torch.dtype | None, tuple[int, ...]]] = {
            "positions": (kind, (n, n_atoms, 3)),
            "energies": (None, (n,)),
            "generator": (torch.uint8, tuple(self.generator.get_state().shape)),
            "cycle": (torch.int64, ()),
            **{f"record.{name}": (kind, ()) for name, kind in _NUMBERS.items()},
        }
        for name in {key.rpartition(".")[0] for key in checkpoint if key.startswith("tally.")}:
            kinds = {f.name: None if f.name == "acceptance" else torch.int64 for f in fields(Outcome)}
            found |= {f"{name}.{field}": (dtype, (n,)) for field, dtype in kinds.items()}
        return found

    def restore(self, checkpoint: Mapping[str, Tensor], device: str | torch.device) -> None:
        """Go back to a checkpoint.

        Raises:
            ValueError: it lacks something, or is of other kernels.
        """
        try:
            self.state = State(checkpoint["positions"].to(device), checkpoint["energies"].to(device))
            self.cycle = int(checkpoint["cycle"])
            self.generator.set_state(checkpoint["generator"])
            for name, kind in _NUMBERS.items():
                number = checkpoint[f"record.{name}"].item()
                setattr(self.record, name, float(number) if kind.is_floating_point else int(number))
            for key, value in checkpoint.items():
                part, _, rest = key.partition(".")
                name, _, field = rest.rpartition(".")
                if part == "tuning":
                    self.record.tuning.setdefault(name, {})[field] = float(value)
                elif part == "tally" and name not in self.record.tally:
                    counts = (checkpoint[f"tally.{name}.{f.name}"].to(device) for f in fields(Outcome))
                    self.record.tally[name] = Outcome(*counts)
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(f"the run's checkpoint does not fit this version: {error}; start a new run") from None
        self.kernel.retune(self.record.tuning)
        self.kernel.freeze()
        if self.kernel.tuning != self.record.tuning:
            raise ValueError(f"the run was tuned as {self.record.tuning}, these kernels have {self.kernel.tuning}")

    def _count(self) -> None:
        """Add the target's evaluations since the last call to the record."""
        target = self.kernel.target
        now = (target.energy_evaluations, target.force_evaluations)
        self.record.energy_evaluations += now[0] - self._counted[0]
        self.record.force_evaluations += now[1] - self._counted[1]
        self._counted = now


_NUMBERS = {
    "wall_s": torch.float64,
    "warmup_wall_s": torch.float64,
    "energy_evaluations": torch.int64,
    "force_evaluations": torch.int64,
    "warmup_energy_evaluations": torch.int64,
    "warmup_force_evaluations": torch.int64,
}


def _acceptances(info: Info) -> str:
    rates = ((name, float(o.acceptance.sum()) / max(int(o.proposed.sum()), 1)) for name, o in info.items())
    return "  ".join(f"{name} {100 * rate:.0f} %" for name, rate in rates)
