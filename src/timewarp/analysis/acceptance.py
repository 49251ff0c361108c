"""How often moves are accepted, per kernel and per chain, and whether the accepted ones go anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class KernelAcceptance:
    """Acceptance of one kernel after warm-up.

    Attributes:
        name: ``flow``, ``hmc``, ...
        proposed: proposals, over all chains.
        accepted: those accepted.
        acceptance: accepted / proposed, non-finite ones counted as rejected; NaN if nothing was proposed.
        nonfinite: proposals whose energy or density was not finite.
        jump: how often an accepted move changes a phi or psi by more than 60 degrees, divided by how often these differ
            as much between independent samples; None where the sampler does not give it.
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
        kernels: name -> ``{"proposed", "accepted", "nonfinite", "jump", "acceptance_per_chain"}``.

    >>> acceptance({"flow": {"proposed": 20, "accepted": 14}})[0].acceptance
    0.7
    """
    found = []
    for name, row in kernels.items():
        proposed, accepted, jump = row.get("proposed", 0), row.get("accepted", 0), row.get("jump")
        found.append(
            KernelAcceptance(
                name,
                proposed,
                accepted,
                acceptance=accepted / proposed if proposed else float("nan"),
                nonfinite=row.get("nonfinite", 0),
                jump=None if jump is None else float(jump),
                per_chain=tuple(float(v) for v in row.get("acceptance_per_chain", ()) if v is not None),
            )
        )
    return found
