"""Family C, transferable: soft torsions one after the other, from a physics prior that a network corrects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ...geometry import measure_dihedrals, to_positions
from ...shapes import Float
from ...state import Atoms
from .circular import log_prob, sample
from .native import features_at, features_of
from .network import Growing, GrowthConfig, GrowthNetwork, Static
from .plan import ForceField, GrowthPlan, build_plan
from .profiles import turn_to


@dataclass(frozen=True, eq=False)
class Regrowth:
    """A way to redraw some torsions: an order in which the first ``kept`` stay as they are."""

    plan: GrowthPlan
    kept: int


def static_of(plan: GrowthPlan, dtype: torch.dtype = torch.float32) -> Static:
    """The static features of one molecule, as a batch of one."""
    return Static(
        steps=plan.static[None].to(dtype),
        sites=plan.sites[None].to(dtype),
        relations=plan.relations[None].to(dtype),
        is_step=torch.ones(1, plan.n_steps, dtype=torch.bool, device=plan.static.device),
    )


def score(
    network: GrowthNetwork,
    regrowth: Regrowth,
    x: Float[Tensor, "batch atoms 3"],
    memories: list[Tensor] | None = None,
) -> Float[Tensor, " batch"]:
    """Log density (float64) of the torsions that a regrowth redraws, as they are in ``x``, with respect to d phi.

    ``memories`` is filled as by :meth:`GrowthNetwork.forward`.
    """
    plan, kept = regrowth.plan, regrowth.kept
    dtype = network.embed.weight.dtype
    f = features_of(plan, x, dtype)
    logits = network(f.to(dtype), static_of(plan, dtype), memories)
    return log_prob(logits[:, kept:].double(), f.angle[:, kept:]).sum(-1)


def regrow(
    network: GrowthNetwork, regrowth: Regrowth, x: Float[Tensor, "batch atoms 3"], generator: torch.Generator
) -> tuple[Float[Tensor, "batch atoms 3"], Float[Tensor, " batch"], Float[Tensor, " batch"]]:
    """Draw the torsions that a regrowth redraws.

    Returns:
        Candidates in the dtype of ``x``, their log density, and that of ``x``: both float64, with respect to d phi.
    """
    plan, kept = regrowth.plan, regrowth.kept
    dtype = network.embed.weight.dtype
    memories: list[Tensor] = []
    backward = score(network, regrowth, x, memories)
    growing = Growing(network, static_of(plan, dtype), memories, kept)
    new = x.double()
    forward = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    for k in range(kept, plan.n_steps):
        f = features_at(plan, k, new, dtype)
        logits = growing.step(f).double()
        uniform = torch.rand(len(x), generator=generator, dtype=torch.float64, device=x.device)
        angle = sample(logits, uniform)
        forward = forward + log_prob(logits, angle)
        new = turn_to(plan.steps[k], new, angle, f.angle)
        growing.drawn(angle.to(dtype))
    return new.to(x), forward, backward


class GrowthFlow(nn.Module):
    """q(torsions | stiff coordinates) for any molecule, the same weights for all.

    Torsions are drawn outwards from the root. For each, the energy of what it places against all that is placed, on a
    grid of angles, is the prior (configurational-bias Monte Carlo: Siepmann and Frenkel 1992); a causal transformer
    adds what the prior cannot know: what will hang on it. Bond lengths, angles and all other stiff coordinates stay,
    so that the Jacobian cancels.

    Args:
        atoms: the molecule.
        config: the network's size.
    """

    family: ClassVar[str] = "C2"
    condition_is_invariant: ClassVar[bool] = True

    def __init__(self, atoms: Atoms, config: GrowthConfig | None = None) -> None:
        super().__init__()
        self.atoms = atoms
        self.config = config or GrowthConfig()
        self.network = GrowthNetwork(self.config)
        self.residues = atoms.residues
        self._force_field: ForceField | None = None
        self._kT = 1.0
        self._plan: GrowthPlan | None = None

    def serve(self, force_field: ForceField, kT: float) -> GrowthFlow:
        """Take the force field (of the flow's molecule) and the temperature (kT in kJ/mol) for the prior."""
        self._force_field, self._kT = force_field, kT
        self._plan = None
        return self

    def plan(self, order: Sequence[int] | None = None) -> GrowthPlan:
        """Tables of a growth in some order, on the weights' device and in float64.

        Raises:
            RuntimeError: :meth:`serve` was not called.
        """
        if self._force_field is None:
            raise RuntimeError("a growth flow needs the molecule's force field for its prior: call serve() first")
        device = self.network.embed.weight.device
        if order is not None:
            return build_plan(self.atoms, self._force_field, self._kT, order).to(device, torch.float64)
        if self._plan is None or self._plan.static.device != device:
            self._plan = build_plan(self.atoms, self._force_field, self._kT).to(device, torch.float64)
        return self._plan

    @property
    def dtype(self) -> torch.dtype:
        """Of the network."""
        return self.network.embed.weight.dtype

    def log_prob_positions(
        self, x: Float[Tensor, "batch atoms 3"], regrowth: Regrowth | None = None
    ) -> Float[Tensor, " batch"]:
        """Log density of the torsions that a regrowth (by default all) redraws, with respect to d phi."""
        return score(self.network, regrowth or Regrowth(self.plan(), 0), x)

    def sample_positions(
        self, x: Float[Tensor, "batch atoms 3"], generator: torch.Generator, regrowth: Regrowth | None = None
    ) -> tuple[Float[Tensor, "batch atoms 3"], Float[Tensor, " batch"]]:
        """Redraw torsions of each configuration: candidates and their log density."""
        return self.regrow_positions(x, generator, regrowth)[:2]

    def regrow_positions(
        self, x: Float[Tensor, "batch atoms 3"], generator: torch.Generator, regrowth: Regrowth | None = None
    ) -> tuple[Float[Tensor, "batch atoms 3"], Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """Redraw torsions of each configuration: candidates, their log density, and that of what they replace."""
        return regrow(self.network, regrowth or Regrowth(self.plan(), 0), x, generator)

    def encode(self, internal: Float[Tensor, "batch atoms 3"]) -> Float[Tensor, "batch atoms 3"]:
        """The condition: the configuration itself, of which the stiff coordinates alone are read."""
        return internal

    def sample(
        self, condition: Float[Tensor, "batch atoms 3"], n: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, "n batch atoms 3"], Float[Tensor, "n batch"]]:
        """Redraw all soft torsions, ``n`` times per condition."""
        tree = self.atoms.tree
        internal = condition.repeat(n, 1, 1)
        new, log_q = self.sample_positions(to_positions(internal.double(), tree, _frame(internal)), generator)
        out = internal.clone()
        out[:, list(tree.rotatable), 2] = measure_dihedrals(new, tree.torsions.to(new.device)).to(out)
        return out.unflatten(0, (n, -1)), log_q.unflatten(0, (n, -1))

    def log_prob(
        self, internal: Float[Tensor, "batch atoms 3"], condition: Float[Tensor, "batch atoms 3"]
    ) -> Float[Tensor, " batch"]:
        """Log density of the soft torsions in ``internal``; the stiff coordinates are the condition's."""
        tree = self.atoms.tree
        joined = condition.clone()
        rotatable = list(tree.rotatable)
        joined[:, rotatable, 2] = internal[:, rotatable, 2]
        return self.log_prob_positions(to_positions(joined.double(), tree, _frame(joined)))


def _frame(internal: Tensor) -> Tensor:
    frame = torch.zeros_like(internal, dtype=torch.float64)
    frame[..., 0] = torch.arange(internal.shape[-2], device=internal.device, dtype=torch.float64)
    frame[..., 1] = frame[..., 0] ** 2 + 0.1 * frame[..., 0] ** 3
    return frame
