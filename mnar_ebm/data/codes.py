"""Numbers that may stand for a missing value: 9, 99, 999, -9, 88.8, heaped at the edge of a column.

Nothing proves that a number is a code, so none is taken as missing unasked; a warning names them.
"""

import re
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

SHAPE = re.compile(r"9*[5-8]|7+|8+|9+")
"""Digits of a code, as 9, 88, 99.9, 98 or 9997; of a negative number any one digit will do, too."""


class Tuning(NamedTuple):
    """What counts as a code.

    Attributes:
        fewest_cells: cells that hold it, at least.
        fewest_share: share of the cells with a value that hold it, at least.
        few_values: different values up to which a column is one of counts or grades, whose heaps
            are no codes.
        far: how many of the widest gaps between other values it lies off.
        times: how much more often it comes than any value near it, if it is near.
    """

    fewest_cells: int = 3
    fewest_share: float = 0.002
    few_values: int = 30
    far: int = 2
    times: int = 3


TUNING = Tuning()


def suspected_codes(values: np.ndarray) -> list[float]:
    """Return the numbers of a column that may mark missing values, in order.

    They have the digits of a code, lie at the edge of the column and come several times, and either
    lie far from all other values or are many where the values beside them are few.

    Args:
        values: what was observed. [n]
    """
    found: list[float] = []
    for sign in (1, -1, 1):  # those below may hide how far off those above lie
        found += [sign * one for one in _largest_codes(sign * values, sign, len(values))]
        values = values[~np.isin(values, found)]
    return sorted(found)


def warn_of_codes(x: np.ndarray, names: Sequence[str], way_out: str, stacklevel: int = 2) -> None:
    """Warn of the numbers in a table that may mark missing values.

    Args:
        x: numbers, NaN where missing. [N, D]
        names: of the columns. [D]
        way_out: how a user declares a code, in words.
        stacklevel: as in ``warnings.warn``.
    """
    told = []
    for name, own in zip(names, x.T, strict=True):
        found = suspected_codes(own[np.isfinite(own)])
        if found:
            told.append(f"{', '.join(f'{one:.7g}' for one in found)} in {name!r}")
    if told:
        warnings.warn(
            f"{'; '.join(told)}: taken as values, but like codes for missing ones; {way_out}",
            stacklevel=stacklevel + 1,
        )


def _largest_codes(values: np.ndarray, sign: int, num_cells: int) -> list[float]:
    """Return the codes among the largest values, or the least ones, whose sign was turned."""
    distinct, counts = np.unique(values, return_counts=True)
    enough = counts >= max(TUNING.fewest_cells, TUNING.fewest_share * num_cells)
    may_be = [one and _has_shape(sign * value) for one, value in zip(enough, distinct, strict=True)]
    num_shaped = [*may_be[::-1], False].index(False)
    for size in range(num_shaped, 0, -1):
        rest, codes = distinct[:-size], distinct[-size:]
        if len(rest) < 2 or sign < 0 and _is_scale(rest, codes):
            continue
        is_only_negative = sign < 0 and rest[-1] <= 0 < codes[0] and (size == 1 or rest[-1] < 0)
        is_far = codes[0] - rest[-1] >= TUNING.far * np.diff(rest).max()
        if is_only_negative or is_far or _is_heap(counts[:-size], counts[-size:]):
            return codes.tolist()
    return []


def _is_scale(rest: np.ndarray, codes: np.ndarray) -> bool:
    """Return whether the largest value is the least but for the sign, as of -1, 0 and 1."""
    return bool(-rest[0] == codes[-1])


def _has_shape(value: float) -> bool:
    """Return whether a number has the digits of a code; of a float32 they are those of its own."""
    shortest = min((str(kind(value)) for kind in (np.float64, np.float32)), key=len)
    digits = shortest.removesuffix(".0").replace(".", "")
    is_code = SHAPE.fullmatch(digits.lstrip("-")) is not None
    return is_code or value < 0 and len(digits) == 2 and "." not in shortest.removesuffix(".0")


def _is_heap(rest: np.ndarray, codes: np.ndarray) -> bool:
    beside = rest[-10:]
    return len(rest) > TUNING.few_values and bool(codes.min() >= TUNING.times * beside.max())
