"""Checks at the door: one line that names what was given and what is expected."""

import numbers
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

MAX_SIZE = 1e150
"""Largest size of a value: the square of one beyond is infinite."""


def check_choice(name: str, value: str, known: Iterable[str]) -> None:
    """Raise ``ValueError`` with the list of known names unless ``value`` is one of them."""
    known = tuple(known)
    if value not in known:
        raise ValueError(f"{name}: expected one of {', '.join(known)}, got {value!r}")


def check_at_least(name: str, value: float, minimum: float) -> None:
    """Raise ``ValueError`` unless ``value >= minimum`` (NaN fails too)."""
    if not value >= minimum:
        raise ValueError(f"{name}: expected at least {minimum}, got {value}")


def check_type(name: str, value: Any, kind: type) -> None:
    """Raise ``TypeError`` unless a value is of a kind: truth value, whole or any number, text."""
    if kind is bool and not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: expected True or False, got {value!r}")
    if kind is str and not isinstance(value, str):
        raise TypeError(f"{name}: expected text, got {value!r}")
    if kind not in (int, float):
        return
    whole = numbers.Integral if kind is int else numbers.Real
    if not isinstance(value, whole) or isinstance(value, (bool, np.bool_)):
        raise TypeError(
            f"{name}: expected a {'whole ' if kind is int else ''}number, got {value!r}"
        )


def check_finite(name: str, value: float) -> None:
    """Raise ``ValueError`` if a number is infinite; NaN fails the checks of its range."""
    if abs(value) == float("inf"):
        raise ValueError(f"{name}: expected a finite number, got {value}")


def check_whole(name: str, value: Any, minimum: int) -> None:
    """Raise ``TypeError`` unless ``value`` is a whole number, ``ValueError`` if it is too small."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool):
        raise TypeError(f"{name}: expected a whole number, got {value!r}")
    check_at_least(name, int(value), minimum)


def check_between(name: str, value: float, low: float, high: float) -> None:
    """Raise ``ValueError`` unless ``low <= value <= high`` (NaN fails too)."""
    if not low <= value <= high:
        raise ValueError(f"{name}: expected a value from {low} to {high}, got {value}")


def check_positive(name: str, value: float) -> None:
    """Raise ``ValueError`` unless ``0 < value < inf`` (NaN fails too)."""
    if not 0 < value < float("inf"):
        raise ValueError(f"{name}: expected a positive number, got {value}")


def read_numbers(name: str, values: Iterable[Any]) -> tuple[float, ...]:
    """Return finite numbers, which may be given as text, or raise ``ValueError``."""
    try:
        read = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: expected numbers, got {values!r}") from None
    if not np.isfinite(read).all():
        raise ValueError(f"{name}: expected finite numbers, got {values!r}")
    return read


def check_table(
    name: str, x: Any, num_columns: int | None = None, columns: Sequence[str] | None = None
) -> np.ndarray:
    """Return ``x`` as a float64 table in which only missing cells (NaN) are not finite.

    Args:
        name: the argument's name, for the message.
        x: anything that NumPy reads as a two-dimensional numeric array. [N, D]
        num_columns: the number of columns expected, if it is known.
        columns: their names, for the message.

    Raises:
        TypeError: ``x`` is not numeric.
        ValueError: ``x`` is not two-dimensional, is empty, holds a value that is infinite or
            beyond ``MAX_SIZE``, or has another number of columns than expected.
    """
    try:
        x = np.asarray(x, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}: expected a numeric table, got {error}") from None
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(f"{name}: expected a table of shape [rows, columns], got shape {x.shape}")
    if num_columns is not None and x.shape[1] != num_columns:
        raise ValueError(f"{name}: expected {num_columns} columns, got {x.shape[1]}")
    is_too_far = np.abs(x) > MAX_SIZE
    if is_too_far.any():
        row, column = np.argwhere(is_too_far)[0]
        raise ValueError(
            f"{name}: expected finite values or NaN, at most {MAX_SIZE:g} in size, got "
            f"{x[row, column]} in row {row}, "
            f"column {column if columns is None else repr(columns[column])}"
        )
    return x
