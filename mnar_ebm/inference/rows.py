"""A function of a row, applied to any number of rows, none of which changes the answer of another.

Rows go in blocks of one size, so that one program serves all tables, and one after the other within
a block, each with the same program and with randomness that comes from its own values: neither the
rows beside it nor their order change its answer by a bit. The cores of a CPU share the blocks.
"""

import concurrent.futures
import os
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mnar_ebm.types import Array, PyTree

ROWS_PER_CALL = 64
"""Size of the blocks that rows are padded to."""


class Rows(NamedTuple):
    """A block of rows: values [B, D], mask [B, D], and a seed for each [B]."""

    x: Any
    mask: Any
    seed: Any


def row_seeds(x: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return seeds of draws [N], and for each row the index of the first that is equal [N].

    A seed is a 32-bit digest of what was observed, and where; of the second, third, ... of equal
    rows it is of that number too.

    Args:
        x: rows; what a missing cell holds is not read. [N, D]
        mask: ``True`` where observed. [N, D]
    """
    filled = np.where(mask, x, 0.0).astype(np.float32)
    equal: dict[bytes, list[int]] = {}
    seeds, first = [], []
    for index, (values, flags) in enumerate(zip(filled, mask, strict=True)):
        row = values.tobytes() + flags.tobytes()
        before = equal.setdefault(row, [])
        number = len(before).to_bytes(4, "little") if before else b""
        before.append(index)
        seeds.append(zlib.crc32(row + number))
        first.append(before[0])
    return np.array(seeds, np.uint32), np.array(first, int)


def map_rows(function: Callable[[Rows], PyTree], rows: Rows, num_rows: int) -> PyTree:
    """Apply ``function`` to the first rows of a block, one after the other; the rest is 0."""
    answer = jax.eval_shape(function, jax.tree.map(lambda leaf: leaf[0], rows))
    answers = jax.tree.map(lambda leaf: jnp.zeros((len(rows.x), *leaf.shape), leaf.dtype), answer)

    def put(index: Array, answers: PyTree) -> PyTree:
        row = jax.tree.map(lambda leaf: leaf[index], rows)
        return jax.tree.map(lambda all, one: all.at[index].set(one), answers, function(row))

    return jax.lax.fori_loop(0, num_rows, put, answers)


def in_blocks(
    function: Callable[[Rows, int], PyTree], x: np.ndarray, mask: np.ndarray, seeds: np.ndarray
) -> PyTree:
    """Apply ``function(rows, num_rows)`` to blocks of one shape and join what it returns.

    On a CPU, context managers of JAX's settings reach the first block alone, for they are of a
    thread. What was not asked keeps its mark (``missingness.not_asked``).
    """
    x = np.where(mask | np.isposinf(x), x, 0.0).astype(np.float32)
    padding = -len(x) % ROWS_PER_CALL
    rows = jax.tree.map(
        lambda leaf: np.pad(leaf, ((0, padding),) + ((0, 0),) * (leaf.ndim - 1)),
        Rows(x, mask, seeds),
    )

    def apply(start: int) -> PyTree:
        block = jax.tree.map(lambda leaf: leaf[start : start + ROWS_PER_CALL], rows)
        return jax.tree.map(np.asarray, function(block, min(ROWS_PER_CALL, len(x) - start)))

    first = apply(0)  # alone, or every thread would compile
    with concurrent.futures.ThreadPoolExecutor(_num_threads()) as pool:
        answers = [first, *pool.map(apply, range(ROWS_PER_CALL, len(x), ROWS_PER_CALL))]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[: len(x)], *answers)


def _num_threads() -> int:
    """Return how many cores this process may use, if they do the work."""
    if jax.default_backend() != "cpu":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
