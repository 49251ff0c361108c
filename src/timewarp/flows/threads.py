"""Gradients on a few threads of their own, each with one of torch's.

Threads within each product, torch's own way, meet some thousand times per pass of a flow, and each time the last one
is waited for: beside other work on the same cores that is ten to a hundred times slower. Threads with states of their
own meet once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from ..energies.threads import pool


def backward(losses: Sequence[Callable[[], Tensor]], parameters: Iterable[Tensor], threads: int) -> Tensor:
    """``sum(losses)``, whose gradients are added to ``parameters``' as ``backward`` would; a thread for each loss.

    Args:
        losses: make a scalar each, from the same parameters and, say, a part of the batch.
        parameters: those that get gradients.
        threads: how many losses are worked on at once.
    """
    wanted = [p for p in parameters if p.requires_grad]

    def work(loss: Callable[[], Tensor]) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        value = loss()
        return value.detach(), torch.autograd.grad(value, wanted, allow_unused=True)

    done = list(pool(threads).map(work, losses)) if threads > 1 else [work(loss) for loss in losses]
    for _, gradients in done:
        for parameter, gradient in zip(wanted, gradients, strict=True):
            if gradient is not None:
                parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)
    return torch.stack([value for value, _ in done]).sum()


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Within, torch's products keep to the thread that calls them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
