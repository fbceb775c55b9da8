"""Ours in blackjax's loop, theirs in ours: the contract is the same."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mnar_ebm import samplers
from tests import oracles

blackjax = pytest.importorskip("blackjax", reason="blackjax is not installed (extra peers)")

NUM_CHAINS, NUM_STEPS = 32, 600


def skewed(x):
    """Return log p of the log of a Gamma(2, 4) variable."""
    return jnp.sum(2 * x - 4 * jnp.exp(x))


def assert_right(draws):
    """Hold that E exp(x) = ½ over the chains' second halves. [C, N, 2]."""
    kept = np.asarray(draws, np.float64)[:, NUM_STEPS // 6 :]
    oracles.assert_mean(np.exp(kept).mean(axis=(1, 2)), 0.5)


def keys():
    """One key for each chain."""
    return jax.random.split(jax.random.key(0), NUM_CHAINS)


OURS = {
    "ula": functools.partial(samplers.ula, step_size=0.002),
    "mala": functools.partial(samplers.mala, step_size=0.3),
    "hmc": functools.partial(samplers.hmc, step_size=0.3, num_integration_steps=5),
    "elliptical_slice": lambda fn: samplers.elliptical_slice(lambda x: fn(x) + 0.5 * jnp.sum(x**2)),
}


@pytest.mark.parametrize("name", OURS)
def test_ours_in_their_loop(name):
    """run_inference_algorithm takes a SamplingAlgorithm of ours as it is."""
    algorithm = OURS[name](skewed)

    def run(key):
        _, (states, _) = blackjax.util.run_inference_algorithm(
            key, algorithm, NUM_STEPS, initial_position=jnp.zeros(2)
        )
        return states.position

    draws = jax.jit(jax.vmap(run))(keys())
    assert draws.shape == (NUM_CHAINS, NUM_STEPS, 2)
    if name != "ula":  # its step is too short to get there
        assert_right(draws)


THEIRS = {
    "mala": lambda fn: blackjax.mala(fn, 0.3),
    "hmc": lambda fn: blackjax.hmc(fn, 0.3, jnp.ones(2), 5),
    "nuts": lambda fn: blackjax.nuts(fn, 0.3, jnp.ones(2)),
}


@pytest.mark.parametrize("name", THEIRS)
def test_theirs_in_our_loop(name):
    """``sample`` takes a kernel of blackjax as it is."""
    algorithm = THEIRS[name](skewed)

    def run(key):
        _, (draws, info) = samplers.sample(key, algorithm, jnp.zeros(2), NUM_STEPS)
        return draws, info.acceptance_rate

    draws, acceptance = jax.jit(jax.vmap(run))(keys())
    assert acceptance.shape == (NUM_CHAINS, NUM_STEPS)
    assert_right(draws)


def test_their_adaptation_for_our_sampler():
    """Step size and mass matrix mean the same: as many proposals are accepted."""

    def run(key):
        key_adapt, key_sample = jax.random.split(key)
        warm_up = blackjax.window_adaptation(blackjax.hmc, skewed, num_integration_steps=5)
        (state, settings), _ = warm_up.run(key_adapt, jnp.zeros(2), 300)
        step_size, mass = settings["step_size"], settings["inverse_mass_matrix"]
        ours = samplers.hmc(skewed, step_size, mass, 5)
        _, (draws, info) = samplers.sample(key_sample, ours, state.position, NUM_STEPS)
        theirs = blackjax.hmc(skewed, step_size, mass, 5)
        _, (_, other) = samplers.sample(key_sample, theirs, state.position, NUM_STEPS)
        return draws, info.acceptance_rate.mean() - other.acceptance_rate.mean()

    draws, difference = jax.jit(jax.vmap(run))(keys())
    assert_right(draws)
    oracles.assert_mean(np.asarray(difference, np.float64), 0.0)
