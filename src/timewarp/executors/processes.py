"""Tasks in processes of this machine: each worker keeps its imports and takes one task after another."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from .tasks import DEATHS_ALLOWED, POLL_S, Outcome, Task, died, perform

_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


class LocalProcesses:
    """An :class:`~timewarp.executors.Executor` of processes on this machine, one core each.

    Call it from under ``if __name__ == "__main__":`` (the workers are spawned). They die with this process.

    Args:
        workers: how many.
        deaths_allowed: how often a task is begun again because its process died.
    """

    def __init__(self, workers: int, deaths_allowed: int = DEATHS_ALLOWED) -> None:
        if workers < 1:
            raise ValueError(f"workers must be at least 1, got {workers}")
        self.workers, self.deaths_allowed = workers, deaths_allowed

    @property
    def description(self) -> str:
        """How many processes."""
        return f"{self.workers} local process{'es' if self.workers > 1 else ''}"

    def run(
        self,
        tasks: Sequence[Task],
        on_outcome: Callable[[Outcome], None],
        on_poll: Callable[[], None] = lambda: None,
    ) -> None:
        """Run all tasks; see :meth:`timewarp.executors.Executor.run`."""
        waiting, deaths = deque(tasks), Counter[str]()
        idle: list[_Worker] = []
        busy: dict[Connection, _Worker] = {}
        try:
            while waiting or busy:
                while waiting and len(busy) < self.workers:
                    worker = idle.pop() if idle else _Worker.start()
                    if worker.give(waiting[0]):
                        busy[worker.connection] = worker
                        waiting.popleft()
                for ready in wait(list(busy), timeout=POLL_S):
                    assert isinstance(ready, Connection)
                    worker = busy.pop(ready)
                    outcome = worker.take()
                    if outcome is None:
                        task = worker.task
                        deaths[task.name] += 1
                        if deaths[task.name] <= self.deaths_allowed:
                            waiting.appendleft(task)
                            continue
                        outcome = died(task, deaths[task.name], f" (exit code {worker.process.exitcode})")
                    else:
                        idle.append(worker)
                    on_outcome(outcome)
                on_poll()
        finally:
            for worker in (*idle, *busy.values()):
                worker.process.kill()  # the store loses at most an open segment
            for worker in (*idle, *busy.values()):
                worker.process.join()
                worker.connection.close()


@dataclass(eq=False)
class _Worker:
    process: Any
    connection: Connection
    task: Task

    @classmethod
    def start(cls) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs,), daemon=True)
        with interrupts_ignored(), _environment(_ONE_THREAD):  # inherited: Ctrl-C reaches the group, and we stop them
            process.start()
        theirs.close()
        return cls(process, ours, Task("", perform))

    def give(self, task: Task) -> bool:
        """Hand a task to the worker; False if it died while it was idle."""
        self.task = task
        try:
            self.connection.send(task)
        except OSError:
            self.process.join()
            self.connection.close()
            return False
        return True

    def take(self) -> Outcome | None:
        """The outcome that is ready; None if the worker died."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            self.connection.close()
            return None


def _serve(connection: Connection) -> None:
    """Body of a worker: tasks in, outcomes out, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, OSError):
        while True:
            connection.send(perform(connection.recv(), heartbeat=lambda: None))


def _exit_with_parent() -> None:
    """A parent that was killed cannot stop its workers, and they must not go on writing."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


@contextlib.contextmanager
def interrupts_ignored() -> Iterator[None]:
    """Processes started meanwhile do not hear SIGINT from their first moment on; this one does, or hears it afterwards.

    They inherit what this thread blocks. To ignore it instead would lose a signal that arrives meanwhile.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def interrupts_lost() -> Iterator[None]:
    """Processes started meanwhile ignore SIGINT, whatever they unblock; one that arrives meanwhile is lost.

    For workers of a library, which cannot be told to ignore it: what a thread blocks is unblocked where
    :mod:`multiprocessing` starts its resource tracker.
    """
    try:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
