"""Uniform variables above 0, and what is drawn by their logarithm."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from mnar_ebm.numerics.normal import sample_above
from mnar_ebm.numerics.uniform import positive_uniform

WIDTH = 512


@functools.cache
def key_of_a_zero():
    """Return a key by which ``jax.random.uniform`` draws a 0 among WIDTH numbers, and its place."""
    keys = jax.random.split(jax.random.key(0), 2**16)
    drawn = np.asarray(jax.jit(jax.vmap(lambda key: jax.random.uniform(key, (WIDTH,))))(keys))
    row, place = np.argwhere(drawn == 0)[0]
    return keys[row], place


def test_only_a_zero_is_drawn_anew():
    """And it becomes less than any other number could be."""
    key, place = key_of_a_zero()
    before, after = jax.random.uniform(key, (WIDTH,)), positive_uniform(key, (WIDTH,))
    assert before[place] == 0 < after[place] < 2**-23
    np.testing.assert_array_equal(np.delete(after, place), np.delete(before, place))


def test_numbers_of_both_precisions():
    """In (0, 1), with the mean of the law."""
    for dtype in (jnp.float32, jnp.bfloat16):
        drawn = positive_uniform(jax.random.key(1), (100_000,), dtype)
        assert drawn.dtype == dtype and drawn.min() > 0
        mean = (1.0 - float(jnp.finfo(dtype).eps)) / 2.0  # of multiples of eps below 1
        assert abs(float(drawn.astype(jnp.float32).mean()) - mean) < 5 / np.sqrt(12e5)


def test_a_zero_is_no_draw_from_far_out():
    """By a uniform of 1e-38 it would be 13 standard deviations; by the next bits, 5 to 8."""
    key, place = key_of_a_zero()
    drawn = sample_above(key, jnp.full(WIDTH, -40.0), (WIDTH,))
    assert 4.9 < abs(float(drawn[place])) < 8.5
    assert np.abs(np.delete(drawn, place)).max() < 5.6
