"""Which executor a name stands for."""

from __future__ import annotations

from .cluster import DaskCluster, is_dask_installed
from .processes import LocalProcesses
from .tasks import Executor

PROCESSES, LOCAL = "processes", "local"


def is_address(scheduler: str | None) -> bool:
    """Whether a name is the address or the file of a scheduler elsewhere, which has workers of its own."""
    return scheduler not in (None, PROCESSES, LOCAL)


def make_executor(scheduler: str | None, workers: int) -> Executor:
    """The executor that a name stands for.

    Args:
        scheduler: ``"processes"`` of this machine, a ``"local"`` Dask cluster, or the address or file of a Dask
            scheduler; None for ``"local"`` where Dask is installed, and else ``"processes"``.
        workers: how many on this machine.

    Raises:
        ValueError: Dask is needed and not installed, or there is no worker.
    """
    if scheduler == PROCESSES or (scheduler is None and not is_dask_installed()):
        return LocalProcesses(workers)
    return DaskCluster(scheduler if is_address(scheduler) else None, workers)
