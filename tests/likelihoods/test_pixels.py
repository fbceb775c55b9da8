"""Laws of pixels, against quadrature, sums over levels and scipy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from scipy import integrate, stats

from mnar_ebm import likelihoods
from mnar_ebm.likelihoods import pixels
from mnar_ebm.types import DecoderOutput

LOGITS = np.array([-30.0, -2.0, -0.101, -0.099, -1e-7, 0.0, 0.05, 0.11, 3.0, 40.0])
LEVELS = np.arange(256) / 255.0
NUM_DRAWS = 20_000


def moment(power, logit):
    """Return E x^n under exp(l x - A(l)), by quadrature of a law that is scaled to 1 at its end."""
    law = lambda x: np.exp(logit * x - max(logit, 0.0))  # noqa: E731
    ends = {"points": [0.0, 0.1, 0.9, 1.0], "limit": 200}
    above = integrate.quad(lambda x: x**power * law(x), 0, 1, **ends)[0]
    return above / integrate.quad(law, 0, 1, **ends)[0]


def test_continuous_bernoulli_is_a_density_with_its_mean():
    """Its logarithm integrates to 1, in float64; the mean is A'(l), by quadrature."""
    likelihood = likelihoods.continuous_bernoulli()
    x, weights = np.polynomial.legendre.leggauss(200)
    with jax.enable_x64(True):
        eta = DecoderOutput(jnp.asarray(LOGITS))
        at = jnp.asarray((x + 1) / 2)[:, None]
        total = (jnp.asarray(weights / 2)[:, None] * jnp.exp(likelihood.log_prob(eta, at))).sum(0)
        np.testing.assert_allclose(total, 1.0, rtol=1e-9)
        expected = [moment(1, logit) for logit in LOGITS]
        np.testing.assert_allclose(likelihood.mean(eta), expected, rtol=1e-8)
        slope = jax.vmap(jax.grad(pixels.log_normaliser))(eta.loc)
        np.testing.assert_allclose(slope, expected, rtol=1e-7)


@pytest.mark.parametrize("logit", [-8.0, -0.05, 0.0, 2.0, 30.0])
def test_transport_makes_noise_into_the_law(logit):
    """Of standard normal noise; draws have it too."""
    likelihood = likelihoods.continuous_bernoulli()
    eta = DecoderOutput(jnp.full(NUM_DRAWS, logit))
    noise = jax.random.normal(jax.random.key(0), (1, NUM_DRAWS))

    def cdf(x):
        return x if logit == 0 else np.expm1(logit * x) / np.expm1(logit)

    for x in (likelihood.transport(eta, noise), likelihood.sample(jax.random.key(1), eta)):
        assert x.min() >= 0 and x.max() <= 1
        oracles.assert_law(np.asarray(x), cdf)


def test_transport_has_the_gradient_of_the_inverse():
    """dx/dl = -F_l(x)/F_x(x), and finite far out in the noise and in l."""
    likelihood = likelihoods.continuous_bernoulli()

    def of(logit, noise):
        return likelihood.transport(DecoderOutput(logit), noise[None])

    with jax.enable_x64(True):
        logit = jnp.asarray(LOGITS[1:-1])
        noise = jnp.linspace(-2.0, 2.0, len(logit))
        moved = (of(logit + 1e-6, noise) - of(logit - 1e-6, noise)) / 2e-6
        found = jax.grad(lambda logit: of(logit, noise).sum())(logit)
        np.testing.assert_allclose(found, moved, rtol=2e-5)
    grid = jnp.meshgrid(jnp.array([-12.0, 0.0, 12.0]), jnp.array([-90.0, -1e-3, 0.0, 90.0]))
    noise, logit = (part.ravel() for part in grid)
    values = jax.value_and_grad(lambda *at: of(*at).sum(), argnums=(0, 1))(logit, noise)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(values))


LOC, SCALE = np.array([-0.4, 0.0, 0.3, 0.51, 1.2]), np.array([0.3, 0.01, 0.05, 2.0, 0.02])


@functools.partial(jax.jit, static_argnums=0)
def of_levels(likelihood, eta):
    """Return log P of every level. [256, D]."""
    return jax.vmap(lambda x: likelihood.log_prob(eta, jnp.full(len(LOC), x)))(jnp.asarray(LEVELS))


def test_discretised_logistic_has_the_probability_of_each_level():
    """As differences of scipy's distribution function; they sum to 1; the mean is that of them."""
    likelihood = likelihoods.discretised_logistic()
    with jax.enable_x64(True):
        eta = DecoderOutput(jnp.asarray(LOC), jnp.asarray(SCALE))
        actual = np.asarray(of_levels(likelihood, eta))
        edges = np.concatenate([[-np.inf], (LEVELS[1:] + LEVELS[:-1]) / 2, [np.inf]])
        law = stats.logistic(LOC, SCALE)
        below, above = law.cdf(edges[:-1, None]), law.sf(edges[1:, None])
        np.testing.assert_allclose(np.exp(actual), 1.0 - below - above, atol=1e-12)
        np.testing.assert_allclose(np.exp(actual).sum(axis=0), 1.0, rtol=1e-10)
        mean = (LEVELS[:, None] * np.exp(actual)).sum(axis=0)
        np.testing.assert_allclose(likelihood.mean(eta), mean, atol=2e-5)


def test_discretised_logistic_is_exact_in_the_tails():
    """Hundreds of scales away its logarithm is finite, and a line in the location."""
    likelihood = likelihoods.discretised_logistic()
    eta = DecoderOutput(jnp.full(2, 5.0), jnp.full(2, 0.01))
    found = likelihood.log_prob(eta, jnp.array([0.0, 100 / 255]))
    width = 1 / 255
    far = -(5.0 - 100 / 255 - width / 2) / 0.01 + np.log(-np.expm1(-width / 0.01))
    np.testing.assert_allclose(found, [-(5.0 - width / 2) / 0.01, far], rtol=1e-5)


def test_draws_of_levels_are_as_often_as_they_are_likely():
    """Mean and variance within five standard errors; every draw is a level."""
    likelihood = likelihoods.discretised_logistic()
    eta = DecoderOutput(jnp.asarray(LOC, jnp.float32), jnp.asarray(SCALE, jnp.float32))
    keys = jax.random.split(jax.random.key(0), NUM_DRAWS)
    x = np.asarray(jax.vmap(likelihood.sample, (0, None))(keys, eta), np.float64)
    np.testing.assert_allclose(x * 255, np.round(x * 255), atol=1e-4)
    share = np.exp(np.asarray(of_levels(likelihood, eta), np.float64))
    mean = (LEVELS[:, None] * share).sum(axis=0)
    oracles.assert_mean(x, mean)
    oracles.assert_mean((x - mean) ** 2, ((LEVELS[:, None] - mean) ** 2 * share).sum(axis=0))
