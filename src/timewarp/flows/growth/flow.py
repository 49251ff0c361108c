"""Family C2, transferable: soft torsions one after the other, from a physics prior that a network corrects."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from ...energies import Parameters
from ...shapes import Float
from ...state import Atoms
from ..circular import log_prob, sample
from ..proposer import Proposer
from ..registry import Network, choose_engine, register
from .compiled import NativeGrowthFlow
from .compiled_features import features_at, features_of
from .handedness import signs
from .network import Growing, GrowthConfig, GrowthNetwork, Static
from .plan import GrowthPlan, Regrowth, build_plan, growing_torsions, random_order
from .profiles import ANGLES, turn_to
from .proposer import RegrowthProposer
from .scale import SHUT, log_slope, shut
from .twist import Twists, redraw_first

N_ORDERS, ORDERS_SEED = 8, 0
"""Random orders of growth that ``flow_subset`` chooses from, and their seed."""


def static_of(plan: GrowthPlan, dtype: torch.dtype = torch.float32) -> Static:
    """The static features of one molecule, as a batch of one."""
    return Static(
        steps=plan.static[None].to(dtype),
        sites=plan.sites[None].to(dtype),
        relations=plan.relations[None].to(dtype),
        is_step=torch.ones(1, plan.n_steps, dtype=torch.bool, device=plan.static.device),
        twisting=torch.tensor([[step.twisting for step in plan.steps]], device=plan.static.device),
    )


def slopes(plan: GrowthPlan, places: Float[Tensor, "batch steps"]) -> Float[Tensor, "batch steps"]:
    """What takes log densities on each step's own scale to those of angles; see :mod:`.scale`."""
    twisting = torch.tensor([step.twisting for step in plan.steps], device=places.device)
    return torch.where(twisting, log_slope(places), 0.0)


@register
class GrowthFlow(Network):
    """q(torsions | stiff coordinates) for any molecule, the same weights for all.

    Torsions are drawn outwards from the root. For each, the energy of what it places against all that is placed, on a
    grid of angles, is the prior (configurational-bias Monte Carlo: Siepmann and Frenkel 1992); a causal transformer
    adds what the prior cannot know: what will hang on it. Bond lengths, angles and all other stiff coordinates stay,
    so that the Jacobian cancels. Log densities are with respect to d phi, in float64. With ``config.omega`` peptide
    bonds are among the torsions, and with ``config.chirality`` a mirror image is drawn as the molecule is.

    Args:
        atoms: the molecule.
        config: the network's size.
    """

    kind: ClassVar[str] = "C2"
    config_type: ClassVar[type] = GrowthConfig
    transferable: ClassVar[bool] = True
    preference: ClassVar[int] = 1
    trained_on: ClassVar[str] = "peptides"
    has_compiled_form: ClassVar[bool] = True
    engine = "torch"

    def __init__(self, atoms: Atoms, config: GrowthConfig | None = None) -> None:
        super().__init__()
        self.atoms = atoms
        self.config = config or GrowthConfig()
        self.network = GrowthNetwork(self.config)

    def proposers(
        self, parameters: Parameters | None, kT: float, *, engine: str | None = None, threads: int = 1
    ) -> dict[str, Proposer]:
        """Redraws of all torsions (``flow``), of some (``flow_suffix``), in a random order (``flow_subset``).

        The last two need two soft torsions. See :meth:`Network.proposers`.
        """
        if parameters is None:
            raise ValueError("this network needs the parameters of the molecule's energy, which its prior is made of")
        tree, omega = self.atoms.tree, self.config.omega
        torsions = growing_torsions(self.atoms, omega)
        plan = functools.cache(functools.partial(self.plan, parameters, kT))
        density = self.with_engine(engine)
        usual = tuple(range(len(torsions)))
        twists = self.twists(parameters, kT)
        flows: dict[str, Proposer] = {
            "flow": RegrowthProposer(density, tree, plan, [usual], torsions=torsions, twists=twists)
        }
        if len(usual) > 1:
            generator = torch.Generator().manual_seed(ORDERS_SEED)
            orders = sorted({random_order(self.atoms, generator, omega) for _ in range(N_ORDERS)})
            for name, ways in {"flow_suffix": [usual], "flow_subset": orders}.items():
                flows[name] = RegrowthProposer(density, tree, plan, ways, in_part=True, torsions=torsions)
        return flows

    def twists(self, parameters: Parameters, kT: float) -> Twists | None:
        """Tables of the peptide bonds that are drawn first, on the weights' device; None if none are."""
        if not self.config.twists:
            return None
        found = Twists.build(self.atoms, parameters, kT, self.config.chirality)
        return None if found is None else found.to(self.network.embed.weight.device)

    def begin_with(self, other: Network) -> None:
        """See :meth:`Network.begin_with`; a network that is told less will do."""
        if not isinstance(other, GrowthFlow):
            raise ValueError(f"a network of family {self.kind} begins with one of its own kind, not of {other.kind}")
        self.network.adopt(other.network)

    def with_engine(self, engine: str | None = None) -> GrowthFlow | NativeGrowthFlow:
        """The density as an engine computes it; see :func:`timewarp.flows.registry.choose_engine`."""
        return NativeGrowthFlow(self) if choose_engine(self, engine) == "native" else self

    @property
    def dtype(self) -> torch.dtype:
        """Of the network."""
        return self.network.embed.weight.dtype

    def plan(self, parameters: Parameters, kT: float, order: Sequence[int] | None = None) -> GrowthPlan:
        """Tables of a growth in some order, on the weights' device and in float64."""
        plan = build_plan(self.atoms, parameters, kT, order, **self.config.told)
        return plan.to(self.network.embed.weight.device, torch.float64)

    def score(
        self, x: Float[Tensor, "batch atoms 3"], chosen: Regrowth, memories: list[Tensor] | None = None
    ) -> Float[Tensor, " batch"]:
        """Log density of the torsions that a regrowth redraws; ``memories`` is filled as by :class:`GrowthNetwork`."""
        f = features_of(chosen.plan, x, self.dtype)
        logits = self.network(f.to(self.dtype), static_of(chosen.plan, self.dtype), memories).double()
        if chosen.wells:
            logits = logits.masked_fill(shut(ANGLES, chosen.wells).to(logits.device), SHUT)
        each = log_prob(logits[:, chosen.kept :], f.angle[:, chosen.kept :])
        return (each + slopes(chosen.plan, f.angle)[:, chosen.kept :]).sum(-1)

    def redraw(
        self, x: Float[Tensor, "batch atoms 3"], chosen: Regrowth, generator: torch.Generator, score: bool = True
    ) -> tuple[Float[Tensor, "batch atoms 3"], Float[Tensor, " batch"], Float[Tensor, " batch"] | None]:
        """Redraw torsions of each configuration: candidates, their log density, and that of what they replace."""
        if chosen.twists is not None:
            return redraw_first(self, self.network.twist, x, chosen, generator, score)
        plan, kept = chosen.plan, chosen.kept
        memories: list[Tensor] = []
        backward = self.score(x, chosen, memories)
        growing = Growing(self.network, static_of(plan, self.dtype), memories, kept)
        new = x.double()
        forward = torch.zeros(len(x), dtype=torch.float64, device=x.device)
        closed = shut(ANGLES, chosen.wells).to(x.device) if chosen.wells else None
        hands = signs(new, plan.centres)
        for k in range(kept, plan.n_steps):
            f = features_at(plan, k, new, self.dtype)
            logits = growing.step(f).double()
            if closed is not None:
                logits = logits.masked_fill(closed[k], SHUT)
            uniform = torch.rand(len(x), generator=generator, dtype=torch.float64, device=x.device)
            angle = sample(logits, uniform)
            forward = forward + log_prob(logits, angle)
            if plan.steps[k].twisting:
                forward = forward + log_slope(angle)
            new = turn_to(plan.steps[k], new, angle, f.angle, hands[:, k + 1])
            growing.drawn(angle.to(self.dtype))
        return new.to(x), forward, backward
