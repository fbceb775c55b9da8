"""Noise contrast on Gaussians (T11), contrast with draws of the model, classifiers (T18)."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from scipy import optimize, stats

from mnar_ebm.objectives.contrastive import contrast, jem, nce_loss

pytestmark = pytest.mark.usefixtures("quick_compile")

SCALE, NOISE_SCALE = 0.6, 1.5
MEANS = np.array([[-1.0, 0.0], [1.5, 0.5], [0.0, -1.0]])


@pytest.mark.parametrize("noise_ratio", [1, 5])
def test_noise_contrast_finds_the_precision_and_log_z(noise_ratio):
    """By quadrature: data N(0, s²), noise N(0, τ²), -E - c = -½ λ x² - c - log noise."""
    grid, step = np.linspace(-12.0, 12.0, 2001, retstep=True)
    log_noise = stats.norm(0.0, NOISE_SCALE).logpdf(grid)
    data, noise = step * stats.norm(0.0, SCALE).pdf(grid), step * np.exp(log_noise)

    def loss(params):
        log_ratio = -0.5 * params[0] * grid**2 - params[1] - log_noise
        # nce_loss takes the plain mean over the noise: here each point has a weight
        of_noise = jax.vmap(lambda h: nce_loss(h[None], jnp.zeros(1), h[None], noise_ratio))
        of_data = nce_loss(log_ratio, data, jnp.full(1, -1e9), noise_ratio)
        return of_data + noise @ of_noise(log_ratio)

    with jax.enable_x64(True):
        run = jax.jit(jax.value_and_grad(loss))
        found = optimize.minimize(run, np.array([1.0, 0.0]), jac=True, options={"gtol": 1e-9})
    log_z = 0.5 * np.log(2 * np.pi * SCALE**2)
    np.testing.assert_allclose(found.x, [SCALE**-2, log_z], rtol=1e-5)


def test_contrast_has_the_gradient_of_the_likelihood():
    """E(x) = ½ λ x² with draws of N(0, 1/λ): ½(E x² - 1/λ), within its errors."""
    precision, num = 2.0, 20_000
    rng = np.random.default_rng(0)
    data, model = rng.normal(size=num), rng.normal(size=num) / np.sqrt(precision)

    def gap(precision, x, y):
        return contrast(lambda x: 0.5 * precision * x**2, x, y)

    found = jax.vmap(jax.grad(gap), (None, 0, 0))(precision, jnp.asarray(data), jnp.asarray(model))
    oracles.assert_mean(found, 0.5 * (1.0 - 1.0 / precision))


def test_the_negative_is_held_fixed():
    """No gradient runs into how it was drawn."""
    assert jax.grad(lambda y: contrast(lambda x: x**2, 1.0, y))(3.0) == 0.0


def logits(shift, x):
    """Return quadratic logits, f_y = -½‖x - μ_y - shift‖². [3]."""
    return -0.5 * ((x - MEANS - shift) ** 2).sum(axis=-1)


def test_the_classifier_of_quadratic_logits_has_its_closed_form():
    """Cross-entropy and gap of a mixture of three normal laws, each of its own example."""
    x, y, known, label = *np.array([[0.3, -0.2], [1.0, 1.0], [0.1, 0.4]]), 1
    with jax.enable_x64(True):
        found = jem(lambda x: logits(0.0, x), *map(jnp.asarray, (x, y, known, label)), 0.5)
        without = jem(lambda x: logits(0.0, x), *map(jnp.asarray, (x, y, known, label)), 0.0)
    log_mixture = [
        np.logaddexp.reduce(-0.5 * ((v - MEANS) ** 2).sum(axis=1)) for v in (x, y, known)
    ]
    gap = log_mixture[1] - log_mixture[0]
    log_class = -0.5 * ((known - MEANS[label]) ** 2).sum() - log_mixture[2]
    np.testing.assert_allclose(found, -log_class + 0.5 * gap, rtol=1e-12)
    np.testing.assert_allclose(without, -log_class, rtol=1e-12)


def test_the_joint_loss_is_least_at_the_truth():
    """Labelled data of the mixture, and chains that are exact draws: the gradient is 0 there."""
    num = 20_000
    rng = np.random.default_rng(1)
    labels = rng.integers(3, size=num)
    data = MEANS[labels] + rng.normal(size=(num, 2))
    negatives = MEANS[rng.integers(3, size=num)] + rng.normal(size=(num, 2))

    def loss(shift, x, label, negative):
        return jem(lambda x: logits(shift, x), x, negative, x, label)

    each = jax.jit(jax.vmap(jax.grad(loss), (None, 0, 0, 0)))
    rows = jnp.asarray(data), jnp.asarray(labels), jnp.asarray(negatives)
    oracles.assert_mean(each(jnp.zeros((3, 2)), *rows), 0.0)
    with pytest.raises(AssertionError, match="standard errors"):
        oracles.assert_mean(each(jnp.full((3, 2), 0.3), *rows), 0.0)
