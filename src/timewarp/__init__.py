"""Exact Boltzmann sampling of small peptides: learned proposals, decided by Metropolis-Hastings.

The verbs return a :class:`Run` (or a trained network); they print nothing::

    import timewarp as tw

    run = tw.sample("AG", samples=20_000, chains=16, out="ag")
    run.torsions["phi_2"], run.verdict()

One floor down are a :class:`System`, the distribution; kernels, which leave it invariant; and :class:`Move`, the base
of a kernel of one's own. Names are loaded when they are first used.
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from .flows import Proposal
    from .run import Run
    from .sampling import HMC, Balanced, ConcertedMove, Cycle, Kernel, Mixture, Move, PuckerMove, TorsionMove
    from .system import System
    from .verbs.conditional import conditional
    from .verbs.evaluate import evaluate
    from .verbs.explore import explore
    from .verbs.frames import read_frames
    from .verbs.kernels import Flow, default_kernel
    from .verbs.observe import observe
    from .verbs.pack import pack
    from .verbs.report import write_report
    from .verbs.sample import sample
    from .verbs.sample_many import sample_many
    from .verbs.simulate import simulate
    from .verbs.simulate_many import simulate_many
    from .verbs.train import train

_HOMES = {
    "flows": ("Proposal",),
    "run": ("Run",),
    "sampling": ("HMC", "Balanced", "ConcertedMove", "Cycle", "Kernel", "Mixture", "Move", "PuckerMove", "TorsionMove"),
    "system": ("System",),
    "verbs.conditional": ("conditional",),
    "verbs.evaluate": ("evaluate",),
    "verbs.explore": ("explore",),
    "verbs.frames": ("read_frames",),
    "verbs.kernels": ("Flow", "default_kernel"),
    "verbs.observe": ("observe",),
    "verbs.pack": ("pack",),
    "verbs.report": ("write_report",),
    "verbs.sample": ("sample",),
    "verbs.sample_many": ("sample_many",),
    "verbs.simulate": ("simulate",),
    "verbs.simulate_many": ("simulate_many",),
    "verbs.train": ("train",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "HMC",
    "Balanced",
    "ConcertedMove",
    "Cycle",
    "Flow",
    "Kernel",
    "Mixture",
    "Move",
    "Proposal",
    "PuckerMove",
    "Run",
    "System",
    "TorsionMove",
    "conditional",
    "default_kernel",
    "evaluate",
    "explore",
    "observe",
    "open",
    "pack",
    "read_frames",
    "sample",
    "sample_many",
    "simulate",
    "simulate_many",
    "train",
    "write_report",
]

logging.getLogger(__name__).addHandler(logging.NullHandler())


def open(path: Path | str, *, discard: int = 0, stride: int = 1) -> Run:
    """The run in a folder; see :class:`Run`.

    Args:
        path: the run folder.
        discard: frames dropped from the start of each chain.
        stride: every ``stride``-th frame is kept.

    Raises:
        FileNotFoundError: there is no run.
        ValueError: it is damaged.
    """
    from .run import Run

    return Run(path, discard=discard, stride=stride)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from .version import version

        return version()
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
