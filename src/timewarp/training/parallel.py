"""Lightning Fabric as this room uses it: devices, precision, and several processes that share each batch."""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def make_fabric(accelerator: str, devices: int, precision: Any) -> Any:
    """A Fabric of one process per device; several average their gradients (distributed data parallel).

    On one machine Fabric starts the other processes itself, by running the same command again; under ``torchrun`` or
    SLURM they are there already.
    """
    try:
        from lightning_fabric import Fabric
        from lightning_fabric.strategies import DDPStrategy
    except ImportError:
        from lightning.fabric import Fabric  # type: ignore[assignment, no-redef]
        from lightning.fabric.strategies import DDPStrategy  # type: ignore[assignment, no-redef]
    from torch.nn.parallel import DistributedDataParallel

    for name in ("lightning_fabric", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # No buffer changes in training, so none is sent around in each step.
    known = inspect.signature(DistributedDataParallel).parameters
    option = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    quiet: dict[str, Any] = {option: False}
    strategy = DDPStrategy(**quiet) if devices > 1 else "auto"
    fabric = Fabric(accelerator=accelerator, devices=devices, precision=precision, strategy=strategy)
    fabric.launch()
    return fabric


def on_main(fabric: Any, function: Callable[[], T]) -> T:
    """The result of ``function``, called by the first process alone; what it raises, all processes raise."""
    result: T | None = None
    error: Exception | None = None
    if fabric.is_global_zero:
        try:
            result = function()
        except Exception as raised:
            error = raised
    if fabric.world_size > 1:
        result, error = fabric.broadcast((result, error))
    if error is not None:
        raise error
    return result  # type: ignore[return-value]


def is_main_process() -> bool:
    """Whether this process is the one that speaks and writes."""
    import torch

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank() == 0
    return int(os.environ.get("LOCAL_RANK", os.environ.get("RANK", 0))) == 0
