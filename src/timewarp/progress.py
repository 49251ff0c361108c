"""A progress line with rate and time left: rich's bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import Any


@dataclass(frozen=True)
class Report:
    """How far one long task is.

    Attributes:
        task: what is being done.
        done: units of work so far, those of an earlier process included.
        total: units of work in all.
        unit: the name of a unit.
        rate: units per second of this process.
        note: a few words on the state of things.
    """

    task: str
    done: float
    total: float
    unit: str
    rate: float
    note: str


Listener = Callable[[Report], None]
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextlib.contextmanager
def listening(listener: bool | Listener) -> Iterator[None]:
    """Meanwhile a function is called with a :class:`Report` whenever a long task advances; a bool does nothing."""
    if isinstance(listener, bool):
        yield
        return
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def format_seconds(seconds: float) -> str:
    """Human-readable duration.

    >>> format_seconds(75), format_seconds(4000)
    ('1:15', '1:06:40')
    """
    total = round(max(seconds, 0.0))
    hours, rest = divmod(total, 3600)
    minutes, secs = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{secs:02d}" if hours else f"{minutes}:{secs:02d}"


class Progress:
    """Progress of one long task: ``with Progress("MD", total) as bar: bar.advance(1, note="12 ns/day")``.

    On a terminal with rich installed this is a bar; otherwise a line is printed to stderr every
    ``interval_s`` seconds, so that logs stay short and training does not depend on rich.

    Args:
        task: what is being done.
        total: how many units of work there are in all.
        done: how many were done before (after a resume); they do not count in the rate.
        unit: the name of a unit, for the rate.
        quiet: print nothing.
        interval_s: seconds between plain lines.
    """

    def __init__(
        self,
        task: str,
        total: float,
        *,
        done: float = 0,
        unit: str = "it",
        quiet: bool = False,
        interval_s: float = 10.0,
    ) -> None:
        self.task, self.total, self.unit, self.quiet, self.interval_s = task, total, unit, quiet, interval_s
        self.first = self.done = done
        self.note = ""
        self._bar: Any = None
        self._row: Any = None
        self._started = self._printed = time.monotonic()

    def __enter__(self) -> Progress:
        self._started = self._printed = time.monotonic()
        if not self.quiet and sys.stderr.isatty():
            try:
                from rich.console import Console
                from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
                from rich.progress import Progress as RichProgress
            except ImportError:
                return self
            self._bar = RichProgress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f}%  {task.fields[rate]}"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
                console=Console(stderr=True),
            )
            self._bar.start()
            self._row = self._bar.add_task(self.task, total=self.total, completed=self.done, note="", rate="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif not self.quiet and kind is None:
            self._print()

    @property
    def rate(self) -> float:
        """Units of work per second since the start of this process."""
        return (self.done - self.first) / max(time.monotonic() - self._started, 1e-9)

    def report(self, note: str | None = None) -> Report:
        """How far it is, with its own note or another one."""
        note = self.note if note is None else note
        return Report(self.task, self.done, self.total, self.unit, self.rate, note)

    def aim(self, total: float) -> None:
        """Set how many units of work there are in all, where that was not known before."""
        self.total = total
        if self._bar is not None:
            self._bar.update(self._row, total=total)

    def advance(self, amount: float = 1, note: str | None = None) -> None:
        """Report ``amount`` more units done, with an optional short note (a loss, an acceptance)."""
        self.done += amount
        if note is not None:
            self.note = note
        if (listener := _listener.get()) is not None:
            listener(self.report())
        if self._bar is not None:
            self._bar.update(self._row, completed=self.done, note=self.note, rate=f"{self.rate:,.4g} {self.unit}/s")
        elif not self.quiet and time.monotonic() - self._printed >= self.interval_s:
            self._print()

    def _print(self) -> None:
        self._printed = time.monotonic()
        left = format_seconds((self.total - self.done) / self.rate) if self.rate > 0 else "?"
        percent = 100 * self.done / self.total if self.total else 100.0
        line = f"{self.task}: {percent:.0f} %  {self.rate:,.4g} {self.unit}/s  {left} left  {self.note}"
        print(line.rstrip(), file=sys.stderr, flush=True)
