"""Score matching on Gaussian data: the losses, their gradients and their optima in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from mnar_ebm.models.ebm import EBMParams, make_ebm, normal_reference
from mnar_ebm.models.ebm import log_unnormalised as log_model
from mnar_ebm.objectives.score import score_denoising, score_exact, score_sliced

pytestmark = pytest.mark.usefixtures("quick_compile")

COVARIANCE = np.array([[1.0, 0.4, 0.0], [0.4, 0.8, -0.3], [0.0, -0.3, 1.5]])
PRECISION = np.linalg.inv(COVARIANCE) + np.diag([0.3, -0.2, 0.1])
REFERENCE = normal_reference((3,), 2.0)


def logdensity(precision, x):
    """Return the log-density of N(0, Λ^-1) as a reference and an energy that takes it back."""
    energy = 0.5 * x @ precision @ x - 0.5 * jnp.vdot(x, x) / 4.0
    return REFERENCE.log_prob(x) - energy


def draws(num, seed=0):
    """Return draws of N(0, S). [N, 3]."""
    return np.random.default_rng(seed).multivariate_normal(np.zeros(3), COVARIANCE, num)


def exact_loss(precision, covariance=COVARIANCE):
    """Return J(Λ) = ½ tr(Λ S Λ) - tr Λ."""
    return 0.5 * np.trace(precision @ covariance @ precision) - np.trace(precision)


def test_the_exact_loss_is_its_closed_form():
    """In expectation, which is exact for rows whose second moments are S; the optimum is S^-1."""
    white = np.sqrt(3.0) * np.concatenate([np.eye(3), -np.eye(3)])
    rows = white @ np.linalg.cholesky(COVARIANCE).T  # their second moments are S

    def loss(precision):
        return jax.vmap(lambda x: score_exact(lambda x: logdensity(precision, x), x))(rows).mean()

    with jax.enable_x64(True):
        np.testing.assert_allclose(loss(PRECISION), exact_loss(PRECISION), rtol=1e-12)
        best = np.linalg.inv(COVARIANCE)
        np.testing.assert_allclose(loss(best), -0.5 * np.trace(best), rtol=1e-12)
        np.testing.assert_allclose(jax.grad(loss)(jnp.asarray(best)), 0.0, atol=1e-12)


@pytest.mark.parametrize("is_reduced", [True, False])
def test_sliced_losses_are_the_exact_one_in_expectation(is_reduced):
    """Of one row over many directions."""
    x = jnp.asarray([0.7, -0.4, 1.1])
    keys = jax.random.split(jax.random.key(0), 20_000)

    def loss(key):
        return score_sliced(key, lambda x: logdensity(PRECISION, x), x, is_reduced=is_reduced)

    values = jax.jit(jax.vmap(loss))(keys)
    oracles.assert_mean(values, float(score_exact(lambda x: logdensity(PRECISION, x), x)))


def test_the_reduced_form_varies_less():
    """Over directions, of a row far out, where the score is large."""
    x, keys = jnp.asarray([3.5, -2.0, 5.5]), jax.random.split(jax.random.key(0), 2000)

    def spread(is_reduced):
        each = jax.vmap(
            lambda key: score_sliced(key, lambda x: -0.5 * x @ PRECISION @ x, x, 1, is_reduced)
        )
        return jax.jit(each)(keys).std()

    assert spread(True) < 0.8 * spread(False)


def test_many_directions_are_averaged_over():
    """The variance of the mean falls as their number."""
    x = jnp.asarray([0.7, -0.4, 1.1])

    def spread(num_directions):
        keys = jax.random.split(jax.random.key(0), 4000)
        each = jax.vmap(
            lambda key: score_sliced(key, lambda x: logdensity(PRECISION, x), x, num_directions)
        )
        return jax.jit(each)(keys).var()

    assert abs(spread(1) / spread(8) - 8) < 8 * 5 * np.sqrt(4 / 4000)


def test_denoising_has_its_closed_form():
    """E ½‖-Λ(x + σε) + ε/σ‖² = J(Λ) of S + σ²I, and D/2σ² more."""
    sigma = 0.5
    rows, keys = jnp.asarray(draws(20_000)), jax.random.split(jax.random.key(1), 20_000)

    def loss(key, x):
        return score_denoising(key, lambda x: logdensity(PRECISION, x), x, sigma)

    values = jax.jit(jax.vmap(loss))(keys, rows)
    noisy = COVARIANCE + sigma**2 * np.eye(3)
    oracles.assert_mean(values, exact_loss(PRECISION, noisy) + 1.5 / sigma**2)


def test_denoising_fits_the_noisy_density():
    """The gradient is 0 at (S + σ²I)^-1 within its errors, and far from it at S^-1."""
    sigma = 0.5
    rows, keys = jnp.asarray(draws(20_000)), jax.random.split(jax.random.key(1), 20_000)

    def gradients(precision):
        def loss(precision, key, x):
            return score_denoising(key, lambda x: logdensity(precision, x), x, sigma)

        return jax.jit(jax.vmap(jax.grad(loss), (None, 0, 0)))(jnp.asarray(precision), keys, rows)

    oracles.assert_mean(gradients(np.linalg.inv(COVARIANCE + sigma**2 * np.eye(3))), 0.0)
    with pytest.raises(AssertionError, match="standard errors"):
        oracles.assert_mean(gradients(np.linalg.inv(COVARIANCE)), 0.0)


def test_a_ladder_fits_the_mixture_of_its_noisy_densities():
    """At log ½ Σ_σ N(x; 0, 1 + σ²) the derivative along any change of it is 0; here two."""
    ladder = jnp.asarray([0.3, 1.5])
    keys = jax.random.split(jax.random.key(2), 100_000)
    rows = jnp.asarray(np.random.default_rng(3).standard_normal((100_000, 1)))

    def mixture(change, x):
        variance = 1.0 + ladder**2
        log_normal = -0.5 * (x[0] ** 2 / variance + jnp.log(variance))
        return jax.nn.logsumexp(log_normal) + change[0] * x[0] ** 2 + change[1] * jnp.cos(x[0])

    def loss(change, key, x):
        return score_denoising(key, lambda x: mixture(change, x), x, ladder)

    found = jax.jit(jax.vmap(jax.grad(loss), (None, 0, 0)))(jnp.zeros(2), keys, rows)
    oracles.assert_mean(found, 0.0)


def test_too_many_features_are_refused_by_the_exact_loss():
    """65; 64 are taken."""
    assert jnp.isfinite(score_exact(lambda x: -0.5 * jnp.vdot(x, x), jnp.ones(64)))
    with pytest.raises(ValueError, match="expected at most 64 features, got 65: use score_sliced"):
        score_exact(lambda x: -0.5 * jnp.vdot(x, x), jnp.ones(65))


def test_images_have_scores_too():
    """Of any shape; for a normal law ½‖x‖² - D by every direction."""
    x = jnp.arange(12.0).reshape(3, 4) / 6
    loss = score_sliced(jax.random.key(0), lambda x: -0.5 * jnp.vdot(x, x), x)
    np.testing.assert_allclose(loss, 0.5 * (x**2).sum() - 12, rtol=1e-6)
    assert score_denoising(jax.random.key(0), lambda x: -0.5 * jnp.vdot(x, x), x, 0.1).shape == ()


def test_a_network_has_finite_gradients():
    """Third derivatives of the energy exist, and are not all 0."""
    ebm = make_ebm(3, REFERENCE, 8, 10.0)
    params = ebm.init(jax.random.key(0))
    params = jax.tree.map(lambda leaf: leaf + 0.1, params)

    def loss(params, x):
        return score_exact(lambda x: log_model(ebm, EBMParams(params, jnp.zeros(())), x), x)

    gradient = jax.jit(jax.vmap(jax.grad(loss), (None, 0)))(params, jnp.asarray(draws(5)))
    leaves = jax.tree.leaves(gradient)
    assert all(jnp.isfinite(leaf).all() for leaf in leaves) and any(leaf.any() for leaf in leaves)
