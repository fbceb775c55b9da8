"""Rows of training, and which of them each step of a chunk reads: drawn before the chunk is run.

What is drawn depends on how many rows there are and not on the model: one small program draws for
all models, and the program of the steps is that of any table of about as many rows.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mnar_ebm.types import Array, Key, PyTree

MIN_PADDED_ROWS = 64
"""Smallest size that rows are padded to; the others are this times a power of two."""


class Rows(NamedTuple):
    """Rows padded to one of a few sizes, so that data of about one size share their programs.

    Attributes:
        batch: the rows, and after them others that are not to be read; each leaf [P, ...].
        num_real: how many are real.
    """

    batch: Any
    num_real: int


class Plan(NamedTuple):
    """What each of S steps is given.

    Attributes:
        rows: indices of the rows that it is trained on. [S, B]
        held_out: indices of the held-out rows that the encoder is refitted to. [S, H]
        key: of its loss. [S]
    """

    rows: Array
    held_out: Array
    key: Key


def padded_size(num_rows: int) -> int:
    """Return the size that so many rows are padded to."""
    size = MIN_PADDED_ROWS
    while size < num_rows:
        size *= 2
    return size


def pad_rows(batch: PyTree, room: int = 0) -> Rows:
    """Return the rows, padded to the next size that has room for at least so many.

    Args:
        batch: any pytree of rows; each leaf [N, ...].
        room: rows that a compiled program is to have room for: as many as a later stage reads.
    """
    count = jax.tree.leaves(batch)[0].shape[0]
    size = padded_size(max(count, room))

    def pad(leaf: Array) -> Array:
        return jnp.pad(leaf, ((0, size - count),) + ((0, 0),) * (leaf.ndim - 1))

    return Rows(jax.tree.map(pad, batch), count)


def some_rows(num_rows: int, most: int) -> np.ndarray:
    """Return the indices of at most so many rows, from the whole of a table, evenly spaced."""
    num_taken = min(num_rows, most)
    return np.arange(num_taken) * num_rows // max(num_taken, 1)


def random_order(key: Key, size: int, num_real: Array | int) -> Array:
    """Return the indices of the real rows in a random order, then the others. [P]."""
    order = jax.random.permutation(key, size)
    return order[jnp.argsort(order >= num_real, stable=True)]


def draw_plan(
    key: Key, steps: Array, num_rows: int, num_held_out: int, batch_size: int, refit_size: int
) -> Plan:
    """Return what each step is given, as a function of its number alone.

    So a resumed run repeats an unbroken one. The rows of a step are a slice of the permutation of
    its epoch; held-out rows are drawn with replacement.

    Args:
        key: random key of the stage.
        steps: numbers of the steps, one after the other. [S]
        num_rows: how many rows are trained on.
        num_held_out: how many are held out.
        batch_size: B.
        refit_size: H.
    """
    return _draw_plan(
        key, steps, padded_size(num_rows), num_rows, num_held_out, batch_size, refit_size
    )


@functools.partial(jax.jit, static_argnames=("size", "batch_size", "refit_size"))
def _draw_plan(
    key: Key,
    steps: Array,
    size: int,
    num_rows: Array,
    num_held_out: Array,
    batch_size: int,
    refit_size: int,
) -> Plan:
    steps_per_epoch = jnp.maximum(num_rows // batch_size, 1)
    key_order, key_step = jax.random.split(key)

    def order_of(step: Array) -> Array:
        key_epoch = jax.random.fold_in(key_order, step // steps_per_epoch)
        return random_order(key_epoch, size, num_rows)

    def plan_step(order: Array, step: Array) -> tuple[Array, Plan]:
        position = step % steps_per_epoch
        is_new = (position == 0) | (step == steps[0])
        order = jax.lax.cond(is_new, order_of, lambda step: order, step)
        rows = order[(position * batch_size + jnp.arange(batch_size)) % num_rows]
        key_held_out, key_loss = jax.random.split(jax.random.fold_in(key_step, step))
        held_out = jax.random.randint(key_held_out, (refit_size,), 0, num_held_out)
        return order, Plan(rows, held_out, key_loss)

    return jax.lax.scan(plan_step, jnp.zeros(size, jnp.int32), steps)[1]
