"""Imputation against exact conditional laws, and what it promises of every single row."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from mnar_ebm import inference as sampling
from mnar_ebm import metrics, models, tilted
from mnar_ebm.config import Config
from mnar_ebm.data import Standardiser
from mnar_ebm.data.power import Bend
from mnar_ebm.inference import imputation
from mnar_ebm.tilted import TableFacts

quick = pytest.mark.usefixtures("quick_compile")

LINEAR = oracles.DENSE
MASKS = np.array([[1, 0, 1, 0], [0, 0, 0, 1]], bool)
NUM_ROWS = 64


@functools.cache
def tilted_model():
    """Return the linear model under a joint tilt, its encoder too wide, and its parameters."""
    return oracles.make_linear_model(LINEAR, energy=oracles.quadratic("joint"), widen=1.3)


def tilted_law():
    """Return the tilted law of x."""
    return oracles.rows_of(LINEAR, oracles.tilted_joint(LINEAR, oracles.quadratic("joint"))[1])


def rows_with(mask):
    """Return rows of the tilted model, their masks, and the law of what is missing in each."""
    law = tilted_law()
    x = np.random.default_rng(0).multivariate_normal(law.mean, law.covariance, NUM_ROWS)
    x = x.astype(np.float32)
    return x, np.tile(mask, (NUM_ROWS, 1)), [law.given(mask, row[mask]) for row in x]


def assert_row_means(means, laws):
    """Hold that the error of every row's mean has mean zero, and none that grows with the mean."""
    exact = np.array([law.mean for law in laws])
    error = np.asarray(means, np.float64) - exact
    oracles.assert_mean(error, 0.0)
    oracles.assert_mean(error * (exact - exact.mean(axis=0)), 0.0)


def assert_draws(draws, laws):
    """Hold that draws [N, M, D] have the mean and covariance of each row's own law."""
    centred = np.asarray(draws, np.float64) - np.array([law.mean for law in laws])[:, None]
    assert_row_means(np.asarray(draws, np.float64).mean(axis=1), laws)
    squares = np.einsum("nmi,nmj->nij", centred, centred) / draws.shape[1]
    oracles.assert_mean(squares, laws[0].covariance)


def impute(model, params, x, mask, seed=0):
    """Impute by enough samples for five standard errors; every use shares what is compiled."""
    key = jax.random.key(seed)
    return imputation.impute(key, model, params, x, mask, num_samples=2000, num_imputations=50)


BEND = Bend(
    np.array([0.2, 1.0, 1.8, 0.5]),
    np.array([0.5, 0.0, 0.0, 0.1]),
    np.full(4, 0.8),
    np.array([-5.0, 0.0, -1.0, -2.0]),
    np.array([5.0, 0.0, 1.5, 0.5]),
    np.array([0.3, 0.0, -0.2, 0.0]),
    np.array([0.8, 1.0, 1.25, 1.0]),
)


@quick
@pytest.mark.parametrize("mask", MASKS, ids=str)
@pytest.mark.parametrize("is_tilted", [True, False])
def test_the_mean_of_bent_values_is_that_of_what_they_were(mask, is_tilted):
    """Beside quadrature, whether draws or conditional means stand for them; observed ones too."""
    x, masks, laws = rows_with(mask)
    model, params = tilted_model()
    if not is_tilted:
        model, params = oracles.make_linear_model(LINEAR, widen=1.3)
        laws = [oracles.rows_of(LINEAR, oracles.joint(LINEAR)).given(mask, row[mask]) for row in x]
    imputed = imputation.impute(
        jax.random.key(1), model, params, x, masks, num_samples=2000, bend=BEND
    )
    nodes, weights = oracles.normal_nodes(60, 1)
    missing = Bend(*(part[~mask] for part in BEND))
    exact = np.array(
        [
            weights @ missing.invert(law.mean + nodes * np.sqrt(np.diag(law.covariance)))
            for law in laws
        ]
    )
    assert (np.abs(exact - missing.invert(np.array([law.mean for law in laws]))) > 0.01).any()
    oracles.assert_mean(imputed.mean[:, ~mask] - exact, 0.0)
    np.testing.assert_allclose(imputed.mean[:, mask], BEND.invert(x)[:, mask], rtol=1e-4)


@quick
@pytest.mark.parametrize("mask", MASKS, ids=str)
def test_importance_sampling_finds_the_tilted_posterior(mask):
    """The mean, the draws and the bound of rows with some cells observed."""
    x, masks, laws = rows_with(mask)
    imputed = impute(*tilted_model(), x, masks)
    assert_row_means(imputed.mean[:, ~mask], laws)
    assert_draws(imputed.draws[:, :, ~mask], laws)
    ratio = imputed.bound - tilted_law().marginal(mask).log_prob(x[:, mask])
    oracles.assert_mean(np.exp(ratio.astype(np.float64)), 1.0)
    assert (imputed.draws == x[:, None])[:, :, mask].all() and (imputed.mean == x)[:, mask].all()
    assert ((imputed.ess >= 1) & (imputed.ess <= 2000)).all()


@quick
def test_a_complete_row_comes_back_as_it_is():
    """Bit for bit; its bound is its log-likelihood under the tilted model."""
    x, mask, _ = rows_with(np.ones(4, bool))
    imputed = impute(*tilted_model(), x, mask)
    assert (imputed.mean == x).all() and (imputed.draws == x[:, None]).all()
    ratio = imputed.bound - tilted_law().log_prob(x)
    oracles.assert_mean(np.exp(ratio.astype(np.float64)), 1.0)


def chains(model, params, x, mask):
    """Impute by chains that are long enough."""
    return imputation.impute_by_chains(
        jax.random.key(1), model, params, x, mask, num_imputations=10, num_steps=100, thin=15
    )


@quick
@pytest.mark.slow
def test_chains_find_the_tilted_posterior():
    """Draws of every row's own chain, from the mean and covariance of its posterior."""
    mask = MASKS[0]
    x, masks, laws = rows_with(mask)
    draws, acceptance = chains(*tilted_model(), x, masks)
    assert draws.shape == (NUM_ROWS, 10, 4) and acceptance.shape == (NUM_ROWS,)
    assert_draws(draws[:, :, ~mask], laws)
    assert (draws == x[:, None])[:, :, mask].all()
    assert 0.3 < acceptance.mean() < 0.9


SLOPE = np.array([1.5, -2.0, 2.5, 1.0])
THRESHOLD = np.array([1.0, -0.5, 0.2, 1.5])


@functools.cache
def self_masked_rows():
    """Return rows with one cell missing under the probit, and E[x_mis|x_obs, s] of each."""
    mask = np.array([True, True, False, True])
    law = oracles.rows_of(LINEAR, oracles.joint(LINEAR))
    x = LINEAR.sample(np.random.default_rng(1), NUM_ROWS).astype(np.float32)
    given = [law.given(mask, row[mask]) for row in x]
    mean, variance = np.array([one.mean[0] for one in given]), given[0].covariance[0, 0]
    _, exact = oracles.missing_probability(mean, variance, SLOPE[2], THRESHOLD[2])
    return x, np.tile(mask, (NUM_ROWS, 1)), exact


@functools.cache
def self_masked_imputation(kind):
    """Return what importance sampling says of those rows."""
    model, params = oracles.make_self_masked_model(LINEAR, kind, SLOPE, THRESHOLD, widen=1.3)
    x, mask, _ = self_masked_rows()
    return impute(model, params, x, mask)


@quick
@pytest.mark.parametrize("kind", ["collapsed", pytest.param("sampled", marks=pytest.mark.slow)])
def test_a_self_masked_cell_has_its_exact_mean(kind):
    """E[x_mis|x_obs, s]: missing, so more likely above the threshold."""
    _, _, exact = self_masked_rows()
    error = self_masked_imputation(kind).mean[:, 2] - exact
    oracles.assert_mean(error, 0.0)
    oracles.assert_mean(error * (exact - exact.mean()), 0.0)
    draws = self_masked_imputation(kind).draws[:, :, 2]
    oracles.assert_mean(draws.mean(axis=1) - exact, 0.0)


@quick
@pytest.mark.parametrize("kind", ["collapsed", pytest.param("sampled", marks=pytest.mark.slow)])
def test_a_latent_that_is_chosen_twice_completes_a_row_in_two_ways(kind):
    """But where a weight was read off the missing value too, that value comes again."""
    model, params = oracles.make_self_masked_model(LINEAR, kind, SLOPE, THRESHOLD)
    x, mask, _ = self_masked_rows()
    draws = imputation.impute(
        jax.random.key(3), model, params, x[:1], mask[:1], num_samples=5, num_imputations=30
    ).draws[0, :, 2]
    assert len(set(draws)) == 30 if kind == "collapsed" else len(set(draws)) <= 5


@quick
@pytest.mark.slow
def test_collapsing_takes_noise_off_the_imputation():
    """Its squared error is the smaller one, at the same number of samples."""
    _, _, exact = self_masked_rows()
    collapsed, sampled = (
        np.mean((self_masked_imputation(kind).mean[:, 2] - exact) ** 2)
        for kind in ("collapsed", "sampled")
    )
    assert collapsed < sampled


@quick
@pytest.mark.slow
def test_chains_find_the_mean_of_a_self_masked_cell():
    """The same exact mean, from the mechanism's log-probability of the completed row."""
    model, params = oracles.make_self_masked_model(LINEAR, "collapsed", SLOPE, THRESHOLD)
    x, mask, exact = self_masked_rows()
    draws, _ = chains(model, params, x, mask)
    oracles.assert_mean(draws[:, :, 2].mean(axis=1) - exact, 0.0)


@quick
def test_a_row_without_any_value_is_drawn_from_the_model():
    """Its mean and its draws are those of the tilted model."""
    model, params = tilted_model()
    law, nothing = tilted_law(), jnp.zeros(4, bool)

    @jax.jit
    def run(keys):
        return jax.vmap(
            lambda key: imputation.impute_row(
                key, model, params, jnp.full(4, jnp.nan), nothing, 2000, 50
            )
        )(keys)

    runs = run(jax.random.split(jax.random.key(2), 50))
    oracles.assert_mean(runs.mean, law.mean)
    assert_draws(runs.draws, [law] * 50)
    oracles.assert_mean(np.exp(np.asarray(runs.bound, np.float64)), 1.0)


@quick
@pytest.mark.parametrize("num_samples, used", [(7, 7), (1000, 1000), (1500, 2000)])
def test_samples_are_rounded_up_to_whole_chunks(num_samples, used):
    """Under an exact encoder every weight is p(x_obs): the bound is exact, and each draw counts."""
    linear, mask = oracles.DISJOINT, MASKS[0]
    model, params = oracles.make_linear_model(linear)
    x = np.array([[0.8, np.nan, 0.3, np.nan]])
    imputed = imputation.impute(
        jax.random.key(6), model, params, x, mask[None], num_samples=num_samples
    )
    law = oracles.rows_of(linear, oracles.joint(linear)).marginal(mask)
    eps = np.finfo(np.float32).eps
    np.testing.assert_allclose(imputed.bound, law.log_prob(x[:, mask]), rtol=64 * eps)
    np.testing.assert_allclose(imputed.ess, used, rtol=64 * eps)
    assert imputed.draws.shape == (1, 0, 4)


def mixed_rows():
    """Return more rows than one block holds, with all kinds of masks; no two are alike."""
    rng = np.random.default_rng(2)
    x, mask = rng.normal(size=(70, 4)), rng.random((70, 4)) < 0.5
    mask[:, 0] |= ~mask.any(axis=1)
    mask[0], mask[1] = True, False
    return x, mask


def by_weights(x, mask, seed=7):
    """Impute under the tilted model, by more than one chunk of samples."""
    key = jax.random.key(seed)
    return imputation.impute(key, *tilted_model(), x, mask, num_samples=1500, num_imputations=3)


def by_chains(x, mask, seed=7):
    """Impute by short chains."""
    return imputation.impute_by_chains(
        jax.random.key(seed), *tilted_model(), x, mask, num_imputations=3, num_steps=5, thin=2
    )


@pytest.mark.parametrize("impute", [by_weights, pytest.param(by_chains, marks=pytest.mark.slow)])
def test_a_row_has_the_same_answer_in_any_company(impute):
    """Permuted, alone, among few, with NaN where missing: not a bit moves."""
    x, mask = mixed_rows()
    together = impute(x, mask)
    order = np.random.default_rng(3).permutation(len(x))
    permuted = impute(x[order], mask[order])
    assert oracles.bits(permuted) == oracles.bits(jax.tree.map(lambda v: v[order], together))
    for part in (slice(0, 1), slice(1, 2), slice(3, 8), slice(60, 70)):
        expected = jax.tree.map(lambda v, part=part: v[part], together)
        assert oracles.bits(impute(x[part], mask[part])) == oracles.bits(expected)
    empty = impute(np.where(mask, x, np.nan), mask)
    assert oracles.bits(empty) == oracles.bits(together)


def test_draws_of_equal_rows_are_independent():
    """Two people who answered alike: one mean, but draws that are as far apart as any two."""
    model, params = tilted_model()
    x, mask = (
        np.tile([0.3, 0.0, -1.0, 0.0], (400, 1)),
        np.tile([True, False, True, False], (400, 1)),
    )
    impute = functools.partial(imputation.impute, jax.random.key(0), model, params)
    means = impute(x, mask, num_samples=1500).mean
    assert (means == means[0]).all()
    drawn = impute(x, mask, num_samples=1500, num_imputations=100)
    assert oracles.bits(drawn.mean) == oracles.bits(means)  # draws or not
    alone = impute(x[:1], mask[:1], num_samples=1500, num_imputations=100).draws
    together = drawn.draws
    assert oracles.bits(together[0]) == oracles.bits(alone[0])
    columns_of_tables = together[:, :, ~mask[0]]  # [N, M, 2]
    within = columns_of_tables.reshape(-1, 2).var(axis=0)
    between = columns_of_tables.mean(axis=0).var(axis=0, ddof=1)
    ratio = between / (within / 400)  # 1 for independent draws, 400 if rows shared theirs
    assert (np.abs(ratio - 1) < 4 * np.sqrt(2 / 99)).all()


@pytest.mark.slow
def test_draws_of_equal_rows_by_chains_differ():
    """All of them, where the first has the draws that it has alone."""
    x, mask = mixed_rows()
    alone, _ = by_chains(x[3:4], mask[3:4])
    twins, _ = by_chains(x[[3, 3]], mask[[3, 3]])
    assert oracles.bits(twins[0]) == oracles.bits(alone[0])
    assert (twins[0] != twins[1])[:, ~mask[3]].all()


def test_another_key_gives_other_draws():
    """The rows alone do not fix the answer."""
    x, mask = mixed_rows()
    first, second = (by_weights(x, mask, seed).draws[:, 0] for seed in (0, 1))
    assert (first != second)[~mask].all()


@quick
@pytest.mark.parametrize(
    "impute, settings",
    [
        (imputation.impute, {"num_samples": 20}),
        pytest.param(
            imputation.impute_by_chains,
            {"num_imputations": 1, "num_steps": 2, "thin": 1},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_second_call_is_not_traced_again(impute, settings):
    """Another number of rows, other parameters, another key: the decoder is not called anew."""
    model, params = tilted_model()
    calls = []

    def decode(*args):
        calls.append(args)
        return model.vae.decode(*args)

    counted = model._replace(vae=model.vae._replace(decode=decode))
    x, mask = mixed_rows()
    impute(jax.random.key(0), counted, params, x, mask, **settings)
    num_calls = len(calls)
    moved = jax.tree.map(lambda leaf: leaf * 1.01, params)
    impute(jax.random.key(1), counted, moved, x[:66], mask[:66], **settings)
    assert len(calls) == num_calls > 0


UNITS = Standardiser(np.array([5.0, -100.0, 0.1, 3e4]), np.array([2.0, 1e3, 1e-3, 7.0]))


def fitted_model():
    """Return the tilted model as if fitted to a table in other units."""
    facts = TableFacts(("a", "b", "c", "d"), UNITS, np.full(4, 0.3, np.float32), ())
    return tilted.FittedModel(Config(num_imputation_samples=1500), facts, *tilted_model())


def test_a_fitted_model_imputes_in_the_units_of_its_table():
    """Observed cells as they came, in float64; missing ones as in standard units."""
    x, mask = mixed_rows()
    own = np.where(mask, UNITS.invert(x), np.nan)
    imputed = fitted_model().impute(own, num_imputations=3, seed=7)
    assert imputed.mean.dtype == np.float64
    assert oracles.bits(imputed.mean[mask]) == oracles.bits(own[mask])
    assert (imputed.draws == own[:, None])[np.repeat(mask[:, None], 3, axis=1)].all()
    standard = by_weights(UNITS.apply(own), mask)
    np.testing.assert_allclose(imputed.mean, UNITS.invert(standard.mean), rtol=1e-5)
    np.testing.assert_array_equal(imputed.bound, standard.bound)
    few = fitted_model().impute(own[:2], num_samples=5)
    assert (few.ess <= 5).all() and few.draws.shape == (2, 0, 4)


def test_a_fitted_model_is_sampled_in_the_units_of_its_table():
    """Rows in float64, those of the sampler in standard units; the base's are another's."""
    fitted = fitted_model()
    drawn = fitted.sample(50, seed=3, num_proposals=2000)
    key, settings = jax.random.key(3), {"num_proposals": 2000}
    standard = sampling.sample(key, fitted.model, fitted.params, 50, **settings)
    assert drawn.x.dtype == np.float64 and drawn.summary == standard.summary
    np.testing.assert_allclose(UNITS.apply(drawn.x), standard.x, atol=1e-5)
    base = fitted.base().sample(50, seed=3, num_proposals=2000)
    np.testing.assert_allclose(base.summary["ess_fraction"], 1.0, rtol=1e-5)
    assert drawn.summary["ess_fraction"] < 0.9


def test_the_base_of_a_fitted_model_has_no_tilt():
    """Its answers are those of the model without the energy."""
    x, mask = rows_with(MASKS[0])[:2]
    imputed = fitted_model().base().impute(UNITS.invert(np.where(mask, x, np.nan)))
    law = oracles.rows_of(LINEAR, oracles.joint(LINEAR))
    laws = [law.given(MASKS[0], row[MASKS[0]]) for row in x]
    assert_row_means(UNITS.apply(imputed.mean)[:, ~MASKS[0]], laws)


def test_what_a_fitted_model_cannot_impute_is_refused_in_words():
    """Shape, type and infinite values, by name."""
    model = fitted_model()
    with pytest.raises(ValueError, match="x: expected 4 columns, got 3"):
        model.impute(np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"x: expected a table of shape \[rows, columns\]"):
        model.impute(np.zeros(4))
    with pytest.raises(ValueError, match="got inf in row 1, column 'c'"):
        model.impute(np.array([[0, 0, 0, 0], [0, 0, np.inf, 0]]))
    with pytest.raises(TypeError, match="x: expected a numeric table"):
        model.impute(np.array([["a", "b", "c", "d"]]))


@pytest.mark.parametrize(
    "function, settings, message",
    [
        (imputation.impute, {"num_samples": 0}, "num_samples: expected at least 1, got 0"),
        (
            imputation.impute,
            {"num_samples": 5, "num_imputations": -1},
            "num_imputations: expected at least 0, got -1",
        ),
        (
            imputation.impute_by_chains,
            {"num_imputations": 0},
            "num_imputations: expected at least 1, got 0",
        ),
        (
            imputation.impute_by_chains,
            {"num_imputations": 1, "num_steps": 0},
            "num_steps: expected at least 1, got 0",
        ),
        (
            imputation.impute_by_chains,
            {"num_imputations": 1, "thin": 0},
            "thin: expected at least 1, got 0",
        ),
    ],
)
def test_sizes_are_checked(function, settings, message):
    """By name."""
    with pytest.raises(ValueError, match=message):
        function(jax.random.key(0), *tilted_model(), *mixed_rows(), **settings)


@pytest.mark.parametrize("impute", [by_weights, by_chains])
def test_the_number_of_columns_is_checked(impute):
    """Against the model's."""
    with pytest.raises(ValueError, match="x: expected 4 columns, got 3"):
        impute(np.zeros((2, 3)), np.ones((2, 3), bool))


def test_chains_refuse_a_discrete_model():
    """In words."""
    config = Config(
        tilt="none", mechanism="none", likelihood="bernoulli", latent_dim=2, hidden_dim=4
    )
    model = models.make_model(config.model, 4, ())
    params = jax.jit(models.init_params, static_argnums=1)(
        jax.random.key(0), model, jnp.full(4, 0.5)
    )
    with pytest.raises(ValueError, match="likelihood bernoulli, whose values are discrete"):
        imputation.impute_by_chains(
            jax.random.key(0), model, params, *mixed_rows(), num_imputations=1
        )


def test_rmse_is_in_units_of_each_column():
    """Errors of 1 and 2 standard deviations: √(5/2); observed cells do not count."""
    truth = np.array([[0.0, 10.0], [2.0, 30.0]])  # standard deviations 1 and 10
    mask = np.array([[True, False], [False, True]])
    imputed = np.array([[99.0, 30.0], [3.0, -99.0]])
    assert metrics.imputation_rmse(imputed, truth, mask) == np.sqrt(2.5)
    with pytest.raises(ValueError, match="mask: expected a missing cell, got none"):
        metrics.imputation_rmse(imputed, truth, np.ones((2, 2), bool))
    with pytest.raises(ValueError, match=r"expected one shape, got \(2, 2\), \(1, 2\), \(2, 2\)"):
        metrics.imputation_rmse(imputed, truth[:1], mask)


def test_fewer_draws_where_their_effective_number_is_enough():
    """One short chunk from the exact posterior has the exact mean; an encoder's draws are all."""
    x, mask, laws = rows_with(MASKS[0])
    wide, wide_params = tilted_model()
    model, params = oracles.make_linear_model(LINEAR)
    exact = model._replace(vae=model.vae._replace(encode=None)), params
    found = {
        name: imputation.impute(jax.random.key(0), *one, x, mask, num_samples=2000, is_most=is_most)
        for name, one, is_most in (
            ("exact", exact, True),
            ("wide", (wide, wide_params), True),
            ("all", (wide, wide_params), False),
        )
    }
    np.testing.assert_allclose(found["exact"].ess, imputation.SHORT_CHUNK_SAMPLES, rtol=1e-4)
    law = oracles.rows_of(LINEAR, oracles.joint(LINEAR))
    means = [law.given(mask[0], row[mask[0]]).mean for row in x]
    np.testing.assert_allclose(found["exact"].mean[:, ~mask[0]], means, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(found["wide"].mean, found["all"].mean)
    assert_row_means(found["wide"].mean[:, ~mask[0]], laws)
