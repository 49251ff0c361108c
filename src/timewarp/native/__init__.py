"""The compiled kernels, if they are there: C++ with one configuration per SIMD lane (sources in ``src/native``).

Every kernel has a plain torch version that gives the same numbers; that takes over where the extension was not built
(no compiler at installation), or where ``TIMEWARP_NATIVE=0`` says so. ``TIMEWARP_ISA`` chooses an instruction set.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

_core: Any = None
_why_not = ""
_threads: int | None = None

if os.environ.get("TIMEWARP_NATIVE", "1") == "0":
    _why_not = "TIMEWARP_NATIVE=0 switches the compiled kernels off"
else:
    try:
        # `from . import _core` would find the None above.
        _core = importlib.import_module("._core", __name__)
        _core.choose_instruction_set(os.environ.get("TIMEWARP_ISA", "auto"))
    except ImportError as error:
        _why_not = (
            f"the compiled kernels are missing ({error}): timewarp was installed without a C++ compiler; "
            "install one (g++ or clang) and reinstall timewarp to be some ten times faster"
        )


def available() -> bool:
    """Whether the compiled kernels can be used."""
    return _core is not None


def why_not() -> str:
    """Why they cannot, in one sentence; empty where they can."""
    return _why_not


def core() -> Any:
    """The extension module.

    Raises:
        RuntimeError: it is not there; the message says why, and what to do.
    """
    if _core is None:
        raise RuntimeError(_why_not)
    return _core


def set_threads(count: int | None) -> None:
    """Threads of the kernels from here on; None for as many as torch uses.

    They are set apart from torch's own, because small torch operations are slower on several threads than on one.

    Raises:
        ValueError: fewer than one.
    """
    global _threads
    if count is not None and count < 1:
        raise ValueError(f"the kernels need at least one thread, got {count}")
    _threads = count


def threads() -> int:
    """Threads that a kernel uses at most; small batches take fewer."""
    if _threads is not None:
        return _threads
    import torch

    return torch.get_num_threads()


def instruction_set() -> str:
    """Name of the instruction set in use (``avx512``, ``avx2``, ``baseline``), or ``none``."""
    return "none" if _core is None else _core.instruction_set()
