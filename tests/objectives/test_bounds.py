"""Log-weights and bounds against exact log-likelihoods of linear-Gaussian models."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from scipy import stats

from mnar_ebm import models
from mnar_ebm.config import Config
from mnar_ebm.data.datasets.toys import LinearGaussian
from mnar_ebm.objectives import bounds
from mnar_ebm.types import Batch

pytestmark = pytest.mark.usefixtures("quick_compile")

ROW = np.array([0.8, -0.5, 0.3, 1.1])
MASKS = np.array([[1, 1, 1, 1], [1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]], bool)
WIDEN = 1.5
NUM_DRAWS = 300_000


@functools.partial(jax.jit, static_argnums=(1, 5))
def log_weights(key, model, params, x, mask, num_samples=NUM_DRAWS):
    """Return the log-weights of a row. [K]."""
    return bounds.log_weights(key, model, params, x, mask, num_samples).log_w


def exact_log_prob(linear, x, mask):
    """Return log p(x_obs)."""
    if not mask.any():
        return 0.0
    return oracles.rows_of(linear, oracles.joint(linear)).marginal(mask).log_prob(x[mask])


def in_groups(log_w, size):
    """Return the bounds of groups of independent log-weights, in float64. [R]."""
    groups = np.asarray(log_w, np.float64)[: len(log_w) // size * size].reshape(-1, size)
    return np.logaddexp.reduce(groups, axis=1) - np.log(size)


@pytest.mark.parametrize("mask", MASKS, ids=str)
def test_an_exact_encoder_leaves_no_variance(mask):
    """With q the posterior, every log-weight is log p(x_obs)."""
    with jax.enable_x64(True):
        model, params = oracles.make_linear_model(oracles.DISJOINT)
        log_w = log_weights(jax.random.key(0), model, params, ROW, mask, 100)
    expected = exact_log_prob(oracles.DISJOINT, ROW, mask)
    np.testing.assert_allclose(log_w, expected, rtol=1e-10, atol=1e-10)


@functools.cache
def relative_log_weights():
    """Return log w - log p(x_obs) of a row under an encoder that is too wide. [N]."""
    with jax.enable_x64(True):
        model, params = oracles.make_linear_model(oracles.DISJOINT, widen=WIDEN)
        log_w = log_weights(jax.random.key(1), model, params, ROW, MASKS[1])
    return np.asarray(log_w) - exact_log_prob(oracles.DISJOINT, ROW, MASKS[1])


def weight_moment(order):
    """Return E w^n for two latents, posterior N(m, v) and encoder N(m, WIDEN² v) in each."""
    return (WIDEN ** (order - 1) / np.sqrt(order - (order - 1) / WIDEN**2)) ** 2


def test_elbo_is_below_by_the_divergence():
    """The mean of log w is log p(x_obs) - KL(q, posterior)."""
    divergence = 2 * ((WIDEN**2 - 1) / 2 - np.log(WIDEN))
    oracles.assert_mean(relative_log_weights(), -divergence)
    elbo = bounds.elbo(jnp.asarray([1.0, 2.0, 6.0]), log_z=0.5)
    np.testing.assert_allclose(elbo, 2.5)


def test_bound_rises_with_the_number_of_samples_to_the_exact_value():
    """L_1 <= L_5 <= L_20 <= L_100 <= log p(x_obs), and w is unbiased for p(x_obs)."""
    log_w = relative_log_weights()
    oracles.assert_mean(np.exp(log_w), 1.0)
    means, errors = [], []
    for size in (1, 5, 20, 100):
        values = in_groups(log_w, size)
        means.append(values.mean())
        errors.append(values.std() / np.sqrt(len(values)))
    steps = np.diff([*means, 0.0])
    assert (steps > -5 * np.hypot(errors, [*errors[1:], 0.0])).all()
    assert steps[0] > 5 * np.hypot(errors[0], errors[1])  # the test could tell


def test_gap_of_the_bound_is_half_chi_square_over_k():
    """E L_K = log p(x_obs) - chi²/2K + (m_3/3 - 3 chi⁴/4)/K² + O(1/K³)."""
    size, chi_square = 100, weight_moment(2) - 1
    third = weight_moment(3) - 3 * weight_moment(2) + 2
    gap = -chi_square / (2 * size) + (third / 3 - 0.75 * chi_square**2) / size**2
    ratio = np.exp(in_groups(relative_log_weights(), size))
    # ratio - 1 has mean zero: taking it off takes off most of the noise and none of the gap.
    oracles.assert_mean(np.log(ratio) - (ratio - 1), gap)


SLOPE = np.array([1.5, -2.0, 2.5, 1.0])
THRESHOLD = np.array([1.0, -0.5, 0.2, 1.5])


def self_masked(linear, kind, widen=1.0):
    """Return a linear model under a probit, with the missing values collapsed or sampled."""
    return oracles.make_self_masked_model(linear, kind, SLOPE, THRESHOLD, widen)


def exact_self_masked(linear, mask):
    """Return log p(x_obs, s): exact if the missing cells are independent given the others."""
    law = oracles.rows_of(linear, oracles.joint(linear)).given(mask, ROW[mask])
    t, _ = oracles.missing_probability(
        law.mean, np.diag(law.covariance), SLOPE[~mask], THRESHOLD[~mask]
    )
    log_observed = stats.norm.logcdf(-SLOPE * (ROW - THRESHOLD))[mask].sum()
    return exact_log_prob(linear, ROW, mask) + log_observed + stats.norm.logcdf(t).sum()


@pytest.mark.parametrize(
    "linear, mask",
    [
        (oracles.DENSE, np.array([True, True, False, True])),
        (oracles.DISJOINT, np.array([True, False, False, True])),
    ],
    ids=["one missing", "two missing"],
)
def test_self_masked_weights_are_unbiased_and_collapsing_takes_noise_off(linear, mask):
    """Both kinds are unbiased for p(x_obs, s); the collapsed weights vary less."""
    exact, variance = exact_self_masked(linear, mask), {}
    for kind in ("collapsed", "sampled"):
        model, params = self_masked(linear, kind, widen=1.3)
        log_w = log_weights(jax.random.key(2), model, params, ROW, mask, 200_000)
        weights = np.exp(np.asarray(log_w, np.float64) - exact)
        oracles.assert_mean(weights, 1.0)
        variance[kind] = weights.var()
    assert variance["collapsed"] < variance["sampled"]


class Column:
    """One column with one latent: x ~ N(0.7, 1.25), its high values missing."""

    linear = LinearGaussian(np.array([[1.0]]), np.array([0.7]), 0.5)
    slope, threshold, num_rows = np.array([1.5]), np.array([1.0]), 4000

    @classmethod
    def observed_mean(cls):
        """E[x|obs] = mu - wv / √(1 + w²v) phi(t) / Phi(-t): the mean with -w in w's place."""
        return oracles.missing_probability(0.7, 1.25, -cls.slope, cls.threshold)[1]


@functools.cache
def column_rows():
    """Return rows of the column and their masks, drawn from the model. [N, 1]."""
    model, _ = oracles.make_linear_model(Column.linear, mechanism="selfmasking_probit")
    mechanism = oracles.self_masking_params(Column.slope, Column.threshold)
    x = Column.linear.sample(np.random.default_rng(0), Column.num_rows).astype(np.float32)
    mask = model.mechanism.own.sample(jax.random.key(0), mechanism, x)
    return x, np.asarray(mask)


@functools.partial(jax.jit, static_argnums=0)
def scores(model, params):
    """Return the gradient of every row's bound in the mean of the column. [N]."""
    x, mask = column_rows()

    def bound(mean, key, x, mask):
        moved = params._replace(base=params.base | {"mean": mean})
        return bounds.importance_bound(
            bounds.log_weights(key, model, moved, x, mask, num_samples=200).log_w
        )

    keys = jax.random.split(jax.random.key(3), Column.num_rows)
    gradient = jax.vmap(jax.grad(bound), in_axes=(None, 0, 0, 0))
    return gradient(params.base["mean"], keys, x, mask)[:, 0]


def test_observed_values_are_biased_as_the_formula_says():
    """The mechanism's own draws: the mean of what is observed."""
    x, mask = column_rows()
    oracles.assert_mean(x[mask], Column.observed_mean())
    assert Column.observed_mean() < 0.7 - 0.1


def test_an_ignorable_fit_is_biased_and_a_modelled_mechanism_is_not():
    """The score vanishes at E[x|obs] without a mechanism, and at the truth with it."""
    model, params = oracles.make_linear_model(Column.linear)
    at_truth = np.asarray(scores(model, params))
    assert at_truth.mean() < -5 * at_truth.std() / np.sqrt(len(at_truth))
    biased = params.base | {"mean": jnp.asarray(Column.observed_mean(), float)}
    oracles.assert_mean(scores(model, params._replace(base=biased)), 0.0)

    model, params = oracles.make_linear_model(Column.linear, mechanism="selfmasking_probit")
    mechanism = oracles.self_masking_params(Column.slope, Column.threshold)
    oracles.assert_mean(scores(model, params._replace(mechanism=mechanism)), 0.0)


@functools.cache
def small_model(mechanism, likelihood, tilt="joint"):
    """Return a small network model of four columns and its fresh parameters."""
    config = Config(
        tilt=tilt, mechanism=mechanism, likelihood=likelihood, latent_dim=2, hidden_dim=4
    )
    model = models.make_model(config.model, num_features=4, observed_columns=(0,))
    init = jax.jit(models.init_params, static_argnums=1)
    return model, init(jax.random.key(0), model, jnp.full(4, 0.3))


@pytest.mark.parametrize(
    "mechanism, likelihood",
    [
        ("selfmasking_probit", "gaussian"),
        pytest.param("nonlinear", "gaussian", marks=pytest.mark.slow),
        pytest.param("mar", "bernoulli", marks=pytest.mark.slow),
    ],
)
def test_missing_cells_are_not_read(mechanism, likelihood):
    """Whatever a missing cell holds: the same draws, weights and gradients, all finite."""
    model, params = small_model(mechanism, likelihood)
    params = jax.tree.map(lambda leaf: leaf + 0.1, params)  # an energy that is not 0
    mask = jnp.array([True, False, True, False])

    def value_and_grad(x):
        def bound(params):
            draws = bounds.log_weights(jax.random.key(0), model, params, x, mask, 3)
            return bounds.importance_bound(draws.log_w, params.log_z), draws

        return jax.value_and_grad(bound, has_aux=True)(params)

    fills = np.array([0.0, 1e30, np.nan, -np.inf], np.float32)  # +inf marks what was not asked
    x = np.where(mask, np.float32(0.5), fills[:, None])
    for leaf in jax.tree.leaves(jax.jit(lambda x: jax.lax.map(value_and_grad, x))(x)):
        assert np.isfinite(leaf).all()
        assert (np.asarray(leaf) == np.asarray(leaf)[0]).all()


@pytest.mark.parametrize(
    "space",
    ["joint", *(pytest.param(space, marks=pytest.mark.slow) for space in ("data", "latent"))],
)
def test_zero_energy_leaves_every_bound_unchanged(space):
    """A fresh tilt is zero: each log-weight is the base's, up to the order of its sum."""
    plain, params = self_masked(oracles.DENSE, "collapsed")
    tilted = plain._replace(tilt=models.make_tilt(space, 4, 2, hidden_dim=4, bound=20.0))
    assert (tilted.tilt.reads_x, tilted.tilt.reads_z) == (space != "latent", space != "data")
    params = params._replace(energy=jax.jit(tilted.tilt.init)(jax.random.key(0)))
    actual, expected = (
        log_weights(jax.random.key(0), model, params, ROW, MASKS[1], 50)
        for model in (tilted, plain)
    )
    np.testing.assert_allclose(actual, expected, rtol=8 * np.finfo(np.float32).eps)


def test_energy_comes_off_the_log_weight_of_its_own_draw():
    """Log w = log w of the base - E(x_k, z_k), at the same draws."""
    energy = oracles.quadratic("joint")
    with jax.enable_x64(True):
        model, params = oracles.make_linear_model(oracles.DENSE, energy=energy)
        draw = jax.jit(bounds.log_weights, static_argnums=(1, 5))
        draws = draw(jax.random.key(4), model, params, ROW, MASKS[1], 50)
        plain = models.without_tilt(model)
        untilted = draw(jax.random.key(4), plain, params, ROW, MASKS[1], 50)
    draws, untilted = jax.tree.map(np.asarray, (draws, untilted))
    assert (draws.x[:, MASKS[1]] == ROW[MASKS[1]]).all()
    v = np.concatenate([draws.z, draws.x], axis=1)
    np.testing.assert_allclose(draws.log_w, untilted.log_w - energy(v), rtol=1e-10)
    np.testing.assert_array_equal(draws.mean, draws.x)  # the weights depend on the draw
    assert not np.array_equal(untilted.mean, untilted.x)


def test_batch_bound_is_the_bound_of_each_row_less_log_z():
    """Row by row with the row's key; no new trace for new values."""
    model, params = self_masked(oracles.DENSE, "collapsed")
    batch = Batch(jax.random.normal(jax.random.key(5), (len(MASKS), 4)), jnp.asarray(MASKS))
    chex.clear_trace_counter()
    batch_bound = jax.jit(
        chex.assert_max_traces(bounds.batch_bound, n=1), static_argnames=("model", "num_samples")
    )
    key = jax.random.key(6)
    batch_bound(key, model=model, params=params, batch=batch, num_samples=20)
    moved = jax.tree.map(lambda leaf: leaf - 0.1 * jnp.sin(leaf), params)
    moved = moved._replace(log_z=jnp.float32(0.7))
    empty = Batch(jnp.where(batch.mask, batch.x, jnp.nan), batch.mask)
    together = batch_bound(key, model=model, params=moved, batch=empty, num_samples=20)
    for row, key_row in enumerate(jax.random.split(key, len(MASKS))):
        log_w = log_weights(key_row, model, moved, batch.x[row], batch.mask[row], 20)
        np.testing.assert_allclose(together[row], in_groups(log_w, 20)[0] - 0.7, rtol=1e-4)


@pytest.mark.parametrize("likelihood", ["two_part", "gaussian"])
def test_draws_of_a_batch_are_those_of_each_row(likelihood, monkeypatch):
    """Every field, of rows that a mechanism chose and of others, whose columns may have atoms."""
    monkeypatch.setattr(bounds, "NUM_VALUES", 1)
    config = Config(likelihood=likelihood, mechanism="linear", latent_dim=2, hidden_dim=8)
    atom_side = (1, 0, 0, -1) if likelihood == "two_part" else ()
    model = models.make_model(config.model, 4, (), (), atom_side)
    params = models.init_params(jax.random.key(0), model, jnp.full(4, 0.3))
    params = jax.tree.map(
        lambda leaf: leaf + 0.1 * jnp.cos(jnp.arange(leaf.size).reshape(leaf.shape)), params
    )
    batch = Batch(
        jnp.abs(jax.random.normal(jax.random.key(1), (len(MASKS), 4))) * jnp.array([1, 1, 1, -1]),
        jnp.asarray(MASKS),
        jnp.arange(len(MASKS)) % 2 == 0,
    )
    key = jax.random.key(2)
    together = bounds.batch_draws(key, model, params, batch, 5)
    for row, key_row in enumerate(jax.random.split(key, len(MASKS))):
        alone = bounds.log_weights(
            key_row, model, params, batch.x[row], batch.mask[row], 5, batch.is_selected[row]
        )
        for ours, theirs in zip(together, alone, strict=True):
            np.testing.assert_allclose(ours[row], theirs, rtol=1e-4, atol=1e-5)


def test_the_bound_of_steep_slopes_is_tight(monkeypatch):
    """Ten gappy columns that hide values by slopes of 3, K = 20: one x a latent is .4 nats short.

    With ten of each, what is short is by the latents, most of it.
    """
    loadings = np.kron(np.eye(2), np.full((5, 1), 0.5**0.5))
    linear = LinearGaussian(loadings, np.zeros(10), 0.5**0.5)
    model, params = oracles.make_linear_model(linear, mechanism="selfmasking_logistic")
    slopes = {"slope": jnp.full(10, jnp.arcsinh(3.0)), "rate": jnp.full(10, -0.3)}
    params = params._replace(mechanism=slopes)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2)) @ loadings.T + rng.normal(size=(60, 10)) * linear.noise
    mask = model.mechanism.own.sample(jax.random.key(0), slopes, x)
    batch = Batch(jnp.where(mask, x, jnp.nan), mask)

    def bound(seed, num_samples):
        return bounds.batch_bound(jax.random.key(seed), model, params, batch, num_samples)

    exact = bound(0, 3000)
    gaps = {}
    for num_values in (bounds.NUM_VALUES, 1):
        monkeypatch.setattr(bounds, "NUM_VALUES", num_values)
        gaps[num_values] = float(np.mean([exact - bound(seed, 20) for seed in range(1, 21)]))
    assert 0.3 < gaps[1]
    assert 0.0 < gaps[10] < gaps[1] / 2


def test_shapes_are_checked():
    """A batch where a row belongs is refused."""
    model, params = oracles.make_linear_model(oracles.DENSE)
    with pytest.raises(AssertionError):
        bounds.log_weights(jax.random.key(0), model, params, jnp.zeros((2, 4)), MASKS[0], 3)
    with pytest.raises(AssertionError):
        bounds.importance_bound(jnp.zeros((2, 3)))
