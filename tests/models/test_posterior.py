"""q(z|x_obs, s) without an encoder: exact where rows are normal, nearly so where gaps are told."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from mnar_ebm import Config, models
from mnar_ebm.models import make_model, posterior
from mnar_ebm.models.posterior import NUM_NEWTON_STEPS
from mnar_ebm.objectives import bounds
from mnar_ebm.samplers import Laplace, effective_sample_size, laplace
from mnar_ebm.samplers.importance import log_mean_exp_standard_error
from mnar_ebm.types import Batch
from tests import oracles

pytestmark = pytest.mark.usefixtures("quick_compile_all")

LINEAR = oracles.DENSE
GAP = np.array([0.3, np.nan, -1.2, 0.8])
ROWS = np.stack([GAP, [2.0, 1.0, 0.5, -1.0], np.full(4, np.nan), [-4.0, np.nan, np.nan, np.nan]])
X, MASK = jnp.asarray(ROWS, jnp.float32), jnp.asarray(~np.isnan(ROWS))


def without_encoder(model, params):
    """Return the model with Laplace's posterior in place of an encoder's."""
    return model._replace(vae=model.vae._replace(encode=None)), params


def law_of_rows():
    """Return N(mean, W Wᵀ + noise² I)."""
    return oracles.rows_of(LINEAR, oracles.joint(LINEAR))


def exact_bound(row):
    """Return log N(x_obs; m_o, W_o W_oᵀ + noise² I)."""
    seen = ~np.isnan(row)
    return law_of_rows().marginal(seen).log_prob(row[seen]) if seen.any() else 0.0


@functools.partial(jax.jit, static_argnums=(0, 4))
def draws_of(model, params, x, mask, num_samples):
    return bounds.batch_draws(jax.random.key(0), model, params, Batch(x, mask), num_samples)


def test_every_weight_of_a_normal_row_is_its_density():
    """Whatever is missing, a whole row too: one draw tells log p(x_obs), with no variance."""
    model, params = without_encoder(*oracles.make_linear_model(LINEAR))
    assert isinstance(posterior(model, params, X[0], MASK[0]), Laplace)
    log_w = np.asarray(draws_of(model, params, X, MASK, 50).log_w)
    expected = np.array([exact_bound(row) for row in ROWS])
    np.testing.assert_allclose(log_w, np.tile(expected[:, None], 50), rtol=3e-5, atol=3e-5)


def test_draws_of_a_normal_row_have_its_posterior():
    """The weighted moments of z are those of the closed form, of a row with a gap."""
    model, params = without_encoder(*oracles.make_linear_model(LINEAR))
    draws = draws_of(model, params, X[:1], MASK[:1], 20_000)
    seen = ~np.isnan(GAP)
    law = oracles.joint(LINEAR).given(np.concatenate([[False, False], seen]), GAP[seen])
    oracles.assert_moments(np.asarray(draws.z[0], np.float64), law.marginal(slice(0, 2)))


@pytest.mark.parametrize("slope", [2.0, -6.0])
def test_what_is_known_of_a_mechanism_is_in_the_proposal(slope):
    """With probit self-masking of one gap the bound has a closed form; no weight carries much."""
    slopes, thresholds = np.full(4, slope), np.full(4, 0.4)
    model, params = without_encoder(
        *oracles.make_self_masked_model(LINEAR, "collapsed", slopes, thresholds)
    )
    draws = draws_of(model, params, X[:1], MASK[:1], 20_000)
    log_w, seen = np.asarray(draws.log_w[0], np.float64), ~np.isnan(GAP)
    law = law_of_rows().given(seen, GAP[seen])
    t, mean = oracles.missing_probability(law.mean[0], law.covariance[0, 0], slope, 0.4)
    shown = stats.norm.logcdf(-slope * (GAP[seen] - 0.4)).sum()
    expected = exact_bound(GAP) + stats.norm.logcdf(t) + shown
    error = float(log_mean_exp_standard_error(draws.log_w[0]))
    assert abs(special.logsumexp(log_w) - np.log(len(log_w)) - expected) < 5 * error
    assert float(effective_sample_size(draws.log_w[0])) > 0.9 * len(log_w)
    weights = np.exp(log_w - special.logsumexp(log_w))
    spread = draws.mean[0, :, 1] - mean
    assert abs(weights @ spread) < 5 * np.sqrt((weights**2) @ spread**2)


def test_the_gradient_is_that_of_the_density():
    """Draws are held fixed: on average the gradient is that of log p(x_obs) in closed form.

    Of three draws one is in no pair, or some parts would have no error but that of rounding.
    """
    model, params = without_encoder(*oracles.make_linear_model(LINEAR))

    def density(base):
        loadings = jnp.where(MASK[0][:, None], base["loadings"], 0.0)
        covariance = loadings @ loadings.T + jnp.diag(jnp.where(MASK[0], base["noise"] ** 2, 1.0))
        residual = jnp.where(MASK[0], X[0] - base["mean"], 0.0)
        fit = residual @ jnp.linalg.solve(covariance, residual)
        return -0.5 * (fit + jnp.linalg.slogdet(covariance)[1])

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, None))
    @functools.partial(jax.grad, argnums=1)
    def estimate(key, base):
        log_w = bounds.log_weights(key, model, params._replace(base=base), X[0], MASK[0], 3).log_w
        return bounds.importance_bound(log_w)

    expected = jax.grad(density)(params.base)
    estimates = estimate(jax.random.split(jax.random.key(1), 4000), params.base)
    for name, values in estimates.items():
        oracles.assert_mean(np.asarray(values, np.float64), np.asarray(expected[name]))


def test_no_encoder_is_made_and_others_are_refused():
    """Laplace's has no parameters; it takes a decoder that is linear."""
    config = Config(proposal="laplace", tilt="none", latent_dim=2)
    model = make_model(config.model, 3, ())
    params = models.init_params(jax.random.key(0), model, jnp.full(3, 0.3))
    assert set(params.base) == {"decoder"} and model.vae.encode is None
    for wrong in ({"decoder": "mlp"}, {"decoder_scale": "per_latent"}):
        with pytest.raises(ValueError, match="proposal: expected encoder"):
            Config(proposal="laplace", **wrong)


def test_curvature_by_columns_is_that_of_all_latents():
    """Two derivatives of a sum over columns give what one for each latent does: mode and shape."""
    slopes, thresholds = np.array([2.0, -3.0, 0.0, 1.0]), np.full(4, 0.4)
    model, params = without_encoder(
        *oracles.make_self_masked_model(LINEAR, "collapsed", slopes, thresholds)
    )

    def log_joint(x, mask, z):
        eta = model.vae.decode(params.base, z)
        log_m = model.mechanism.complete(jax.random.key(0), params.mechanism, eta, x, mask, z)[1]
        log_p = model.vae.likelihood.log_prob(eta, jnp.where(mask, x, 0.0))
        return models.log_prior(z) + jnp.where(mask, log_p, 0.0).sum() + log_m

    @jax.jit
    @jax.vmap
    def both(x, mask):
        filled = jnp.where(mask, x, 0.0)
        generic = laplace(lambda z: log_joint(filled, mask, z), jnp.zeros(2), NUM_NEWTON_STEPS)
        return posterior(model, params, x, mask), generic

    by_columns, generic = both(X, MASK)
    np.testing.assert_allclose(by_columns.mode, generic.mode, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(by_columns.cholesky, generic.cholesky, rtol=1e-3, atol=1e-3)
