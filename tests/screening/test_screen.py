"""Values that hide themselves are told from gaps that merely go together, on data of known law."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mnar_ebm.data.table import make_table
from mnar_ebm.estimator.selection import in_words
from mnar_ebm.kinds import make_blocks
from mnar_ebm.missingness import gap_terms
from mnar_ebm.screening import Gain, fit, random_means, screen
from mnar_ebm.screening import factors as model
from mnar_ebm.screening.bench import Bench, chance
from mnar_ebm.screening.terms import select_terms

pytestmark = pytest.mark.usefixtures("quick_compile_all")

NUM_ROWS, NUM_COLUMNS = 400, 4
LOADINGS = np.array([[1.0, 1.0, 0.8, -0.9], [0.6, -0.5, 0.7, 0.8]])
"""Every test has the same shape of a table, so that they share their programs."""


@functools.cache
def complete_rows():
    """Return columns of two factors, in units of their own. [N, D]."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(NUM_ROWS, 2)) @ LOADINGS + 0.6 * rng.normal(size=(NUM_ROWS, NUM_COLUMNS))
    return x / x.std(axis=0)


def table_of(x, is_missing):
    """Return the table with cells hidden."""
    return make_table("t", [f"x{i}" for i in range(x.shape[1])], np.where(is_missing, np.nan, x))


def coin(rate, seed=1, shape=(NUM_ROWS,)):
    """Return which of some are hit at random."""
    return np.random.default_rng(seed).random(shape) < rate


def in_columns(*parts):
    """Return gaps [N, D] from pairs of a column and its gaps [N]."""
    is_missing = np.zeros((NUM_ROWS, NUM_COLUMNS), bool)
    for column, gap in parts:
        is_missing[:, column] = gap
    return is_missing


def probit(t, seed=2):
    """Return gaps by P(missing) = Phi(t). [N]."""
    return np.random.default_rng(seed).random(len(t)) < stats.norm.cdf(t)


def test_columns_missing_together_at_random_hide_nothing():
    """A block that was not asked: the fault that this was made for."""
    together = coin(0.3)
    table = table_of(complete_rows(), in_columns(*((column, together) for column in range(3))))
    evidence = screen(table)
    assert evidence.mechanism == "ignorable" and not any(evidence.slopes)
    assert evidence.ess > 0.9 and evidence.num_rows == NUM_ROWS
    assert not [one for one in evidence.findings if one.is_hidden and one.is_clear]


@pytest.mark.slow
def test_drop_out_by_the_value_before_hides_nothing():
    x = complete_rows()
    first = probit(-0.6 + x[:, 1])
    second = first | probit(-0.6 + x[:, 2], 3)
    evidence = screen(table_of(x, in_columns((2, first), (3, second))))
    assert evidence.mechanism == "ignorable"


@pytest.mark.slow
def test_skewed_columns_missing_at_random_hide_nothing():
    """A skew looks like a cut of one tail."""
    x = np.exp(complete_rows())
    gaps = [(column, probit(-0.6 + complete_rows()[:, 3], column)) for column in range(3)]
    evidence = screen(table_of(x, in_columns(*gaps)))
    assert evidence.mechanism == "ignorable"
    first = evidence.findings[0]
    assert first.candidate == "bent columns" and first.is_clear


@pytest.mark.slow
def test_columns_that_hide_their_high_values_are_found_and_one_beside_them_is_not():
    """Two self-masking columns do not make a third one so."""
    x = complete_rows()
    hidden = in_columns((0, x[:, 0] > 0.2), (1, x[:, 1] < -0.2), (2, coin(0.3)))
    told = []
    evidence = screen(table_of(x, hidden), tell=told.append)
    assert evidence.mechanism == "self_masking"
    assert evidence.slopes == (1.0, -1.0, 0.0, 0.0)
    assert len(told) == len(evidence.findings) and "nats" not in told[0]
    cut = (x[:, :2].mean(axis=0) - evidence.random_means[:2]) * [1, -1]
    assert (cut > 0.15).all()  # missing at random falls short of the truth


@pytest.mark.slow
def test_gaps_by_what_another_column_hides_are_found():
    x = complete_rows()
    gaps = [(one, probit(-0.6 + 2.0 * x[:, other], one)) for one, other in ((0, 1), (1, 0))]
    evidence = screen(table_of(x, in_columns(*gaps)))
    assert evidence.mechanism == "no_self_censoring" and evidence.gap_terms


@pytest.mark.slow
def test_means_under_missing_at_random_are_those_of_the_truth_where_gaps_are():
    """Within four standard errors of the mean of the hidden cells given what was seen."""
    x = complete_rows()
    gaps = in_columns(*((column, probit(-0.6 + x[:, 3], column)) for column in range(3)))
    means = random_means(table_of(x, gaps))
    error = 4.0 * x.std(axis=0) * np.sqrt(gaps.mean(axis=0) / NUM_ROWS)
    assert (np.abs(means - x.mean(axis=0)) <= error + 1e-6).all()


def test_what_chance_gains():
    """By Wilks' theorem, less what each parameter gains of nothing."""
    assert chance(3, 0.999) == pytest.approx(16.266 / 2 - 3, abs=1e-3)
    assert chance(1, 0.95) == pytest.approx(3.841 / 2 - 1, abs=1e-3)
    assert Gain(12.0, 4.0, 3).net == 9.0 and str(Gain(12.34, 4.0, 3)) == "12.3 ± 4.0"


def test_levels_alone_tell_nothing_of_themselves():
    """Nothing is assumed of them that could, so nothing is compared; the report says so."""
    rng = np.random.default_rng(0)
    levels = (rng.random((NUM_ROWS, 3)) < 0.5).astype(float)
    is_missing = (levels == 1) & (rng.random(levels.shape) < 0.5)
    table = make_table(
        "t",
        ["a", "b", "c"],
        np.where(is_missing, np.nan, levels),
        blocks=make_blocks([("binary", 2)] * 3),
    )
    evidence = screen(table)
    assert evidence.mechanism == "ignorable" and evidence.findings == ()
    assert in_words(evidence, table).startswith("only levels are missing")


def test_the_terms_that_gaps_need_are_taken_and_few_others():
    """A block needs a gap, a driver its value; what is later is not read."""
    x = complete_rows()
    hidden = in_columns((0, coin(0.3)), (1, coin(0.3)), (2, probit(-1.0 + 2.0 * x[:, 3])))
    chosen = select_terms(
        np.asarray(gap_terms.features(jnp.asarray(x), jnp.asarray(~hidden))),
        hidden,
        np.array([[0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 0]]),
        np.ones_like(hidden),
    )
    gap_of_0_in_1, value_of_3_in_2 = chosen[0, 0, 1], chosen[1, 3, 2]
    assert gap_of_0_in_1 == value_of_3_in_2 == 1
    assert chosen[:, 2].sum() == chosen[:, 1, 0].sum() == chosen[:, :, 3].sum() == 0
    assert chosen.sum() < 20


@pytest.fixture(scope="module")
def bench():
    """Return a table that hides the high values of its first column, and others at random."""
    x = complete_rows()
    hidden = in_columns((0, probit(-0.5 + 1.5 * x[:, 0])), (1, coin(0.2)))
    return Bench(table_of(x, hidden), seed=0)


def exact_log_p(params, reads, x, mask):
    """Return log p(x_obs, s) of a row, one cell of whose first column may be missing.

    It is log N(x_obs) + log Phi of the gap's probit, with what is hidden integrated out (oracles).
    """
    decoder = params.decoder["params"]
    gain = np.exp(np.asarray(decoder["log_gain"], float))
    loadings = np.asarray(decoder["linear_loc"]["kernel"], float) * gain
    loc = np.asarray(decoder["linear_loc"]["bias"], float) * gain
    scale = 0.01 + gain * np.log1p(np.exp(np.asarray(decoder["scale"], float)))
    covariance = loadings.T @ loadings + np.diag(scale**2)
    seen = np.flatnonzero(mask)
    log_p = stats.multivariate_normal(loc[seen], covariance[np.ix_(seen, seen)]).logpdf(x[seen])
    held = model.hold(params, reads, ())
    row = model.read_row(held, jnp.where(mask, x, 0.0), jnp.asarray(mask))
    w = np.sinh(np.asarray(held.own["slope"], float))
    c = (np.asarray(held.own["rate"], float) + np.asarray(row.shift, float)) * np.sqrt(1 + w**2)
    for column in range(len(x)):
        if mask[column]:
            log_p += stats.norm.logcdf(-(w[column] * x[column] + c[column]))
            continue
        cross = covariance[column, seen] @ np.linalg.inv(covariance[np.ix_(seen, seen)])
        mean = loc[column] + cross @ (x[seen] - loc[seen])
        variance = covariance[column, column] - cross @ covariance[seen, column]
        t = (w[column] * mean + c[column]) / np.sqrt(1 + w[column] ** 2 * variance)
        log_p += stats.norm.logcdf(t)
    return log_p


@pytest.mark.parametrize("hides_itself", [0.0, 1.0])
def test_the_likelihood_is_that_of_the_closed_form(bench, hides_itself):
    """Exact in float32 where nothing hidden is read, else within its Monte Carlo error."""
    own = np.array([hides_itself, 0.0, 0.0, 0.0])
    start = bench.with_slope(bench.first(bench.factors()), 1.5)
    fitted = bench.more(start, own=own)
    x, mask = np.asarray(bench._read.x, float), np.asarray(bench._read.mask)
    rows = [row for row in range(NUM_ROWS) if (~mask[row]).sum() <= 1][:60]
    exact = [exact_log_p(fitted.params, fitted.reads, x[row], mask[row]) for row in rows]
    found, ess = np.asarray(fitted.score.log_p)[rows], np.asarray(fitted.score.ess)[rows]
    share = ess / fit.TUNING.num_scoring_draws
    error = np.sqrt((1 / share - 1) / fit.TUNING.num_scoring_draws)
    assert (np.abs(found - exact) < 5.0 * error + 2e-3).all()
    assert np.median(share) > 0.9


def test_a_bend_has_an_inverse_and_its_derivative():
    x, shape = jnp.linspace(-4.0, 4.0, 9), jnp.array([0.3, -0.4])
    y, log_derivative = model.bend(shape, x)
    np.testing.assert_allclose(model.straighten(shape, y), x, rtol=1e-5, atol=1e-6)
    slope = jax.vmap(jax.grad(lambda one: model.bend(shape, one)[0]))(x)
    np.testing.assert_allclose(jnp.log(slope), log_derivative, atol=1e-5)
    straight, zero = model.bend(jnp.zeros(2), x)
    np.testing.assert_allclose(straight, x, rtol=1e-5)
    np.testing.assert_allclose(zero, 0.0, atol=1e-6)
