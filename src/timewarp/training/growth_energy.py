"""Acceptance of the growth network through the energies: draws of the network beside what they replace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..energies import Parameters, Potential
from ..flows.acceptance import acceptance_probability
from ..flows.circular import log_prob
from ..flows.growth import Features, GrowthConfig, GrowthFlow, GrowthPlan, Regrowth, Static, build_plan
from ..flows.growth.compiled_features import features_of
from ..flows.growth.flow import static_of
from ..flows.growth.scale import ANYWHERE, NEAR_PI, NEAR_ZERO, log_slope
from ..geometry import dihedrals
from ..shapes import Float
from ..trajectories.compact import CompactMolecule
from ..units import kT


@dataclass(eq=False)
class Drawn:
    """Frames of one peptide and what a network drew from each, in that order, as it reads them.

    Attributes:
        features: of both, (2 frames, steps, ...).
        static: of the peptide.
        energy_gap: (frames), energy of each draw less that of its frame, in kT; not finite where atoms clash.
    """

    features: Features
    static: Static
    energy_gap: Tensor


class EnergyPairs:
    """Draws from frames of peptides, at the frames' own stiff coordinates.

    Args:
        molecules: peptides with frames in equilibrium.
        frames: how many of one peptide make a group.
        device: of the network.
    """

    OTHER_WELL = 0.2
    """How often each peptide bond is drawn in the well that the frames are not in."""

    def __init__(self, molecules: tuple[CompactMolecule, ...], frames: int, device: torch.device) -> None:
        self.molecules, self.frames, self.device = molecules, frames, device
        self._known: dict[int, tuple[GrowthPlan, Potential]] = {}

    @torch.no_grad()
    def draw(self, flow: GrowthFlow, generator: torch.Generator) -> Drawn:
        """Draw from some frames of a random peptide, with the weights as they are."""
        index = int(torch.randint(len(self.molecules), (1,), generator=generator))
        m = self.molecules[index]
        if index not in self._known:
            self._known[index] = plan_and_energy(m, self.device, flow.config)
        plan, potential = self._known[index]
        rows = torch.randint(len(m.frames), (self.frames,), generator=generator)
        x = m.positions[rows].to(self.device).double()
        on_device = torch.Generator(self.device).manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
        wells = _wells(plan, x, self.OTHER_WELL, generator)
        y = flow.with_engine().redraw(x, Regrowth(plan, 0, wells), on_device)[0]
        thermal = kT(m.temperature_K)
        gap = (potential.energy(y) - potential.energy(x)) / thermal
        read = features_of(plan, torch.cat([x, y])).to(torch.float32)
        return Drawn(read, static_of(plan), gap)


def own_wells(plan: GrowthPlan, x: Float[Tensor, "frames atoms 3"]) -> tuple[int, ...]:
    """In which well each peptide bond of the first frame is; empty without any that is drawn."""
    return _wells(plan, x, 0.0, None)


def _wells(plan: GrowthPlan, x: Tensor, other: float, generator: torch.Generator | None) -> tuple[int, ...]:
    if not any(step.twisting for step in plan.steps):
        return ()
    wells = []
    for step in plan.steps:
        if not step.twisting:
            wells.append(ANYWHERE)
            continue
        angle = dihedrals(x[:1].double(), torch.tensor([step.corners], device=x.device))
        near_zero = bool(angle.cos() > 0)
        if other and bool(torch.rand((), generator=generator) < other):
            near_zero = not near_zero
        wells.append(NEAR_ZERO if near_zero else NEAR_PI)
    return tuple(wells)


def plan_and_energy(m: CompactMolecule, device: torch.device, config: GrowthConfig) -> tuple[GrowthPlan, Potential]:
    """The usual growth plan of a packed peptide for a network, and its energy, in double precision."""
    parameters = Parameters(**m.parameters)
    plan = build_plan(m.atoms, parameters, kT(m.temperature_K), None, **config.told).to(device, torch.float64)
    return plan, Potential(parameters, torch.float64, device, "torch" if device.type != "cpu" else None)


def energy_loss(network: Any, drawn: Drawn) -> tuple[Tensor, Float[Tensor, ""]]:
    """How far draws and frames are from being accepted both ways, and the expected acceptance.

    The log ratio of Metropolis and Hastings between a frame and a draw from it is zero for all pairs if, and only if,
    the density is the Boltzmann distribution's at these stiff coordinates, wherever the draws come from. So the draws
    need no gradient, and the loss is the mean of sqrt(1 + (log ratio)^2) - 1: quadratic where a ratio is small, and
    of bounded slope where atoms clash.

    Frames have one pattern of cis and trans, draws now and then another: so the network learns how much each weighs,
    and the other well, which no frame shows it.
    """
    logits = network(drawn.features, drawn.static)
    places = drawn.features.angle.float()
    slope = torch.where(drawn.static.twisting, log_slope(places), 0.0)
    log_q = (log_prob(logits.float(), places) + slope).sum(-1)
    frame, draw = log_q.chunk(2)
    log_ratio = frame - draw - drawn.energy_gap.to(log_q)
    acceptance = acceptance_probability(log_ratio.detach()).mean()
    finite = log_ratio.isfinite()
    log_ratio = torch.where(finite, log_ratio, torch.zeros_like(log_ratio))
    loss = ((1 + log_ratio.square()).sqrt() - 1) * finite
    return loss.sum() / finite.sum().clamp(min=1), acceptance
