"""Columns of several kinds, and the encoded columns that the model sees.

A column of a table is a *block* of one or more encoded columns,

    numeric        1    the value
    binary         1    0 or 1
    categorical    k    one-hot over k levels
    ordinal        k    one-hot over k levels, which are in order

and a table is a tuple of blocks; the empty tuple says that every column is numeric. All
encoded columns of a block are observed, or none.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from mnar_ebm import _checks
from mnar_ebm.types import Array

KINDS = ("numeric", "binary", "categorical", "ordinal")

AnyArray = TypeVar("AnyArray", np.ndarray, Array)


class Block(NamedTuple):
    """The encoded columns of one column of the table.

    Attributes:
        kind: one of ``KINDS``.
        num_levels: k; 0 if numeric, 2 if binary.
        start: index of the first encoded column.
    """

    kind: str
    num_levels: int
    start: int

    @property
    def width(self) -> int:
        """Number of encoded columns."""
        return self.num_levels if self.kind in ("categorical", "ordinal") else 1

    @property
    def columns(self) -> slice:
        """The encoded columns."""
        return slice(self.start, self.start + self.width)


class Group(NamedTuple):
    """Discrete blocks of one kind and size, which are computed together.

    Attributes:
        kind: ``binary``, ``categorical`` or ``ordinal``.
        num_levels: k.
        columns: the W encoded columns of each of G blocks. [G, W]
    """

    kind: str
    num_levels: int
    columns: np.ndarray

    @property
    def name(self) -> str:
        """Kind and size, as a name of parameters."""
        return f"{self.kind}_{self.num_levels}"


def make_blocks(kinds: Iterable[tuple[str, int]]) -> tuple[Block, ...]:
    """Return the blocks of columns of these kinds and numbers of levels, side by side.

    Args:
        kinds: of each column its kind and k; 0 if numeric.

    Raises:
        ValueError: a kind is unknown, or its number of levels is not one that it may have.
    """
    blocks, start = [], 0
    for kind, num_levels in kinds:
        _checks.check_choice("kind", kind, KINDS)
        allowed = {"numeric": num_levels == 0, "binary": num_levels == 2}
        if not allowed.get(kind, num_levels >= 2):
            raise ValueError(
                "num_levels: expected 0 if numeric, 2 if binary, else 2 or more, "
                f"got {num_levels} of a column that is {kind}"
            )
        blocks.append(Block(kind, num_levels, start))
        start += blocks[-1].width
    return tuple(blocks)


def check_encoded(
    name: str, x: np.ndarray, columns: Sequence[str], blocks: tuple[Block, ...]
) -> tuple[Block, ...]:
    """Return the blocks of a table, or none if all are numeric, once its values go with them.

    Args:
        name: what the table is called.
        x: encoded columns; NaN where missing. [N, D]
        columns: the D names.
        blocks: of the table.

    Raises:
        ValueError: the blocks have another number of encoded columns, or a discrete block of a
            row is neither missing nor a level.
    """
    if not blocks:
        return ()
    num_columns = sum(block.width for block in blocks)
    if num_columns != x.shape[1]:
        raise ValueError(f"{name}: expected {num_columns} encoded columns, got {x.shape[1]}")
    for block in blocks:
        own = x[:, block.columns]
        if block.kind == "numeric":
            continue
        is_level = np.isin(own, (0, 1)).all(axis=1)
        if block.width > 1:
            is_level &= own.sum(axis=1) == 1
        is_wrong = ~(is_level | np.isnan(own).all(axis=1))
        if is_wrong.any():
            row = int(np.argmax(is_wrong))
            raise ValueError(
                f"{name}: expected 0 or 1 in the {block.kind} columns "
                f"{', '.join(columns[block.columns])}, one 1 if several, or NaN in all, "
                f"got {own[row].tolist()} in row {row}"
            )
    return blocks if discrete(blocks) else ()


def numeric(blocks: tuple[Block, ...]) -> np.ndarray:
    """Return the encoded columns that are numeric. [n]."""
    return np.array([block.start for block in blocks if block.kind == "numeric"], int)


def discrete(blocks: tuple[Block, ...]) -> tuple[Block, ...]:
    """Return the blocks that are not numeric."""
    return tuple(block for block in blocks if block.kind != "numeric")


def columns_of(blocks: tuple[Block, ...]) -> np.ndarray:
    """Return the encoded columns of some blocks, one block after the other. [n]."""
    parts = [np.arange(block.start, block.start + block.width) for block in blocks]
    return np.concatenate(parts) if parts else np.zeros(0, int)


def groups(blocks: tuple[Block, ...]) -> tuple[Group, ...]:
    """Return the discrete blocks, those of one kind and size together."""
    found: dict[tuple[str, int], list[np.ndarray]] = {}
    for block in discrete(blocks):
        found.setdefault((block.kind, block.num_levels), []).append(columns_of((block,)))
    return tuple(Group(*of, np.stack(columns)) for of, columns in found.items())


def one_each(blocks: tuple[Block, ...], encoded: AnyArray) -> AnyArray:
    """Return what is the same in all encoded columns of a block, once. [..., D'] -> [..., D]."""
    return encoded[..., np.array([block.start for block in blocks])] if blocks else encoded


def spread(blocks: tuple[Block, ...], single: AnyArray) -> AnyArray:
    """Return the inverse of ``one_each``. [..., D] -> [..., D']."""
    if not blocks:
        return single
    return single[..., np.repeat(np.arange(len(blocks)), [block.width for block in blocks])]
