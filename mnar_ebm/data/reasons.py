"""Why a value is missing, told by the NaN that stands for it.

Of the 64 bits of a NaN, 51 may hold anything. R keeps its ``NA`` there, and the reasons of Stata
and SAS (``haven::tagged_na``). Here they hold one of :data:`REASONS`, so that a table keeps its
reasons wherever its cells are copied, chosen or put in order. Arithmetic need not keep them.

What was *not asked*, as what tenants pay for a mortgage, is missing by the design of the survey: no
mechanism decides on it (``missingness.not_asked``). What was refused may hide itself.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

REASONS = ("system", "refused", "don't know", "not asked", "other")
"""Why a value may be missing; a plain NaN is of the first."""

NOT_ASKED = REASONS.index("not asked")

_QUIET = 0x7FF8 << 48
_SHIFT = 40  # within what float32 keeps of a NaN

WORDS = {
    "don't know": r"do(n['’]?t| not) know|\bdk\b|can(no|')t (say|choose)|undecided|unsure|not sure",
    "not asked": r"not asked|not appl|inapplic|\bn/a\b|\biap\b|skip|filter|not in (the )?universe",
    "refused": r"refus|\bref\b|declin|prefer not|no answer|not stated|not answered",
}
"""What the label of a code says, in lower case, if it is of such a reason."""


def reason_of(label: str) -> str:
    """Return which of :data:`REASONS` a label of a code for missing values names.

    Examples:
        >>> reason_of("Refused to answer"), reason_of("DK"), reason_of("Not applicable")
        ('refused', "don't know", 'not asked')
        >>> reason_of("Interview was broken off")
        'other'
    """
    found = (name for name, words in WORDS.items() if re.search(words, label.lower()))
    return next(found, "other")


def gap(reason: str = "system") -> float:
    """Return the NaN that stands for a value missing for a reason.

    Raises:
        ValueError: it is none of :data:`REASONS`.
    """
    if reason not in REASONS:
        raise ValueError(f"reason: expected one of {', '.join(REASONS)}, got {reason!r}")
    bits = _QUIET | REASONS.index(reason) << _SHIFT
    return float(np.array(bits, np.uint64).view(np.float64))


def codes_of(x: Any) -> np.ndarray:
    """Return which of :data:`REASONS` each cell is missing for, -1 where it holds a value. [N, D].

    Args:
        x: numbers, NaN where missing. [N, D]
    """
    x = np.asarray(x, np.float64)
    code = (np.ascontiguousarray(x).view(np.uint64) >> np.uint64(_SHIFT)) & np.uint64(0xFF)
    code = np.where(code < len(REASONS), code, 0).astype(int)
    return np.where(np.isnan(x), code, -1)


def is_not_asked(x: Any) -> np.ndarray:
    """Return which cells are missing because they were not asked. [N, D]."""
    return np.asarray(codes_of(x) == NOT_ASKED)


def with_reasons(x: np.ndarray, reasons: np.ndarray) -> np.ndarray:
    """Return numbers [N, D] whose gaps tell their reasons [N, D], names or empty for plain gaps."""
    x = np.array(x, np.float64)
    for reason in REASONS:
        x[np.isnan(x) & (reasons == reason)] = gap(reason)
    return x


def read_codes(text: str) -> dict[str, dict[float, str]]:
    """Return what codes for missing values stand for, by column.

    Args:
        text: as ``income: -9 refused, -8 not asked; age: 99``; of all columns by the name ``*``. A
            code alone is ``other``; any words are read as ``reason_of`` reads them.

    Raises:
        ValueError: a part of it is not of that form.

    Examples:
        >>> read_codes("income: -9 refused, -8 not asked; *: 99")
        {'income': {-9.0: 'refused', -8.0: 'not asked'}, '*': {99.0: 'other'}}
    """
    found: dict[str, dict[float, str]] = {}
    for part in filter(str.strip, text.split(";")):
        name, colon, codes = part.rpartition(":")
        own = found.setdefault(name.strip(), {})
        for one in codes.split(","):
            number, _, words = one.strip().partition(" ")
            try:
                code = float(number)
            except ValueError:
                colon = ""
            if not (colon and name.strip()):
                raise ValueError(
                    "missing_codes: expected COLUMN: CODE REASON, CODE REASON; COLUMN: ..., got "
                    f"{part.strip()!r}"
                )
            own[code] = words.strip() if words.strip() in REASONS else reason_of(words)
    return found


def mark_codes(
    name: str, columns: tuple[str, ...], x: np.ndarray, codes: Mapping[str, Mapping[float, str]]
) -> np.ndarray:
    """Return numbers with a gap, which tells its reason, in place of every code. [N, D].

    Args:
        name: of the table, for messages.
        columns: the D names.
        x: numbers, NaN where missing. [N, D]
        codes: as ``read_codes`` returns.

    Raises:
        ValueError: there is no such column, or no cell of it holds a code.
    """
    x = np.array(x, np.float64)
    for column, own in codes.items():
        if column != "*" and column not in columns:
            raise ValueError(f"{name}: expected the column {column!r} of missing_codes, got none")
        chosen = slice(None) if column == "*" else [columns.index(column)]
        for code, reason in own.items():
            part = x[:, chosen]
            if not (part == code).any():
                raise ValueError(
                    f"{name}: expected a cell with {code:g} in {column!r}, as missing_codes tells, "
                    "got none"
                )
            x[:, chosen] = np.where(part == code, gap(reason), part)
    return x
