"""Fitting the head that draws peptide bonds first (:mod:`timewarp.flows.growth.twist`), within their wells."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..energies import Parameters
from ..flows.growth.twist import Seen, TwistHead, Twists, own_well_loss, see
from ..trajectories.compact import CompactMolecule
from ..units import kT


def fit_twists(
    head: TwistHead,
    molecules: Sequence[CompactMolecule],
    *,
    frames: int = 40,
    steps: int = 600,
    batch_size: int = 4096,
    learning_rate: float = 5e-3,
    seed: int = 0,
) -> list[float]:
    """Maximum likelihood of peptide bonds given their stiff coordinates, over many peptides.

    Args:
        head: what is fitted.
        molecules: peptides with frames in equilibrium.
        frames: of each peptide, evenly spread.
        steps: of Adam; the learning rate falls linearly to zero.
        batch_size: peptide bonds of a step.
        learning_rate: at the beginning.
        seed: of the batches.

    Returns:
        The loss, mean -log density of a peptide bond, of each step.
    """
    parts, static = [], []
    for m in molecules:
        t = Twists.build(m.atoms, Parameters(**m.parameters), kT(m.temperature_K), chirality=True)
        if t is None:
            continue
        rows = torch.linspace(0, len(m.frames) - 1, min(frames, len(m.frames))).long()
        seen = see(t, m.positions[rows])
        parts.append([value.flatten(0, 1) for value in (seen.place, seen.profile, seen.stiff, seen.hands)])
        static.append(t.static.expand(len(rows), -1, -1).flatten(0, 1))
    place, profile, stiff, hands = (torch.cat(column) for column in zip(*parts, strict=True))
    chemistry = torch.cat(static).float()
    optimiser = torch.optim.Adam(head.parameters(), learning_rate)
    generator = torch.Generator().manual_seed(seed)
    losses = []
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = learning_rate * (1 - step / steps)
        rows = torch.randint(len(place), (batch_size,), generator=generator)
        seen = Seen(place[rows, None], profile[rows, None], stiff[rows, None], hands[rows, None])
        loss = own_well_loss(head, chemistry[rows, None], seen).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    return losses
