"""Kernel Stein discrepancy: draws against a log-density, without a single draw of the truth."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from mnar_ebm import samplers

pytestmark = pytest.mark.usefixtures("quick_compile_all")

NUM_SETS, NUM_DRAWS, NUM_FEATURES = 20, 300, 3


def skewed(x):
    """Return log p of independent logs of Gamma(2, 1) variables. [D]."""
    return jnp.sum(2 * x - jnp.exp(x))


def exact(key):
    """Draw from it. [D]."""
    return jnp.log(jax.random.gamma(key, 2.0, (NUM_FEATURES,)))


def stein_discrepancy(x):
    """Return the U-statistic of the squared discrepancy; its mean is 0 for exact draws. [N, D].

    With the kernel k = (1 + |x - y|²)^(-1/2) and the score s = ∇log p it is the mean over pairs of

        s(x)'s(y) k + s(x)'∇_y k + s(y)'∇_x k + tr ∇_x ∇_y k.

    J. Gorham, L. Mackey, "Measuring Sample Quality with Kernels", ICML 2017, eq. 6.
    """
    score = jax.vmap(jax.grad(skewed))(x)
    difference = x[:, None] - x
    q = 1 + jnp.sum(difference**2, axis=-1)
    inner = jnp.einsum("nmd,nmd->nm", difference, score[:, None] - score)
    pairs = score @ score.T / jnp.sqrt(q) + inner / q**1.5
    pairs += x.shape[1] / q**1.5 - 3 * (q - 1) / q**2.5
    return (pairs.sum() - jnp.trace(pairs)) / (len(x) * (len(x) - 1))


def discrepancies(algorithm, num_steps=30):
    """Return the statistic of sets of last states of chains that start in the law. [R]."""

    def last(key):
        key_start, key_chain = jax.random.split(key)
        state, _ = samplers.sample(key_chain, algorithm, exact(key_start), 1, thin=num_steps)
        return state.position

    @jax.jit
    def one_set(key):
        return stein_discrepancy(jax.vmap(last)(jax.random.split(key, NUM_DRAWS)))

    return np.asarray(jax.lax.map(one_set, jax.random.split(jax.random.key(0), NUM_SETS)))


EXACT = {
    "mala": functools.partial(samplers.mala, step_size=0.3),
    "hmc": functools.partial(samplers.hmc, step_size=0.3, num_integration_steps=5),
    "elliptical_slice": lambda fn: samplers.elliptical_slice(lambda x: fn(x) + 0.5 * jnp.sum(x**2)),
}


def test_exact_draws_have_none():
    keys = jax.random.split(jax.random.key(1), (NUM_SETS, NUM_DRAWS))
    draws = jax.vmap(jax.vmap(exact))(keys)
    oracles.assert_mean(jax.lax.map(stein_discrepancy, draws), 0.0)


@pytest.mark.parametrize("name", EXACT)
def test_exact_samplers_have_none(name):
    oracles.assert_mean(discrepancies(EXACT[name](skewed)), 0.0)


def test_the_bias_of_an_unadjusted_step_is_seen():
    """ULA's law is not p: more than five standard errors above 0."""
    values = discrepancies(samplers.ula(skewed, step_size=0.3))
    assert values.mean() > 5 * values.std(ddof=1) / np.sqrt(NUM_SETS)
