"""The warm-up in windows: Stan's schedule, Welford's variance, and what a chain makes of them."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mnar_ebm.samplers import (
    SamplingAlgorithm,
    dual_averaging,
    hmc,
    sample,
    window_adaptation,
    windows,
)

TARGET = 0.8


@pytest.mark.parametrize(
    ("num_steps", "first", "ends"),
    [
        (20, 3, [18]),
        (100, 15, [90]),
        (150, 75, [100]),
        (180, 75, [130]),
        (200, 75, [100, 150]),
        (1000, 75, [100, 150, 250, 450, 950]),
    ],
)
def test_schedule_is_that_of_stan(num_steps, first, ends):
    """75 steps, windows of 25, 50, 100, ... and 50 steps; below 150, 15, 75 and 10 %."""
    is_learning, is_end = windows.window_schedule(num_steps)
    np.testing.assert_array_equal(np.flatnonzero(is_end) + 1, ends)
    np.testing.assert_array_equal(np.flatnonzero(is_learning), np.arange(first, ends[-1]))


def test_moments_are_those_of_two_passes():
    """Welford's recursion is exact, far from zero too; a scalar leaf is as good as a vector."""
    x = np.random.default_rng(0).gumbel(size=(30, 3)) + 1e4
    with jax.enable_x64(True):
        positions = {"a": jnp.asarray(x[:, 0]), "b": jnp.asarray(x[:, 1:])}
        moments = windows.no_moments(jax.tree.map(lambda leaf: leaf[0], positions))
        for i in range(30):
            moments = windows.update_moments(moments, jax.tree.map(lambda x, i=i: x[i], positions))
        variance = windows.regularised_variance(moments)
        expected = 30 / 35 * x.var(axis=0, ddof=1) + 5 / 35 * 1e-3
        np.testing.assert_allclose(variance["a"], expected[0], rtol=1e-9)
        np.testing.assert_allclose(variance["b"], expected[1:], rtol=1e-9)


class State(NamedTuple):
    """The state of a chain that walks a given path."""

    position: jax.Array
    num_steps: jax.Array


class Info(NamedTuple):
    """All that adaptation reads of a sampler."""

    acceptance_rate: jax.Array


def follows_the_equations():
    """Return whether, on a chain of known positions and rates, the warm-up is a plain loop's."""
    num_steps = 180  # variances of steps 75 to 129 in one window, the search begun again at 130
    path = np.random.default_rng(1).gumbel(size=(num_steps, 2))

    def make_algorithm(step_size, inverse_mass_matrix):
        def step(key, state):
            position = jnp.asarray(path)[state.num_steps]
            rate = jnp.exp(-step_size * jnp.sum(inverse_mass_matrix))
            return State(position, state.num_steps + 1), Info(rate)

        return SamplingAlgorithm(
            lambda position, key=None: State(position, jnp.zeros((), int)), step
        )

    variance = 55 / 60 * path[75:130].var(axis=0, ddof=1) + 5 / 60 * 1e-3
    step_size = 0.3
    with jax.enable_x64(True):
        for length, weight in ((130, 2.0), (50, variance.sum())):
            search = dual_averaging(step_size, TARGET)
            update = jax.jit(
                lambda state, search=search, weight=weight: search.update(
                    state, jnp.exp(-jnp.exp(state.log_step_size) * weight)
                )
            )
            state = search.init()
            for _ in range(length):
                state = update(state)
            step_size = float(jnp.exp(state.log_step_size_average))
        settings, state = window_adaptation(
            jax.random.key(0), make_algorithm, jnp.zeros(2), num_steps, 0.3, TARGET
        )
        assert state.num_steps == num_steps
        found = np.append(settings["inverse_mass_matrix"], settings["step_size"])
    return np.allclose(found, np.append(variance, step_size), rtol=1e-9)


def test_warm_up_follows_the_equations():
    """The variances are those of the window, and the step size that of the last search."""
    assert follows_the_equations()


def test_the_oracle_sees_a_window_of_the_wrong_steps(monkeypatch):
    """A window that starts a step early, and a variance whose mean is stale, both fail."""
    with monkeypatch.context() as patch:
        patch.setattr(windows, "_FIRST", 74)
        assert not follows_the_equations()

    def stale_mean(moments, position, right=windows.update_moments):
        new = right(moments, position)
        return new._replace(squares=moments.squares + (position - moments.mean) ** 2)

    with monkeypatch.context() as patch:
        patch.setattr(windows, "update_moments", stale_mean)
        assert not follows_the_equations()


VARIANCES = {"a": np.array(1e-2), "b": np.array([1.0, 400.0])}


def logdensity_fn(position):
    """Independent Gaussians of very unequal variances, off the origin."""
    terms = jax.tree.map(lambda x, v: jnp.sum((x - 1) ** 2 / v), position, VARIANCES)
    return -0.5 * jax.tree.reduce(jnp.add, terms)


def test_variances_and_rate_are_found_on_a_gaussian():
    """Each chain finds its own, from a start that suits no coordinate.

    The adapting chain is not exact, and a variance counts by its square root: a tenth is near
    enough. The last search has 50 steps, and the rate an error of the order 1/√50.
    """
    num_chains = 32
    make_algorithm = functools.partial(hmc, logdensity_fn, num_integration_steps=3)

    @jax.jit
    @jax.vmap
    def find(key):
        key_adapt, key_sample = jax.random.split(key)
        start = {"a": 0.0, "b": jnp.zeros(2)}
        settings, state = window_adaptation(
            key_adapt, make_algorithm, start, 800, 0.1, TARGET
        )  # the last window has 500 steps
        algorithm = make_algorithm(**settings)
        _, (_, info) = sample(key_sample, algorithm, state.position, 200)
        return settings, info.acceptance_rate.mean()

    settings, rate = find(jax.random.split(jax.random.key(2), num_chains))
    assert len(np.unique(settings["step_size"])) == num_chains
    for name, variance in VARIANCES.items():
        ratio = np.asarray(settings["inverse_mass_matrix"][name]) / variance
        error = ratio.std(axis=0, ddof=1) / np.sqrt(num_chains)
        assert np.all(np.abs(ratio.mean(axis=0) - 1) < 0.1 + 4 * error)
    assert abs(rate.mean() - TARGET) < 1 / np.sqrt(50)


def test_dtypes_stay():
    """Step sizes are in the default precision, the rest in that of the position."""
    with jax.enable_x64(True):
        find = functools.partial(
            window_adaptation,
            make_algorithm=functools.partial(hmc, lambda x: -0.5 * jnp.sum(x**2)),
            num_steps=20,
        )
        settings, state = jax.eval_shape(find, jax.random.key(3), position=jnp.ones(2, "float32"))
    assert settings["step_size"].dtype == jnp.float64
    assert settings["inverse_mass_matrix"].dtype == state.position.dtype == jnp.float32


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_steps": 19}, "num_steps: expected at least 20, got 19"),
        ({"initial_step_size": 0.0}, "initial_step_size: expected a positive number, got 0.0"),
        ({"target_acceptance_rate": 1.0}, "target_acceptance_rate: .* got 1.0"),
    ],
)
def test_wrong_settings(settings, message):
    """A wrong setting is named, with what was expected."""
    settings = {"num_steps": 20, **settings}
    with pytest.raises(ValueError, match=message):
        window_adaptation(
            jax.random.key(0), functools.partial(hmc, logdensity_fn), jnp.zeros(1), **settings
        )
