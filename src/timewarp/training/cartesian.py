"""Training on time-lagged pairs: batches with random rotations, the objective, and its validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..analysis import backbone_torsions
from ..flows import CartesianDensity, CartesianFlow, build_network
from ..flows.acceptance import acceptance_probability
from ..flows.cartesian.augmentation import Relabelling, jitter, rotate_together, superpose_pairs
from ..geometry import jumps, measure_dihedrals
from ..shapes import Bool, Float
from .losses import MixedEnergy, Reparametrised, acceptance, entropy, log_likelihood, propose
from .pairs import PairData
from .settings import TrainingSettings
from .tasks import Metrics, Shard, frame_indices, part_of, spread

CHUNK = 512
"""Pairs validated at once."""
DEALT = 8
"""So many batches are dealt out by size at once."""
FIT_PAIRS = 2048
"""Pairs that the prior's scales start from."""


class CartesianObjective(nn.Module):
    """Minus the weighted sum of the three losses, as a module, so that Fabric can wrap it.

    Args:
        flow: the density.
        energy: U / kT of positions and molecules; needed by acceptance.
        knee: of the softened log ratio, in kT.
    """

    def __init__(self, flow: nn.Module, energy: Callable[[], MixedEnergy | None], knee: float) -> None:
        super().__init__()
        self.flow, self.knee = flow, knee
        self._energy = energy

    def forward(
        self,
        before: Float[Tensor, "batch atoms 3"],
        after: Float[Tensor, "batch atoms 3"],
        molecule: Tensor,
        auxiliaries: Float[Tensor, "2 batch atoms 3"],
        latents: Float[Tensor, "2 batch atoms 3"],
        weights: tuple[float, float, float],
    ) -> tuple[Tensor, Metrics]:
        """The loss and its parts; a part of weight zero is not computed.

        Args:
            before: x(t).
            after: x(t + tau).
            molecule: which molecule each row is.
            auxiliaries: v and v', zero where there is no atom.
            latents: standard normal numbers that a proposal is drawn from.
            weights: of likelihood, acceptance and entropy.
        """
        flow: Any = self.flow
        likelihood_weight, acceptance_weight, entropy_weight = weights
        total = before.new_zeros((), dtype=torch.float64)
        metrics: Metrics = {}
        if likelihood_weight:
            likelihood = log_likelihood(flow, before, after, auxiliaries[0], auxiliaries[1], molecule).double().mean()
            total = total + likelihood_weight * likelihood
            metrics["loss"] = -likelihood.detach()
        if acceptance_weight or entropy_weight:
            energy = self._energy() if acceptance_weight else None
            proposed = propose(flow, before, auxiliaries[0], molecule, latents, energy)
            if acceptance_weight:
                softened = acceptance(proposed, self.knee).mean()
                total = total + acceptance_weight * softened
                metrics["log_ratio"] = softened.detach()
            if entropy_weight:
                spread_out = entropy(proposed).mean()
                total = total + entropy_weight * spread_out
                metrics["entropy"] = spread_out.detach()
            metrics["nonfinite"] = (~proposed.finite).double().mean()
        return -total, metrics


class PairTask:
    """The three losses on time-lagged pairs of one or many molecules.

    Args:
        data: the pairs.
        settings: how to train.
        energy: makes U / kT on a device; or None.
    """

    data_type: ClassVar[type] = PairData
    data_hint: ClassVar[str] = "time-lagged pairs: read the runs with load_pairs"

    def __init__(
        self, data: PairData, settings: TrainingSettings, energy: Callable[..., MixedEnergy] | None = None
    ) -> None:
        needy = [stage.name for stage in settings.schedule() if stage.needs_energy]
        if energy is None and needy:
            raise ValueError(f"stage {needy[0]!r} weighs acceptance, which needs the energy of the molecules")
        self.data, self.settings = data, settings
        self._make_energy = energy
        self._energy: MixedEnergy | None = None
        self._device = torch.device("cpu")
        self._relabel = Relabelling(data.molecules) if settings.relabel else None
        self._deal: tuple[int, Tensor] | None = None
        self._watched = tuple(map(backbone_torsions, data.molecules))

    def identity(self) -> dict[str, Any]:
        """What tells this training's data from another's."""
        data = self.data
        return {
            "residues": data.residues,
            "fingerprint": data.molecules[0].fingerprint,
            "fingerprints": [m.fingerprint for m in data.molecules],
            "pairs": len(data.train),
            "held_out": len(data.validation),
        }

    def flow(self) -> CartesianFlow:
        """A new density whose prior has the width of the data's displacements."""
        flow: CartesianFlow = build_network(self.data.molecules[0], self.settings.family, self.settings.flow)
        if len(self.data.molecules) > 1:
            flow.serve(self.data.molecules)
        which = spread(len(self.data.train), FIT_PAIRS)
        before, after, molecule, _ = self._pairs(self.data.train, which, torch.Generator().manual_seed(0))
        flow.fit_prior(before, after, molecule)
        return flow

    def objective(self, flow: Any) -> nn.Module:
        """Minus the weighted sum of the losses."""
        return CartesianObjective(flow, lambda: self._energy, self.settings.knee_kT)

    def to(self, device: torch.device) -> None:
        """Batches are made on the CPU, the same on every machine, and moved."""
        self._device = device
        if self._make_energy is not None:
            self._energy = self._make_energy(device)

    def batch(self, step: int, shard: Shard, flow: Any, weights: tuple[float, float, float]) -> tuple[Any, ...]:
        """Pairs, turned at random, with auxiliaries and latents.

        All random numbers of the batch are drawn by every process, so that its parts do not depend on how many
        processes share it.
        """
        settings = self.settings
        generator = torch.Generator().manual_seed((settings.seed + 7) * 1_000_003 + step)
        which = self._chosen(step)
        before, after, molecule, is_atom = self._pairs(self.data.train, which, generator)
        before, after = rotate_together(generator, before, after)
        auxiliaries, latents = self._normal(is_atom, generator)
        parts = [part_of(t, shard) for t in (before, after, molecule)]
        parts += [part_of(t.transpose(0, 1), shard).transpose(0, 1) for t in (auxiliaries, latents)]
        return (*(t.contiguous().to(self._device) for t in parts), weights)

    def _chosen(self, step: int) -> Tensor:
        """Numbers of the pairs of a batch; of some batches dealt out by size, if the data want that."""
        data, settings = self.data, self.settings
        if not data.by_size:
            return frame_indices(len(data.train), settings.batch_size, step, settings.seed)
        deal, place = divmod(step, DEALT)
        if self._deal is None or self._deal[0] != deal:
            steps = range(deal * DEALT, (deal + 1) * DEALT)
            many = torch.cat([frame_indices(len(data.train), settings.batch_size, s, settings.seed) for s in steps])
            batches = many[data.train.sizes(many).argsort(stable=True)].reshape(DEALT, -1)
            generator = torch.Generator().manual_seed((settings.seed + 13) * 1_000_003 + deal)
            self._deal = deal, batches[torch.randperm(DEALT, generator=generator)]
        return self._deal[1][place]

    def split(self, batch: tuple[Any, ...], parts: int) -> list[tuple[Any, ...]]:
        """Rows of the batch for each of several threads (:func:`timewarp.flows.threads.backward`)."""
        before, after, molecule, auxiliaries, latents, weights = batch
        if parts == 1 or len(before) % parts or before.is_cuda:
            return [batch]
        columns = [t.chunk(parts) for t in (before, after, molecule)]
        columns += [t.chunk(parts, 1) for t in (auxiliaries, latents)]
        return [(*part, weights) for part in zip(*columns, strict=True)]

    def row(self, averaged: Any, figures: Mapping[str, float]) -> dict[str, Any]:
        """Likelihood of held-out pairs, and what becomes of proposals from held-out states."""
        which = spread(len(self.data.validation), self.settings.validation_frames)
        generator = torch.Generator().manual_seed(self.settings.seed + 1)
        totals: dict[str, Tensor] = {}
        for chunk in which.split(CHUNK):
            for name, value in self._figures(averaged, chunk, generator).items():
                totals[name] = totals.get(name, torch.zeros((), dtype=torch.float64)) + value
        mean = {name: float(total) / len(which) for name, total in totals.items()}
        row: dict[str, Any] = {
            "training_loss": figures.get("loss"),
            "validation_loss": mean["loss"],
            "validation_acceptance": None,
        }
        row |= {f"training_{name}": figures[name] for name in ("log_ratio", "entropy", "nonfinite") if name in figures}
        row["validation_entropy"] = mean["entropy"]
        if self._energy is not None:
            row["validation_acceptance"] = mean["acceptance"]
            spread_of = max(mean["squared_acceptance"] - mean["acceptance"] ** 2, 0.0)
            row["validation_acceptance_error"] = (spread_of / len(which)) ** 0.5
            row["validation_log_ratio"] = mean["log_ratio"]
            row["validation_nonfinite"] = totals["nonfinite"].item()
            accepted = float(totals["acceptance"])
            row["validation_move_nm"] = float(totals["move"]) / accepted if accepted > 0 else None
            if independent := mean["independent"]:
                # Acceptance times jump (timewarp.training.score), and jump.
                row["validation_jumping"] = mean["jumping"] / independent
                spread_of = max(mean["squared_jumping"] - mean["jumping"] ** 2, 0.0)
                row["validation_jumping_error"] = (spread_of / len(which)) ** 0.5 / independent
                row["validation_jump"] = row["validation_jumping"] / mean["acceptance"] if accepted > 0 else None
        return row

    @torch.no_grad()
    def _figures(self, flow: CartesianDensity, which: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Sums over pairs: -log q, entropy, softened log r, min(1, r) and its products with what moved."""
        before, after, molecule, is_atom = self._pairs(self.data.validation, which, generator)
        auxiliaries, latents = self._normal(is_atom, generator)
        dtype = next(flow.parameters()).dtype if isinstance(flow, nn.Module) else before.dtype
        before, after, auxiliaries, latents = (t.to(self._device, dtype) for t in (before, after, auxiliaries, latents))
        molecule, is_atom = molecule.to(self._device), is_atom.to(self._device)
        loss = -log_likelihood(flow, before, after, auxiliaries[0], auxiliaries[1], molecule).double()
        density: Reparametrised = flow  # type: ignore[assignment]
        proposed = propose(density, before, auxiliaries[0], molecule, latents, self._energy)
        sums = {"loss": loss.sum(), "entropy": entropy(proposed).sum()}
        if self._energy is not None:
            accepted = acceptance_probability(torch.where(proposed.finite, proposed.log_ratio, torch.nan))
            squared = (proposed.candidate.positions[0] - before).double().square().sum((-1, -2)) / is_atom.sum(1)
            moved = torch.where(proposed.finite, squared, 0.0).sqrt()
            there = torch.where(proposed.finite[:, None, None], proposed.candidate.positions[0], before)
            jumping = accepted * self._jumped(before, there, molecule)
            sums |= {
                "jumping": jumping.sum(),
                "squared_jumping": jumping.square().sum(),
                "independent": self._independent(before, molecule),
                "acceptance": accepted.sum(),
                "log_ratio": acceptance(proposed, self.settings.knee_kT).sum(),
                "squared_acceptance": accepted.square().sum(),
                "move": (accepted * moved).sum(),
                "nonfinite": (~proposed.finite).sum(),
            }
        return {name: value.cpu() for name, value in sums.items()}

    def _jumped(self, before: Tensor, after: Tensor, molecule: Tensor) -> Float[Tensor, " batch"]:
        """1 where a phi or psi has changed by more than 60 degrees, else 0."""
        found = torch.zeros(len(before), dtype=torch.float64, device=before.device)
        for number in molecule.unique().tolist():
            rows = (molecule == number).nonzero()[:, 0]
            torsions = self._watched[number].to(before.device)
            if len(torsions):
                angles = (measure_dihedrals(x[rows], torsions) for x in (before, after))
                found[rows] = jumps(*angles).any(-1).double()
        return found

    def _independent(self, positions: Tensor, molecule: Tensor) -> Tensor:
        """Sum over states of the fraction of the molecule's other states from which a phi or psi differs by a jump."""
        total = torch.zeros((), dtype=torch.float64)
        for number in molecule.unique().tolist():
            x, torsions = positions[molecule == number], self._watched[number].to(positions.device)
            if len(torsions) and len(x) > 1:
                angles = measure_dihedrals(x, torsions)
                apart = jumps(*torch.broadcast_tensors(angles[:, None], angles[None])).any(-1).double().sum().cpu()
                total += apart / (len(x) - 1)
        return total

    def _pairs(self, pairs: Any, which: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Aligned pairs numbered ``which``, their molecules, and where there are atoms."""
        settings = self.settings
        before, after, molecule = pairs.take(which)
        is_atom = torch.arange(before.shape[1]) < self.data.sizes[molecule][:, None]
        # Runs drift by many nm, where single precision is coarse; nothing depends on where the molecule is.
        origin = _centroid(before, is_atom)
        before, after = ((t - origin).masked_fill(~is_atom[..., None], 0) for t in (before, after))
        if self._relabel is not None:
            after = self._relabel(before, after, molecule)
        if settings.align == "superpose":
            after = superpose_pairs(before, after, is_atom)
        elif settings.align == "centre":
            after = after + _centroid(before, is_atom) - _centroid(after, is_atom)
        if settings.align != "none" and (settings.jitter_nm or settings.jitter_rad):
            shift, turn = settings.jitter_nm, settings.jitter_rad if settings.align == "superpose" else 0.0
            after = jitter(generator, after, is_atom, shift_nm=shift, turn_rad=turn)
        return before, after.masked_fill(~is_atom[..., None], 0), molecule, is_atom

    def _normal(self, is_atom: Bool[Tensor, "batch atoms"], generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Auxiliaries (v, v'), zero where there is no atom, and the latents of a proposal."""
        noise = torch.randn(4, *is_atom.shape, 3, generator=generator)
        return noise[:2].masked_fill(~is_atom[..., None], 0), noise[2:]


def _centroid(positions: Tensor, is_atom: Tensor) -> Tensor:
    mask = is_atom[..., None].to(positions.dtype)
    return (positions * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True)
