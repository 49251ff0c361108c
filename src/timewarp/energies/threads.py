"""Chunks of a batch on several cores: one thread per chunk, never several threads per operation.

An operation on a few hundred kilobytes takes microseconds. Splitting each over cores, as torch does by default, gains
a fifth on an idle machine, and loses a factor of a hundred and more on a busy one, where every operation waits until
the operating system has scheduled every thread. Here threads meet once per evaluation.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

_pools: dict[int, ThreadPoolExecutor] = {}


def run_all(tasks: Sequence[Callable[[], Any]], n_threads: int) -> list[Any]:
    """Results of all tasks, in order, without gradients where several threads share them.

    Each of the threads uses one core. A single one is the caller's own, which may follow gradients.
    """
    if n_threads == 1 or not tasks:
        return [task() for task in tasks]
    return list(pool(n_threads).map(torch.no_grad()(_call), tasks))


def _call(task: Callable[[], Any]) -> Any:
    return task()


def pool(n_threads: int) -> ThreadPoolExecutor:
    """Threads for which torch has one core each."""
    if n_threads not in _pools:
        threads_of_caller = torch.get_num_threads()
        threads = ThreadPoolExecutor(n_threads, "timewarp", initializer=torch.set_num_threads, initargs=(1,))
        list(threads.map(lambda _: None, range(n_threads)))
        # The initialiser also changed what threads started later would use.
        torch.set_num_threads(threads_of_caller)
        _pools[n_threads] = threads
    return _pools[n_threads]


# A forked child has none of the threads, and would wait for them for ever.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pools.clear)
