"""What an executor runs, and what comes back."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

DEATHS_ALLOWED = 3
"""How often a task is begun again because the process that ran it died (Dask's own default)."""

POLL_S = 0.5
"""Seconds between calls of ``on_poll``."""

Heartbeat = Callable[[], None]
"""What a task calls now and then; raises :class:`Stopped` when nobody waits for the task any more."""


class Stopped(BaseException):
    """The task is no longer wanted. Not an ``Exception``, so that it passes through handlers of failures."""


@dataclass(frozen=True)
class Task:
    """A call that is made in a process of its own; all of it can be pickled.

    Attributes:
        name: unique among the tasks of one run.
        function: a module-level function, called as ``function(*arguments, heartbeat=heartbeat)``. It may be begun
            again after its process was killed, so it goes on from what it finds on disk.
        arguments: its arguments.
        expected: errors whose message speaks for itself.
    """

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...] = ()
    expected: tuple[type[Exception], ...] = (ValueError, OSError)


@dataclass(frozen=True)
class Outcome:
    """How a task ended.

    Attributes:
        name: the task's.
        value: what the function returned.
        error: one line, or None after success.
    """

    name: str
    value: Any = None
    error: str | None = None


@runtime_checkable
class Executor(Protocol):
    """Runs tasks on its workers, each on one thread."""

    @property
    def description(self) -> str:
        """What runs where, such as ``2 processes``."""
        ...

    def run(
        self,
        tasks: Sequence[Task],
        on_outcome: Callable[[Outcome], None],
        on_poll: Callable[[], None] = lambda: None,
    ) -> None:
        """Run all tasks, in order of their list as far as workers are free.

        A task that fails does not stop the others; one whose worker died is begun again up to
        :data:`DEATHS_ALLOWED` times. An exception here (Ctrl-C) stops the running tasks at once.

        Args:
            tasks: what to run.
            on_outcome: called in this process, once per task, as it ends.
            on_poll: called in this process about every :data:`POLL_S` seconds meanwhile.
        """
        ...


def perform(task: Task, heartbeat: Heartbeat) -> Outcome:
    """Run a task here, on one thread; a failure becomes its :class:`Outcome`."""
    if (torch := sys.modules.get("torch")) is not None:  # came with the task; if later, OMP_NUM_THREADS counts
        torch.set_num_threads(1)
    try:
        return Outcome(task.name, value=task.function(*task.arguments, heartbeat=heartbeat))
    except Exception as error:
        message = " ".join(str(error).split()) or type(error).__name__
        if not isinstance(error, task.expected):
            message = f"unexpected {type(error).__name__}: {message}"
        return Outcome(task.name, error=message)


def died(task: Task, times: int, how: str = "") -> Outcome:
    """The outcome of a task whose workers kept dying."""
    often = "once" if times == 1 else f"{times} times"
    return Outcome(task.name, error=f"the process that ran it died {often}{how}; out of memory, or killed?")
