"""What a network, or anything else that proposes, gives to Metropolis-Hastings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from ..shapes import Float, Int


@dataclass(frozen=True)
class Proposal:
    """One candidate per chain, and what its densities add to the acceptance ratio.

    Attributes:
        positions: the candidates x', in nm.
        log_ratio: ``log q(x | x') - log q(x' | x)``, densities with respect to Cartesian volume; with auxiliary
            variables (momenta) the log ratio of their densities is part of it. None for a symmetric proposal.
        energy: U(x') in kJ/mol where it is known already; None: Metropolis-Hastings evaluates it.
        is_centred: whether the candidates' centroids are at the origin already.
    """

    positions: Float[Tensor, "chains atoms 3"]
    log_ratio: Float[Tensor, " chains"] | None = None
    energy: Float[Tensor, " chains"] | None = None
    is_centred: bool = False


@runtime_checkable
class Proposer(Protocol):
    """The contract of whatever proposes: candidates for a batch of configurations, with their log ratios.

    Only :meth:`propose` must be there: what is not declared has the default that is given below.

    Attributes:
        redraws: boolean (atoms, 3), which bond lengths, angles and dihedrals of ``atoms.tree`` a candidate has anew, at
            most; None (the default): all Cartesian coordinates.
        cost: computing time of one proposal of one chain, in force evaluations of the molecule; 1 by default.
        engine: what computes it: ``"native"`` (the compiled kernels) or ``"torch"`` (the default).
    """

    def propose(self, x: Float[Tensor, "chains atoms 3"], generator: torch.Generator) -> Proposal:
        """A candidate for each configuration ``x`` (nm)."""
        ...


@runtime_checkable
class IndependentProposer(Proposer, Protocol):
    """A proposer whose candidates do not depend on what they replace, given what stays.

    The density of a state is then the density with which it was drawn, so that several proposals, one after the other,
    need one scoring: that of the state that they begin with (:class:`timewarp.sampling.RegrowthMove`).

    Attributes:
        cost_of_scoring: the part of ``cost`` that a further proposal from the same state does not have.
    """

    cost: float
    cost_of_scoring: float

    def choose(self, generator: torch.Generator) -> Any:
        """What is redrawn, the same in all chains; it does not depend on their states."""
        ...

    def redraw(
        self, x: Float[Tensor, "chains atoms 3"], chosen: Any, generator: torch.Generator, score: bool = True
    ) -> tuple[Float[Tensor, "chains atoms 3"], Float[Tensor, " chains"], Float[Tensor, " chains"] | None]:
        """Candidates, log q(x' | what stays), and log q(x | what stays); the last may be None if not ``score``."""
        ...


@runtime_checkable
class SpeculativeProposer(Proposer, Protocol):
    """A proposer that is cheaper per candidate if it draws several from one state, each for a step of its own.

    Auxiliary variables (momenta) are drawn anew for each candidate (:class:`timewarp.sampling.BatchedMove`).
    """

    cost: float

    def speculate(
        self, x: Float[Tensor, "chains atoms 3"], n: int, most: Int[Tensor, " chains"], generator: torch.Generator
    ) -> tuple[Float[Tensor, "n chains atoms 3"], Float[Tensor, "n chains"]]:
        """``n`` candidates per configuration with their log ratios; NaN in place of those beyond the first ``most``."""
        ...
