"""How often moves are accepted, per kernel and per chain, and whether the accepted ones go anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from ..geometry import jumps

JUMP_PAIRS = 100_000


@dataclass(frozen=True)
class KernelAcceptance:
    """Acceptance of one kernel after warm-up.

    Attributes:
        name: ``flow``, ``hmc``, ...
        proposed: proposals, over all chains.
        accepted: those accepted.
        acceptance: accepted / proposed, non-finite ones counted as rejected; NaN if nothing was proposed.
        nonfinite: proposals whose energy or density was not finite.
        jump: see :func:`jump_fraction`; None where the sampler does not give it.
        per_chain: acceptance of each chain, empty where the sampler does not give it.
    """

    name: str
    proposed: int
    accepted: int
    acceptance: float
    nonfinite: int
    jump: float | None
    per_chain: tuple[float, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def acceptance(kernels: Mapping[str, Mapping[str, Any]]) -> list[KernelAcceptance]:
    """Acceptance of each kernel from the ``kernels`` table of a sampling run's ``summary.json``.

    Args:
        kernels: name -> ``{"proposed", "accepted", "nonfinite", "jump", "acceptance_per_chain"}``; numbers are totals
            over all chains.

    >>> acceptance({"flow": {"proposed": 20, "accepted": 14, "acceptance_per_chain": [0.5, 0.9]}})[0].acceptance
    0.7
    """
    return [
        KernelAcceptance(
            name,
            row["proposed"],
            row["accepted"],
            row["accepted"] / row["proposed"] if row["proposed"] else float("nan"),
            row.get("nonfinite", 0),
            row.get("jump"),
            tuple(value for value in row.get("acceptance_per_chain", ()) if value is not None),
        )
        for name, row in kernels.items()
    ]


def jump_rate(before: np.ndarray, after: np.ndarray) -> float:
    """Fraction of moves that change any of the angles by more than 60 degrees.

    Args:
        before: (moves, torsions), phi and psi in rad.
        after: the same angles after each move.
    """
    jumped = jumps(torch.as_tensor(before), torch.as_tensor(after))
    return float(jumped.any(-1).double().mean()) if jumped.numel() else float("nan")


def jump_fraction(before: np.ndarray, after: np.ndarray, equilibrium: np.ndarray, seed: int = 0) -> float:
    """Do accepted moves go as far as independent draws would?

    The fraction of *accepted* moves that change a phi or psi by more than 60 degrees, divided by that fraction between
    independent equilibrium pairs (here random pairs of ``equilibrium``).

    Args:
        before: (accepted moves, torsions): every phi and psi in rad before each accepted move.
        after: the same after it.
        equilibrium: (samples, torsions): the same angles in independent samples, of MD or of the converged chain.
        seed: of the pairing.

    Returns:
        0 for moves that go nowhere, about 1 for independent ones; NaN without moves, or where even
        equilibrium pairs never differ by 60 degrees.
    """
    samples = np.asarray(equilibrium)
    rng = np.random.default_rng(seed)
    first, second = rng.integers(len(samples), size=(2, JUMP_PAIRS))
    apart = first != second
    between = jump_rate(samples[first[apart]], samples[second[apart]])
    return jump_rate(before, after) / between if between > 0 else float("nan")
