"""Conjugate energies against quadrature over the latents."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from mnar_ebm.models import conjugate
from mnar_ebm.models.ebm import init_params, log_unnormalised, normal_reference
from mnar_ebm.recipes import ebm as recipe
from mnar_ebm.training import Pace

NODES, WEIGHTS = np.polynomial.legendre.leggauss(400)
REFERENCE = normal_reference((2,), 1.5)


def init(key):
    """Return the parameters of a linear map to the statistics of one latent."""
    return jax.random.normal(key, (2, 2)) / 2


def statistics(params, x):
    """Return t_1, before it is bounded, and t_2. [2]."""
    return params @ x


def model(num_components):
    """Return a model with one latent, and parameters."""
    made = conjugate.conjugate_ebm(init, statistics, REFERENCE, 1, num_components, bound=4.0)
    params = made.ebm.init(jax.random.key(3))
    if num_components > 1:
        own = {
            "logits": jnp.asarray([0.3, -0.2, 0.5]),
            "log_scale": jnp.asarray([[-0.5], [0.1], [0.4]]),
        }
        params["prior"] |= own
    return made, params


def laws(mixture, z):
    """Return the density of a mixture at latents [N], by NumPy."""
    weights, mean, scale = (np.asarray(part, np.float64) for part in mixture)
    each = np.exp(-0.5 * ((z[:, None] - mean[:, 0]) / scale[:, 0]) ** 2)
    return (np.exp(weights) * each / (scale[:, 0] * np.sqrt(2 * np.pi))).sum(axis=1)


@pytest.mark.parametrize("num_components", [1, 3])
def test_energy_and_posterior_are_integrals_over_the_latent(num_components):
    """-log of the integral of p(z) exp(t_1 z - t_2² z²), to 1e-12; p(z|x) is its integrand."""
    z, weights = 30.0 * NODES, 30.0 * WEIGHTS
    with jax.enable_x64(True):
        made, params = model(num_components)
        for x in (np.array([0.7, -1.2]), np.array([-3.0, 2.0]), np.zeros(2)):
            raw, root = np.asarray(params["network"]) @ x
            log_tilt = 4.0 * np.tanh(raw / 4.0) * z - root**2 * z**2
            integrand = laws(made.prior(params), z) * np.exp(log_tilt)
            total = weights @ integrand
            found = made.ebm.energy(params, jnp.asarray(x))
            np.testing.assert_allclose(found, -np.log(total), rtol=1e-10, atol=1e-10)
            after = made.posterior(params, jnp.asarray(x))
            np.testing.assert_allclose(laws(after, z), integrand / total, atol=1e-10)


def test_draws_of_a_mixture_have_its_moments():
    """Within five standard errors."""
    made, params = model(3)
    mixture = made.posterior(params, jnp.array([0.5, 1.0]))
    draws = jax.vmap(mixture.sample)(jax.random.split(jax.random.key(0), 20_000))
    share = np.exp(mixture.log_weights)
    mean = share @ np.asarray(mixture.mean)
    oracles.assert_mean(draws, mean)
    second = share @ (np.asarray(mixture.mean) ** 2 + np.asarray(mixture.scale) ** 2)
    oracles.assert_mean(np.asarray(draws) ** 2, second)


def test_the_energy_has_a_floor():
    """With N(0, 1) as prior, of half the square of the bound, wherever x is."""
    made, params = model(1)
    x = jax.random.normal(jax.random.key(0), (500, 2)) * 100
    assert jax.vmap(made.ebm.energy, (None, 0))(params, x).min() >= -8.0 - 1e-4


def test_an_objective_of_energies_fits_it():
    """The gradient of noise contrast reaches network and prior, and is finite."""
    made, energy = model(3)
    params = init_params(jax.random.key(0), made.ebm)._replace(energy=energy)
    (stage,) = recipe.make_stages("nce", made.ebm, recipe.Settings(), Pace(10, 1e-3))
    rows = jax.random.normal(jax.random.key(1), (16, 2))

    def loss(params):
        return stage.loss(jax.random.key(2), params, rows, rows, ())[0]

    gradient = jax.grad(loss)(params)
    assert all(np.isfinite(leaf).all() and np.any(leaf) for leaf in jax.tree.leaves(gradient))
    assert np.isfinite(log_unnormalised(made.ebm, params, rows[0]))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"latent_dim": 0}, "latent_dim: expected at least 1, got 0"),
        ({"num_components": 0}, "num_components: expected at least 1, got 0"),
        ({"bound": 0.0}, "bound: expected a positive number, got 0.0"),
    ],
)
def test_wrong_sizes_are_refused(wrong, message):
    """In one line."""
    with pytest.raises(ValueError, match=message):
        conjugate.conjugate_ebm(init, statistics, REFERENCE, **{"latent_dim": 1} | wrong)
