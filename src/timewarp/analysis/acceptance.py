"""How often moves are accepted, per kernel and per chain, and whether the accepted ones go anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

JUMP = np.deg2rad(60.0)
"""A move that changes a phi or psi by more than this is a jump."""

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
        kernels: name -> ``{"proposed", "accepted", "nonfinite", "jump"}``, where ``proposed`` and ``accepted`` are
            totals or lists with one number per chain; per-chain acceptances are also taken from ``per_chain``,
            ``acceptance_per_chain``, or ``proposed_per_chain`` with ``accepted_per_chain``.

    >>> acceptance({"flow": {"proposed": [10, 10], "accepted": [5, 9]}})[0].per_chain
    (0.5, 0.9)
    """
    found = []
    for name, row in kernels.items():
        proposed, accepted = _total(row.get("proposed", 0)), _total(row.get("accepted", 0))
        ratio = accepted / proposed if proposed else float("nan")
        jump = row.get("jump")
        jump = jump.get("fraction", jump.get("jump")) if isinstance(jump, Mapping) else jump
        found.append(
            KernelAcceptance(
                name,
                proposed,
                accepted,
                ratio,
                _total(row.get("nonfinite", 0)),
                None if jump is None else float(jump),
                _per_chain(row),
            )
        )
    return found


def jump_rate(before: np.ndarray, after: np.ndarray) -> float:
    """Fraction of moves that change any of the angles by more than 60 degrees.

    Args:
        before: (moves, torsions), phi and psi in rad.
        after: the same angles after each move.
    """
    change = np.abs(np.remainder(np.asarray(after) - np.asarray(before) + np.pi, 2 * np.pi) - np.pi)
    return float((change > JUMP).any(-1).mean()) if change.size else float("nan")


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


def _total(value: Any) -> int:
    return int(np.sum(value)) if value is not None else 0


def _per_chain(row: Mapping[str, Any]) -> tuple[float, ...]:
    for key in ("per_chain", "acceptance_per_chain"):
        if isinstance(row.get(key), Sequence):
            return tuple(float(v) for v in row[key] if v is not None)
    for proposed, accepted in (("proposed_per_chain", "accepted_per_chain"), ("proposed", "accepted")):
        if isinstance(row.get(proposed), Sequence) and isinstance(row.get(accepted), Sequence):
            return tuple(a / p for a, p in zip(row[accepted], row[proposed], strict=True) if p)
    return ()
