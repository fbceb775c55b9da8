"""Decoder distributions against scipy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from scipy import stats

from mnar_ebm import data, likelihoods
from mnar_ebm.config import Config
from mnar_ebm.tilted import table_facts
from mnar_ebm.tilted.fitted import make_fitted
from mnar_ebm.types import DecoderOutput

LOC = np.array([-1.5, 0.0, 0.3, 2.0])
SCALE = np.array([0.2, 1.0, 3.0, 0.7])
DF = np.array([9.0, 12.0, 30.0, 10.0])
NUM_DRAWS = 20_000

DISTRIBUTIONS = {
    "gaussian": stats.norm(LOC, SCALE),
    "student_t": stats.t(DF, LOC, SCALE),
    "bernoulli": stats.bernoulli(1 / (1 + np.exp(-LOC))),
}
every_likelihood = pytest.mark.parametrize("name", DISTRIBUTIONS)
every_continuous = pytest.mark.parametrize("name", ["gaussian", "student_t"])


def decoder_output(name, df=DF):
    """Return the parameters of ``DISTRIBUTIONS``. [D]."""
    loc, scale, df = (jnp.asarray(value, float) for value in (LOC, SCALE, df))
    return {
        "gaussian": DecoderOutput(loc, scale),
        "student_t": DecoderOutput(loc, scale, df),
        "bernoulli": DecoderOutput(loc),
    }[name]


@functools.partial(jax.jit, static_argnums=0)
def draws(name, key, eta):
    """Return independent draws. [N, D]."""
    keys = jax.random.split(key, NUM_DRAWS)
    return jax.vmap(likelihoods.make_likelihood(name).sample, in_axes=(0, None))(keys, eta)


@every_likelihood
def test_log_prob_and_mean_match_scipy(name):
    """In float64, at values that the distribution can take."""
    likelihood, distribution = likelihoods.make_likelihood(name), DISTRIBUTIONS[name]
    x = distribution.rvs((50, 4), random_state=np.random.default_rng(0))
    expected = distribution.logpmf(x) if name == "bernoulli" else distribution.logpdf(x)
    with jax.enable_x64(True):
        eta = decoder_output(name)
        actual = jax.jit(likelihood.log_prob)(eta, jnp.asarray(x, float))
        np.testing.assert_allclose(actual, expected, rtol=1e-10)
        np.testing.assert_allclose(likelihood.mean(eta), distribution.mean(), rtol=1e-10)


def test_bernoulli_reads_a_value_between_as_a_probability():
    """Its log-probability is the mean of those of 0 and 1."""
    likelihood, eta = likelihoods.bernoulli(), decoder_output("bernoulli")
    zero, one, between = (likelihood.log_prob(eta, jnp.full(4, value)) for value in (0, 1, 0.3))
    np.testing.assert_allclose(between, 0.7 * zero + 0.3 * one, rtol=1e-6)


@every_likelihood
def test_draws_have_mean_and_variance(name):
    """Within five standard errors, that of the variance from the fourth moments seen."""
    distribution = DISTRIBUTIONS[name]
    x = draws(name, jax.random.key(0), decoder_output(name))
    oracles.assert_mean(x, distribution.mean())
    oracles.assert_mean((np.asarray(x) - distribution.mean()) ** 2, distribution.var())


@every_continuous
def test_draws_follow_the_law_and_carry_a_gradient(name):
    """Each column's law; a shift of the location is a shift of the draws."""
    likelihood, eta = likelihoods.make_likelihood(name), decoder_output(name)
    x = np.asarray(draws(name, jax.random.key(1), eta))
    for column in range(4):
        oracles.assert_law(x[:, column], lambda v, d=column: column_cdf(name, v, d))
    jacobian = jax.jacobian(lambda loc: likelihood.sample(jax.random.key(0), eta._replace(loc=loc)))
    np.testing.assert_allclose(jacobian(eta.loc), np.eye(4))


def column_cdf(name, value, column, df=DF):
    """Return the distribution function of one column."""
    if name == "gaussian":
        return stats.norm.cdf(value, LOC[column], SCALE[column])
    return stats.t.cdf(value, df[column], LOC[column], SCALE[column])


@every_continuous
@pytest.mark.parametrize("df", [DF, np.array([2.01, 2.5, 4.0, 1e3])], ids=["light", "heavy"])
def test_transport_makes_noise_into_draws(name, df):
    """Standard normal noise has the likelihood's law after it."""
    likelihood = likelihoods.make_likelihood(name)
    noise = jax.random.normal(jax.random.key(2), (likelihood.num_noise, NUM_DRAWS, 4))
    x = np.asarray(jax.jit(likelihood.transport)(decoder_output(name, df), noise))
    assert x.shape == (NUM_DRAWS, 4)
    for column in range(4):
        oracles.assert_law(x[:, column], lambda v, d=column: column_cdf(name, v, d, df))


@every_continuous
def test_transport_is_differentiable_everywhere(name):
    """Far out in the noise too, value and gradient are finite."""
    likelihood, eta = likelihoods.make_likelihood(name), decoder_output(name)
    extremes = np.array([-12.0, -5.0, 0.0, 5.0, 12.0], np.float32)
    grid = np.stack(np.meshgrid(extremes, extremes)).reshape(2, -1, 1)[: likelihood.num_noise]

    def total(eta, noise):
        return likelihood.transport(eta, noise).sum()

    value, gradient = jax.jit(jax.value_and_grad(total, argnums=(0, 1)))(eta, jnp.asarray(grid))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((value, gradient)))


@every_likelihood
def test_missing_cells_are_not_read(name):
    """NaN, infinity or a number in a missing cell: the same value and gradient, bit for bit."""
    likelihood, eta = likelihoods.make_likelihood(name), decoder_output(name)
    mask = jnp.array([True, False, True, False])

    @jax.jit
    def value_and_grad(eta, x):
        return jax.value_and_grad(
            lambda eta, x: likelihoods.masked_log_prob(likelihood, eta, x, mask), argnums=(0, 1)
        )(eta, x)

    answers = [
        value_and_grad(eta, jnp.array([1.0, missing, 0.0, missing]))
        for missing in (0.0, 1.0, jnp.nan, jnp.inf)
    ]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(answers))
    assert all(oracles.bits(answer) == oracles.bits(answers[0]) for answer in answers)
    observed = likelihood.log_prob(eta, jnp.array([1.0, 0.0, 0.0, 0.0]))[np.array([0, 2])]
    np.testing.assert_allclose(answers[0][0], observed.sum(), rtol=1e-6)


SIDES = (1, -1, 0, 1)
ATOM = np.array([0.8, -1.0, 3.0, -0.2])


def two_part():
    """Return the two-part likelihood and parameters; the third column has no atom."""
    eta = decoder_output("gaussian")._replace(atom=jnp.asarray(ATOM, float))
    return likelihoods.make_likelihood("two_part", atom_side=SIDES), eta


def chance_of_atom():
    """Return the probability of the atom in each column."""
    return np.where(SIDES, 1 / (1 + np.exp(-ATOM)), 0)


def test_two_part_matches_an_atom_and_a_gaussian():
    """Its log-density on and off the atom, and its mean; a zero is nothing where there is none."""
    with jax.enable_x64(True):
        likelihood, eta = two_part()
        at, off = (likelihood.log_prob(eta, jnp.full(4, value)) for value in (0.0, 0.7))
        mean = likelihood.mean(eta)
    share, normal = chance_of_atom(), DISTRIBUTIONS["gaussian"]
    expected = np.where(SIDES, np.log(np.where(SIDES, share, 1)), normal.logpdf(0))
    np.testing.assert_allclose(at, expected, rtol=1e-10)
    np.testing.assert_allclose(off, np.log1p(-share) + normal.logpdf(0.7), rtol=1e-10)
    np.testing.assert_allclose(mean, (1 - share) * LOC, rtol=1e-10)


@pytest.mark.parametrize("by", ["sample", "transport"])
def test_two_part_draws_the_atom_and_the_gaussian(by):
    """As often as it should, and off the atom with the Gaussian's law."""
    likelihood, eta = two_part()
    if by == "sample":
        keys = jax.random.split(jax.random.key(0), NUM_DRAWS)
        x = jax.jit(jax.vmap(likelihood.sample, in_axes=(0, None)))(keys, eta)
    else:
        noise = jax.random.normal(jax.random.key(1), (likelihood.num_noise, NUM_DRAWS, 4))
        x = jax.jit(likelihood.transport)(eta, noise)
    x, share = np.asarray(x), chance_of_atom()
    oracles.assert_mean(x == 0, share)
    for column in range(4):
        beside = x[x[:, column] != 0, column]
        oracles.assert_law(beside, lambda v, d=column: column_cdf("gaussian", v, d))


def test_scores_and_the_likelihood_take_the_same_values_for_the_atom():
    """Values beside it by rounding alone have its probability, and no derivative of units."""
    config = Config(likelihood="two_part", mechanism="mcar", tilt="none", latent_dim=2)
    amounts = np.exp(np.random.default_rng(0).normal(size=(100, 1)))
    amounts[:40] = 0.0
    facts = table_facts(config, data.make_table("t", "a", amounts))
    x = np.array([0.0, 1e-8, 1e-4, np.nan])[:, None] * facts.standardiser.scale
    likelihood = likelihoods.make_likelihood("two_part", atom_side=facts.atom_side)
    eta = DecoderOutput(jnp.zeros(1), jnp.ones(1), atom=jnp.zeros(1))
    is_likely = likelihood.log_prob(eta, facts.standardiser.apply(x)) == np.float32(-np.log(2.0))
    np.testing.assert_array_equal(facts.is_atom(x), [[True], [True], [False], [False]])
    np.testing.assert_array_equal(is_likely[:3], facts.is_atom(x)[:3])
    expected = [0.0, 0.0, -np.log(facts.standardiser.scale[0]), 0.0]
    np.testing.assert_allclose(facts.log_derivative(x), expected)


@pytest.mark.parametrize("side", [1, -1])
def test_what_leaves_the_model_is_on_one_side_of_the_atom(side):
    """Means and draws of a row without a value, and rows of the population."""
    config = Config(likelihood="two_part", mechanism="mcar", tilt="none", latent_dim=2)
    amounts = 5.0 + side * np.exp(np.random.default_rng(0).normal(size=(100, 1)))
    amounts[:40] = 5.0
    fitted = make_fitted(config, table_facts(config, data.make_table("t", "a", amounts)))
    imputed = fitted.impute(np.full((50, 1), np.nan), num_imputations=20, num_samples=50)
    drawn = fitted.sample(500, method="snis").x
    assert (side * (imputed.mean - 5.0) >= 0).all()
    for values in (imputed.draws, drawn):
        beside = side * (values - 5.0)
        assert (beside >= 0).all() and 0.2 < (beside > 0).mean() < 0.9
    assert (fitted.impute(np.full((1, 1), 5.0 - side), num_samples=50).mean == 5.0 - side).all()


def test_two_part_without_an_atom_is_gaussian():
    """The same program: nothing is paid for asking."""
    assert likelihoods.make_likelihood("two_part", atom_side=(0, 0)).name == "gaussian"


def test_masked_log_prob_has_free_leading_axes():
    """A row is scored under each of K decoder outputs."""
    likelihood = likelihoods.gaussian()
    eta = DecoderOutput(jax.random.normal(jax.random.key(0), (5, 4)), jnp.ones((5, 4)))
    x, mask = jnp.arange(4.0), jnp.array([True, True, False, True])
    together = likelihoods.masked_log_prob(likelihood, eta, x, mask)
    alone = [
        likelihoods.masked_log_prob(likelihood, jax.tree.map(lambda v, k=k: v[k], eta), x, mask)
        for k in range(5)
    ]
    np.testing.assert_allclose(together, alone, rtol=1e-6)


def test_an_unknown_likelihood_is_refused():
    """The known ones are listed."""
    known = "gaussian, two_part, student_t, bernoulli, continuous_bernoulli, discretised_logistic"
    with pytest.raises(ValueError, match=f"likelihood: expected one of {known}, got 'poisson'"):
        likelihoods.make_likelihood("poisson")
