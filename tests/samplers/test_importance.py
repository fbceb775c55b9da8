"""Importance sampling against closed forms: a Gaussian base, tilted by a quadratic energy."""

import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from mnar_ebm import samplers

# Base N(0, 1), energy E(x) = a x² / 2 + b x. With h = 1 + ca, the law tilted by c E is
# N(-cb / h, 1 / h), and its Z is h^-1/2 exp((cb)² / 2h).
CURVATURE, SLOPE = 1.0, 1.0


def energy(x):
    """Return the tilt of the base."""
    return 0.5 * CURVATURE * x**2 + SLOPE * x


def moments(c):
    """Z, mean and variance of the base tilted by c E."""
    precision = 1 + c * CURVATURE
    z = precision**-0.5 * np.exp((c * SLOPE) ** 2 / (2 * precision))
    return z, -c * SLOPE / precision, 1 / precision


Z, MEAN, VARIANCE = moments(1)
Z_2, MEAN_2, VARIANCE_2 = moments(2)
CHI_SQUARE = Z_2 / Z**2 - 1


class Replicates(NamedTuple):
    """What each of the independent runs gave. [R]."""

    mean: np.ndarray
    log_z: np.ndarray
    standard_error: np.ndarray
    ess: np.ndarray


@functools.cache
def replicate(num_replicates, num_samples):
    """Independent runs of ``snis`` at the same setting."""

    def run(key):
        x, log_w, info = samplers.snis(key, jax.random.normal, lambda x: -energy(x), num_samples)
        return Replicates(jnp.sum(jnp.exp(log_w) * x), *info)

    keys = jax.random.split(jax.random.key(0), num_replicates)
    return jax.tree.map(lambda x: np.asarray(x, np.float64), jax.jit(jax.vmap(run))(keys))


def z_score(values, expected):
    """Return the distance of a mean from its expectation, in standard errors."""
    return (np.mean(values) - expected) / (np.std(values, ddof=1) / np.sqrt(len(values)))


NUM_SAMPLES = 400


def test_mean_weight_is_unbiased():
    """E Ẑ = Z."""
    runs = replicate(10_000, NUM_SAMPLES)
    assert abs(z_score(np.exp(runs.log_z), Z)) < 4


def test_log_z_is_biased_down_by_half_chi_square_over_n():
    """E log Ẑ = log Z - χ² / 2N."""
    ratio = np.exp(replicate(10_000, NUM_SAMPLES).log_z) / Z
    # ratio - 1 has mean zero: taking it off takes off most of the noise and none of the bias.
    assert abs(z_score(np.log(ratio) - (ratio - 1), -CHI_SQUARE / (2 * NUM_SAMPLES))) < 4


def test_bias_of_the_weighted_mean():
    """The bias is -(1 + χ²) (m_2E - m_E) / N."""
    runs = replicate(10_000, NUM_SAMPLES)
    ratio = np.exp(runs.log_z) / Z
    # ratio (mean - MEAN) is a plain mean of w (x - MEAN) / Z, which has mean zero.
    bias = -(1 + CHI_SQUARE) * (MEAN_2 - MEAN) / NUM_SAMPLES
    assert abs(z_score((runs.mean - MEAN) * (1 - ratio), bias)) < 4


def test_variance_of_the_weighted_mean():
    """The variance is (1 + χ²) (v_2E + (m_2E - m_E)²) / N."""
    runs = replicate(10_000, NUM_SAMPLES)
    variance = (1 + CHI_SQUARE) * (VARIANCE_2 + (MEAN_2 - MEAN) ** 2) / NUM_SAMPLES
    assert abs(z_score((runs.mean - runs.mean.mean()) ** 2, variance)) < 4


def test_effective_sample_size_tends_to_its_share():
    """ESS / N tends to 1 / (1 + χ²)."""
    runs = replicate(200, 20_000)
    assert abs(z_score(runs.ess / 20_000, 1 / (1 + CHI_SQUARE))) < 4


def test_standard_error_is_calibrated():
    """Its square is the variance, and 95% intervals hold log Z 95% of the time."""
    runs = replicate(10_000, NUM_SAMPLES)
    assert abs(z_score(runs.standard_error**2, CHI_SQUARE / NUM_SAMPLES)) < 4
    covered = np.abs(runs.log_z - np.log(Z)) < 1.96 * runs.standard_error
    assert abs(np.mean(covered) - 0.95) < 4 * np.sqrt(0.95 * 0.05 / len(covered))


@jax.jit
def reductions(log_w):
    """Return everything that is read off the weights, compiled."""
    return (
        samplers.log_mean_exp(log_w),
        samplers.normalise(log_w),
        samplers.effective_sample_size(log_w),
        samplers.log_mean_exp_standard_error(log_w),
    )


METHODS = ("multinomial", "systematic")
resample = jax.jit(samplers.sir, static_argnums=(2, 3))


def test_reductions_are_those_of_the_plain_weights():
    """Log-weights far from zero give what plain weights would."""
    with jax.enable_x64(True):
        log_w = np.random.default_rng(1).normal(size=30)
        w = np.exp(log_w)
        error = np.std(w, ddof=1) / np.sqrt(30) / w.mean()
        for shift in (0.0, 1e4, -1e4):  # exp of these over- and underflows
            log_mean, log_shares, ess, standard_error = reductions(log_w + shift)
            np.testing.assert_allclose(log_mean, np.log(w.mean()) + shift, rtol=1e-9)
            np.testing.assert_allclose(np.exp(log_shares), w / w.sum(), rtol=1e-9)
            np.testing.assert_allclose(ess, w.sum() ** 2 / np.sum(w**2), rtol=1e-9)
            np.testing.assert_allclose(standard_error, error, rtol=1e-9)


def test_log_mean_exp_takes_an_axis_and_has_the_weights_as_gradient():
    """The gradient is the normalised weights."""
    log_w = np.random.default_rng(2).normal(size=(3, 5)).astype(np.float32)
    mean, gradient = jax.jit(
        lambda log_w: (
            samplers.log_mean_exp(log_w, axis=0),
            jax.grad(samplers.log_mean_exp)(log_w[0]),
        )
    )(log_w)
    np.testing.assert_allclose(mean, special.logsumexp(log_w, axis=0) - np.log(3), rtol=1e-5)
    np.testing.assert_allclose(gradient, special.softmax(log_w[0]), rtol=1e-5)


def test_equal_weights():
    """All N draws are effective, and the error is zero."""
    log_mean, log_shares, ess, error = reductions(np.full(100, -1e4, np.float32))
    assert log_mean == -1e4 and error < 1e-6
    np.testing.assert_allclose(np.exp(log_shares), 0.01, rtol=1e-5)
    np.testing.assert_allclose(ess, 100, rtol=1e-5)


def test_one_draw_has_all_the_weight():
    """One draw is effective, and it alone is resampled."""
    log_w = np.full(100, -np.inf, np.float32)
    log_w[7] = 3.0
    log_mean, log_shares, ess, error = reductions(log_w)
    np.testing.assert_allclose([log_mean, error], [3 - np.log(100), 1], rtol=1e-5)
    assert ess == 1 and log_shares[7] == 0 and np.sum(np.exp(log_shares)) == 1
    for method in METHODS:
        assert np.all(resample(jax.random.key(0), log_w, 50, method) == 7)


def test_all_weights_zero():
    """Nothing is known, and nothing is NaN."""
    log_w = np.full(100, -np.inf, np.float32)
    log_mean, log_shares, ess, error = reductions(log_w)
    assert log_mean == -np.inf and np.all(log_shares == -np.inf) and ess == 0 and error == np.inf
    for method in METHODS:
        assert np.all(resample(jax.random.key(0), log_w, 50, method) == 0)


def test_many_draws():
    """Sizes do not overflow."""
    size = 100_000  # its square is no int32
    log_w = np.zeros(size, np.float32)
    log_w[: size // 2] = -np.inf
    log_mean, _, ess, error = reductions(log_w)
    expected = [-np.log(2), size / 2, 1 / np.sqrt(size - 1)]
    np.testing.assert_allclose([log_mean, ess, error], expected, rtol=1e-4)


def test_one_draw_has_no_known_error():
    """A single draw tells nothing of its spread."""
    assert reductions(np.zeros(1, np.float32))[3] == np.inf


def test_snis_takes_any_pytree():
    """A draw may be a dict, of integers too."""

    def sample_fn(key):
        key_x, key_k = jax.random.split(key)
        return {"x": jax.random.normal(key_x, (2,)), "k": jax.random.randint(key_k, (), 0, 3)}

    def log_weight_fn(sample):
        return jnp.sum(sample["x"]) - sample["k"]

    run = jax.jit(lambda key: samplers.snis(key, sample_fn, log_weight_fn, 8))
    samples, log_w, info = run(jax.random.key(3))
    chex.assert_shape([samples["x"], samples["k"], log_w], [(8, 2), (8,), (8,)])
    chex.assert_rank(list(info), 0)
    np.testing.assert_allclose(np.sum(np.exp(log_w)), 1, rtol=1e-5)


WEIGHTS = np.array([0.3, 0.0, 0.05, 0.45, 0.2, 0.0])


@pytest.mark.parametrize("method", METHODS)
def test_sir_draws_in_proportion(method):
    """Counts have the mean and the variance of their method."""
    num_draws, num_replicates = 7, 20_000
    keys = jax.random.split(jax.random.key(4), num_replicates)
    log_w = np.log(WEIGHTS, out=np.full(6, -np.inf), where=WEIGHTS > 0).astype(np.float32) + 5
    draws = jax.vmap(lambda key: resample(key, log_w, num_draws, method))(keys)
    counts = np.sum(np.asarray(draws)[:, :, None] == np.arange(6), axis=1)
    expected = num_draws * WEIGHTS
    if method == "multinomial":
        variance = expected * (1 - WEIGHTS)
    else:  # the expected number, rounded up or down
        assert np.all(np.abs(counts - expected) < 1)
        variance = (expected % 1) * (1 - expected % 1)
    possible = WEIGHTS > 0
    assert np.all(counts[:, ~possible] == 0)
    z = (counts.mean(axis=0) - expected)[possible] / np.sqrt(variance[possible] / num_replicates)
    assert np.all(np.abs(z) < 4)
    for n in np.flatnonzero(possible):  # as noisy as they should be
        assert abs(z_score((counts[:, n] - expected[n]) ** 2, variance[n])) < 4


@pytest.mark.parametrize("method", METHODS)
def test_extreme_points_find_a_weight_that_is_not_zero(monkeypatch, method):
    """Points at 0, and rounded up to 1, find the first and the last weight."""
    log_w = jnp.array([-jnp.inf, 0.0, 0.0, -jnp.inf])
    almost_one = 1 - 2.0**-24  # among 4096, the last point of the comb is rounded up to one
    for u, draw, index in ((0.0, 0, 1), (almost_one, -1, 2)):
        monkeypatch.setattr(jax.random, "uniform", lambda key, shape=(), u=u: jnp.full(shape, u))
        assert samplers.sir(jax.random.key(0), log_w, 4096, method)[draw] == index


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda key: samplers.sir(key, jnp.zeros(3), 2, "residual"), "method: .* got 'residual'"),
        (lambda key: samplers.sir(key, jnp.zeros(3), 0), "num_draws: expected at least 1, got 0"),
        (lambda key: samplers.snis(key, jax.random.normal, energy, 0), "num_samples: .* got 0"),
    ],
)
def test_wrong_settings(call, message):
    """A wrong setting is named, with what was expected."""
    with pytest.raises(ValueError, match=message):
        call(jax.random.key(0))


def test_wrong_ranks():
    """Weights are one row of numbers, and a log-weight is one number."""
    batch = jnp.zeros((2, 3))
    for function in (
        samplers.normalise,
        samplers.effective_sample_size,
        samplers.log_mean_exp_standard_error,
        lambda log_w: samplers.sir(jax.random.key(0), log_w, 2),
        lambda log_w: samplers.snis(jax.random.key(0), jax.random.normal, lambda x: log_w, 2),
    ):
        with pytest.raises(ValueError, match=r"expected an array of 1 axes, got one of shape \("):
            function(batch)


def test_weights_that_are_not_numbers_are_refused():
    """By what would answer without a word; zeros are weights."""
    bad = jnp.array([0.0, jnp.nan, -jnp.inf])
    with pytest.raises(ValueError, match="log_w: expected no NaN, got 1 among 3"):
        samplers.sir(jax.random.key(0), bad, 2)
    with pytest.raises(ValueError, match="log_w_base: expected no NaN, got 1 among 3"):
        samplers.bridge(bad, jnp.zeros(2))
    with pytest.raises(ValueError, match="log_w_target: expected no NaN"):
        samplers.bridge(jnp.zeros(2), bad)


@pytest.mark.parametrize("size", [10**6, pytest.param(3 * 10**7, marks=pytest.mark.slow)])
def test_sir_of_many_weights_is_not_skewed(size):
    """Equal weights are drawn alike, those too whose sum of all before needs more than 24 bits."""
    num_draws = 10**6
    indices = np.asarray(samplers.sir(jax.random.key(0), jnp.zeros(size), num_draws))
    upper = indices[indices >= size // 2]
    counts = np.bincount(upper % 4, minlength=4)
    assert np.abs(counts - len(upper) / 4).max() < 5 * np.sqrt(len(upper) * 3 / 16)


def test_the_comb_of_many_weights_gives_each_its_share():
    """Of 3 million weights, one in three four times as large: N w̃ is 2, 1/2 and 1/2."""
    size = 3 * 10**6
    log_w = jnp.where(jnp.arange(size) % 3 == 0, jnp.log(4.0), 0.0)
    indices = np.asarray(samplers.sir(jax.random.key(0), log_w, size, "systematic"))
    counts = np.bincount(indices, minlength=size).reshape(-1, 3)
    assert (counts[:, 0] == 2).mean() > 0.999 and (counts[:, 1:] <= 1).mean() > 0.999
    assert abs(counts[:, 1:].sum() - size / 3) < 3


def test_points_beyond_the_sum_are_spread_over_all():
    """Weights whose sum is not quite 1 by rounding: the last is drawn as often as others."""
    indices = np.asarray(samplers.sir(jax.random.key(1), jnp.full(1000, -0.1), 10**6))
    assert np.bincount(indices, minlength=1000)[-1] < 1000 + 5 * np.sqrt(1000)
