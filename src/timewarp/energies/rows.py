"""Gathering atom rows into terms, and summing terms back into atoms, in the layout (rows, batch)."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..shapes import Float


@dataclass(frozen=True)
class SumPlan:
    """Which rows, with which sign, add up to each output row.

    A gather that sums (an embedding bag) in place of a scatter: each output row is written once, so the result does
    not depend on the order of threads, on any device.
    """

    rows: Tensor
    offsets: Tensor
    signs: Tensor | None

    @classmethod
    def build(
        cls, targets: Tensor, n_targets: int, sources: Tensor | None = None, signs: Tensor | None = None
    ) -> SumPlan:
        """Plan for ``out[targets[k]] += signs[k] * values[sources[k]]``.

        Args:
            targets: output row of each contribution.
            n_targets: number of output rows; those without a contribution stay zero.
            sources: input row of each contribution, by default 0, 1, 2, ...
            signs: weight of each contribution, by default 1.
        """
        order = torch.argsort(targets, stable=True)
        sources = torch.arange(len(targets)) if sources is None else sources
        counts = torch.bincount(targets, minlength=n_targets)
        return cls(sources[order], counts.cumsum(0) - counts, None if signs is None else signs[order])

    def __call__(self, values: Float[Tensor, "sources batch"]) -> Float[Tensor, "targets batch"]:
        """Sum the rows."""
        # torch.nn.functional.embedding_bag spends more time on checking its arguments than on adding the rows.
        return torch.embedding_bag(values, self.rows, self.offsets, False, 0, False, self.signs)[0]


def moved(table: Any, dtype: torch.dtype, device: torch.device) -> Any:
    """A copy of a dataclass with all tensors in it, at any depth, on a device, real numbers in a dtype."""
    changes: dict[str, Any] = {}
    for field in fields(table):
        value = getattr(table, field.name)
        if is_dataclass(value):
            changes[field.name] = moved(value, dtype, device)
        elif isinstance(value, tuple):
            changes[field.name] = tuple(moved(v, dtype, device) if is_dataclass(v) else v for v in value)
        elif isinstance(value, Tensor):
            changes[field.name] = value.to(device, dtype if value.is_floating_point() else None)
    return replace(table, **changes)


def component_rows(atoms: Tensor, n_rows: int, order: tuple[int, ...] = (0, 1, 2)) -> Tensor:
    """Row numbers of the given atoms' coordinates in a (3 * n_rows, batch) layout, axis by axis."""
    return torch.cat([atoms + axis * n_rows for axis in order])


CYCLIC = (0, 1, 2, 0, 1)
"""Components with the first two repeated: a cross product is then two products of shifted slices."""


def cross(a: Float[Tensor, "5 *rows"], b: Float[Tensor, "5 *rows"]) -> Float[Tensor, "3 *rows"]:
    """a x b for components in the order x, y, z, x, y."""
    return (a[1:4] * b[2:5]).addcmul_(a[2:5], b[1:4], value=-1)


def dot(a: Float[Tensor, "3 ..."], b: Float[Tensor, "3 ..."]) -> Tensor:
    """Inner product over the first dimension; the others broadcast."""
    return (a * b).sum(0)
