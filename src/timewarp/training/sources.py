"""What training reads: run folders, by path too, and frames of other programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..trajectories import RunFolder, Source

Given = Source | Path | str


def open_sources(sources: Sequence[Given]) -> list[Source]:
    """Sources, those that are paths of run folders opened.

    Raises:
        ValueError: there is none.
        FileNotFoundError: a folder does not exist.
    """
    if not sources:
        raise ValueError("training needs at least one run folder, or frames")
    return [RunFolder.open(source) if isinstance(source, Path | str) else source for source in sources]
