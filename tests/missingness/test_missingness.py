"""Mechanisms: one table for what holds for all, quadrature and enumeration for the collapsed."""

import functools
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from scipy import special, stats

from mnar_ebm import missingness
from mnar_ebm.likelihoods import make_likelihood
from mnar_ebm.types import DecoderOutput

pytestmark = pytest.mark.usefixtures("quick_compile")

NUM_FEATURES = 3
NUM_DRAWS = 20_000

# Name, likelihood and sign of every mechanism; the last column has no gap for ``mar`` to read.
IGNORABLE = [
    ("none", "gaussian", "unknown"),
    ("mcar", "bernoulli", "unknown"),
    ("mar", "gaussian", "unknown"),
]
COLLAPSED = [
    ("selfmasking_probit", "gaussian", "unknown"),
    ("selfmasking_logistic", "bernoulli", "low"),
    ("selfmasking_probit", "two_part", "unknown"),
]
SAMPLED = [
    ("selfmasking_probit", "student_t", "low"),
    ("selfmasking_logistic", "gaussian", "unknown"),
    ("linear", "gaussian", "unknown"),
    ("no_self_censoring", "gaussian", "unknown"),
    ("nonlinear", "gaussian", "unknown"),
    ("nonlinear", "bernoulli", "unknown"),
    ("linear", "two_part", "unknown"),
]
ATOM_SIDE = (1, -1, 0)
ALL_MASKS = np.array(list(itertools.product([False, True], repeat=NUM_FEATURES)))
ROW = np.array([1.0, 0.0, 1.0], np.float32)


SLOW = ("student_t", "two_part")
"""Likelihoods whose laws take long to compile beside a Gaussian, and are tested by themselves."""


def table(*rows):
    """Parametrise a test over rows of the table."""
    marked = [
        pytest.param(row, marks=pytest.mark.slow if row[1] in SLOW else ()) for row in sum(rows, [])
    ]
    return pytest.mark.parametrize("row", marked, ids="-".join)


def rate_of(row):
    """Return the share of missing cells that a mechanism starts from. [D]."""
    return np.array([0.2, 0.5, 1e-7 if row[0] == "mar" else 0.4], np.float32)


@functools.cache
def mechanism_of(row):
    """Return the mechanism of a row of the table."""
    name, likelihood, sign = row
    return missingness.make_mechanism(
        name,
        make_likelihood(likelihood, atom_side=ATOM_SIDE),
        NUM_FEATURES,
        sign=sign,
        hidden_dim=5,
        observed_columns=(2,),
    )


def some_params(row):
    """Return parameters away from where they start."""
    params = mechanism_of(row).init(jax.random.key(0), jnp.asarray(rate_of(row)))
    leaves, treedef = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), max(len(leaves), 1))
    moved = [v + jax.random.normal(key, v.shape) for key, v in zip(keys, leaves, strict=False)]
    return jax.tree.unflatten(treedef, moved)


def eta_of(row, loc):
    """Return the decoder's output around a location. [K, D]."""
    scale, df = jnp.full_like(loc, 0.8), jnp.full_like(loc, 7.0)
    return {
        "gaussian": DecoderOutput(loc, scale),
        "student_t": DecoderOutput(loc, scale, df),
        "bernoulli": DecoderOutput(loc),
        "two_part": DecoderOutput(loc, scale, atom=0.5 * loc - 0.3),
    }[row[1]]


class Answers(NamedTuple):
    """What a mechanism says of ``ROW`` under one latent, for each of the M = 8 masks."""

    masks: np.ndarray  # N masks drawn  [N, D]
    log_prob: np.ndarray  # [M]
    rows: np.ndarray  # N completions  [M, N, D]
    log_m: np.ndarray  # the term of each  [M, N]
    log_prob_of_rows: np.ndarray  # [M, N]
    log_prob_of_draws: np.ndarray  # of the row completed from p(x_mis|z)  [M, N]
    mean: np.ndarray | None  # [M, D]


@functools.cache
def answers(row):
    """Ask a mechanism everything at once, so that little is compiled."""
    mechanism, likelihood = mechanism_of(row), make_likelihood(row[1], atom_side=ATOM_SIDE)

    @jax.jit
    def ask(key):
        key_sample, key_complete, key_draw = jax.random.split(key, 3)
        params, x = some_params(row), jnp.asarray(ROW)
        eta = eta_of(row, jnp.array([[0.7, -0.4, 0.2]]))
        many = jax.tree.map(lambda leaf: jnp.repeat(leaf, NUM_DRAWS, axis=0), eta)
        drawn = likelihood.sample(key_draw, many)

        def of_mask(mask):
            rows, log_m = mechanism.complete(key_complete, params, many, x, mask)
            return (
                mechanism.log_prob(params, x, mask),
                rows,
                log_m,
                mechanism.log_prob(params, rows, mask),
                mechanism.log_prob(params, jnp.where(mask, x, drawn), mask),
                None if mechanism.mean is None else mechanism.mean(params, eta, x, mask)[0],
            )

        masks = mechanism.sample(key_sample, params, jnp.tile(x, (NUM_DRAWS, 1)))
        return Answers(masks, *jax.vmap(of_mask)(jnp.asarray(ALL_MASKS)))

    return jax.tree.map(np.asarray, ask(jax.random.key(3)))


@table(IGNORABLE, COLLAPSED, SAMPLED)
def test_masks_are_drawn_as_often_as_they_score(row):
    """Each of the eight masks, within five standard errors; their probabilities sum to one."""
    probability = np.exp(answers(row).log_prob.astype(np.float64))
    if row[0] == "none":  # not modelled: any mask scores 1, and it only ever draws the full one
        np.testing.assert_array_equal(probability, 1)
        probability[:-1] = 0
    np.testing.assert_allclose(probability.sum(), 1, rtol=1e-5)
    frequency = (answers(row).masks[:, None] == ALL_MASKS).all(axis=-1).mean(axis=0)
    error = np.sqrt(probability * (1 - probability) / NUM_DRAWS)
    assert (np.abs(frequency - probability) <= 5 * error + 1e-6).all()


@table(IGNORABLE, COLLAPSED)
def test_term_of_the_weights_integrates_the_missing_values_out(row):
    """Exp(m) is the mean of p(s|x) over p(x_mis|z), and does not depend on the draw."""
    assert (np.ptp(answers(row).log_m, axis=1) == 0).all()
    values = np.exp(answers(row).log_prob_of_draws.astype(np.float64))
    error = 5 * values.std(axis=1) / np.sqrt(NUM_DRAWS)
    rounding = 1e-5 * values.mean(axis=1)  # for where all values are one and the same
    distance = np.abs(values.mean(axis=1) - np.exp(answers(row).log_m[:, 0]))
    assert (distance <= error + rounding).all()


@table(SAMPLED)
def test_sampled_term_scores_the_completed_row(row):
    """M is log p(s|x) of the draw that it comes with, which is one of p(x_mis|z)."""
    np.testing.assert_allclose(answers(row).log_m, answers(row).log_prob_of_rows, rtol=1e-5)
    empty, loc = answers(row).rows[0], np.array([0.7, -0.4, 0.2])
    square = loc**2 + 0.8**2 * (7 / 5 if row[1] == "student_t" else 1)
    mean = np.asarray(
        make_likelihood(row[1], atom_side=ATOM_SIDE).mean(eta_of(row, jnp.asarray(loc)))
    )
    if row[1] == "bernoulli":
        square = mean
    if row[1] == "two_part":
        square = square * np.where(ATOM_SIDE, mean / loc, 1)  # the chance to be off the atom
    oracles.assert_mean(empty, mean)
    oracles.assert_mean(empty**2, square)


@table(IGNORABLE, COLLAPSED, SAMPLED)
def test_mean_is_there_where_no_weight_depends_on_the_draw(row):
    """It is ``None`` for the sampled mechanisms, else the mean of what ``complete`` draws."""
    mean = answers(row).mean
    assert (mean is None) == (row in SAMPLED)
    if mean is not None:
        for mask, rows, expected in zip(ALL_MASKS, answers(row).rows, mean, strict=True):
            oracles.assert_mean(rows[:, ~mask], expected[~mask])


@table(IGNORABLE, COLLAPSED, SAMPLED)
def test_missing_cells_are_not_read_and_observed_cells_are_kept(row):
    """Whatever a missing cell holds: the same values and gradients; observed cells bit for bit."""
    mechanism = mechanism_of(row)
    fills = np.array([0.0, 1e30, np.nan, -np.inf], np.float32)

    def value_and_grad(x, mask):
        def total(params, eta):
            rows, log_m = mechanism.complete(jax.random.key(0), params, eta, x, mask)
            mean = rows if mechanism.mean is None else mechanism.mean(params, eta, x, mask)
            return (log_m + rows.sum(-1) + mean.sum(-1)).sum(), (rows, mean)

        eta = eta_of(row, jnp.arange(6.0).reshape(2, 3))
        return jax.value_and_grad(total, argnums=(0, 1), has_aux=True)(some_params(row), eta)

    masks = np.repeat(ALL_MASKS, len(fills), axis=0)
    x = np.where(masks, ROW, np.tile(fills, len(ALL_MASKS))[:, None])
    run = jax.jit(lambda x, masks: jax.lax.map(lambda args: value_and_grad(*args), (x, masks)))
    ((total, (rows, mean)), gradient) = run(x, masks)
    for leaf in jax.tree.leaves((total, rows, mean, gradient)):
        by_fill = np.asarray(leaf).reshape(len(ALL_MASKS), len(fills), -1)
        assert np.isfinite(by_fill).all()
        assert (by_fill == by_fill[:, :1]).all()
    for completed in (np.asarray(rows), np.asarray(mean)):
        assert (completed == x[:, None])[np.repeat(masks[:, None], 2, axis=1)].all()


@pytest.mark.parametrize(
    "row", [row for row in IGNORABLE[1:] + COLLAPSED + SAMPLED if row[2] == "unknown"], ids="-".join
)
def test_a_fresh_mechanism_has_the_missing_rate_that_was_seen(row):
    """It is the same for every x."""
    mechanism = mechanism_of(row)
    rate, x = rate_of(row), jnp.array([3.0, -2.0, 1.0])

    @jax.jit
    def log_prob(rate):
        params = mechanism.init(jax.random.key(0), rate)
        return jax.vmap(mechanism.log_prob, (None, None, 0))(params, x, ALL_MASKS)

    expected = np.log(np.where(ALL_MASKS, 1 - rate, rate).astype(np.float64)).sum(axis=1)
    np.testing.assert_allclose(log_prob(rate), expected, rtol=1e-5)


@pytest.mark.parametrize("sign", ["unknown", "high", "low"])
def test_probit_keeps_its_missing_rate_at_every_slope(sign):
    """With x ~ N(0, 1), whatever the slope, the missing rate is where it started."""
    mechanism = missingness.self_masking(make_likelihood("gaussian"), "probit", sign)
    rate = np.array([0.2, 0.5, 0.4])

    @jax.jit
    def log_missing(slope):
        params = mechanism.init(jax.random.key(0), jnp.asarray(rate)) | {"slope": slope}
        eta = DecoderOutput(jnp.zeros((1, 3)), jnp.ones((1, 3)))
        missing = jnp.zeros(3, bool)
        return mechanism.complete(jax.random.key(0), params, eta, jnp.zeros(3), missing)[1][0]

    with jax.enable_x64(True):
        for slope in (-3.0, 0.0, 2.0, 5.0):
            actual = log_missing(jnp.full(3, slope))
            np.testing.assert_allclose(actual, np.log(rate).sum(), rtol=1e-12)


@pytest.mark.parametrize(
    "link, likelihood, sign",
    [
        ("probit", "gaussian", "high"),
        ("probit", "gaussian", "low"),
        ("logistic", "bernoulli", "low"),
    ],
)
def test_a_known_sign_hides_that_side(link, likelihood, sign):
    """P(missing|x) moves one way in x, whatever the parameters."""
    mechanism = missingness.self_masking(make_likelihood(likelihood), link, sign)
    slope, rate = 2.0 * np.random.default_rng(0).normal(size=(2, 50, 1))
    x = np.tile(np.linspace(0, 1, 9)[:, None, None], (1, 50, 1))

    @jax.jit
    def log_odds(params, x):
        log_prob = jax.vmap(mechanism.log_prob, (0, 1, None), out_axes=1)
        return log_prob(params, x, np.zeros(1, bool)) - log_prob(params, x, np.ones(1, bool))

    with jax.enable_x64(True):
        change = np.diff(log_odds({"slope": slope, "rate": rate}, x), axis=0)
    assert (change > 0).all() if sign == "high" else (change < 0).all()


class Cells:
    """Gaussian cells under a probit, and their law when missing by the trapezium rule. [D]."""

    mean = np.array([0.0, 1.0, -2.0, 3.0, 0.5, 0.0, -1.0, 4.0])
    scale = np.array([1.0, 0.5, 2.0, 0.3, 1.0, 0.01, 1.0, 0.7])
    slope = np.array([1.0, -2.0, 0.3, 20.0, -0.0, 5.0, 30.0, -4.0])
    threshold = np.array([0.5, 2.0, 1.0, 2.9, 1.0, 0.1, 3.0, -2.0])

    @classmethod
    def eta(cls):
        """Return the decoder's output for one latent. [1, D]."""
        return DecoderOutput(jnp.asarray(cls.mean[None]), jnp.asarray(cls.scale[None]))

    @classmethod
    def grid(cls, cell):
        """Return x, and phi(x) Phi(w(x - b)) times the distance of two points. [N] each."""
        x, step = np.linspace(-16, 16, 400_001, retstep=True)
        probit = special.ndtr(
            cls.slope[cell] * (cls.mean[cell] + cls.scale[cell] * x - cls.threshold[cell])
        )
        return cls.mean[cell] + cls.scale[cell] * x, step * stats.norm.pdf(x) * probit


@jax.jit
def log_missing_and_mean(params, eta):
    """Return log P(missing|z) and E[x|missing, z] of each cell on its own. [D] each."""
    mechanism = missingness.self_masking(make_likelihood("gaussian"), "probit")

    def of_cell(params, eta):
        cell = jax.tree.map(lambda leaf: leaf[..., None], (params, eta))
        empty, missing = jnp.zeros(1), jnp.zeros(1, bool)
        _, log_m = mechanism.complete(jax.random.key(0), *cell, empty, missing)
        return log_m[0], mechanism.mean(*cell, empty, missing)[0, 0]

    return jax.vmap(of_cell, in_axes=(0, 1))(params, eta)


def test_collapsed_gaussian_matches_quadrature():
    """P(missing|z) and E[x|missing, z], cell by cell."""
    with jax.enable_x64(True):
        params = oracles.self_masking_params(Cells.slope, Cells.threshold)
        log_m, mean = log_missing_and_mean(params, Cells.eta())
    for cell in range(len(Cells.mean)):
        x, density = Cells.grid(cell)
        np.testing.assert_allclose(np.exp(log_m[cell]), density.sum(), rtol=1e-10)
        np.testing.assert_allclose(mean[cell], x @ density / density.sum(), rtol=1e-10)


def test_collapsed_gaussian_draws_follow_their_law():
    """The law, mean and variance of x|missing, z."""
    mechanism = missingness.self_masking(make_likelihood("gaussian"), "probit")
    params = oracles.self_masking_params(Cells.slope, Cells.threshold)
    eta = jax.tree.map(lambda leaf: jnp.repeat(leaf.astype(float), NUM_DRAWS, 0), Cells.eta())
    missing = np.zeros(len(Cells.mean), bool)
    complete = jax.jit(mechanism.complete)
    draws, _ = complete(jax.random.key(0), params, eta, jnp.zeros(len(missing)), missing)
    for cell in range(len(missing)):
        x, density = Cells.grid(cell)
        density = density / density.sum()
        mean = x @ density
        values = np.asarray(draws[:, cell], np.float64)
        oracles.assert_mean(values, mean)
        oracles.assert_mean((values - mean) ** 2, (x - mean) ** 2 @ density)
        oracles.assert_law(values, lambda v, x=x, p=density: np.interp(v, x, np.cumsum(p)))


def test_a_steep_collapsed_gaussian_is_a_truncated_normal():
    """As the slope grows, the values above the threshold are the missing ones."""
    with jax.enable_x64(True):
        params = oracles.self_masking_params(np.full(8, 1e8), Cells.threshold)
        log_m, mean = log_missing_and_mean(params, Cells.eta())
    cut = (Cells.threshold - Cells.mean) / Cells.scale
    np.testing.assert_allclose(log_m, stats.norm.logsf(cut), rtol=1e-7)
    law = stats.truncnorm(cut, np.inf, Cells.mean, Cells.scale)
    np.testing.assert_allclose(mean, law.mean(), rtol=1e-7)


@pytest.mark.parametrize("slope", [0.5, 1e4])
def test_collapsed_gaussian_is_right_in_float32_at_the_extremes(slope):
    """With t from -40 to 40: values as in float64, and finite draws and gradients."""
    t = np.array([-40.0, -20.0, -10.0, -3.0, 0.0, 3.0, 10.0, 40.0])
    threshold = -t * np.sqrt(1 + slope**2) / slope  # of cells N(0, 1)
    params = oracles.self_masking_params(np.full(8, slope), threshold)
    eta = DecoderOutput(jnp.zeros((1, 8)), jnp.ones((1, 8)))
    log_m, mean = log_missing_and_mean(params, eta)
    assert mean.dtype == jnp.float32
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf, np.float64)), (params, eta))
        exact_log_m, exact_mean = log_missing_and_mean(*wide)
    eps = np.finfo(np.float32).eps
    np.testing.assert_allclose(log_m, exact_log_m, rtol=64 * eps, atol=eps)
    np.testing.assert_allclose(mean, exact_mean, rtol=64 * eps)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient_of_all(params, eta)))


@jax.jit
def gradient_of_all(params, eta):
    """Return the gradient, and the value, of term, mean and draw where all is missing."""
    mechanism = missingness.self_masking(make_likelihood("gaussian"), "probit")

    def total(params, eta):
        empty, missing = jnp.zeros_like(eta.loc[0]), jnp.zeros(eta.loc.shape[-1:], bool)
        rows, log_m = mechanism.complete(jax.random.key(0), params, eta, empty, missing)
        return (rows + mechanism.mean(params, eta, empty, missing)).sum() + log_m.sum()

    return jax.value_and_grad(total, argnums=(0, 1))(params, eta)


@pytest.mark.parametrize("link", ["probit", "logistic"])
def test_collapsed_bernoulli_matches_enumeration(link):
    """Over the two values of a missing cell: the term, the mean and the draws."""
    cdf = {"probit": special.ndtr, "logistic": special.expit}[link]
    logits, slope, threshold = np.array([-2.0, 0.3, 2.0]), np.array([1.5, -3.0, 0.2]), 0.4
    one = special.expit(logits)
    parts = [(1 - one) * cdf(slope * (0 - threshold)), one * cdf(slope * (1 - threshold))]
    exact_mean = parts[1] / (parts[0] + parts[1])
    mechanism = missingness.self_masking(make_likelihood("bernoulli"), link)

    @jax.jit
    def ask(params, eta):
        empty, missing = jnp.zeros(3), jnp.zeros(3, bool)
        rows, log_m = mechanism.complete(jax.random.key(0), params, eta, empty, missing)
        return rows, log_m, mechanism.mean(params, eta, empty, missing)

    with jax.enable_x64(True):
        params = oracles.self_masking_params(slope, np.full(3, threshold))
        rows, log_m, mean = ask(params, DecoderOutput(jnp.tile(jnp.asarray(logits), (20_000, 1))))
    np.testing.assert_allclose(log_m, np.log(parts[0] + parts[1]).sum(), rtol=1e-12)
    np.testing.assert_allclose(mean[0], exact_mean, rtol=1e-12)
    assert set(np.unique(rows)) == {0.0, 1.0}
    oracles.assert_mean(rows, exact_mean)


def test_discrete_draws_carry_the_gradient_of_the_weights():
    """d/d logit of P(missing|z), by draws that no gradient goes through and by enumeration."""
    logit, slope, offset = 0.4, 1.3, -0.6
    likelihood = make_likelihood("bernoulli")
    mechanism = missingness.base.sampled(
        likelihood,
        init=None,
        sample=None,
        log_prob=lambda params, x, mask: jax.nn.log_sigmoid(slope * x + offset).sum(axis=-1),
    )

    @jax.jit
    @jax.grad
    def gradient(logits, key):
        empty, missing = jnp.zeros(1), jnp.zeros(1, bool)
        eta = DecoderOutput(logits[:, None])
        return jnp.exp(mechanism.complete(key, None, eta, empty, missing)[1]).sum()

    one = special.expit(logit)
    missing = special.expit(slope * np.array([0, 1]) + offset)
    exact = one * (1 - one) * (missing[1] - missing[0])
    draws = gradient(jnp.full(NUM_DRAWS, logit), jax.random.key(0))
    oracles.assert_mean(draws, exact)


@pytest.mark.parametrize("name", ["selfmasking_probit", "linear"])
def test_a_start_hides_the_values_that_it_names(name):
    """P(missing_d|x) moves with x_d alone, up for a slope above 0 and down below; flat at 0."""
    mechanism = missingness.make_mechanism(name, make_likelihood("gaussian"), NUM_FEATURES)
    rate, missing = jnp.full(NUM_FEATURES, 0.3), jnp.zeros(NUM_FEATURES, bool)
    shown = ~missing

    def log_odds(slope, x):
        params = mechanism.init(jax.random.key(0), rate, slope)
        own = jnp.array([1.0, 0.0, 0.0]) * x
        alone = shown.at[0].set(False)
        return mechanism.log_prob(params, own, alone) - mechanism.log_prob(params, own, shown)

    for slope in (-1.0, 0.0, 1.0):
        change = log_odds(slope, 1.0) - log_odds(slope, -1.0)
        assert np.sign(change) == np.sign(slope)


def test_without_self_censoring_a_column_is_not_read_for_its_own_gap():
    """Its odds of going missing are the same whatever it holds; those of the others are not."""
    row = ("no_self_censoring", "gaussian", "unknown")
    mechanism, params = mechanism_of(row), some_params(row)
    shown = jnp.ones(NUM_FEATURES, bool)

    def log_odds(column, x):
        hidden = shown.at[column].set(False)
        return mechanism.log_prob(params, x, hidden) - mechanism.log_prob(params, x, shown)

    x, moved = jnp.array([0.3, -0.2, 0.9]), jnp.array([-2.0, -0.2, 0.9])
    np.testing.assert_allclose(log_odds(0, x), log_odds(0, moved), rtol=1e-5)
    for column in (1, 2):
        assert abs(log_odds(column, x) - log_odds(column, moved)) > 0.1


def test_mar_reads_the_columns_without_a_gap_alone():
    """A change of another column changes nothing."""
    row = IGNORABLE[2]
    mechanism, params = mechanism_of(row), some_params(row)
    mask = jnp.array([True, False, True])
    before = mechanism.log_prob(params, jnp.array([1.0, 2.0, 3.0]), mask)
    assert mechanism.log_prob(params, jnp.array([-5.0, 9.0, 3.0]), mask) == before
    assert mechanism.log_prob(params, jnp.array([1.0, 2.0, 4.0]), mask) != before


@pytest.mark.parametrize(
    "name, likelihood, settings, message",
    [
        ("mnar", "gaussian", {}, "mechanism: expected one of none, mcar, mar, .*, got 'mnar'"),
        ("mar", "gaussian", {}, "mar needs a column without any gap, got none"),
        (
            "selfmasking_probit",
            "gaussian",
            {"sign": "up"},
            "sign: expected one of unknown, high, low, got 'up'",
        ),
        (
            "selfmasking_probit",
            "gaussian",
            {"sign": "high", "own": (True, False, True)},
            "sign: expected unknown where some columns hide nothing, got 'high'",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_words(name, likelihood, settings, message):
    """One line that says what is expected."""
    with pytest.raises(ValueError, match=message) as error:
        missingness.make_mechanism(name, make_likelihood(likelihood), 3, **settings)
    assert "\n" not in str(error.value)


def test_an_unknown_link_is_refused():
    """The known ones are listed."""
    with pytest.raises(ValueError, match="link: expected one of probit, logistic, got 'cloglog'"):
        missingness.self_masking(make_likelihood("gaussian"), "cloglog")
