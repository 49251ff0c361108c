"""Whether a compressed trajectory can be read at all: its reader, C code of others, crashes on damaged ones."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

PROBED = (".xtc", ".trr")
_READ = """
import sys
from mdtraj.formats import TRRTrajectoryFile, XTCTrajectoryFile
kind = XTCTrajectoryFile if sys.argv[1] == ".xtc" else TRRTrajectoryFile
with kind(sys.argv[2]) as file:
    while len(file.read(n_frames=1000)[0]):
        pass
"""


def check_readable(path: Path, suffix: str) -> None:
    """Read a file once in a process of its own, whose death is then not this one's.

    Raises:
        ValueError: the reader crashed, or could not read the file.
    """
    if suffix not in PROBED:
        return
    found = subprocess.run(
        [sys.executable, "-c", _READ, suffix, str(path)], capture_output=True, text=True, errors="replace"
    )
    if found.returncode < 0:
        name = signal.Signals(-found.returncode).name
        raise ValueError(f"{path} is damaged: its reader was ended by {name}; get the whole file again")
    if found.returncode:
        last = (found.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ValueError(f"{path} was cut short or is damaged ({last[:200]}); get the whole file again")
