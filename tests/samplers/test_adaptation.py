"""Dual averaging against its recursion, and the step sizes it finds against the target rate."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mnar_ebm.samplers import SamplingAlgorithm, adapt_step_size, dual_averaging, mala

TARGET = 0.574


def gaussian(x, precision=1.0):
    """Return the log-density of independent Gaussians."""
    return -0.5 * precision * jnp.sum(x**2)


def test_dual_averaging_is_equation_6():
    """The recursion agrees with a plain loop over the equation."""
    rates = np.random.default_rng(0).uniform(size=25)
    gamma, t0, kappa, target, initial = 0.1, 5.0, 0.6, 0.65, 0.3
    with jax.enable_x64(True):
        search = dual_averaging(initial, target, gamma, t0, kappa)
        state = search.init()
        assert np.exp(state.log_step_size) == pytest.approx(initial, rel=1e-12)
        errors, average = [], 0.0
        for t, rate in enumerate(rates, start=1):
            state = search.update(state, rate)
            errors.append(target - rate)
            x = np.log(10 * initial) - np.sqrt(t) / gamma * np.sum(errors) / (t + t0)
            average = t**-kappa * x + (1 - t**-kappa) * average
            np.testing.assert_allclose(state.log_step_size, x, rtol=1e-12)
            np.testing.assert_allclose(state.log_step_size_average, average, rtol=1e-12)


def test_dual_averaging_nears_a_root_as_one_over_the_root_of_t():
    """By equation (6) Σ H = γ (μ - x) (t + t0) / √t, so that H is near γ (μ - x) / (2 √t)."""
    num_updates = 10_000
    with jax.enable_x64(True):
        search = dual_averaging(1e-3, TARGET, gamma=0.05)

        def update(state, _):  # an acceptance rate without noise, exp(-step size)
            return search.update(state, jnp.exp(-jnp.exp(state.log_step_size))), None

        state, _ = jax.lax.scan(update, search.init(), length=num_updates)
        x = float(state.log_step_size)
    error = TARGET - np.exp(-np.exp(x))
    expected = 0.05 * (np.log(10 * 1e-3) - x) / (2 * np.sqrt(num_updates))
    np.testing.assert_allclose(error, expected, rtol=1 / np.sqrt(num_updates))


class Info(NamedTuple):
    """All that adaptation reads of a sampler."""

    acceptance_rate: jax.Array


def test_adapt_step_size_is_dual_averaging_fed_by_the_chain():
    """On a chain that counts its steps, and accepts exp(-step size) of them."""

    def make_algorithm(step_size):
        def step(key, state):
            return state + 1, Info(jnp.exp(-step_size))

        return SamplingAlgorithm(lambda position, key=None: position, step)

    def update(state, _):
        return search.update(state, jnp.exp(-jnp.exp(state.log_step_size))), None

    search = dual_averaging(0.1, TARGET)
    expected, _ = jax.lax.scan(update, search.init(), length=30)
    step_size, state = adapt_step_size(jax.random.key(0), make_algorithm, 0, 30, 0.1, TARGET)
    np.testing.assert_allclose(step_size, np.exp(expected.log_step_size_average), rtol=1e-5)
    assert state == 30


NUM_CHAINS = 64  # for each start
INITIAL_STEP_SIZES = (1e-3, 0.3, 30.0)


@functools.cache
def find(num_steps):
    """Find the log step size of chains on N(0, I_5), from each start. [3, C]."""
    initial = jnp.repeat(jnp.array(INITIAL_STEP_SIZES), NUM_CHAINS)
    keys = jax.random.split(jax.random.key(num_steps), len(initial))

    @jax.jit
    @jax.vmap
    def run(key, initial_step_size):
        make_algorithm = functools.partial(mala, gaussian)
        return adapt_step_size(key, make_algorithm, jnp.ones(5), num_steps, initial_step_size)[0]

    return np.log(run(keys, initial)).reshape(len(INITIAL_STEP_SIZES), NUM_CHAINS)


def acceptance_rate(log_step_size):
    """Compute MALA's mean acceptance rate on N(0, I_5): the log ratio is (η/4) (|x|² - |y|²)."""
    x, noise = np.random.default_rng(1).normal(size=(2, 50_000, 5))

    def rate(step_size):
        y = (1 - step_size) * x + np.sqrt(2 * step_size) * noise
        log_ratio = step_size / 4 * np.sum(x**2 - y**2, axis=-1)
        return np.mean(np.exp(np.minimum(log_ratio, 0)))

    grid = np.linspace(log_step_size.min(), log_step_size.max(), 15)
    return np.interp(log_step_size, grid, [rate(np.exp(point)) for point in grid])


def limit(short, long):
    """Cancel an error of order 1/√t between t and 4t steps: the limit, and its standard error."""
    variance = (4 * long.var(axis=-1, ddof=1) + short.var(axis=-1, ddof=1)) / NUM_CHAINS
    return 2 * long.mean(axis=-1) - short.mean(axis=-1), np.sqrt(variance)


def test_acceptance_tends_to_the_target_from_any_start():
    """The rate has an error of order 1/√t, and the target as its limit."""
    rate, error = limit(acceptance_rate(find(400)), acceptance_rate(find(1600)))
    assert np.all(np.abs(rate - TARGET) < 4 * error)


def test_the_start_is_forgotten():
    """The limit is the same from too short and from too long a step."""
    log_step_size, error = limit(find(400), find(1600))
    difference, error = np.diff(log_step_size), np.hypot(error[1:], error[:-1])
    assert np.all(np.abs(difference) < 4 * error)


def test_each_chain_has_a_step_size_of_its_own():
    """Under vmap no two chains share a step size."""
    assert len(np.unique(find(400))) == 3 * NUM_CHAINS


def test_step_size_scales_as_the_variance():
    """Halving every length divides the step size by four: all else is the same chain."""
    with jax.enable_x64(True):

        @jax.jit
        def find(scale):
            make_algorithm = functools.partial(mala, lambda x: gaussian(x, scale**-2))
            return adapt_step_size(
                jax.random.key(2), make_algorithm, scale * jnp.ones(3), 100, 0.1 * scale**2
            )

        step_size, state = jax.tree.map(np.asarray, find(1.0))
        half_step_size, half_state = jax.tree.map(np.asarray, find(0.5))
    np.testing.assert_allclose(half_step_size, step_size / 4, rtol=1e-8)
    np.testing.assert_allclose(half_state.position, state.position / 2, rtol=1e-8)


def test_dtypes_stay():
    """The search is in the default precision, and the chain in that of its position."""
    with jax.enable_x64(True):
        find = functools.partial(
            adapt_step_size,
            make_algorithm=functools.partial(mala, gaussian),
            num_steps=20,
            initial_step_size=0.5,
        )
        step_size, state = jax.eval_shape(find, jax.random.key(3), position=jnp.ones(2, "float32"))
    assert step_size.dtype == jnp.float64
    assert state.position.dtype == state.logdensity.dtype == jnp.float32


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"initial_step_size": -0.1}, "initial_step_size: expected a positive number, got -0.1"),
        ({"target_acceptance_rate": 1.0}, "target_acceptance_rate: .* got 1.0"),
        ({"num_steps": 0}, "num_steps: expected at least 1, got 0"),
    ],
)
def test_wrong_settings(settings, message):
    """A wrong setting is named, with what was expected."""
    settings = {"num_steps": 5, "initial_step_size": 0.1, **settings}
    with pytest.raises(ValueError, match=message):
        adapt_step_size(
            jax.random.key(0), functools.partial(mala, gaussian), jnp.zeros(1), **settings
        )
