"""Superchains: groups of chains that share a start, between which nested R-hat compares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

SUPERCHAINS = 8
"""How many there are by default: with 8, an R-hat of 1.01 means an effective sample size of about 400."""


def superchain_labels(n_chains: int, superchains: int) -> tuple[int, ...]:
    """The label of each chain: chain c belongs to superchain ``c % superchains``, and takes that start.

    Where there are fewer chains than superchains, each chain has a label of its own.

    >>> superchain_labels(5, 2)
    (0, 1, 0, 1, 0)

    Raises:
        ValueError: there is no superchain.
    """
    if superchains < 1:
        raise ValueError(f"superchains must be at least 1, got {superchains}")
    return tuple(chain % superchains for chain in range(n_chains))


def superchains_of_starts(n_starts: int) -> int:
    """The multiple of ``n_starts`` that is nearest to 8, where chain c has start ``c % n_starts``.

    Chains of one superchain must share a start, and superchains may share one too.

    >>> [superchains_of_starts(n) for n in (1, 3, 8, 20)]
    [8, 9, 8, 20]
    """
    return n_starts * max(1, round(SUPERCHAINS / n_starts))


def superchains_of_run(kind: str, config: Mapping[str, Any], chains: Sequence[int]) -> tuple[int, ...]:
    """Labels of some chains of a run, each given by its number in the run.

    Replicas of MD take the ``starts`` of the configuration in turn. A sampling run says how many ``superchains`` it
    has; where it does not (version 0.1), each of its chains had a start of its own.
    """
    n_chains = max(chains) + 1
    if kind == "md":
        superchains = superchains_of_starts(len(config.get("starts") or ("built",)))
    else:
        superchains = int(config.get("superchains") or n_chains)
    labels = superchain_labels(n_chains, superchains)
    return tuple(labels[chain] for chain in chains)
