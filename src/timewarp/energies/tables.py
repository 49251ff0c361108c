"""Tabulated functions of two atom types, as OpenMM's forces hold them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def square_table(function: Any) -> list[list[float]]:
    """Values [first type][second type] of an ``openmm.Discrete2DFunction``.

    Raises:
        ValueError: it is another kind of function, or has not as many columns as rows.
    """
    if type(function).__name__ != "Discrete2DFunction":
        raise ValueError(f"a tabulated function is a {type(function).__name__}, expected a Discrete2DFunction")
    rows, columns, values = function.getFunctionParameters()
    if rows != columns:
        raise ValueError(f"a tabulated function has {rows} x {columns} values, expected as many columns as rows")
    return [[values[i + rows * j] for j in range(columns)] for i in range(rows)]


def type_numbers(values: Sequence[float], n_types: int) -> list[int]:
    """Atom types, which OpenMM holds as real numbers.

    Raises:
        ValueError: one is no whole number, or beyond its table.
    """
    for value in values:
        if value != int(value) or not 0 <= value < n_types:
            raise ValueError(f"an atom has type {value:g}, expected a whole number from 0 to {n_types - 1}")
    return [int(value) for value in values]
