"""How far a run is, seen from outside: from the segments that it has closed, wherever the process that writes it is."""

from __future__ import annotations

import os
from pathlib import Path

from ..trajectories.segments import SegmentHeader, read_header
from ..units import PICOSECONDS_PER_NANOSECOND


class ClosedTime:
    """Simulated time in the closed segments of a run folder, which need not exist yet. Reads only what is new.

    Args:
        folder: the run folder.
        timestep_ps: in ps.
    """

    def __init__(self, folder: Path, timestep_ps: float) -> None:
        self.segments, self.timestep_ps = folder / "segments", timestep_ps
        self._last: dict[str, tuple[str, SegmentHeader]] = {}

    def ns(self) -> float:
        """Time in ns, summed over replicas."""
        newest: dict[str, str] = {}
        try:
            for entry in os.scandir(self.segments):
                if entry.name.endswith(".safetensors"):
                    stream = entry.name.partition("-")[0]
                    newest[stream] = max(newest.get(stream, ""), entry.name)
        except OSError:  # not made yet
            return 0.0
        for stream, name in newest.items():
            if stream not in self._last or self._last[stream][0] != name:
                try:
                    self._last[stream] = (name, read_header(self.segments / name))
                except ValueError:  # damaged: the run itself will say so
                    continue
        steps = sum(header.last_step * header.n_chains for _, header in self._last.values())
        return steps * self.timestep_ps / PICOSECONDS_PER_NANOSECOND
