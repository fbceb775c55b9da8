"""A replay buffer: persistent chains that are drawn, advanced, and put back where they were.

A model that moves a little at every step of training needs chains that follow it, not chains that
start afresh. The buffer holds N of them as one pytree of positions; a step takes some at random,
starts a share of these again, advances them under the model of the moment, and puts them back:

    indices, rows = replay.draw(key_draw, buffer, num_rows)
    rows = replay.restart(key_restart, rows, fresh_positions, share)
    rows = rows._replace(positions=advance(rows.positions), ages=rows.ages + num_steps)
    buffer = replay.put_back(buffer, indices, rows)

Rows go back *in place*. To append them instead and let the oldest go would keep the stale start of
every drawn chain beside its end and end chains that nobody chose to end: the buffer comes to hold
copies of a few ancestors. The buffer is plain arrays, part of the state of the training that it
serves and of its checkpoint.
"""

import numbers
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from mnar_ebm.types import Array, Key, PyTree

__all__ = ["Replay", "draw", "init", "put_back", "restart"]


class Replay(NamedTuple):
    """N persistent chains: the whole buffer, or the rows that were drawn from it.

    Attributes:
        positions: where each chain stands; any pytree, each leaf [N, ...].
        ages: steps that each has made since its start. [N]
    """

    positions: PyTree
    ages: Array


def init(positions: PyTree) -> Replay:
    """Make the buffer of chains that start at ``positions``, with age 0.

    Args:
        positions: any pytree, each leaf [N, ...].

    Raises:
        ValueError: the leaves have no leading axis in common.

    Examples:
        >>> import jax.numpy as jnp
        >>> init({"a": jnp.ones((3, 2))}).ages
        Array([0, 0, 0], dtype=int32)
    """
    sizes = sorted({jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(positions)})
    if len(sizes) != 1 or sizes == [()]:
        raise ValueError(f"positions: expected one leading axis for all leaves, got {sizes}")
    positions = jax.tree.map(jnp.asarray, positions)
    return Replay(positions, jnp.zeros(sizes[0], jnp.int32))


def draw(key: Key, replay: Replay, num_rows: int) -> tuple[Array, Replay]:
    """Draw R of the N rows at random, without replacement and in random order.

    Without replacement, because a chain that were drawn twice could be put back once only.

    Args:
        key: random key.
        replay: the buffer. [N, ...]
        num_rows: R.

    Returns:
        Their indices, for ``put_back`` [R], and the rows [R, ...].

    Raises:
        ValueError: ``num_rows`` is not from 1 to N.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> buffer = init(10.0 * jnp.arange(4))
        >>> indices, rows = draw(jax.random.key(0), buffer, 2)
        >>> bool((rows.positions == 10 * indices).all()), bool(indices[0] == indices[1])
        (True, False)
    """
    size = replay.ages.shape[0]
    if not 1 <= num_rows <= size:
        raise ValueError(f"num_rows: expected a number from 1 to {size}, got {num_rows}")
    indices = jax.random.choice(key, size, (num_rows,), replace=False)
    return indices, jax.tree.map(lambda leaf: leaf[indices], replay)


def restart(key: Key, rows: Replay, fresh: PyTree, share: float | Array) -> Replay:
    """Start a share of the drawn rows again, from fresh positions, with age 0.

        ⌊share R + u⌋ of them,      u ~ U(0, 1)

    is the share in expectation, whatever R. They are the first rows, which ``draw`` gives in random
    order. Restarts find the modes that old chains never reach.

    Args:
        key: random key.
        rows: drawn rows. [R, ...]
        fresh: as many positions to start from, of which the first are used. [R, ...]
        share: from 0, which restarts none, to 1, which restarts all; a number or a scalar array. []

    Returns:
        The rows, each with its own position and age or with a fresh one. [R, ...]

    Raises:
        ValueError: ``share`` is a number outside [0, 1].

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> rows = init(jnp.zeros(4))
        >>> restart(jax.random.key(0), rows, jnp.ones(4), share=0.5).positions
        Array([1., 1., 0., 0.], dtype=float32)

    References:
        Y. Du, I. Mordatch, "Implicit Generation and Modeling with Energy-Based Models", NeurIPS
        2019, https://arxiv.org/abs/1903.08689 (a buffer of samples, 5 % of which start again).
    """
    if isinstance(share, numbers.Real) and not 0 <= share <= 1:
        raise ValueError(f"share: expected a value from 0 to 1, got {share}")
    chex.assert_trees_all_equal_shapes_and_dtypes(rows.positions, fresh)
    size = rows.ages.shape[0]
    num_restarts = jnp.floor(share * size + jax.random.uniform(key))
    is_restarted = jnp.arange(size) < num_restarts

    def choose(new: Array, old: Array) -> Array:
        return jnp.where(is_restarted.reshape(size, *[1] * (old.ndim - 1)), new, old)

    return jax.tree.map(choose, Replay(fresh, jnp.zeros_like(rows.ages)), rows)


def put_back(replay: Replay, indices: Array, rows: Replay) -> Replay:
    """Write drawn rows, advanced by now, over the rows that they were; the others stay.

    Args:
        replay: the buffer. [N, ...]
        indices: where the rows are from. [R]
        rows: what they have become. [R, ...]

    Returns:
        The buffer, N rows as before. [N, ...]

    Examples:
        >>> import jax.numpy as jnp
        >>> rows = Replay(jnp.array([7.0]), jnp.array([30], jnp.int32))
        >>> buffer = put_back(init(jnp.zeros(3)), jnp.array([1]), rows)
        >>> buffer.positions, buffer.ages
        (Array([0., 7., 0.], dtype=float32), Array([ 0, 30,  0], dtype=int32))

    References:
        T. Tieleman, "Training Restricted Boltzmann Machines using Approximations to the Likelihood
        Gradient", ICML 2008, https://doi.org/10.1145/1390156.1390290 (persistent chains).
    """
    return jax.tree.map(lambda old, new: old.at[indices].set(new), replay, rows)
