"""Parallel tempering: the balance of a swap, and far modes with their right weights."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mnar_ebm import samplers
from mnar_ebm.samplers import tempering
from tests import oracles

pytestmark = pytest.mark.usefixtures("quick_compile_all")

SHARE = 0.8  # of the right mode
BETAS = (1.0, 0.3, 0.1, 0.03)


def two_modes(x):
    """Normals at -6 and 6 with weights 0.2 and 0.8, and a scale of ½ on the left."""
    left = jnp.log(1 - SHARE) - jnp.log(0.5) - 2 * (x + 6) ** 2
    return jnp.logaddexp(left, jnp.log(SHARE) - 0.5 * (x - 6) ** 2)


def mala(logdensity_fn, beta):
    """MALA with a step that grows with the temperature."""
    return samplers.mala(logdensity_fn, 0.3 / beta)


def share_of_chains(algorithm):
    """Return the share of draws in the right mode, of 64 chains that start there. [64]."""

    def share(key):
        _, (x, _) = samplers.sample(key, algorithm, 6.0, 1500, burn_in=200)
        return (x > 0).mean()

    keys = jax.random.split(jax.random.key(0), 64)
    return np.asarray(jax.jit(jax.vmap(share))(keys), np.float64)


def flat(x):
    """No base: p^β."""
    return jnp.zeros_like(x)


def test_far_modes():
    """Tempering finds the weights of two modes; a plain chain never leaves its own."""
    share = share_of_chains(samplers.parallel_tempering(mala, flat, two_modes, BETAS))
    oracles.assert_mean(share, SHARE)
    assert share.std() < 0.2
    assert np.all(share_of_chains(samplers.mala(two_modes, 0.3)) == 1)


def test_prior_and_likelihood():
    """Of a conjugate normal pair the posterior, β = 0 being the prior: N(1, ½)."""
    algorithm = samplers.parallel_tempering(
        lambda fn, beta: samplers.mala(fn, 0.3),
        lambda x: -0.5 * x**2,
        lambda x: -0.5 * (x - 2) ** 2,
        [1.0, 0.5, 0.0],
        num_steps=2,
    )

    def moments(key):
        _, (x, _) = samplers.sample(key, algorithm, 0.0, 500, burn_in=50)
        return x.mean(), (x**2).mean()

    mean, square = jax.jit(jax.vmap(moments))(jax.random.split(jax.random.key(1), 64))
    oracles.assert_mean(np.asarray(mean, np.float64), 1.0)
    oracles.assert_mean(np.asarray(square, np.float64), 1.5)


def assert_detailed_balance():
    """Hold that p_1(x) p_2(y) a(x, y) = p_1(y) p_2(x) a(y, x) for neighbours at x and y."""
    with jax.enable_x64(True):
        betas = jnp.array([1.0, 0.4])
        for x, y in itertools.product(np.linspace(-8, 8, 9), repeat=2):
            flows = []
            for pair in ((x, y), (y, x)):
                log_w = two_modes(jnp.array(pair))
                flows.append((betas * log_w).sum() + jnp.log(tempering.swap_rates(log_w, betas)[0]))
            np.testing.assert_allclose(flows[0], flows[1], rtol=1e-12)


def test_detailed_balance():
    assert_detailed_balance()


def reversed_rates(log_w, inverse_temperatures):
    """The ratio upside down: a public bug."""
    return jnp.exp(jnp.minimum(jnp.diff(inverse_temperatures) * jnp.diff(log_w), 0))


def test_a_reversed_swap_is_seen(monkeypatch):
    """By the balance, and by the weights of the modes."""
    monkeypatch.setattr(tempering, "swap_rates", reversed_rates)
    with pytest.raises(AssertionError):
        assert_detailed_balance()
    with pytest.raises(AssertionError):
        test_far_modes()


def test_a_stale_cold_position_is_seen(monkeypatch):
    """Replicas that are never swapped leave the cold one where it was."""
    monkeypatch.setattr(tempering, "swap", lambda replicas, is_swapped: replicas)
    with pytest.raises(AssertionError):
        test_far_modes()


def test_a_swap_moves_whole_rows():
    """Pairs exchange every leaf, and the others stay."""
    replicas = {"a": jnp.arange(4), "b": jnp.arange(8).reshape(4, 2)}
    after = tempering.swap(replicas, jnp.array([True, False, True]))
    np.testing.assert_array_equal(after["a"], [1, 0, 3, 2])
    np.testing.assert_array_equal(after["b"][:, 0], [2, 0, 6, 4])


def test_every_second_pair_is_tried_and_the_position_is_the_coldest():
    """Pairs (1, 2) and (3, 4), then (2, 3), and so on."""
    algorithm = samplers.parallel_tempering(mala, flat, lambda x: 0 * x, BETAS)
    _, (state, info) = samplers.sample(
        jax.random.key(2), algorithm, 0.0, 4, transform=lambda state, info: (state, info)
    )
    np.testing.assert_array_equal(info.swap_rate, np.ones((4, 3)))
    np.testing.assert_array_equal(info.is_swapped, [[1, 0, 1], [0, 1, 0]] * 2)
    np.testing.assert_array_equal(state.position, state.replicas[:, 0])
    assert info.kernel.acceptance_rate.shape == (4, 4)


@pytest.mark.parametrize("betas", [[1.0], [0.9, 0.5], [1.0, 0.5, 0.5], [1.0, -0.1]])
def test_wrong_temperatures(betas):
    with pytest.raises(ValueError, match="inverse_temperatures: expected at least two numbers"):
        samplers.parallel_tempering(mala, flat, two_modes, betas)
