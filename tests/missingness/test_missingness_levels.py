"""Mechanisms of tables with levels: enumeration, and one count for each column of the table."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from scipy import special, stats

from mnar_ebm import kinds, missingness
from mnar_ebm.kinds import make_blocks
from mnar_ebm.likelihoods import make_likelihood
from mnar_ebm.types import DecoderOutput

pytestmark = pytest.mark.usefixtures("quick_compile")

BLOCKS = make_blocks(
    [("binary", 2), ("numeric", 0), ("categorical", 3), ("ordinal", 3), ("binary", 2)]
)
NUM_COLUMNS, NUM_DRAWS = 9, 20_000
OBSERVED = (0, *range(2, 9))  # all but the numeric column
ALL_MASKS = np.array(list(itertools.product([False, True], repeat=len(BLOCKS))))
ROW = np.array([1, -0.7, 0, 1, 0, 0, 0, 1, 0], np.float32)
RATE = np.array([0.2, 0.5, 0.3, 0.3, 0.3, 0.6, 0.6, 0.6, 0.4], np.float32)


def decoder_output(dtype=np.float32):
    """Return the decoder's output. [D]."""
    rng = np.random.default_rng(0)
    loc, scale, gap = rng.normal(size=9), rng.uniform(0.5, 2, 9), rng.uniform(0.5, 2, 9)
    loc, scale, gap = (jnp.asarray(value.astype(dtype)) for value in (loc, scale, gap))
    return DecoderOutput(loc, scale, gap=gap)


def mechanism_of(name, numeric="gaussian"):
    """Return the mechanism of the mixed table."""
    return missingness.make_mechanism(
        name,
        make_likelihood(numeric, BLOCKS),
        NUM_COLUMNS,
        hidden_dim=4,
        observed_columns=OBSERVED,
    )


def some_params(mechanism, dtype=np.float32):
    """Return parameters away from where they start."""
    params = mechanism.init(jax.random.key(0), jnp.asarray(RATE.astype(dtype)))
    leaves, treedef = jax.tree.flatten(params)
    rng = np.random.default_rng(1)
    moved = [leaf + jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype) for leaf in leaves]
    return jax.tree.unflatten(treedef, moved)


def level_probabilities(eta):
    """Return P(level) of each discrete block, by their definition. [[k], ...]."""
    loc, gap = np.asarray(eta.loc, np.float64), np.asarray(eta.gap, np.float64)
    ordinal = stats.logistic.cdf([-np.inf, 0.0, gap[6], np.inf], loc=loc[5])
    first, last = special.expit(loc[0]), special.expit(loc[8])
    return [
        np.array([1 - first, first]),
        special.softmax(loc[2:5]),
        np.diff(ordinal),
        np.array([1 - last, last]),
    ]


def level_rates(params):
    """Return P(missing | level) of each discrete block. [[k], ...]."""
    own = {name: special.expit(np.asarray(v, np.float64)) for name, v in params["levels"].items()}
    binary = own["binary_2"]
    return [binary[0], own["categorical_3"][0], own["ordinal_3"][0], binary[1]]


MIXED = (
    "mcar",
    "mar",
    "no_self_censoring",
    "selfmasking_probit",
    "selfmasking_logistic",
    "linear",
    "nonlinear",
)


@pytest.mark.parametrize("name", MIXED)
def test_every_column_of_the_table_is_counted_once(name):
    """Over all masks of columns the probabilities sum to one, and masks are drawn as they score."""
    mechanism = mechanism_of(name)
    params, masks = some_params(mechanism), kinds.spread(BLOCKS, ALL_MASKS)

    @jax.jit
    def ask(x):
        many = jnp.tile(x, (NUM_DRAWS, 1))
        log_prob = jax.vmap(mechanism.log_prob, (None, None, 0))(params, x, masks)
        return log_prob, mechanism.sample(jax.random.key(0), params, many)

    log_prob, drawn = ask(jnp.asarray(ROW))
    drawn = np.asarray(drawn)
    probability = np.exp(np.asarray(log_prob, np.float64))
    if name != "mar":  # it reads the cells that the mask shows, and so is no law of other masks
        np.testing.assert_allclose(probability.sum(), 1, rtol=1e-5)
    once = kinds.one_each(BLOCKS, drawn)
    assert (kinds.spread(BLOCKS, once) == drawn).all()
    frequency = (once[:, None] == ALL_MASKS).all(axis=-1).mean(axis=0)
    shown = ALL_MASKS[:, [0, 2, 3, 4]].all(axis=1) | (name != "mar")
    error = np.sqrt(probability * (1 - probability) / NUM_DRAWS)
    assert (np.abs(frequency - probability) <= 5 * error + 1e-6)[shown].all()


def test_a_fresh_mechanism_has_the_missing_rate_that_was_seen():
    """Whatever the row holds."""
    expected = np.where(ALL_MASKS, 1 - RATE[[0, 1, 2, 5, 8]], RATE[[0, 1, 2, 5, 8]])
    for name in ("mcar", "selfmasking_probit", "linear", "no_self_censoring", "ignorable"):
        mechanism = mechanism_of(name)
        params = mechanism.init(jax.random.key(0), jnp.asarray(RATE))
        row = jnp.asarray(ROW).at[1].set(0.0)  # where the probit's rate is that of N(0, 1)
        log_prob = jax.vmap(mechanism.log_prob, (None, None, 0))(
            params, row, kinds.spread(BLOCKS, ALL_MASKS)
        )
        np.testing.assert_allclose(log_prob, np.log(expected).sum(axis=1), rtol=1e-5)


@functools.cache
def collapsed_answers():
    """Return term, mean and draws of the collapsed mechanism in float64, for every mask."""
    mechanism = mechanism_of("selfmasking_probit")
    with jax.enable_x64(True):
        params, eta = some_params(mechanism, np.float64), decoder_output(np.float64)
        many = jax.tree.map(lambda leaf: jnp.tile(leaf, (NUM_DRAWS, 1)), eta)

        @jax.jit
        def of_mask(mask):
            x = jnp.where(mask, ROW.astype(np.float64), jnp.nan)
            rows, log_m = mechanism.complete(jax.random.key(1), params, many, x, mask)
            return rows, log_m, mechanism.mean(params, eta, x, mask)

        masks = jnp.asarray(kinds.spread(BLOCKS, ALL_MASKS[::3]))
        answers = jax.tree.map(np.asarray, [of_mask(mask) for mask in masks])
        return jax.tree.map(np.asarray, (params, eta)), answers


@pytest.mark.slow
def test_the_term_of_levels_is_a_sum_over_them():
    """Log P(s|x_obs, z), with the numeric column's probit beside it, to rounding."""
    (params, eta), answers = collapsed_answers()
    numeric = missingness.self_masking(make_likelihood("gaussian"), "probit")
    row_levels = [1, 1, 2, 0]
    for table_mask, (_, log_m, _) in zip(ALL_MASKS[::3], answers, strict=True):
        with jax.enable_x64(True):
            own = DecoderOutput(eta.loc[None, 1:2], eta.scale[None, 1:2])
            x, mask = ROW[1:2].astype(np.float64), table_mask[1:2]
            _, expected = numeric.complete(jax.random.key(0), params["numeric"], own, x, mask)
        expected = np.float64(expected[0])
        terms = zip(level_probabilities(eta), level_rates(params), row_levels, strict=True)
        for is_observed, (p, rate, level) in zip(table_mask[[0, 2, 3, 4]], terms, strict=True):
            expected += np.log(1 - rate[level] if is_observed else p @ rate)
        assert np.ptp(log_m) == 0
        np.testing.assert_allclose(log_m[0], expected, rtol=1e-10)


def test_missing_levels_have_their_posterior():
    """The mean is P(level|missing, z) exactly, and draws are levels as often as that."""
    (params, eta), answers = collapsed_answers()
    pairs = list(zip(level_probabilities(eta), level_rates(params), strict=True))
    posteriors = [p * rate / (p @ rate) for p, rate in pairs]
    discrete = [block for block in BLOCKS if block.kind != "numeric"]
    for table_mask, (rows, _, mean) in zip(ALL_MASKS[::3], answers, strict=True):
        for block, posterior in zip(discrete, posteriors, strict=True):
            own = rows[:, block.columns]
            if table_mask[BLOCKS.index(block)]:
                assert (own == ROW[block.columns]).all()
                continue
            expected = posterior[1:] if block.kind == "binary" else posterior
            np.testing.assert_allclose(mean[block.columns], expected, rtol=1e-10)
            oracles.assert_mean(own, expected)
            assert set(np.unique(own)) <= {0.0, 1.0}
            assert block.width == 1 or (own.sum(axis=1) == 1).all()


def test_a_product_scores_the_sum_of_its_parts():
    """Parts of columns that are not side by side."""
    left, right = np.array([0, 2]), np.array([1, 3])
    gaussian = make_likelihood("gaussian")
    parts = [
        missingness.Part("left", left, missingness.mcar(gaussian)),
        missingness.Part("right", right, missingness.self_masking(gaussian, "probit")),
    ]
    whole = missingness.product(parts)
    params = whole.init(jax.random.key(0), jnp.full(4, 0.3))
    x, mask = jnp.array([0.1, -0.4, 2.0, 0.9]), jnp.array([True, False, False, True])
    terms = [
        part.mechanism.log_prob(params[part.name], x[part.columns], mask[part.columns])
        for part in parts
    ]
    np.testing.assert_allclose(whole.log_prob(params, x, mask), sum(terms), rtol=1e-6)
    eta = DecoderOutput(jnp.arange(8.0).reshape(2, 4), jnp.ones((2, 4)))
    rows, _ = jax.jit(whole.complete)(jax.random.key(0), params, eta, x, mask)
    assert (rows[:, mask] == x[mask]).all() and (rows[:, ~mask] != x[~mask]).all()
    mean = jax.jit(whole.mean)(params, eta, x, mask)
    np.testing.assert_allclose(mean[:, 2], eta.loc[:, 2])  # left is ignorable
    assert (whole.sample(jax.random.key(0), params, x).shape) == (4,)


def test_a_part_whose_term_depends_on_the_draw_leaves_no_mean():
    """A logistic link and numbers: the term is that of the drawn row."""
    mechanism = mechanism_of("selfmasking_logistic")
    assert mechanism.mean is None
    params, mask = some_params(mechanism), jnp.zeros(NUM_COLUMNS, bool)
    eta = jax.tree.map(lambda leaf: leaf[None], decoder_output())
    complete = jax.jit(mechanism.complete)
    rows = complete(jax.random.key(0), params, eta, jnp.zeros(NUM_COLUMNS), mask)[0]
    assert np.isfinite(rows).all()


@pytest.mark.parametrize("name", ["linear", "nonlinear", "no_self_censoring"])
def test_levels_move_what_reads_the_whole_row(name):
    """With all missing, the gradient of the term reaches the parameters of every column."""
    mechanism = mechanism_of(name)
    assert mechanism.mean is None
    params, mask = some_params(mechanism), jnp.zeros(NUM_COLUMNS, bool)

    @jax.jit
    @jax.grad
    def gradient(eta):
        many = jax.tree.map(lambda leaf: jnp.repeat(leaf[None], 100, axis=0), eta)
        empty = jnp.zeros(NUM_COLUMNS)
        return mechanism.complete(jax.random.key(0), params, many, empty, mask)[1].mean()

    by_block = kinds.one_each(BLOCKS, np.asarray(gradient(decoder_output()).loc))
    assert (by_block != 0).all()
