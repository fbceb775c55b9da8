"""The Gaussian at a mode: exact for a Gaussian, a proposal for a concave posterior, never NaN."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from mnar_ebm.samplers import Laplace, effective_sample_size, laplace, log_mean_exp
from mnar_ebm.samplers.importance import log_mean_exp_standard_error

pytestmark = pytest.mark.usefixtures("quick_compile_all")

MEAN = np.array([1.5, -2.0, 0.3])
FACTOR = np.array([[1.2, 0.0, 0.0], [-0.5, 0.8, 0.0], [0.3, 0.4, 1.5]])
PRECISION = FACTOR @ FACTOR.T


def gaussian(x):
    """Return the log-density of N(MEAN, PRECISION^-1), normalised."""
    centred = x - MEAN
    log_det = np.log(np.diag(FACTOR)).sum()
    return -0.5 * centred @ PRECISION @ centred + log_det - 1.5 * jnp.log(2 * jnp.pi)


@functools.cache
def exact_fit():
    """Return the fit to the Gaussian, draws of it, and their log q less log p. [K, 3], [K]."""

    @jax.jit
    def run(noise):
        fitted = laplace(gaussian, jnp.zeros(3))
        draws, log_q = fitted.draw(noise)
        return fitted, draws, log_q - jax.vmap(gaussian)(draws)

    noise = np.random.default_rng(0).normal(size=(20_000, 3)).astype(np.float32)
    return jax.tree.map(np.asarray, run(noise))


def test_a_gaussian_is_found_exactly():
    """Mode and precision in float32; every draw has the weight 1, so one tells log Z."""
    fitted, _, log_ratio = exact_fit()
    assert isinstance(fitted, Laplace) and fitted.mode.dtype == np.float32
    np.testing.assert_allclose(fitted.mode, MEAN, atol=1e-5)
    # A ridge of 1e-5 of the mean curvature keeps the factor defined.
    np.testing.assert_allclose(fitted.cholesky, FACTOR, rtol=2e-5, atol=2e-5)
    assert (np.triu(fitted.cholesky, 1) == 0).all()
    np.testing.assert_allclose(log_ratio, 0.0, atol=3e-4)
    assert np.ptp(log_ratio) < 5e-4


def test_draws_of_a_gaussian_are_its_own():
    """Mean, covariance and law, within their standard errors."""
    draws = exact_fit()[1].astype(np.float64)
    centred = draws - MEAN
    products = centred[:, :, None] * centred[:, None, :]
    for values, expected in ((centred, 0.0), (products, np.linalg.inv(PRECISION))):
        error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
        assert (np.abs(values.mean(axis=0) - expected) < 5 * error).all()
    square = np.einsum("ki,ij,kj->k", centred, PRECISION, centred)
    assert stats.kstest(square, stats.chi2(3).cdf).pvalue > 1e-4


def test_log_q_is_the_density_of_what_is_drawn():
    """Of a widened Gaussian too: that of N(m, a² A^-1), by its definition."""
    fitted = laplace(gaussian, jnp.zeros(3))
    noise = np.random.default_rng(1).normal(size=(50, 3)).astype(np.float32)
    for widen in (1.0, 1.7):
        draws, log_q = fitted.draw(noise, widen)
        law = stats.multivariate_normal(MEAN, widen**2 * np.linalg.inv(PRECISION))
        np.testing.assert_allclose(log_q, law.logpdf(np.asarray(draws, np.float64)), atol=1e-3)


# A probit posterior: three answers to z ~ N(0, I), of which no factor is Gaussian.
LOADINGS = np.array([[2.0, -1.0], [0.5, 1.5], [-3.0, 0.7]])
CUTS = np.array([-1.0, 0.4, 1.2])


def probit_posterior(z):
    """Return log N(z; 0, I) prod Phi(a'z + c). [2] -> []."""
    log_prior = -0.5 * (z**2).sum() - jnp.log(2 * jnp.pi)
    return log_prior + jax.scipy.special.log_ndtr(LOADINGS @ z + CUTS).sum()


@functools.cache
def grid():
    """Return the nodes of a product trapezium rule, and the posterior times their area."""
    x, step = np.linspace(-8, 8, 801, retstep=True)
    z = np.stack(np.meshgrid(x, x, indexing="ij"), axis=-1).reshape(-1, 2)
    log_p = stats.norm.logpdf(z).sum(axis=1) + special.log_ndtr(z @ LOADINGS.T + CUTS).sum(axis=1)
    return z, step**2 * np.exp(log_p)


@functools.cache
def probit_fit(widen):
    """Return the fit, draws and log-weights."""

    @jax.jit
    def run(noise):
        fitted = laplace(probit_posterior, jnp.zeros(2))
        draws, log_q = fitted.draw(noise, widen)
        return fitted, draws, jax.vmap(probit_posterior)(draws) - log_q

    noise = np.random.default_rng(2).normal(size=(50_000, 2)).astype(np.float32)
    return jax.tree.map(np.asarray, run(noise))


def test_newton_finds_the_mode_of_a_concave_density():
    """No slope is left, the highest node is beside it, and the factor is that of the curvature."""
    fitted = probit_fit(1.0)[0]
    gradient, hessian = jax.jit(
        lambda z: (jax.grad(probit_posterior)(z), jax.hessian(probit_posterior)(z))
    )(fitted.mode)
    np.testing.assert_allclose(gradient, 0.0, atol=1e-4)
    z, density = grid()
    assert np.abs(z[density.argmax()] - fitted.mode).max() <= 0.02
    square = fitted.cholesky @ fitted.cholesky.T
    np.testing.assert_allclose(square, -np.asarray(hessian), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("widen", [1.0, 1.2])
def test_weights_of_a_concave_posterior_tell_its_constant(widen):
    """E p/q is that of quadrature within its standard error, and so is the posterior mean."""
    _, draws, log_w = probit_fit(widen)
    z, density = grid()
    exact = np.log(density.sum())
    error = float(log_mean_exp_standard_error(log_w))
    assert error < 0.005 and abs(float(log_mean_exp(log_w)) - exact) < 5 * error
    weights = special.softmax(log_w.astype(np.float64))
    distance = weights @ draws - density @ z / density.sum()
    spread = np.sqrt(weights**2 @ (draws - weights @ draws) ** 2)
    assert (np.abs(distance) < 5 * spread).all()
    assert effective_sample_size(log_w) > 0.6 * len(log_w)


def bimodal(x):
    """Return a density whose curvature at 0 is that of a valley. [2] -> []."""
    return jnp.logaddexp(-2.0 * ((x - 2.0) ** 2).sum(), -2.0 * ((x + 2.0) ** 2).sum())


def saddle(x):
    """Return a function with no mode at all. [2] -> []."""
    return -(x[0] ** 2) + 0.5 * x[1] ** 2


def kink(x):
    """Return a density without curvature but at its mode. [2] -> []."""
    return -jnp.abs(x).sum()


def flat(x):
    """Return a constant. [2] -> []."""
    return 0.0 * x.sum()


@pytest.mark.parametrize("logdensity_fn", [bimodal, saddle, kink, flat])
@pytest.mark.parametrize("start", [(0.0, 0.0), (1.0, -0.5), (30.0, 5.0)])
def test_a_density_that_is_not_concave_gives_finite_draws(logdensity_fn, start):
    """From its valley, from afar, and without any mode."""

    @jax.jit
    def run(start, noise):
        fitted = laplace(logdensity_fn, start, num_steps=20)
        return fitted, fitted.draw(noise)

    noise = np.random.default_rng(3).normal(size=(100, 2)).astype(np.float32)
    fitted, (draws, log_q) = run(jnp.array(start), noise)
    assert all(np.isfinite(leaf).all() for leaf in (*fitted, draws, log_q))
    assert (np.diag(fitted.cholesky) > 0).all()
    assert np.ptp(np.asarray(draws), axis=0).min() > 0


def test_a_step_from_afar_is_short_and_gets_there():
    """Newton's step of a probit far out would overshoot; each goes three units at most."""
    start = jnp.array([25.0, -12.0])
    one = laplace(probit_posterior, start, num_steps=1).mode
    assert np.linalg.norm(one - start) <= 3.0 * (1 + 1e-5)
    many = laplace(probit_posterior, start, num_steps=30).mode
    np.testing.assert_allclose(many, probit_fit(1.0)[0].mode, atol=1e-4)


def test_modes_are_a_vmap_and_do_not_need_a_compiled_caller():
    """Positions and parameters may be many; the answer is that of each alone."""

    def fit(shift, start):
        return laplace(lambda x: probit_posterior(x - shift), start)

    shifts, starts = jnp.array([[0.0, 0.0], [1.0, -2.0]]), jnp.zeros((2, 2))
    together = jax.jit(jax.vmap(fit))(shifts, starts)
    for index in range(2):
        alone = fit(shifts[index], starts[index])
        np.testing.assert_allclose(together.mode[index], alone.mode, atol=1e-5)
        np.testing.assert_allclose(together.cholesky[index], alone.cholesky, atol=1e-4)
    np.testing.assert_allclose(together.mode[1] - together.mode[0], [1.0, -2.0], atol=1e-3)
