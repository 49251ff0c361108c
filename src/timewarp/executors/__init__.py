"""Many independent tasks on many workers: processes of this machine, or a Dask cluster. Knows nothing of molecules."""

from .cluster import DaskCluster, is_dask_installed
from .processes import LocalProcesses
from .tasks import DEATHS_ALLOWED, Executor, Heartbeat, Outcome, Stopped, Task

__all__ = [
    "DEATHS_ALLOWED",
    "DaskCluster",
    "Executor",
    "Heartbeat",
    "LocalProcesses",
    "Outcome",
    "Stopped",
    "Task",
    "is_dask_installed",
]
