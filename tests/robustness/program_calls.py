"""One command in this process or another, and whether it ended as a command may end."""

from __future__ import annotations

import contextlib
import io
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from timewarp.commands import main

SECONDS = 10.0
MEGABYTES = 1024.0


class TooLong(BaseException):
    """A command took longer than it may."""


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: its exit code.
        err: what it printed on stderr.
        seconds: how long it took.
        megabytes: by how much the largest memory of this process grew.
    """

    code: int
    err: str
    seconds: float
    megabytes: float = 0.0

    @property
    def fault(self) -> str:
        """What is wrong with the end, or nothing: success, or one line that refuses."""
        if self.code == 0:
            return "too much memory" if self.megabytes > MEGABYTES else ""
        lines = [line for line in self.err.splitlines() if not _is_note(line)]
        if self.code == -1:
            return f"over {SECONDS:g} s"
        if "unexpected" in self.err or "please report" in self.err:
            return f"unexpected: {self.err[:300]}"
        if "Traceback" in self.err:
            return f"traceback: {self.err[-300:]}"
        if self.code != 2 or len(lines) != 1 or not lines[0].startswith("timewarp: error: "):
            return f"exit code {self.code} and {len(lines)} lines: {self.err[:300]}"
        return "too much memory" if self.megabytes > MEGABYTES else ""


def _is_note(line: str) -> bool:
    return line.startswith("timewarp: ") and not line.startswith("timewarp: error")


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise TooLong after so long, at the next step of the interpreter."""

    def stop(signum: int, frame: object) -> None:
        raise TooLong

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def call(arguments: Sequence[str], seconds: float = SECONDS) -> Ended:
    """Run a command in this process."""
    err, out = io.StringIO(), io.StringIO()
    began, before = time.process_time(), _largest()
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(out):
        try:
            with at_most(6 * seconds):  # of the wall; what counts is the time of the processor
                code = main(list(arguments))
        except TooLong:
            code = -1
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
    took = time.process_time() - began
    if took > seconds:
        code = -1
    return Ended(code, err.getvalue(), took, _largest() - before)


def _largest() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def start(arguments: Sequence[str], **environment: str) -> subprocess.Popen[str]:
    """Start a command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "timewarp", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        start_new_session=True,
    )


def run(arguments: Sequence[str], **environment: str) -> Ended:
    """Run a command in a process of its own."""
    began = time.monotonic()
    process = start(arguments, **environment)
    _, err = process.communicate()
    return Ended(process.returncode, err, time.monotonic() - began)


def hashes(folder: Path) -> dict[str, bytes]:
    """The content of every file in a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
