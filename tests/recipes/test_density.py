"""log Z, thresholds, draws and gaps of Gaussian models, against closed forms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from scipy import stats

from mnar_ebm.models import ebm as ebms
from mnar_ebm.models.ebm import EBM, EBMParams, normal_reference
from mnar_ebm.recipes import density

pytestmark = pytest.mark.usefixtures("quick_compile")

SCALE = 2.0
CURVATURE = np.array([[1.5, 0.6], [0.6, 0.9]])
SLOPE = np.array([-1.0, 0.5])
BASE = oracles.Gaussian(np.zeros(2), SCALE**2 * np.eye(2))
LOG_Z, LAW = oracles.tilt(BASE, oracles.Quadratic(CURVATURE, SLOPE))


def quadratic(params, x):
    """Return E(x) = ½ x'Ax + b'x."""
    return 0.5 * x @ params["curvature"] @ x + params["slope"] @ x


def model(dtype=jnp.float32):
    """Return a Gaussian model, and its parameters."""
    reference = normal_reference((2,), SCALE)
    params = {"curvature": jnp.asarray(CURVATURE, dtype), "slope": jnp.asarray(SLOPE, dtype)}
    ebm = EBM(lambda key: params, quadratic, reference.log_prob, reference.sample)
    return ebm, EBMParams(params, jnp.zeros((), dtype))


def test_log_densities_by_quadrature_are_exact():
    """Log Z, log p and ratios, in float64."""
    with jax.enable_x64(True):
        ebm, params = model(jnp.float64)
        logdensity_fn = functools.partial(ebms.log_unnormalised, ebm, params)
        log_z = density.quadrature_log_z(logdensity_fn, -9.0, 9.0, 2, 200)
        x = jnp.asarray([[0.3, -0.2], [1.0, 2.0]])
        scores = density.score_samples(ebm, params, x, log_z)
        ratio = ebms.log_ratio(ebm, params, x[0], x[1])
    np.testing.assert_allclose(log_z, LOG_Z, rtol=1e-10)
    np.testing.assert_allclose(scores, LAW.log_prob(np.asarray(x)), rtol=1e-10)
    np.testing.assert_allclose(ratio, LAW.log_prob(x[0]) - LAW.log_prob(x[1]), rtol=1e-10)


def test_a_bracket_holds_log_z():
    """Both sides within their errors; with few temperatures they are apart, in the mean."""
    ebm, params = model()
    draws = jnp.asarray(np.random.default_rng(0).multivariate_normal(*LAW, 300), jnp.float32)
    found = jax.jit(
        functools.partial(density.bracket, ebm=ebm, num_temperatures=50, step_size=0.4)
    )(jax.random.key(0), params=params, target_draws=draws)
    for side in found:
        assert abs(side.log_z - LOG_Z) < 4 * side.log_z_standard_error < 0.5
        assert side.effective_sample_size > 100

    def few(key, draws):
        return density.bracket(key, ebm, params, draws, num_temperatures=2)

    apart = jax.vmap(few)(jax.random.split(jax.random.key(1), 100), draws.reshape(100, 3, 2))
    lower, upper = np.asarray(apart.lower.log_z), np.asarray(apart.upper.log_z)
    assert lower.mean() + 2 * lower.std() / 10 < LOG_Z < upper.mean() - 2 * upper.std() / 10


def test_draws_have_the_law_of_the_model():
    """Moments within their errors, which particles of common descent make a little larger."""
    ebm, params = model()
    found = jax.jit(lambda key: density.sample(key, ebm, params, 1000, 0.2))(jax.random.key(0))
    assert found.is_finished and abs(found.log_z - LOG_Z) < 4 * found.log_z_standard_error
    oracles.assert_moments(found.draws, LAW)


@pytest.mark.parametrize("num_rows, rank", [(19, 1), (99, 5), (150, 7)])
def test_a_threshold_keeps_its_rate(num_rows, rank):
    """Over calibrations the chance of a false alarm is k/(n + 1), and has the law of Beta."""
    rng = np.random.default_rng(0)
    found = [density.fit_threshold(rng.normal(size=num_rows), 0.05) for _ in range(2000)]
    rates = stats.norm.cdf([one.value for one in found])
    assert found[0].rate == rank / (num_rows + 1) <= 0.05
    oracles.assert_mean(rates, found[0].rate)
    oracles.assert_law(rates, stats.beta(rank, num_rows + 1 - rank).cdf)


def test_ties_raise_no_alarm():
    """A row as good as the threshold is not below it."""
    threshold = density.fit_threshold(np.zeros(100), 0.1)
    assert not (np.zeros(3) < threshold.value).any()


def test_wrong_thresholds_are_refused():
    """In one line: too few rows, no rate, no numbers."""
    with pytest.raises(ValueError, match="expected at least 99 for this rate, got 50"):
        density.fit_threshold(np.zeros(50), 0.01)
    with pytest.raises(ValueError, match="expected a value between 0 and 1, got 1.0"):
        density.fit_threshold(np.zeros(50), 1.0)
    with pytest.raises(ValueError, match="scores: expected finite numbers"):
        density.fit_threshold(np.array([0.0, np.nan]), 0.5)


def test_quadrature_is_of_the_plane():
    """Beyond, one line tells what to use."""
    with pytest.raises(ValueError, match="expected 1 or 2 dimensions, got 3: use a bracket"):
        density.quadrature_log_z(lambda x: x.sum(), 0.0, 1.0, 3)


@pytest.mark.parametrize("is_observed", [[True, False], [False, False]], ids=str)
def test_gaps_are_drawn_from_their_conditional_law(is_observed):
    """Of the Gaussian; what the missing cell holds is not read, and observed ones stay."""
    ebm, params = model()
    mask = np.array(is_observed)
    x = np.where(mask, [1.2, -0.7], np.nan).astype(np.float32)
    found = density.inpaint(jax.random.key(0), ebm, params, x, mask, 1000, 40)
    np.testing.assert_array_equal(
        found.draws[:, mask], np.broadcast_to(x[mask], (1000, mask.sum()))
    )
    law = LAW.given(mask, x[mask]) if mask.any() else LAW
    oracles.assert_moments(found.draws[:, ~mask], law)
    assert 0.3 < found.acceptance_rate < 0.9 and 0 < found.ess_share <= 1


@pytest.mark.slow
def test_gaps_with_two_modes_have_their_weights():
    """A mixture of two Gaussians apart in x_2, three to one given x_1: chains alone would not."""
    means = np.array([[0.0, -4.0], [0.0, 4.0]])
    reference = normal_reference((2,), 3.0)

    def energy(params, x):
        log_terms = jnp.log(jnp.asarray([0.75, 0.25])) - 0.5 * ((x - means) ** 2).sum(axis=-1) / 0.2
        return reference.log_prob(x) - jax.nn.logsumexp(log_terms)

    ebm = EBM(lambda key: (), energy, reference.log_prob, reference.sample)
    params, mask = EBMParams((), jnp.zeros(())), np.array([True, False])

    def run(key):
        return (
            density.inpaint(key, ebm, params, np.zeros(2), mask, 200, 20).draws[:, 1] < 0
        ).mean()

    oracles.assert_mean(jax.lax.map(run, jax.random.split(jax.random.key(0), 20)), 0.75)


def test_wrong_gaps_are_refused():
    """A mask of another row, and no draw."""
    ebm, params = model()
    with pytest.raises(ValueError, match=r"mask: expected shape \(2,\), got \(3,\)"):
        density.inpaint(jax.random.key(0), ebm, params, np.zeros(2), np.ones(3, bool))
    with pytest.raises(ValueError, match="num_draws: expected at least 1, got 0"):
        density.inpaint(jax.random.key(0), ebm, params, np.zeros(2), np.ones(2, bool), 0)
