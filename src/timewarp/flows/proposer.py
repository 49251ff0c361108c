"""What a network, or anything else that proposes, gives to Metropolis-Hastings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from ..shapes import Float


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

    Attributes:
        redraws: boolean (atoms, 3), which bond lengths, angles and dihedrals of ``atoms.tree`` a candidate has anew;
            None: all Cartesian coordinates.
        cost: computing time of one proposal of one chain, in force evaluations of the molecule.
        engine: what computes it: ``"native"`` (the compiled kernels) or ``"torch"``.
    """

    redraws: Tensor | None
    cost: float
    engine: str

    def propose(self, x: Float[Tensor, "chains atoms 3"], generator: torch.Generator) -> Proposal:
        """A candidate for each configuration ``x`` (nm)."""
        ...
