"""Many independent tasks on many workers: processes of this machine, or a Dask cluster. Knows nothing of molecules."""

from .choice import LOCAL, PROCESSES, is_address, make_executor
from .cluster import DaskCluster, is_dask_installed
from .processes import LocalProcesses
from .tasks import DEATHS_ALLOWED, Executor, Heartbeat, Outcome, Stopped, Task

__all__ = [
    "DEATHS_ALLOWED",
    "LOCAL",
    "PROCESSES",
    "DaskCluster",
    "Executor",
    "Heartbeat",
    "LocalProcesses",
    "Outcome",
    "Stopped",
    "Task",
    "is_address",
    "is_dask_installed",
    "make_executor",
]
