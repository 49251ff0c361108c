"""SIGINT and SIGTERM from the first moment on: one line, and the exit code 130 or 143.

While no folder is held for writing, nothing is lost by ending at once. Later the process is unwound by a
:class:`Interrupted`, so that temporary files and worker processes go, and ends at once at a second signal, or where the
unwinding takes longer than :data:`GRACE_S`. The store is written atomically, so that none of these harms it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

GRACE_S = 10.0
"""Seconds from a signal to the end of the process, at the latest."""
LINE = "timewarp: interrupted; run the same command again to go on from what is saved"
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A signal asked the process to end.

    Attributes:
        code: its exit code, 128 and the number of the signal.
    """

    def __init__(self, signum: int) -> None:
        super().__init__()
        self.code = 128 + signum


def code_of(error: KeyboardInterrupt) -> int:
    """The exit code after an interrupt."""
    return getattr(error, "code", 128 + signal.SIGINT)


class Guard:
    """Handles signals of a process whose main thread runs one verb.

    Args:
        owner: whether the process is the program's own, and may be ended at once.
    """

    def __init__(self, owner: bool) -> None:
        self.owner = owner
        self.said = False
        self.asked = 0

    def handle(self, signum: int, frame: FrameType | None) -> None:
        """Of the main thread, between two steps of the interpreter."""
        self.asked += 1
        if self.owner and (self.asked > 1 or self.said or not _writing()):
            self.end(128 + signum)
        raise Interrupted(signum)

    def say(self) -> None:
        """The line, once."""
        if not self.said:
            self.said = True
            if not self.owner:
                print(LINE, file=sys.stderr)
                return
            with contextlib.suppress(OSError):
                os.write(2, f"{LINE}\n".encode())

    def end(self, code: int) -> None:
        """Say the line and end the process, without the last words of libraries."""
        self.say()
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(code)

    def watch(self, descriptor: int) -> None:
        """Body of a thread: end a process that a signal has reached, and that does not end by itself."""
        while True:
            try:
                found = os.read(descriptor, 1)
            except OSError:
                return
            if not found:
                return
            if found[0] in SIGNALS:
                time.sleep(GRACE_S)
                self.end(128 + found[0])


_guard: Guard | None = None


def guard_process() -> Guard:
    """Handle the signals of this process, which is the program's own, until it ends."""
    global _guard
    if _guard is None:
        _guard = Guard(owner=True)
        for signum in SIGNALS:
            if signal.getsignal(signum) is not signal.SIG_IGN or signum == signal.SIGTERM:
                signal.signal(signum, _guard.handle)
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        threading.Thread(target=_guard.watch, args=(reader,), daemon=True).start()
    return _guard


@contextlib.contextmanager
def guarded() -> Iterator[Guard]:
    """Meanwhile SIGTERM is an :class:`Interrupted`, too; for a caller whose process is not the program's own."""
    if _guard is not None:
        yield _guard
        return
    guard, before = Guard(owner=False), {}
    with contextlib.suppress(ValueError):  # not in the main thread: the caller handles signals
        before[signal.SIGTERM] = signal.signal(signal.SIGTERM, guard.handle)
    try:
        yield guard
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _writing() -> bool:
    """Whether a folder is held for writing, without loading anything."""
    files: Any = sys.modules.get(f"{__package__}.files")
    return bool(getattr(files, "held", ()))
