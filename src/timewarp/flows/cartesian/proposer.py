"""Proposals of all Cartesian coordinates with an auxiliary variable, several from one state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from ...shapes import Float, Int
from ..density import dtype_of
from ..proposer import Proposal

FORCES_PER_WEIGHT = 5e-4
"""Computing time of the network's matrix products, for the candidate and the way back."""


@dataclass(frozen=True)
class Candidate:
    """Proposed states: ``n`` for each condition of a batch.

    Attributes:
        positions: x' in nm; equal to the condition's where there is no atom.
        auxiliary: v', dimensionless, whose target is N(0, I); zero where there is no atom.
    """

    positions: Float[Tensor, "n batch atoms 3"]
    auxiliary: Float[Tensor, "n batch atoms 3"]


@runtime_checkable
class CartesianDensity(Protocol):
    """A conditional density q(x', v' | x) over R^(6 atoms), or q(x', v' | x, v) where ``uses_auxiliary``.

    Its log density is with respect to dx' dv' (nm and dimensionless) of the real atoms. Gradients flow through
    :meth:`sample` (reparametrised) and :meth:`log_prob`.

    Attributes:
        uses_auxiliary: whether the condition's auxiliary variable is read.
    """

    uses_auxiliary: bool

    def encode(
        self,
        positions: Float[Tensor, "batch atoms 3"],
        auxiliary: Float[Tensor, "batch atoms 3"] | None = None,
        molecule: Int[Tensor, " batch"] | None = None,
    ) -> Any:
        """All work that depends on the condition only; done once, however many samples follow.

        Args:
            positions: x in nm.
            auxiliary: v, needed where ``uses_auxiliary``.
            molecule: which of the density's molecules each row is; None: the first.
        """
        ...

    def sample(self, condition: Any, n: int, generator: torch.Generator) -> tuple[Candidate, Float[Tensor, "n batch"]]:
        """Draw ``n`` candidates per condition, with their log densities."""
        ...

    def log_prob(self, candidate: Candidate, condition: Any) -> Float[Tensor, "n batch"]:
        """Log density of candidates given the condition."""
        ...


class AuxiliaryProposer:
    """Proposes from q(x', v' | x, v) for the augmented target ``exp(-U(x) / kT) N(v; 0, I)`` (Klein et al. 2023).

    The Gibbs update ``v ~ N(0, I)`` is made for each candidate; then ``(x', v') ~ q(. | x, v)``, and

        log ratio = log N(v') - log N(v) + log q(x, v | x') - log q(x', v' | x).

    A :class:`~timewarp.flows.proposer.SpeculativeProposer`: candidates that are drawn from one state share the work on
    the condition.

    Args:
        density: the network, or an analytic one. It is one of displacements: for a target that is invariant to rigid
            motion it must not see where the molecule is.
    """

    redraws = None
    engine = "torch"

    def __init__(self, density: CartesianDensity) -> None:
        self.density = density
        n_weights = sum(p.numel() for p in density.parameters()) if isinstance(density, nn.Module) else 0
        self.cost = max(1.0, n_weights * FORCES_PER_WEIGHT)

    def propose(self, x: Float[Tensor, "chains atoms 3"], generator: torch.Generator) -> Proposal:
        """A candidate for each configuration ``x`` (nm)."""
        most = torch.ones(len(x), dtype=torch.long, device=x.device)
        candidates, log_ratio = self.speculate(x, 1, most, generator)
        return Proposal(candidates[0], log_ratio[0])

    @torch.no_grad()
    def speculate(
        self, x: Float[Tensor, "chains atoms 3"], n: int, most: Int[Tensor, " chains"], generator: torch.Generator
    ) -> tuple[Float[Tensor, "n chains atoms 3"], Float[Tensor, "n chains"]]:
        """``n`` candidates per configuration with their log ratios (float64).

        The way back is worked out for the first ``most`` candidates only; the others have a ratio of NaN.
        """
        given, x = x, x.to(dtype_of(self.density, x))
        v = self.draw_auxiliaries(n, x, generator)
        drawn, log_q = self.draw(x, v, generator)
        log_normal = 0.5 * (v.double().square() - drawn.auxiliary.double().square()).sum((-1, -2))
        log_ratio = torch.full(log_normal.shape, torch.nan, dtype=torch.float64, device=x.device)
        wanted = torch.arange(n, device=x.device)[:, None] < most
        if wanted.any():
            heard = drawn.auxiliary[wanted] if self.density.uses_auxiliary else None
            back = self.density.encode(drawn.positions[wanted], heard)
            current = Candidate(x.expand_as(v)[wanted][None], v[wanted][None])
            log_q_back = self.density.log_prob(current, back)[0]
            log_ratio[wanted] = log_q_back.double() - log_q[wanted].double() + log_normal[wanted]
        return drawn.positions.to(given), log_ratio

    def draw_auxiliaries(
        self, n: int, x: Float[Tensor, "chains atoms 3"], generator: torch.Generator
    ) -> Float[Tensor, "n chains atoms 3"]:
        """The Gibbs updates of ``n`` steps: standard normal, and never one for two steps."""
        return torch.randn(n, *x.shape, generator=generator, dtype=x.dtype, device=x.device)

    def draw(
        self, x: Float[Tensor, "chains atoms 3"], v: Float[Tensor, "n chains atoms 3"], generator: torch.Generator
    ) -> tuple[Candidate, Float[Tensor, "n chains"]]:
        """One candidate for each v, with its log density; a condition of x alone is encoded once."""
        if not self.density.uses_auxiliary:
            return self.density.sample(self.density.encode(x), len(v), generator)
        condition = self.density.encode(x.expand_as(v).flatten(0, 1), v.flatten(0, 1))
        drawn, log_q = self.density.sample(condition, 1, generator)
        return Candidate(drawn.positions.reshape(v.shape), drawn.auxiliary.reshape(v.shape)), log_q.reshape(v.shape[:2])
