"""Langevin samplers against closed forms: a Gaussian for ULA, a skewed density for MALA."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mnar_ebm.samplers import mala, sample, ula

langevin = importlib.import_module("mnar_ebm.samplers.langevin")  # the package's is the function


def gaussian(precision):
    """Build the log-density of independent Gaussians."""
    return lambda x: -0.5 * jnp.sum(precision * x**2)


def gumbel(x):
    """Independent standard Gumbel coordinates: skewed, so an error in MALA's ratio shows."""
    return -jnp.sum(x + jnp.exp(-x))


def final_positions(algorithm, key, positions, num_steps):
    """Run one chain from each start, and return the last positions. [C, D] -> [C, D]."""
    keys = jax.random.split(key, len(positions))

    def last(key, position):
        return sample(key, algorithm, position, 1, burn_in=num_steps - 1)[0].position

    return np.asarray(jax.jit(jax.vmap(last))(keys, positions))


# ULA on a Gaussian of precision λ: x' = (1 - ηλ) x + √(2ηT) ξ, a Gaussian autoregression.


def test_ula_without_noise_is_the_exact_recursion():
    """At temperature 0, x_t = (1 - ηλ)^t x_0."""
    with jax.enable_x64(True):
        precision, start = np.array([0.5, 2.0, 9.0]), np.array([1.0, -3.0, 2.0])
        algorithm = ula(gaussian(precision), step_size=0.2, temperature=0.0)
        _, (x, _) = sample(jax.random.key(0), algorithm, start, 30)
        decay = (1 - 0.2 * precision) ** np.arange(1, 31)[:, None]
        np.testing.assert_allclose(x, decay * start, rtol=1e-12)


@pytest.mark.parametrize("temperature", [1.0, 0.25])
def test_ula_stationary_variance(temperature):
    """The variance is T / (λ (1 - ηλ / 2)), and the mean 0."""
    precision, step_size, num_chains = np.array([1.0, 4.0, 12.0]), 0.1, 20_000
    algorithm = ula(gaussian(precision), step_size, temperature)
    # After 100 steps what is left of the start is (1 - ηλ)^200 < 1e-9 of its variance.
    x = final_positions(algorithm, jax.random.key(1), jnp.zeros((num_chains, 3)), 100)
    variance = temperature / (precision * (1 - step_size * precision / 2))
    z = (x.var(axis=0, ddof=1) / variance - 1) / np.sqrt(2 / (num_chains - 1))
    assert np.all(np.abs(z) < 4)
    assert np.all(np.abs(x.mean(axis=0)) < 4 * np.sqrt(variance / num_chains))


def test_ula_diverges_if_and_only_if_the_step_is_twice_the_inverse_precision():
    """ηλ = 2 parts shrinking from growing."""
    with jax.enable_x64(True):
        precision = 4.0

        def distance(product):
            algorithm = ula(gaussian(precision), product / precision, temperature=0.0)
            return jnp.abs(sample(jax.random.key(0), algorithm, 1.0, 2000)[1][0])

        below, above = np.asarray(jax.jit(jax.vmap(distance))(jnp.array([1.99, 2.01])))
        assert np.all(np.diff(below) < 0) and below[-1] < 1e-8
        assert np.all(np.diff(above) > 0) and above[-1] > 1e8
        # At the boundary the step is a reflection: the variance of the noise adds up, 2ηT a step.
        num_steps, num_chains = 50, 20_000
        algorithm = ula(gaussian(precision), 2 / precision)
        x = final_positions(algorithm, jax.random.key(2), jnp.zeros(num_chains), num_steps)
        z = (x.var(ddof=1) / (num_steps * 4 / precision) - 1) / np.sqrt(2 / (num_chains - 1))
        assert abs(z) < 4


def test_a_step_costs_one_gradient():
    """The gradient at the old position is cached."""
    calls = []

    def counted(x):
        calls.append(x)
        return gumbel(x)

    for algorithm in (ula(counted, 0.1), mala(counted, 0.1)):
        state = jax.eval_shape(algorithm.init, jnp.ones(2))
        calls.clear()
        jax.eval_shape(algorithm.step, jax.random.key(0), state)
        assert len(calls) == 1


# MALA: detailed balance.


def log_proposal(y, x, step_size):
    """Compute log N(y; x + η ∇log p(x), 2η I) of Gumbel p, with a gradient by hand."""
    mean = x - step_size * (1 - np.exp(-x))
    return stats.norm.logpdf(y, mean, np.sqrt(2 * step_size)).sum(axis=-1)


def log_ratio(x, y, step_size):
    """Compute log p(y) q(x|y) - log p(x) q(y|x) from scipy's densities."""
    log_p = stats.gumbel_r.logpdf
    forward = log_p(x).sum(axis=-1) + log_proposal(y, x, step_size)
    return log_p(y).sum(axis=-1) + log_proposal(x, y, step_size) - forward


def test_mala_detailed_balance():
    """For any x and y, p(x) q(y|x) α(x, y) = p(y) q(x|y) α(y, x), with the α of the code."""
    rng, step_size = np.random.default_rng(3), 0.4
    x, y = rng.gumbel(size=(2, 50, 3))
    with jax.enable_x64(True):
        init = mala(gumbel, step_size).init

        @jax.jit
        @jax.vmap
        def log_acceptance(x, y):
            return jnp.minimum(langevin.log_acceptance_ratio(init(x), init(y), step_size), 0)

        forward, backward = np.asarray(log_acceptance(x, y)), np.asarray(log_acceptance(y, x))
    assert np.any(forward < -0.1) and np.any(backward < -0.1)
    log_p = stats.gumbel_r.logpdf
    there = log_p(x).sum(axis=-1) + log_proposal(y, x, step_size) + forward
    back = log_p(y).sum(axis=-1) + log_proposal(x, y, step_size) + backward
    np.testing.assert_allclose(there, back, atol=1e-10)


def test_mala_accepts_with_that_probability():
    """The reported rate is min(1, ratio) of the proposal, known where it was accepted."""
    step_size, num_chains = 0.4, 200
    x = np.random.default_rng(4).gumbel(size=(num_chains, 3))
    with jax.enable_x64(True):
        algorithm = mala(gumbel, step_size)
        keys = jax.random.split(jax.random.key(4), num_chains)
        step = jax.jit(jax.vmap(lambda key, x: algorithm.step(key, algorithm.init(x))))
        state, info = step(keys, x)
        y, (rate, is_accepted, _) = jax.tree.map(np.asarray, (state.position, info))
    np.testing.assert_array_equal(y[~is_accepted], x[~is_accepted])
    expected = np.exp(np.minimum(log_ratio(x, y, step_size), 0))
    np.testing.assert_allclose(rate[is_accepted], expected[is_accepted], atol=1e-10)
    z = np.sum(is_accepted - rate) / np.sqrt(np.sum(rate * (1 - rate)))
    assert abs(z) < 4


# MALA: exact draws stay exact draws.


def gumbel_oracle(build):
    """Take exact draws through ten steps; p of Kolmogorov-Smirnov, z of mean and of variance."""
    num_chains = 20_000
    key_start, key_steps = jax.random.split(jax.random.key(5))
    starts = jax.random.gumbel(key_start, (num_chains,))
    x = final_positions(build(gumbel, 0.6), key_steps, starts, 10).astype(np.float64)
    mean, variance = stats.gumbel_r.stats()
    excess = stats.gumbel_r.stats(moments="k")
    z_mean = (x.mean() - mean) / np.sqrt(variance / num_chains)
    z_variance = (np.mean((x - mean) ** 2) / variance - 1) / np.sqrt((excess + 2) / num_chains)
    return stats.kstest(x, stats.gumbel_r.cdf).pvalue, z_mean, z_variance


def passes_oracle(build):
    """Return whether the draws are still exact, as far as the oracle sees."""
    p_value, z_mean, z_variance = gumbel_oracle(build)
    return p_value > 0.01 and abs(z_mean) < 4 and abs(z_variance) < 4


def test_mala_leaves_the_target_invariant():
    """Exact draws stay exact draws."""
    assert passes_oracle(mala)


def test_the_oracle_sees_a_sampler_that_is_not_exact():
    """ULA with the same step size fails."""
    assert not passes_oracle(ula)


def ratio_of_proposals_reversed(state, proposal, step_size):
    """Exchange q(x|y) and q(y|x)."""
    delta = proposal.logdensity - state.logdensity
    return 2 * delta - langevin.log_acceptance_ratio(state, proposal, step_size)


def whole_ratio_reversed(state, proposal, step_size):
    """Exchange x and y."""
    return langevin.log_acceptance_ratio(proposal, state, step_size)


@pytest.mark.parametrize("wrong_ratio", [ratio_of_proposals_reversed, whole_ratio_reversed])
def test_the_oracle_sees_a_wrong_ratio(monkeypatch, wrong_ratio):
    """MALA with a wrong ratio fails."""
    right_ratio = langevin.log_acceptance_ratio

    def patched(*args):
        with monkeypatch.context() as patch:
            patch.setattr(langevin, "log_acceptance_ratio", right_ratio)
            return wrong_ratio(*args)

    monkeypatch.setattr(langevin, "log_acceptance_ratio", patched)
    assert not passes_oracle(mala)


def test_mala_rejections_fall_as_the_step_size_to_the_three_halves():
    """1 - E[acceptance] ~ η^(3/2): each halving divides it by 2^(3/2) = 2.83."""
    num_chains, step_sizes = 50_000, np.array([0.02, 0.01, 0.005])
    with jax.enable_x64(True):
        key_start, key_steps = jax.random.split(jax.random.key(6))
        starts = jax.random.gumbel(key_start, (num_chains,))
        keys = jax.random.split(key_steps, num_chains)

        def rejection(step_size, key, position):
            algorithm = mala(gumbel, step_size)
            return 1 - algorithm.step(key, algorithm.init(position))[1].acceptance_rate

        rates = jax.jit(jax.vmap(jax.vmap(rejection, (None, 0, 0)), (0, None, None)))
        rates = np.asarray(rates(step_sizes, keys, starts))
    means = rates.mean(axis=1)
    for step in range(2):
        ratio = means[step] / means[step + 1]
        # The same noise at both step sizes: the error of the ratio is that of the paired residual.
        residual = rates[step] - ratio * rates[step + 1]
        error = residual.std() / np.sqrt(num_chains) / means[step + 1]
        assert abs(ratio - 2**1.5) < 4 * error
