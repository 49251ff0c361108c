"""Training on many peptides: likelihood of frames of many peptides, whose features are computed once and kept."""

from __future__ import annotations

import hashlib
import itertools
import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from .. import native
from ..energies import Parameters
from ..flows import build_network
from ..flows.acceptance import acceptance_probability
from ..flows.circular import log_prob
from ..flows.growth import (
    Features,
    GrowthConfig,
    GrowthFlow,
    GrowthPlan,
    Regrowth,
    Static,
    build_plan,
    random_order,
)
from ..flows.growth.compiled_features import features_of
from ..flows.growth.profiles import ANGLES
from ..flows.growth.scale import SHUT, own_well
from ..flows.growth.twist import Twists, wells_of
from ..trajectories.compact import CompactMolecule, coverage
from ..units import kT
from .growth_energy import Drawn, EnergyPairs, energy_loss, own_wells, plan_and_energy
from .settings import TrainingSettings
from .tasks import Metrics, Shard, Task, part_of
from .twists import fit_twists

CHUNK = 256
GROUPS, GPU_GROUPS = 4, 2
"""A batch is made of so many groups, each of peptides with equally many torsions: there is no padding.

Each costs a GPU about as much, whatever its size, and a CPU nothing to speak of.
"""


@dataclass(frozen=True, eq=False)
class GrowthData:
    """Peptides to learn from and peptides to choose the network by.

    Attributes:
        train: the first.
        validation: the others; none of them is learnt from.
    """

    train: tuple[CompactMolecule, ...]
    validation: tuple[CompactMolecule, ...]

    @classmethod
    def of(cls, molecules: Sequence[CompactMolecule]) -> GrowthData:
        """Sort by split.

        Raises:
            ValueError: there is nothing to learn from, or nothing to choose by, or a peptide is there twice.
        """
        names = sorted(m.name for m in molecules)
        if twice := [name for name, after in itertools.pairwise(names) if name == after]:
            raise ValueError(f"{twice[0]} is in the training set twice; pack each peptide from one run")
        parts = [tuple(m for m in molecules if m.split == split) for split in ("train", "validation")]
        for part, what in zip(parts, ("learn from", "choose the network by (pack --validation)"), strict=True):
            if not part:
                raise ValueError(f"the training set has no peptide to {what}")
        return cls(*parts)

    def coverage(self) -> dict[str, Any]:
        """What a network learns from, for its file: preset, temperature, residues and lengths.

        Raises:
            ValueError: peptides of several presets or temperatures.
        """
        return coverage((*self.train, *self.validation))


@dataclass(eq=False)
class _Bucket:
    """Features of all frames of peptides with the same number of torsions, and which plan each row is of."""

    features: Features
    plan: Tensor
    static: Static

    def take(self, rows: Tensor) -> tuple[Tensor, ...]:
        which = self.plan[rows]
        f, s = self.features, self.static
        return (
            *(getattr(f, field.name)[rows].float() for field in fields(f)),
            s.steps[which],
            s.sites[which],
            s.relations[which],
            s.is_step[which],
            s.twisting[which],
        )


class _Objective(nn.Module):
    def __init__(self, flow: GrowthFlow, energy_weight: float) -> None:
        super().__init__()
        self.flow, self.energy_weight = flow, energy_weight

    def forward(self, *groups: tuple[Tensor, ...] | Drawn) -> tuple[Tensor, Metrics]:
        losses, metrics = [], {}
        energy: Any = 0.0
        for tensors in groups:
            if isinstance(tensors, Drawn):
                energy, metrics["acceptance"] = energy_loss(self.flow.network, tensors)
                continue
            f, static = Features(*tensors[:5]), Static(*tensors[5:])
            logits = self.flow.network(f, static).float()
            if self.flow.config.omega:
                # Frames say nothing of how much the other well weighs: what is learnt is the density within their own.
                logits = logits.masked_fill(static.twisting[..., None] & own_well(ANGLES, f.angle), SHUT)
            losses.append(-log_prob(logits, f.angle).sum(-1))
        loss = torch.cat(losses).mean()
        return loss + self.energy_weight * energy, {"loss": loss.detach(), **metrics}


class GrowthTask(Task):
    """Maximum likelihood of soft torsions given the stiff coordinates, over many peptides and orders of growth.

    With ``energy_weight``, also the acceptance of what the network draws (:mod:`.growth_energy`).

    Args:
        data: frames of many peptides.
        settings: how to train; ``orders`` growth orders of each peptide are learnt, the usual one and random ones.
        reduced_energy: not needed: packed peptides bring the parameters of their energy.
    """

    data_type: ClassVar[type] = GrowthData
    data_hint: ClassVar[str] = "many peptides: pack their runs with `timewarp pack`"

    def __init__(self, data: GrowthData, settings: TrainingSettings, reduced_energy: Any = None) -> None:
        self.data, self.settings = data, settings
        self._device = torch.device("cpu")
        self._buckets: list[_Bucket] = []
        self._shares = torch.zeros(0)
        self._pairs: EnergyPairs | None = None

    def identity(self) -> dict[str, Any]:
        """What tells this training's data from another's."""
        digest = hashlib.sha256()
        for m in (*self.data.train, *self.data.validation):
            digest.update(f"{m.name} {m.split} {m.atoms.fingerprint}".encode())
            digest.update(m.frames.numpy().tobytes())
        return {
            "residues": f"{len(self.data.train)} peptides",
            "fingerprint": digest.hexdigest()[:16],
            "frames": sum(len(m.frames) for m in self.data.train),
            "held_out": sum(len(m.frames) for m in self.data.validation),
        }

    def flow(self) -> GrowthFlow:
        """A new network: the physics prior; the head that draws peptide bonds first is fitted, if there is one."""
        flow = build_network(self.data.train[0].atoms, self.settings.family, self.settings.flow)
        if flow.config.twists:
            fit_twists(flow.network.twist, self.data.train, seed=self.settings.seed)
            flow.network.twist.requires_grad_(False)
        return flow

    def objective(self, flow: Any) -> nn.Module:
        """Mean -log q, and the acceptance term."""
        return _Objective(flow, self.settings.energy_weight)

    @torch.no_grad()
    def to(self, device: torch.device) -> None:
        """Compute all features on the device, and keep them there."""
        self._device = device
        if self.settings.energy_weight:
            self._pairs = EnergyPairs(self.data.train, self.settings.energy_frames, device)
        generator = torch.Generator().manual_seed(self.settings.seed + 11)
        rows: dict[int, list[tuple[Features, GrowthPlan]]] = {}
        config = GrowthConfig(**self.settings.flow)
        tasks = [
            (m, random_order(m.atoms, generator, config.omega) if n else None, config)
            for m in self.data.train
            for n in range(self.settings.orders)
        ]
        for f, plan in _all_features(tasks, device):
            rows.setdefault(plan.n_steps, []).append((f.on(device), plan))
        self._buckets = [_bucket(parts) for _, parts in sorted(rows.items())]
        self._shares = torch.tensor([float(len(b.plan)) for b in self._buckets])

    def batch(self, step: int, shard: Shard, flow: Any, weights: tuple[float, float, float]) -> tuple[Any, ...]:
        """Groups of frames."""
        generator = torch.Generator().manual_seed((self.settings.seed + 3) * 1_000_003 + step)
        n = GROUPS if self._device.type == "cpu" else GPU_GROUPS
        chosen = torch.multinomial(self._shares, n, replacement=True, generator=generator).tolist()
        groups: list[Any] = []
        for index in chosen:
            bucket = self._buckets[index]
            rows = torch.randint(len(bucket.plan), (max(1, self.settings.batch_size // n),), generator=generator)
            groups.append(bucket.take(part_of(rows, shard).to(self._device)))
        if self._pairs is not None:
            own = torch.Generator().manual_seed((self.settings.seed + 5) * 1_000_003 + step * shard[1] + shard[0])
            groups.append(self._pairs.draw(flow, own))
        return tuple(groups)

    def row(self, averaged: Any, figures: Mapping[str, float]) -> dict[str, Any]:
        """Loss and acceptance on each of the peptides that are not learnt from."""
        rows = validate_growth(averaged, self.data.validation, self.settings, self._device)
        acceptance = torch.tensor([row["acceptance"] for row in rows])
        return {
            "training_loss": figures["loss"],
            "validation_loss": sum(row["loss"] for row in rows) / len(rows),
            "validation_acceptance": float(acceptance.mean()),
            "validation_median": float(acceptance.median()),
            "validation_worst": float(acceptance.min()),
            "validation_peptides": {row["name"]: round(row["acceptance"], 4) for row in rows},
        }


def plan_of(m: CompactMolecule, device: torch.device, order: Sequence[int] | None, config: GrowthConfig) -> GrowthPlan:
    """A growth plan of a packed peptide for a network, in single precision."""
    plan = build_plan(m.atoms, Parameters(**m.parameters), kT(m.temperature_K), order, **config.told)
    return plan.to(device, torch.float32)


@torch.no_grad()
def validate_growth(
    flow: GrowthFlow, molecules: Sequence[CompactMolecule], settings: TrainingSettings, device: torch.device
) -> list[dict[str, Any]]:
    """For each peptide: mean -log q, and the expected acceptance of a full redraw from its frames."""
    rows = []
    generator = torch.Generator(device).manual_seed(settings.seed + 1)
    density = flow.with_engine()
    for m in molecules:
        plan, potential = plan_and_energy(m, device, flow.config)
        current = m.positions.to(device, torch.float64)
        twists = None
        if flow.config.twists:
            parameters = Parameters(**m.parameters)
            twists = Twists.build(m.atoms, parameters, kT(m.temperature_K), flow.config.chirality)
        first = () if twists is None else wells_of(twists, current)
        way = Regrowth(plan, 0, own_wells(plan, current), twists, first)
        candidates, forward, backward = density.redraw(current, way, generator)
        assert backward is not None
        before, after = (potential.energy(x) / kT(m.temperature_K) for x in (current, candidates))
        accepted = acceptance_probability(before - after + backward - forward).mean()
        rows.append({"name": m.name, "loss": float(-backward.mean()), "acceptance": float(accepted)})
    return rows


_Task = tuple[CompactMolecule, Sequence[int] | None, GrowthConfig]


def _all_features(tasks: Sequence[_Task], device: torch.device) -> Iterator[tuple[Features, GrowthPlan]]:
    """Features and plans of many molecules, on the cores of the CPU: small tensors, which would leave a GPU idle."""
    workers = len(os.sched_getaffinity(0)) if device.type != "cpu" else torch.get_num_threads()
    workers = min(workers, len(tasks) // 8)
    if native.available() or workers < 2:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # the tensors are small, and torch's threads would wait for each other
        yield from map(_features_of, tasks)
        torch.set_num_threads(threads)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, torch.set_num_threads, (1,)) as pool:
        for numbers, (m, order, config) in zip(pool.map(_numbers_of, tasks, chunksize=4), tasks, strict=True):
            yield Features(*map(torch.from_numpy, numbers)), plan_of(m, torch.device("cpu"), order, config)


def _features_of(task: _Task) -> tuple[Features, GrowthPlan]:
    m, order, config = task
    plan = plan_of(m, torch.device("cpu"), order, config)
    x = m.positions
    if config.chirality and not len(m.atoms.stereocentres):
        # Nothing says in which mirror a molecule without a stereocentre is seen: it is as likely in either.
        x = torch.where(torch.arange(len(x))[:, None, None] % 2 == 0, x, x * torch.tensor([-1.0, 1.0, 1.0]))
    return _features(plan, x), plan


def _numbers_of(task: _Task) -> list[Any]:
    found, _ = _features_of(task)
    return [getattr(found, f.name).numpy() for f in fields(Features)]


@torch.no_grad()
def _features(plan: GrowthPlan, x: Tensor) -> Features:
    parts = [features_of(plan, chunk) for chunk in x.split(CHUNK)]
    joined = {f.name: torch.cat([getattr(p, f.name) for p in parts]) for f in fields(Features)}
    # Angles are read to more than half precision; the rest is only looked at.
    return Features(**{name: value if name == "angle" else value.half() for name, value in joined.items()})


def _bucket(parts: list[tuple[Features, GrowthPlan]]) -> _Bucket:
    plans = [plan for _, plan in parts]
    device = parts[0][0].angle.device
    counts = torch.tensor([len(f.angle) for f, _ in parts], device=device)
    return _Bucket(
        Features(**{n.name: torch.cat([getattr(f, n.name) for f, _ in parts]) for n in fields(Features)}),
        torch.repeat_interleave(torch.arange(len(parts), device=device), counts),
        Static(
            torch.stack([p.static for p in plans]).float().to(device),
            torch.stack([p.sites for p in plans]).float().to(device),
            torch.stack([p.relations for p in plans]).float().to(device),
            torch.ones(len(plans), plans[0].n_steps, dtype=torch.bool, device=device),
            torch.tensor([[step.twisting for step in p.steps] for p in plans], device=device),
        ),
    )
