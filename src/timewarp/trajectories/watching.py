"""How far a run is, seen from outside: from the segments that it has closed, wherever the process that writes it is."""

from __future__ import annotations

import os
from pathlib import Path

from .segments import SegmentHeader, read_header


class ClosedSteps:
    """Steps in the closed segments of a run folder, which need not exist yet. Reads only what is new.

    Args:
        folder: the run folder.
    """

    def __init__(self, folder: Path) -> None:
        self.segments = folder / "segments"
        self._last: dict[str, tuple[str, SegmentHeader]] = {}

    def count(self) -> int:
        """Steps (of MD, or of a chain), summed over replicas or chains."""
        newest: dict[str, str] = {}
        try:
            for entry in os.scandir(self.segments):
                if entry.name.endswith(".safetensors"):
                    stream = entry.name.partition("-")[0]
                    newest[stream] = max(newest.get(stream, ""), entry.name)
        except OSError:  # not made yet
            return 0
        for stream, name in newest.items():
            if stream not in self._last or self._last[stream][0] != name:
                try:
                    self._last[stream] = (name, read_header(self.segments / name))
                except ValueError:  # damaged: the run itself will say so
                    continue
        return sum(header.last_step * header.n_chains for _, header in self._last.values())
