"""Exact Boltzmann sampling of small peptides."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from .notebook import Run

__all__ = ["open"]


def open(path: Path | str, *, discard: int = 0, stride: int = 1) -> Run:
    """A run folder to look at in a notebook; see :class:`timewarp.notebook.Run`."""
    from .notebook import Run

    return Run(path, discard=discard, stride=stride)
