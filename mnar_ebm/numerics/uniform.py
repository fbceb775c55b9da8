"""Uniform variables that are never 0, whose logarithm is finite."""

from typing import Any

import jax
import jax.numpy as jnp

from mnar_ebm.types import Array, Key


def positive_uniform(key: Key, shape: tuple[int, ...] = (), dtype: Any = float) -> Array:
    """Return draws from U(0, 1); what ``jax.random.uniform`` draws, but where that is 0.

    It is 0 once in 2^23 times in float32, and then accepts any move, and is infinitely far out in
    the tail of any law. There the bits that follow are drawn, too.

    Args:
        key: a random key.
        shape: of the draws.
        dtype: a float.

    Examples:
        >>> bool(positive_uniform(jax.random.key(0), (3,)).min() > 0)
        True
    """
    coarse = jax.random.uniform(key, shape, dtype)
    step = jnp.asarray(jnp.finfo(coarse.dtype).eps, coarse.dtype)
    fine = jax.random.uniform(jax.random.fold_in(key, 1), shape, coarse.dtype)
    return jnp.where(coarse > 0, coarse, step * jnp.maximum(fine, 0.5 * step))
