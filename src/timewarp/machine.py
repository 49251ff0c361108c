"""Devices, threads and versions: what a run computes on, and with what."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from typing import Any

import torch

from . import native
from .version import version

LANES = 16
"""Chains that fill the vector lanes of one core."""


def versions() -> dict[str, str]:
    """Versions of the programs that a result depends on."""
    return {
        "timewarp": version(),
        "torch": str(torch.__version__),
        "numpy": importlib.metadata.version("numpy"),
        "openmm": importlib.metadata.version("openmm"),
        "python": platform.python_version(),
    }


def available_cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        return os.cpu_count() or 1


def set_threads(threads: int | None) -> int:
    """Tell torch how many threads to use; return the number."""
    count = available_cores() if threads is None else threads
    torch.set_num_threads(count)
    return count


def set_sampling_threads(threads: int | None, device: str) -> int:
    """Threads for chains: the compiled kernels take them (all cores by default), and torch gets one.

    Batches of a few hundred chains are many small operations to torch: measured, a second thread makes them slower.
    Without the kernels one thread is the default.
    """
    if not native.available() or device != "cpu":
        return set_threads(1 if threads is None else threads)
    count = available_cores() if threads is None else threads
    native.set_threads(count)
    torch.set_num_threads(1)
    return count


def default_chains(threads: int) -> int:
    """Chains that fill the vector lanes of so many cores; a burn-in is paid by every chain, so no more than that."""
    return LANES * threads


def resolve_device(name: str) -> str:
    """Check that torch has this device.

    Raises:
        ValueError: no such device on this machine; the message lists those that there are.
    """
    available = ["cpu"]
    if torch.cuda.is_available():
        available += ["cuda", *(f"cuda:{k}" for k in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        available.append("mps")
    if name not in available:
        raise ValueError(f"no device {name!r} on this machine; it has {', '.join(available)}")
    return name


def describe(device: str, threads: int) -> dict[str, Any]:
    """What a summary says of the machine."""
    name = f"{device} ({torch.cuda.get_device_name(device)})" if device.startswith("cuda") else device
    return {"threads": threads, "device": name, "versions": versions()}
