"""The standard normal's tails against scipy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from scipy import special, stats

from mnar_ebm.numerics import normal

GRID = np.concatenate([-np.geomspace(4.0, 1e4, 200), np.linspace(-5.0, 8.0, 400)])
EXTREMES = np.array([-1e4, -40.0, 40.0])
POINTS = (-5.0, -1.0, 0.0, 2.0, 8.0, 40.0)


@jax.jit
def value_and_grad(x):
    """Return log_cdf, the hazard and the derivatives of both. [4, N]."""
    values = normal.log_cdf(x), normal.hazard(x)
    return *values, *(jax.vmap(jax.grad(f))(x) for f in (normal.log_cdf, normal.hazard))


@functools.partial(jax.jit, static_argnums=2)
def draw_and_derivative(key, lower, num_draws):
    """Return truncated draws and their derivatives in the truncation point. [N] each."""
    draw = functools.partial(normal.sample_above, key, shape=(num_draws,))
    return jax.jvp(draw, (lower,), (jnp.ones_like(lower),))


def expected_values(x):
    """Return what ``value_and_grad`` should; h' = -h(x + h) is a series where the sum cancels."""
    h = oracles.hazard(x)
    far = np.minimum(x, -20.0)
    series = -1 + far**-2 - 6 * far**-4 + 50 * far**-6 - 518 * far**-8
    return special.log_ndtr(x), h, h, np.where(x < -20, series, -h * (x + h))


def test_values_and_derivatives_match_scipy():
    """In float64 in the bulk, in the tail and across the join."""
    with jax.enable_x64(True):
        # From 1 down log_cdf is the log of a number near 1, with that number's rounding.
        tolerances = [(1e-10, 2 * np.finfo(float).eps), (1e-10, 0), (1e-10, 0), (1e-8, 0)]
        for actual, expected, (rtol, atol) in zip(
            value_and_grad(GRID), expected_values(GRID), tolerances, strict=True
        ):
            np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol)
        np.testing.assert_allclose(normal.log_density(GRID), stats.norm.logpdf(GRID), rtol=1e-12)


def test_float32_is_right_at_the_extremes():
    """Values and derivatives, finite and good to a few units in the last place."""
    eps = np.finfo(np.float32).eps
    for actual, expected in zip(
        value_and_grad(EXTREMES.astype(np.float32)), expected_values(EXTREMES), strict=True
    ):
        assert actual.dtype == np.float32 and np.isfinite(actual).all()
        np.testing.assert_allclose(actual, expected, rtol=8 * eps)


@pytest.mark.parametrize("lower", POINTS)
def test_truncated_draws_follow_their_law(lower):
    """The law is scipy's truncated normal, and no draw is below the truncation point."""
    draws, _ = draw_and_derivative(jax.random.key(0), jnp.float32(lower), 20_000)
    assert draws.dtype == jnp.float32
    assert (np.asarray(draws) >= lower).all()
    oracles.assert_law(draws, stats.truncnorm(lower, np.inf).cdf)


def test_truncated_draws_are_differentiable():
    """The derivative is phi(l) Phi(-y) / (phi(y) Phi(-l)), and that of a draw made again."""
    with jax.enable_x64(True):
        key, step = jax.random.key(1), 1e-5
        for lower in POINTS:
            y, derivative = draw_and_derivative(key, jnp.asarray(lower), 500)
            implicit = oracles.hazard(-lower) / oracles.hazard(-np.asarray(y))
            np.testing.assert_allclose(derivative, implicit, rtol=1e-8)
            above, below = (
                draw_and_derivative(key, jnp.asarray(lower + sign * step), 500)[0]
                for sign in (1, -1)
            )
            rounding = 4 * np.finfo(float).eps * np.abs(y).max() / step
            difference = (above - below) / (2 * step)
            np.testing.assert_allclose(derivative, difference, rtol=1e-5, atol=rounding)


def test_truncated_draws_are_finite_in_float32():
    """Draws and derivatives, from a point far below to one far above."""
    for lower in (-1e4, -40.0, 0.0, 40.0, 1e4):
        y, derivative = draw_and_derivative(jax.random.key(2), jnp.float32(lower), 20_000)
        assert np.isfinite(y).all() and (np.asarray(y) >= lower).all()
        assert np.isfinite(derivative).all()
