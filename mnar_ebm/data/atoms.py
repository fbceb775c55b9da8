"""Columns that heap on their least or largest value: amounts that are often zero, limits."""

from typing import NamedTuple

import numpy as np

MIN_SHARE = 0.1
"""Share of a column's observed cells that its atom holds, at least."""

MIN_RATIO = 5
"""Times that the atom is as frequent as any other value, at least: integers are no heaps."""


class Atoms(NamedTuple):
    """The atoms of a table's columns.

    Attributes:
        value: of each column, its atom; NaN where it has none. [D]
        side: where the other values lie: 1 above it, -1 below it, 0 where there is none; empty
            if no column has one. [D]
    """

    value: np.ndarray
    side: tuple[int, ...]


def find_atoms(x: np.ndarray, mask: np.ndarray) -> Atoms:
    """Return the atoms of columns that heap on their least or largest observed value.

    Args:
        x: values; what a missing cell holds is never read. [N, D]
        mask: ``True`` where observed. [N, D]
    """
    found = [_atom(x[observed, column]) for column, observed in enumerate(mask.T)]
    side = tuple(side for _, side in found)
    return Atoms(np.array([value for value, _ in found]), side if any(side) else ())


def _atom(values: np.ndarray) -> tuple[float, int]:
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) < 3:  # a constant or a binary column
        return np.nan, 0
    top = int(np.argmax(counts))
    others = np.delete(counts, top).max()
    is_heap = counts[top] >= max(MIN_SHARE * len(values), MIN_RATIO * others)
    if not is_heap or 0 < top < len(distinct) - 1:
        return np.nan, 0
    return float(distinct[top]), 1 if top == 0 else -1
