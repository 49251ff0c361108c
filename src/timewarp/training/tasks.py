"""What the loop needs to know of a training: network, batches, objective and validation. Here: of frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from ..flows import Network, build_network
from ..flows.acceptance import CHUNK, ReducedEnergy, expected_acceptance
from ..geometry import to_positions
from .data import TrainingData
from .settings import TrainingSettings

Shard = tuple[int, int]
"""Which of how many equal parts of a batch a process takes."""

Metrics = dict[str, Tensor]


@runtime_checkable
class Task(Protocol):
    """A training problem. Whatever is random in a step depends on the seed and the step's number alone.

    It is made from data, settings, and a function that makes the energy in kT on a device, or None.

    Attributes:
        data_type: what it learns from.
        data_hint: the same in words, and how to come by it.
    """

    data_type: ClassVar[type]
    data_hint: ClassVar[str]

    def identity(self) -> dict[str, Any]:
        """What tells this training's data from another's; saved, and compared on resuming."""
        ...

    def flow(self) -> Network:
        """A new density, started from the data."""
        ...

    def objective(self, flow: Network) -> nn.Module:
        """A module from a batch and weights to the loss, which is minimised, and figures to be averaged."""
        ...

    def to(self, device: torch.device) -> None:
        """Move to a device."""
        ...

    def batch(self, step: int, shard: Shard, flow: Network, weights: tuple[float, float, float]) -> tuple[Any, ...]:
        """What the objective reads at a step: the part of the batch that this process takes."""
        ...

    def split(self, batch: tuple[Any, ...], parts: int) -> list[tuple[Any, ...]]:
        """The batch in equal parts that may be worked on at once; as it is where torch's threads share each product."""
        return [batch]

    def row(self, averaged: Network, figures: Mapping[str, float]) -> dict[str, Any]:
        """Validate; figures of the validation and of the steps since the last one, for the history."""
        ...


def part_of(batch: Tensor, shard: Shard) -> Tensor:
    """This process's rows; what does not divide is left out."""
    index, count = shard
    size = len(batch) // count
    return batch[index * size : (index + 1) * size]


def frame_indices(n_frames: int, batch_size: int, step: int, seed: int) -> Tensor:
    """Which frames a step learns from: every epoch is a new permutation, drawn from the seed and the epoch's number.

    >>> first, second = (frame_indices(4, 2, step, 0) for step in (0, 1))
    >>> sorted(torch.cat([first, second]).tolist())
    [0, 1, 2, 3]
    """
    batch_size = min(batch_size, n_frames)
    per_epoch = n_frames // batch_size
    epoch, place = divmod(step, per_epoch)
    key = (n_frames, seed, epoch)
    if _permutation.get("key") != key:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        _permutation.update(key=key, order=torch.randperm(n_frames, generator=generator))
    return _permutation["order"][place * batch_size : (place + 1) * batch_size]


_permutation: dict[str, Any] = {}


def spread(n_frames: int, n: int) -> Tensor:
    """At most ``n`` of the numbers below ``n_frames``, evenly spread.

    >>> spread(10, 3).tolist(), spread(2, 3).tolist()
    ([0, 4, 9], [0, 1])
    """
    return torch.arange(n_frames) if n_frames <= n else torch.linspace(0, n_frames - 1, n).long()


class _Likelihood(nn.Module):
    """Mean -log q of a batch, as a module, so that Fabric can wrap it."""

    def __init__(self, flow: Any) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, internal: Tensor, conditioning: Tensor) -> tuple[Tensor, Metrics]:
        loss = _negative_log_likelihood(self.flow, internal, conditioning).mean()
        return loss, {"loss": loss.detach()}


class FrameTask(Task):
    """Maximum likelihood of frames in internal coordinates.

    Args:
        data: frames.
        settings: how to train.
        reduced_energy: U / kT of positions, for estimates of the acceptance; or None.
    """

    data_type: ClassVar[type] = TrainingData
    data_hint: ClassVar[str] = "frames: read the runs with load_training_data"

    def __init__(self, data: TrainingData, settings: TrainingSettings, reduced_energy: Any = None) -> None:
        self.data, self.settings = data, settings
        self._make_energy = reduced_energy
        self._energy: ReducedEnergy | None = None
        self._device = torch.device("cpu")
        self._frames = data.train
        self._held_out = data.validation[spread(len(data.validation), settings.validation_frames)]

    def identity(self) -> dict[str, Any]:
        """What tells this training's data from another's."""
        return {
            "residues": self.data.atoms.residues,
            "fingerprint": self.data.atoms.fingerprint,
            "frames": len(self.data.train),
            "held_out": len(self.data.validation),
        }

    def flow(self) -> Any:
        """A new density, standardised by the frames."""
        flow: Any = build_network(self.data.atoms, self.settings.family, self.settings.flow)
        flow.fit_standardiser(self.data.train)
        return flow

    def objective(self, flow: Any) -> nn.Module:
        """Mean -log q."""
        return _Likelihood(flow)

    def to(self, device: torch.device) -> None:
        """Frames move too, unless they are very many."""
        self._device = device
        self._held_out = self._held_out.to(device)
        if len(self._frames) < 5_000_000:
            self._frames = self._frames.to(device)
        if self._make_energy is not None:
            self._energy = self._make_energy(device)

    def batch(self, step: int, shard: Shard, flow: Any, weights: tuple[float, float, float]) -> tuple[Any, ...]:
        """Frames, and the conditioning that the network reads."""
        settings, frames = self.settings, self._frames
        which = frame_indices(len(frames), settings.batch_size, step, settings.seed)
        batch = frames[which.to(frames.device)].to(self._device)
        return part_of(batch, shard), part_of(self._noisy(batch, flow, step), shard)

    def row(self, averaged: Any, figures: Mapping[str, float]) -> dict[str, Any]:
        """Loss and estimated acceptance on held-out frames."""
        frames, acceptance = self._held_out, None
        with torch.no_grad():
            loss = sum(float(_negative_log_likelihood(averaged, y, y).double().sum()) for y in frames.split(CHUNK))
        if self._energy is not None:
            generator = torch.Generator(self._device).manual_seed(self.settings.seed + 1)
            tree = self.data.atoms.tree
            x = to_positions(frames, tree, _canonical_frame(frames))
            proposer = averaged.proposers(self.data.parameters, 1.0, engine="torch")["flow"]
            acceptance = expected_acceptance(proposer, x, self._energy, generator).mean
        return {
            "training_loss": figures["loss"],
            "validation_loss": loss / len(frames),
            "validation_acceptance": acceptance,
        }

    def _noisy(self, batch: Tensor, flow: Any, step: int) -> Tensor:
        settings = self.settings
        stiff = flow.standardiser.stiff
        if not settings.stiff_noise or (flow.redraws & stiff.cpu()).any():
            return batch
        generator = torch.Generator(batch.device).manual_seed((settings.seed + 7) * 1_000_003 + step)
        standardiser = flow.standardiser
        noise = torch.randn(len(batch), standardiser.n_coordinates, generator=generator, device=batch.device)
        noisy = batch.clone()
        noisy[:, stiff] += settings.stiff_noise * noise * standardiser.scale
        return noisy


def _negative_log_likelihood(network: Any, internal: Tensor, conditioning: Tensor) -> Tensor:
    """-log q of each frame given its condition (the same frame, or a noisy one)."""
    return -network.log_prob(internal, network.encode(conditioning))


def _canonical_frame(internal: Tensor) -> Tensor:
    """Any three root atoms in general position fix the rigid motion; the energy does not see it."""
    frame = torch.zeros_like(internal)
    frame[..., 0] = torch.arange(internal.shape[-2], device=internal.device, dtype=internal.dtype)
    frame[..., 1] = frame[..., 0] ** 2 + 0.1 * frame[..., 0] ** 3
    return frame
