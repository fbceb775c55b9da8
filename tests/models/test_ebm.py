"""Energies on a reference: laws of the references, ratios, classifiers read as densities."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from scipy import stats

from mnar_ebm.models import ebm as ebms
from mnar_ebm.models.ebm import EBMParams, box_reference, make_ebm, normal_reference
from mnar_ebm.recipes.density import quadrature_log_z

MEANS = np.array([[-1.0, 0.0], [1.5, 0.5], [0.0, -1.0]])


@pytest.mark.parametrize(
    "reference, law",
    [
        (normal_reference((2, 3), 1.5), stats.norm(0, 1.5)),
        (box_reference((2, 3), -1.0, 2.0), stats.uniform(-1, 3)),
    ],
    ids=["normal", "box"],
)
def test_references_are_what_they_say(reference, law):
    """Their log-density and their draws, of examples of any shape."""
    x = np.array([[0.1, -0.5, 0.3], [1.2, 0.0, -0.9]])
    np.testing.assert_allclose(reference.log_prob(jnp.asarray(x)), law.logpdf(x).sum(), rtol=1e-6)
    draws = jax.vmap(reference.sample)(jax.random.split(jax.random.key(0), 2000))
    assert draws.shape == (2000, 2, 3)
    oracles.assert_law(draws.ravel(), law.cdf)


def test_outside_the_box_is_nothing_and_its_gradient_is_finite():
    """So that a proposal there is rejected."""
    reference = box_reference((2,), -1.0, 1.0)
    outside = jnp.asarray([0.0, 1.5])
    assert reference.log_prob(outside) == -jnp.inf
    np.testing.assert_array_equal(jax.grad(reference.log_prob)(outside), 0.0)


def test_a_fresh_model_is_its_reference():
    """The energy is 0 at first, and equal settings give the same model."""
    reference = normal_reference((3,), 2.0)
    ebm = make_ebm(3, reference, 8)
    params = ebms.init_params(jax.random.key(0), ebm)
    x, y = jnp.asarray([1.0, 0.5, -2.0]), jnp.zeros(3)
    np.testing.assert_allclose(ebms.log_unnormalised(ebm, params, x), reference.log_prob(x))
    expected = reference.log_prob(x) - reference.log_prob(y)
    np.testing.assert_allclose(ebms.log_ratio(ebm, params, x, y), expected, rtol=1e-6)
    assert make_ebm(3, normal_reference((3,), 2.0), 8) is ebm


def logits(params, x):
    """Return quadratic logits, f_y = -½‖x - μ_y‖². [3]."""
    return -0.5 * ((x - params) ** 2).sum(axis=-1)


@pytest.mark.parametrize("label", [None, 1])
def test_a_classifier_of_quadratic_logits_is_a_mixture(label):
    """On a box that holds it all: log Z = log(K (2π)^(D/2) / volume), of one class without K."""
    box = box_reference((2,), -9.0, 9.0)
    ebm = ebms.classifier_ebm(ebms.Network(lambda key: jnp.asarray(MEANS), logits), box, label)
    with jax.enable_x64(True):
        params = EBMParams(jnp.asarray(MEANS), jnp.zeros(()))

        def logdensity(x):
            return ebms.log_unnormalised(ebm, params, x)

        log_z = quadrature_log_z(logdensity, -9.0, 9.0, 2, 200)
        x = np.array([0.4, -0.3])
        found = logdensity(jnp.asarray(x)) - log_z
    classes = range(3) if label is None else [label]
    expected = np.log(len(classes) * 2 * np.pi) - 2 * np.log(18)
    np.testing.assert_allclose(log_z, expected, rtol=1e-10)
    density = np.mean([stats.multivariate_normal(MEANS[y]).pdf(x) for y in classes])
    np.testing.assert_allclose(found, np.log(density), rtol=1e-10)


def test_wrong_references_are_refused():
    """In one line."""
    with pytest.raises(ValueError, match="scale: expected a positive number, got 0"):
        normal_reference((2,), 0.0)
    with pytest.raises(ValueError, match="box: expected low below high, got 1.0 and 1.0"):
        box_reference((2,), 1.0, 1.0)
