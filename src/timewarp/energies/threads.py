"""Chunks of a batch on several cores: one thread per chunk, never several threads per operation.

An operation on a few hundred kilobytes takes microseconds. Splitting each over cores, as torch does by default, gains
a fifth on an idle machine, and loses a factor of a hundred and more on a busy one, where every operation waits until
the operating system has scheduled every thread. Here threads meet once per evaluation.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch

_pools: dict[int, ThreadPoolExecutor] = {}


def run_chunks(work: Callable[[slice], None], chunks: Sequence[slice], n_threads: int) -> None:
    """Call ``work`` on every chunk, without gradients, in ``n_threads`` threads that each use one core."""
    if n_threads == 1 or not chunks:
        with torch.no_grad():
            for chunk in chunks:
                work(chunk)
        return

    def without_gradients(chunk: slice) -> None:
        # Grad mode belongs to a thread, and a new one starts with gradients.
        with torch.no_grad():
            work(chunk)

    list(_pool(n_threads).map(without_gradients, chunks))


def _pool(n_threads: int) -> ThreadPoolExecutor:
    if n_threads not in _pools:
        threads_of_caller = torch.get_num_threads()
        pool = ThreadPoolExecutor(n_threads, "timewarp-energy", initializer=torch.set_num_threads, initargs=(1,))
        list(pool.map(lambda _: None, range(n_threads)))
        # The initialiser also changed what threads started later would use.
        torch.set_num_threads(threads_of_caller)
        _pools[n_threads] = pool
    return _pools[n_threads]


# A forked child has none of the threads, and would wait for them for ever.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pools.clear)
