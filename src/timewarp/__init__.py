"""Exact Boltzmann sampling of small peptides."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from .notebook import Run

__all__ = ["open"]


def open(path: Path | str, *, discard: int = 0, stride: int = 1) -> Run:
    """A run folder of ``timewarp sample``, ``simulate`` or ``explore``, to look at in a notebook.

    Args:
        path: the run folder.
        discard: frames dropped from the start of each chain.
        stride: every ``stride``-th frame is kept.

    Raises:
        FileNotFoundError: there is no run.
        ValueError: it is damaged.
    """
    from .notebook import Run

    return Run(path, discard=discard, stride=stride)
