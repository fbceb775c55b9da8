"""Columns of several kinds: their blocks, and their distributions against scipy and enumeration."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from scipy import special, stats

from mnar_ebm import kinds, likelihoods
from mnar_ebm.kinds import make_blocks
from mnar_ebm.types import DecoderOutput

pytestmark = pytest.mark.usefixtures("quick_compile")

# Two of a kind and size, apart, so that they are computed together and put back in place.
BLOCKS = make_blocks(
    [("categorical", 3), ("numeric", 0), ("binary", 2), ("ordinal", 4), ("categorical", 3)]
)
NUM_COLUMNS = 12
NUM_DRAWS = 20_000
RNG = np.random.default_rng(0)
LOC, SCALE, GAP = RNG.normal(size=12), RNG.uniform(0.5, 2, size=12), RNG.uniform(0.3, 2, size=12)
DISCRETE = [block for block in BLOCKS if block.kind != "numeric"]


def eta(dtype=np.float32):
    """Return the decoder's output. [D]."""
    loc, scale, gap = (jnp.asarray(value.astype(dtype)) for value in (LOC, SCALE, GAP))
    return DecoderOutput(loc, scale, 5.0 + scale, gap)


def probabilities(block, loc=LOC):
    """Return P(level) of a block by scipy. [k]."""
    own = loc[block.columns]
    if block.kind == "binary":
        return stats.bernoulli(special.expit(own[0])).pmf([0, 1])
    if block.kind == "categorical":
        return special.softmax(own)
    thresholds = np.concatenate([[0.0], np.cumsum(GAP[block.columns][1:-1])])
    return np.diff(stats.logistic.cdf([-np.inf, *thresholds, np.inf], loc=own[0]))


def encode(number, levels):
    """Return the encoded row with this number in the numeric column and these levels. [D]."""
    row, levels = np.zeros(NUM_COLUMNS), iter(levels)
    for block in BLOCKS:
        own = np.eye(block.num_levels)[next(levels)] if block.num_levels else np.array([number])
        row[block.columns] = own[1:] if block.kind == "binary" else own
    return row


@functools.cache
def every_row():
    """Return every combination of levels, and their encoded rows at 0.4. [R, 4], [R, D]."""
    levels = list(itertools.product(*(range(block.num_levels) for block in DISCRETE)))
    return np.array(levels), np.stack([encode(0.4, row) for row in levels])


@pytest.mark.parametrize("numeric", ["gaussian", "student_t"])
def test_log_prob_is_that_of_every_combination_of_levels(numeric):
    """In float64; a row of terms sums to it, and over all rows the levels sum to one."""
    levels, rows = every_row()
    likelihood = likelihoods.make_likelihood(numeric, BLOCKS)
    with jax.enable_x64(True):
        terms = np.asarray(jax.jit(likelihood.log_prob)(eta(np.float64), jnp.asarray(rows)))
    number = BLOCKS[1].start
    laws = {
        "gaussian": stats.norm(LOC[number], SCALE[number]),
        "student_t": stats.t(5.0 + SCALE[number], LOC[number], SCALE[number]),
    }
    by_block = np.stack([probabilities(block)[levels[:, i]] for i, block in enumerate(DISCRETE)])
    expected = np.log(by_block).sum(axis=0) + laws[numeric].logpdf(0.4)
    np.testing.assert_allclose(terms.sum(axis=1), expected, rtol=1e-10)
    np.testing.assert_allclose(np.exp(terms.sum(axis=1)).sum(), laws[numeric].pdf(0.4), rtol=1e-10)


def test_a_missing_column_is_left_out_of_the_sum():
    """Whatever its cells hold: the same value and gradient, bit for bit."""
    likelihood = likelihoods.make_likelihood("gaussian", BLOCKS)
    mask = np.ones(NUM_COLUMNS, bool)
    for index in (0, 2, 3):
        mask[BLOCKS[index].columns] = False

    @jax.jit
    def value_and_grad(eta, x):
        return jax.value_and_grad(
            lambda eta, x: likelihoods.masked_log_prob(likelihood, eta, x, mask), argnums=(0, 1)
        )(eta, x)

    x = encode(0.4, (2, 0, 1, 1))
    answers = [
        value_and_grad(eta()._replace(df=None), jnp.asarray(np.where(mask, x, fill), jnp.float32))
        for fill in (0.0, 1.0, np.nan, np.inf)
    ]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(answers))
    assert all(oracles.bits(answer) == oracles.bits(answers[0]) for answer in answers)
    number = BLOCKS[1].start
    expected = np.log(probabilities(BLOCKS[4])[1]) + stats.norm.logpdf(
        0.4, LOC[number], SCALE[number]
    )
    np.testing.assert_allclose(answers[0][0], expected, rtol=1e-5)


def test_draws_are_levels_as_often_as_they_should_be():
    """Within five standard errors; the mean is the probability of each level."""
    likelihood = likelihoods.make_likelihood("gaussian", BLOCKS)
    many = jax.tree.map(lambda leaf: jnp.tile(leaf, (NUM_DRAWS, 1)), eta())
    draws = np.asarray(jax.jit(likelihood.sample)(jax.random.key(0), many))
    mean = np.asarray(likelihood.mean(eta()))
    oracles.assert_mean(draws, mean)
    columns = tuple(str(column) for column in range(NUM_COLUMNS))
    assert kinds.check_encoded("draws", draws, columns, BLOCKS) == BLOCKS
    for block in DISCRETE:
        weights = probabilities(block)
        expected = weights[1:] if block.kind == "binary" else weights
        np.testing.assert_allclose(mean[block.columns], expected, rtol=1e-5)
    assert mean[BLOCKS[1].start] == np.float32(LOC[BLOCKS[1].start])


@pytest.mark.parametrize("place", [-80.0, 0.0, 80.0])
def test_far_out_every_level_has_a_finite_gradient(place):
    """In single precision, with thresholds that nearly meet."""
    likelihood = likelihoods.make_likelihood("gaussian", BLOCKS)
    far = eta()._replace(df=None, gap=jnp.full(NUM_COLUMNS, 1e-3), loc=place + eta().loc)
    rows = jnp.asarray(every_row()[1], jnp.float32)
    total = jax.jit(jax.value_and_grad(lambda eta: likelihood.log_prob(eta, rows).sum()))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(total(far)))


def test_a_table_without_numbers_needs_no_scale():
    """A categorical and an ordinal column alone."""
    table = make_blocks([("categorical", 3), ("ordinal", 4)])
    likelihood = likelihoods.make_likelihood("gaussian", table)
    own = DecoderOutput(eta().loc[:7], gap=eta().gap[:7])
    draw = likelihood.sample(jax.random.key(0), own)
    assert np.isfinite(likelihood.log_prob(own, draw)).all() and draw.sum() == 2
    np.testing.assert_allclose(likelihood.mean(own).sum(), 2, rtol=1e-6)


def test_what_is_the_same_in_a_block_is_taken_once_and_spread_again():
    """And is left alone where all columns are numeric."""
    single = np.array([True, False, True, False, True])
    encoded = kinds.spread(BLOCKS, single)
    assert encoded.tolist() == [True] * 3 + [False] + [True] + [False] * 4 + [True] * 3
    assert (kinds.one_each(BLOCKS, encoded) == single).all()
    assert kinds.spread((), single) is single and kinds.one_each((), single) is single


@pytest.mark.parametrize(
    "given, message",
    [
        ([("nominal", 3)], "kind: expected one of numeric, binary, cat.*, got 'nominal'"),
        ([("categorical", 1)], "num_levels: expected .* got 1 of a column that is categorical"),
        ([("binary", 3)], "num_levels: expected .* got 3 of a column that is binary"),
        ([("numeric", 2)], "num_levels: expected .* got 2 of a column that is numeric"),
    ],
)
def test_blocks_that_cannot_be_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        make_blocks(given)


@pytest.mark.parametrize(
    "row, message",
    [
        ([0, 0.5, 0.5, 1.0], "0 or 1 in the categorical columns a, b, c, .* in row 1"),
        ([1, 1, 0, 1.0], r"0 or 1 in the categorical .*, got \[1.0, 1.0, 0.0\] in row 1"),
        ([np.nan, 1, 0, 1.0], "or NaN in all, got .* in row 1"),
        ([0, 1, 0, 2.0], r"0 or 1 in the binary columns d, .*, got \[2.0\] in row 1"),
    ],
)
def test_values_that_are_no_levels_are_refused(row, message):
    table = make_blocks([("categorical", 3), ("binary", 2)])
    x = np.array([[0.0, 1.0, 0.0, np.nan], row])
    with pytest.raises(ValueError, match=message):
        kinds.check_encoded("x", x, ("a", "b", "c", "d"), table)
    with pytest.raises(ValueError, match="x: expected 4 encoded columns, got 3"):
        kinds.check_encoded("x", x[:, :3], ("a", "b", "c"), table)


def test_bernoulli_is_not_for_the_numbers_of_a_mixed_table():
    with pytest.raises(
        ValueError, match="expected one of gaussian, two_part, .* for .*'bernoulli'"
    ):
        likelihoods.make_likelihood("bernoulli", BLOCKS)
