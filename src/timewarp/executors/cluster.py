"""Tasks on a Dask cluster: one of this machine, or whatever scheduler has an address."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .processes import interrupts_lost
from .tasks import DEATHS_ALLOWED, POLL_S, Outcome, Stopped, Task, died, perform

CONNECT_S = 30
"""How long a scheduler may take to answer."""


def is_dask_installed() -> bool:
    """Whether the extra ``cluster`` is there; does not import Dask."""
    return all(importlib.util.find_spec(name) is not None for name in ("dask", "distributed"))


class DaskCluster:
    """An :class:`~timewarp.executors.Executor` on Dask.

    Workers of a scheduler elsewhere need this program installed, one thread each, and a file system that all share.
    Tasks there stop (at their next heartbeat) when this process ends, however it ends.

    Args:
        scheduler: address (``tcp://host:8786``), a scheduler file (``*.json``), or None for a cluster on this machine.
        workers: how many processes the cluster on this machine has; meaningless with a scheduler elsewhere.

    Raises:
        ValueError: Dask is not installed.
    """

    def __init__(self, scheduler: str | None = None, workers: int = 1) -> None:
        if not is_dask_installed():
            raise ValueError("a Dask scheduler needs Dask, which is not installed: pip install 'timewarp-md[cluster]'")
        if workers < 1:
            raise ValueError(f"workers must be at least 1, got {workers}")
        self.scheduler, self.workers = scheduler, workers

    @property
    def description(self) -> str:
        """Which cluster."""
        return f"Dask, {self.workers} local" if self.scheduler is None else f"Dask at {self.scheduler}"

    def run(
        self,
        tasks: Sequence[Task],
        on_outcome: Callable[[Outcome], None],
        on_poll: Callable[[], None] = lambda: None,
    ) -> None:
        """Run all tasks; see :meth:`timewarp.executors.Executor.run`.

        Raises:
            ConnectionError: no scheduler answers at the address, or it was lost.
        """
        if not tasks:
            return
        with _quiet_logs(), self._client() as client:
            # One group of tasks stays in the scheduler's queue until a worker is free. Were they handed out at once, a
            # worker's death would be blamed on all those that wait for it. Keys are never those of an earlier run.
            group = f"timewarp-{uuid.uuid4().hex[:8]}"
            futures = client.map(_on_worker, tasks, key=[(group, k) for k in range(len(tasks))], pure=False)
            waiting = dict(zip(futures, tasks, strict=True))
            try:
                while waiting:
                    ended = [future for future in waiting if future.done()]
                    for future in ended:
                        if (outcome := _outcome(future, waiting[future])) is not None:
                            del waiting[future]
                            on_outcome(outcome)
                    on_poll()
                    if client.status != "running":
                        raise ConnectionError(f"lost the Dask scheduler ({self.description})")
                    if not ended:
                        time.sleep(POLL_S)
            finally:
                with contextlib.suppress(Exception):
                    client.cancel(list(waiting))

    @contextlib.contextmanager
    def _client(self) -> Iterator[Any]:
        import dask
        from distributed import Client, LocalCluster

        if self.scheduler is not None:
            client = self._connect(Client)
            try:
                yield client
            finally:
                client.close(timeout=5)
            return
        settings = {
            "distributed.scheduler.allowed-failures": DEATHS_ALLOWED,
            "distributed.scheduler.worker-saturation": 1.0,
        }
        with (
            tempfile.TemporaryDirectory(prefix="timewarp-dask-", ignore_cleanup_errors=True) as scratch,
            dask.config.set(settings),
        ):
            with interrupts_lost():  # inherited: Ctrl-C reaches the whole group, and we stop the workers
                cluster = LocalCluster(
                    n_workers=self.workers,
                    threads_per_worker=1,
                    processes=True,
                    memory_limit=0,
                    dashboard_address="127.0.0.1:0",  # a free port: with None it is 8787, and a warning if taken
                    local_directory=scratch,
                    silence_logs=logging.CRITICAL,
                )
            with cluster, Client(cluster) as client:
                yield client

    def _connect(self, client_type: Any) -> Any:
        assert self.scheduler is not None
        by_file = self.scheduler.endswith(".json")
        try:
            if by_file:
                self._wait_for_file()
            where = {"scheduler_file" if by_file else "address": self.scheduler}
            return client_type(**where, timeout=CONNECT_S, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ConnectionError(
                f"no Dask scheduler answers at {self.scheduler} ({_first_line(error)}); give its address, "
                f"such as tcp://host:8786, or its scheduler file"
            ) from None

    def _wait_for_file(self) -> None:
        """A scheduler that was started a moment ago may not have written its file yet; Dask would wait for ever."""
        assert self.scheduler is not None
        end = time.monotonic() + CONNECT_S
        while not os.path.exists(self.scheduler):
            if time.monotonic() > end:
                raise FileNotFoundError("no such file")
            time.sleep(0.2)


def _on_worker(task: Task) -> Outcome:
    """Body of a task in a thread of a Dask worker, which cannot be interrupted: it asks whether it is still wanted."""
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()

    def heartbeat() -> None:
        known = worker.state.tasks.get(key)
        if known is None or known.state != "executing":  # cancelled, or its client is gone
            raise Stopped

    try:
        return perform(task, heartbeat)
    except Stopped:
        return Outcome(task.name, error="stopped")


def _outcome(future: Any, task: Task) -> Outcome | None:
    """The outcome of a future that is done; None where the worker that held it died, and Dask computes it again."""
    from distributed import KilledWorker

    if future.status == "cancelled":
        return Outcome(task.name, error="cancelled by the Dask scheduler")
    try:
        return future.result(timeout=CONNECT_S)
    except TimeoutError:
        return None
    except KilledWorker:
        return died(task, DEATHS_ALLOWED + 1)
    except RuntimeError as error:
        if "deserialization" not in str(error):
            return Outcome(task.name, error=f"Dask: {_first_line(error)}")
        raise ConnectionError(
            "the Dask scheduler cannot read the tasks; it and its workers need the Python environment of this process, "
            "this program and version included"
        ) from None
    except ImportError as error:
        return Outcome(task.name, error=f"a worker cannot import this program ({error}); install it there")
    except Exception as error:
        return Outcome(task.name, error=f"Dask: {type(error).__name__}: {_first_line(error)}")


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


@contextlib.contextmanager
def _quiet_logs() -> Iterator[None]:
    """Dask logs what it recovers from; what it does not recover from becomes an outcome or an error."""
    import distributed  # noqa: F401  (sets its log levels when it is imported)

    before = {name: logging.getLogger(name).level for name in ("distributed", "tornado", "asyncio")}
    for name in before:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
