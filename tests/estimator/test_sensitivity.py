"""Sensitivity analysis beside closed forms, beside R's mice, and in words."""

import copy
import dataclasses
import functools

import jax.numpy as jnp
import matplotlib
import numpy as np
import oracles
import pandas as pd
import pytest
from scipy import special, stats

from mnar_ebm import MNARImputer, metrics, models
from mnar_ebm.config import Config
from mnar_ebm.data import Standardiser
from mnar_ebm.data.datasets.toys import LinearGaussian
from mnar_ebm.estimator import Sensitivity, analysis, departures, statistics
from mnar_ebm.estimator.ensemble import Ensemble
from mnar_ebm.kinds import Block
from mnar_ebm.tilted import FittedModel, TableFacts

pytestmark = pytest.mark.usefixtures("quick_compile_all")

NUM_ROWS = 400
NOISE = 0.1
MEAN, COVARIANCE = np.array([0.2, -0.1]), np.array([[1.0, 0.6], [0.6, 1.1]])


@functools.cache
def rows():
    """Return two columns; the second is missing at random given the first. [N, 2].

    They are made by formulas, so that R makes the same ones.
    """
    i = np.arange(1, NUM_ROWS + 1)
    first = stats.norm.ppf((i - 0.5) / NUM_ROWS)
    second = 0.6 * first + 0.8 * stats.norm.ppf(i * (np.sqrt(5) - 1) / 2 % 1)
    is_missing = i * np.sqrt(2) % 1 < special.expit(-0.7 + first)
    return np.stack([first, np.where(is_missing, np.nan, second)], axis=1)


def with_empty_rows():
    """Return these rows, some of them without any value."""
    x = rows().copy()
    x[(np.arange(NUM_ROWS) % 3 == 0) & np.isnan(x[:, 1])] = np.nan
    return x


@functools.cache
def linear_model(mechanism="none"):
    """Return the program that all Gaussian models of two columns share, and parameters."""
    loadings = np.linalg.cholesky(COVARIANCE - NOISE**2 * np.eye(2))
    return oracles.make_linear_model(LinearGaussian(loadings, MEAN, NOISE), mechanism=mechanism)


def gaussian(mean=MEAN, covariance=COVARIANCE, num_samples=1000, mechanism="none"):
    """Return N(mean, covariance) as a fitted model, in whose encoder there is no error."""
    model, params = linear_model(mechanism)
    loadings = np.linalg.cholesky(covariance - NOISE**2 * np.eye(2))
    base = params.base | {"loadings": jnp.asarray(loadings, float), "mean": jnp.asarray(mean)}
    facts = TableFacts(("a", "b"), Standardiser.identity(2), np.array([0.1, 0.3], np.float32), (0,))
    config = Config(num_imputation_samples=num_samples)
    return FittedModel(config, facts, model, params._replace(base=base))


def target(x, index):
    """Return a column of a table as what departs."""
    return departures.make_target("ab"[index], Block("numeric", 0, index), x)


def analyse(x=None, fits=None, statistic=None, columns=(1,), **settings):
    """Return an analysis, by default of the mean of the second column."""
    x = rows() if x is None else x
    return analysis.analyse(
        Ensemble(fits or (gaussian(),), 0),
        x,
        [target(x, index) for index in columns],
        statistic or statistics.mean_of(1),
        name="mean of b",
        **settings,
    )


def law_of_missing(x, direction):
    """Return means and variances of the second column under a tilt, by the closed form. [N].

    The mean of a Gaussian moves by its covariance times the direction; its covariance stays.
    """
    law, mean, variance = oracles.Gaussian(MEAN, COVARIANCE), x[:, 1].copy(), np.zeros(len(x))
    for index in np.flatnonzero(np.isnan(x[:, 1])):
        known = ~np.isnan(x[index])
        given = law.given(known, x[index, known]) if known.any() else law
        mean[index] = (given.mean + given.covariance @ direction[~known])[-1]
        variance[index] = given.covariance[-1, -1]
    return mean, variance


@pytest.mark.parametrize("columns", [(1,), (0, 1)])
def test_a_tilt_moves_the_mean_by_gamma_times_the_variance(columns):
    """Of one missing value, and of two that go together, within the Monte Carlo error."""
    x, num_imputations = with_empty_rows(), 50
    found = analyse(x, columns=columns, gamma=[-1.0, 0.5], num_imputations=num_imputations)
    np.testing.assert_array_equal(found.grid, [-1.0, 0.0, 0.5])
    units = np.nanstd(x, axis=0)
    np.testing.assert_allclose(found.units, units[list(columns)])
    per_unit = np.where(np.isin([0, 1], columns), 1.0 / units, 0.0)
    for at, gamma in enumerate(found.grid):
        mean, variance = law_of_missing(x, gamma * per_unit)
        noise = variance.sum() * (1 / num_imputations + 1 / found.least_ess[at])
        assert abs(found.estimate[at] - mean.mean()) < 5 * np.sqrt(noise) / NUM_ROWS
        assert found.low[at] < found.estimate[at] < found.high[at]
    assert found.warnings == ()


def test_the_noise_is_the_same_for_every_size():
    """So the curve is smoother by far than its error, and comes out the same again."""
    settings = {"gamma": np.linspace(-0.5, 0.5, 11), "num_imputations": 10}
    found, again = analyse(**settings), analyse(**settings)
    assert found.estimate.tobytes() == again.estimate.tobytes()
    mean, variance = law_of_missing(rows(), np.zeros(2))
    error = np.sqrt(variance.sum() / 10) / NUM_ROWS
    exact = found.grid / found.units[0] * variance.sum() / NUM_ROWS
    assert np.abs(found.estimate - found.estimate[5] - exact).max() < error / 4


def test_without_a_tilt_it_is_the_fitted_model():
    """Draws at gamma = 0 have the law of those of the fits."""
    x = rows()[np.isnan(rows()[:, 1])]
    ensemble = Ensemble((gaussian(),), 3)
    draw = departures.by_tilt(ensemble, [target(rows(), 1)], x, 50)
    expected, variance = law_of_missing(x, np.zeros(2))
    for draws in (draw(0.0)[0], ensemble.draws(x, 50)):
        standard = (draws[:, :, 1] - expected[:, None]) / np.sqrt(variance)[:, None]
        oracles.assert_mean(standard.mean(axis=1), 0.0)
        oracles.assert_mean((standard**2).mean(axis=1), 1.0)


def test_all_sizes_share_a_program_and_the_first_tilt_stays():
    """Gamma is a parameter; the energy is the fitted one less gamma u, in units of the table."""
    x = np.abs(rows()) + 0.1
    standardiser = Standardiser.fit(x, ~np.isnan(x)).with_bend(x, ~np.isnan(x), np.arange(2))
    assert standardiser.bend.power[1] != 1
    energy = oracles.quadratic("joint", num_features=2)
    linear = LinearGaussian(np.eye(2), MEAN, 0.5)
    model, params = oracles.make_linear_model(linear, energy=energy)
    fitted = gaussian()
    fitted = fitted._replace(
        model=model,
        params=params._replace(tilt_scale=jnp.asarray(0.5)),
        facts=fitted.facts._replace(standardiser=standardiser),
    )
    one, two = (departures.tilted(fitted, [target(x, 1)], gamma) for gamma in (0.3, -2.0))
    assert one.model is two.model
    complete = x[~np.isnan(x[:, 1])]
    standard = jnp.asarray(standardiser.apply(complete))
    z = jnp.ones((len(complete), 2))
    for gamma, tilted in ((0.3, one), (-2.0, two)):
        extra = models.energy(tilted.model, tilted.params, standard, z) - models.energy(
            model, fitted.params, standard, z
        )
        u = complete[:, 1] / np.nanstd(x[:, 1])
        np.testing.assert_allclose(extra - extra[0], -gamma * (u - u[0]), atol=1e-4)


def test_a_shift_moves_the_mean_by_the_missing_share():
    """By delta standard deviations times that share, to rounding, whatever was drawn."""
    found = analyse(delta=[-0.5, 0.0, 1.0], num_imputations=5)
    share = np.isnan(rows()[:, 1]).mean()
    exact = found.grid * np.nanstd(rows()[:, 1]) * share
    np.testing.assert_allclose(found.estimate - found.estimate[1], exact, atol=1e-12)
    assert (np.diff(found.missing_ratio[:, 0]) > 0).all()


# R 4.2.2 with mice 3.15.0, after the formulas of rows() for x1 and x2:
#   sd <- sqrt(mean((x2 - mean(x2, na.rm = TRUE))^2, na.rm = TRUE)); d <- data.frame(x1, x2)
#   post <- make.post(d)
#   post["x2"] <- paste0("imp[[j]][, i] <- imp[[j]][, i] + ", delta * sd)
#   imp <- mice(d, m = 1000, method = "norm", post = post, maxit = 1, seed = 1)
#   q <- sapply(1:1000, function(k) mean(complete(imp, k)$x2))
#   u <- sapply(1:1000, function(k) var(complete(imp, k)$x2) / 400)
#   pool.scalar(q, u, n = 400)    # qbar, t, b, df
MICE_SD = 0.962987
MICE = {
    -0.5: (-0.180838, 0.00345403, 0.00111570, 261.299),
    0.0: (-0.007500, 0.00361293, 0.00111570, 267.279),
    0.5: (0.165838, 0.00403958, 0.00111570, 281.075),
}


def regressions(rng, num_draws):
    """Yield intercept, slope and error of the regression of the second column: ``mice``'s ``norm``.

    They are drawn from their posterior: sigma² = RSS / chi²(n - 2), beta ~ N(b, sigma² (X'X)^-1).
    """
    seen = rows()[~np.isnan(rows()[:, 1])]
    design = np.stack([np.ones(len(seen)), seen[:, 0]], axis=1)
    inverse = np.linalg.inv(design.T @ design)
    best = inverse @ design.T @ seen[:, 1]
    squares = np.sum((seen[:, 1] - design @ best) ** 2)
    for _ in range(num_draws):
        variance = squares / rng.chisquare(len(seen) - 2)
        intercept, slope = rng.multivariate_normal(best, variance * inverse)
        yield intercept, slope, np.sqrt(variance)


def test_it_agrees_with_the_delta_adjustment_of_mice():
    """Pooled estimate and interval: those of R, of its algorithm, and ours by as many fits."""
    num_imputations = 200
    drawn = list(regressions(np.random.default_rng(0), num_imputations))
    fits = tuple(
        gaussian(
            [0.0, intercept],
            np.array([[1.0, slope], [slope, slope**2 + error**2]]),
            num_samples=20,
        )
        for intercept, slope, error in drawn
    )
    found = analyse(fits=fits, delta=list(MICE), num_imputations=num_imputations)
    np.testing.assert_allclose(found.units[0], MICE_SD, atol=1e-6)

    rng, x = np.random.default_rng(1), rows()
    is_missing = np.isnan(x[:, 1])
    tables = np.tile(x, (num_imputations, 1, 1))
    for table, (intercept, slope, error) in zip(tables, drawn, strict=True):
        noise = error * rng.normal(size=is_missing.sum())
        table[is_missing, 1] = intercept + slope * x[is_missing, 0] + noise
    for at, (delta, (mean, total, between, df)) in enumerate(MICE.items()):
        shifted = tables[:, :, 1] + delta * MICE_SD * is_missing
        pooled = metrics.pool(
            shifted.mean(axis=1)[:, None],
            shifted.var(axis=1, ddof=1)[:, None] / NUM_ROWS,
            df_complete=NUM_ROWS - 1,
        )
        low, high = (float(end[0]) for end in pooled.interval())
        half = stats.t.ppf(0.975, df) * np.sqrt(total)
        error = np.sqrt(between * (1 / num_imputations + 1 / 1000))
        # The half width is about the root of T; the variance of B is 2 B² / (M - 1).
        error_of_half = half * between * np.sqrt(2 / num_imputations) / (2 * total)
        for ours in ((found.low[at], found.high[at]), (low, high)):
            assert abs(np.mean(ours) - mean) < 5 * error
            assert abs(np.ptp(ours) / 2 - half) < 5 * error_of_half


def test_a_tilt_by_the_slope_of_the_mechanism_says_what_the_mechanism_says():
    """Of P(missing): logistic self-masking is a tilt that the model has found by itself."""
    table, slope = np.random.default_rng(0).normal(MEAN, 1.0, size=(3, NUM_ROWS, 2)), 0.7
    column = target(rows(), 1)
    masked = gaussian(mechanism="selfmasking_logistic")
    params = masked.params._replace(mechanism=oracles.self_masking_params([0.0, slope], [0.0, 1.0]))
    masked = masked._replace(params=params)
    gamma = 0.4
    found = departures.ratio_by_tilt(masked, column, table, gamma)
    plain = departures.ratio_by_tilt(gaussian(), column, table, gamma + slope * column.unit)
    np.testing.assert_allclose(found, plain, rtol=1e-4)
    # By hand: the share that is missing fixes the intercept.
    values, power = table[:, :, 1].ravel(), gamma / column.unit + slope
    low, high = -50.0, 50.0
    for _ in range(60):
        middle = (low + high) / 2
        too_many = special.expit(middle + power * values).mean() > column.is_missing.mean()
        low, high = (low, middle) if too_many else (middle, high)
    p10, p90 = special.expit(low + power * np.quantile(values, [0.1, 0.9]))
    np.testing.assert_allclose(found, p90 / p10, rtol=1e-4)
    assert departures.ratio_by_tilt(gaussian(), column, table, 0.0) == pytest.approx(1.0)


def test_a_shift_is_told_by_what_is_imputed_about_the_percentiles():
    """Counted in the completed tables: here none of the low values, and all of the high ones."""
    x = np.arange(100.0)[:, None]
    column = departures.make_target(
        "a", Block("numeric", 0, 0), np.where(x > 80, np.nan, np.where(x == 8, np.nan, x))
    )
    assert departures.ratio_by_shift(column, x[None]) == pytest.approx(10.0)


def test_rows_drawn_anew_tell_the_variance():
    """Of a statistic that gives none: that of the mean is known."""
    x, m = rows(), 20
    tables = [np.where(np.isnan(x), 0.1 * i, x) for i in range(m)]
    known = statistics.pooled(statistics.mean_of(1), tables, 0)
    for shown in (tables, [pd.DataFrame(one) for one in tables]):
        found = statistics.pooled(lambda table: np.asarray(table)[:, 1].mean(), shown, 0)
        np.testing.assert_allclose(found.estimate, known.estimate)
        within = [one.standard_error**2 * (1 - one.missing_information) for one in (found, known)]
        num_free = statistics.NUM_RESAMPLES - m
        assert abs(within[0] / within[1] - 1) < 5 * np.sqrt(2 / num_free)
    share = statistics.pooled(statistics.named("share_above:0.5", 0), tables, 0)
    below = statistics.pooled(statistics.named("share_below:0.5", 0), tables, 0)
    np.testing.assert_allclose(share.estimate, np.mean(x[:, 0] > 0.5))
    np.testing.assert_allclose(share.estimate + below.estimate, 1.0)


def told(conclusion=None, **fields):
    """Return an analysis of given numbers: an estimate gamma, by 0.5 more or less."""
    grid = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    defaults = {
        "statistic": "mean of income",
        "parameter": "gamma",
        "columns": ("income",),
        "units": (3.0,),
        "ends": (("the 90th percentile of income", "the 10th"),),
        "grid": grid,
        "estimate": grid,
        "low": grid - 0.5,
        "high": grid + 0.5,
        "missing_information": np.full(5, 0.2),
        "missing_ratio": 4.0 ** grid[:, None],
        "least_ess": np.array([3.0, 100.0, 100.0, 100.0, 100.0]),
        "median_ess": np.full(5, 200.0),
        "num_samples": 1000,
        "conclusion": conclusion,
        "level": 0.95,
    }
    return Sensitivity(**{**defaults, **fields})


@pytest.mark.parametrize(
    "conclusion, verdict, below, above",
    [
        (-1.0, "above", -0.5, None),
        (1.25, "below", None, 0.75),
        (0.25, "undecided", -0.25, 0.75),
        (0.5, "undecided", 0.0, 1.0),
        (9.0, "below", None, None),
    ],
)
def test_where_the_conclusion_turns(conclusion, verdict, below, above):
    """Nearest to 0 on either side, linear on the grid; nowhere is None, and said."""
    found = told(conclusion)
    assert found.verdict == verdict
    for point, expected in zip(found.tipping_points, (below, above), strict=True):
        assert point == (None if expected is None else pytest.approx(expected, abs=1e-12))
    assert ("does not turn" in str(found)) == (None in (below, above))
    assert "mean of income" in str(found)


def test_in_words():
    """A line for each size, what it says of missingness, the tipping point, the warning."""
    text = str(told(1.25))
    assert "by the fitted model, the mean of income is below 1.25" in text
    assert "it turns at gamma = 0.75: all else equal" in text and "2.83 times as often" in text
    assert "few draws carry the weight at gamma = -2" in text
    assert "number of 3.0" in text and "keep to a smaller gamma" in text
    assert "train longer" in str(told(least_ess=np.full(5, 3.0)))
    assert told().tipping_points == (None, None) and "turn" not in str(told())
    frame = told().to_frame()
    assert list(frame.columns[:3]) == ["gamma", "estimate", "low"] and len(frame) == 5
    assert "in completed tables" in str(told(parameter="delta"))


def test_the_figure_shows_the_turn():
    """Lines at 0, at the conclusion and where it turns."""
    matplotlib.use("Agg")
    figure = told(1.25).plot()
    lines = [line.get_xdata()[0] for line in figure.axes[0].lines if len(line.get_xdata()) == 2]
    assert {0.0, 0.75} <= set(map(float, lines))
    assert figure.axes[0].get_ylabel() == "mean of income"
    matplotlib.pyplot.close(figure)


@functools.cache
def people():
    """Return columns of four kinds with gaps, one without a gap and one without a value."""
    rng = np.random.default_rng(0)
    size, num_rows = rng.normal(size=120), 120
    codes = np.clip(np.round(size + 1), 0, 2).astype(int)
    table = pd.DataFrame(
        {
            "nothing": np.full(num_rows, np.nan),
            "income": 40 + 10 * size + rng.normal(size=num_rows),
            "owner": pd.array(size > 0, "boolean"),
            "rank": pd.Categorical.from_codes(codes, ["S", "M", "L"], ordered=True),
            "colour": pd.Categorical.from_codes(codes, ["red", "green", "blue"]),
            "age": rng.integers(20, 60, size=num_rows).astype(float),
        }
    )
    for name in table.columns[1:5]:
        table.loc[rng.random(num_rows) < 0.3, name] = None
    return table


@functools.cache
def imputer():
    """Return an imputer of them, after a few steps."""
    return MNARImputer(
        mechanism="mcar",
        max_iter=10,
        num_models=2,
        num_samples=200,
        max_value=90.0,
        random_state=0,
    ).fit(people())


@pytest.mark.slow
def test_levels_are_tilted_by_their_number():
    """At the ends of a wide grid all missing cells hold the last level, or the first."""
    x = people()
    for name, last in (("owner", 1), ("rank", 2)):
        found = imputer().sensitivity(x, name, gamma=[-60, 60])
        codes = x[name].astype("float") if name == "owner" else x[name].cat.codes.replace(-1, None)
        codes = codes.astype(float)
        assert found.statistic == f"mean of {name}" and found.units == (1.0,)
        np.testing.assert_allclose(found.estimate[0], codes.fillna(0).mean())
        np.testing.assert_allclose(found.estimate[2], codes.fillna(last).mean())
        assert (np.diff(found.missing_ratio[:, 0]) > 0).all() and f"last level of {name}" in str(
            found
        )


def test_a_function_gets_completed_tables_with_their_dtypes():
    """As transform gives them; a pair of numbers has its variance, one number is drawn anew."""
    seen = []

    def owners_income(table):
        seen.append(table)
        return table.loc[table["owner"], "income"].mean()

    settings = {"gamma": [0.5]}
    found = imputer().sensitivity(people(), ["income"], statistic=owners_income, **settings)
    again = imputer().sensitivity(people(), ["income"], statistic=owners_income, **settings)
    assert found.statistic == "owners_income" and (found.low < found.high).all()
    assert found.low.tobytes() == again.low.tobytes()
    assert (seen[0].dtypes == imputer().transform(people()).dtypes).all()
    pair = imputer().sensitivity(
        people(), ["income"], statistic=lambda table: (owners_income(table), 4.0), **settings
    )
    np.testing.assert_allclose(pair.estimate, found.estimate)
    assert pair.statistic == "statistic" and (pair.high - pair.low > 4 * 1.96).all()


def test_at_zero_it_is_what_sample_gives():
    """The mean of as many tables that sample draws, within the error of both; limits hold."""
    x = people()
    found = imputer().sensitivity(x, "income", gamma=[3.0])
    tables = imputer().sample(x, 20)
    means = [table["income"].mean() for table in tables]
    error = np.sqrt(2 / 20) * np.std(means, ddof=1)
    assert abs(found.estimate[0] - np.mean(means)) < 5 * error
    shifted = imputer().sensitivity(x, "income", delta=[100.0])
    np.testing.assert_allclose(shifted.estimate[1], x["income"].fillna(90.0).mean())


def test_columns_that_are_left_out_move_none():
    """A column without a value shifts the places of the others; names and numbers agree."""
    x = people()
    moved = np.nanstd(x["income"]) * x["income"].isna().mean()
    for keep in (False, True):
        fitted = copy.copy(imputer()).set_params(keep_empty_features=keep)
        for column in (1, "income"):
            found = fitted.sensitivity(x, column, delta=[-0.5])
            np.testing.assert_allclose(found.estimate[1] - found.estimate[0], 0.5 * moved)


@pytest.mark.parametrize(
    "settings, error, message",
    [
        ({}, ValueError, "expected one of gamma and delta, got neither"),
        ({"gamma": [1], "delta": [1]}, ValueError, "expected one of gamma and delta, got both"),
        ({"gamma": [0, np.inf]}, ValueError, "gamma: expected a list of finite numbers"),
        ({"gamma": []}, ValueError, "gamma: expected a list of finite numbers"),
        ({"delta": ["a"]}, TypeError, "delta: expected numbers"),
        ({"gamma": [1], "columns": "wage"}, ValueError, "income, owner, .*, got 'wage'"),
        ({"gamma": [1], "columns": 9}, ValueError, "columns: expected some of .*, got 9"),
        ({"gamma": [1], "columns": []}, ValueError, "columns: expected columns, each once"),
        ({"gamma": [1], "columns": ["income", 1]}, ValueError, "each once"),
        ({"gamma": [1], "columns": "nothing"}, ValueError, "with a value, got 'nothing'"),
        ({"gamma": [1], "columns": "colour"}, ValueError, "'colour' with 3 levels in no order"),
        ({"gamma": [1], "columns": "age"}, ValueError, "a gap, got none in 'age'"),
        ({"delta": [1], "columns": "owner"}, ValueError, "delta: expected columns of numbers"),
        ({"gamma": [1], "statistic": "median"}, ValueError, "expected mean, share_above:VALUE"),
        ({"gamma": [1], "statistic": "share_above:x"}, ValueError, "got 'share_above:x'"),
        ({"gamma": [1], "statistic": 3}, TypeError, "expected a name or a function, got 3"),
        ({"gamma": [1], "statistic": lambda t: np.nan}, ValueError, "a finite number or a pair"),
        ({"gamma": [1], "statistic": lambda t: (1, 2, 3)}, ValueError, r"got \(1, 2, 3\)"),
        ({"gamma": [1], "statistic": lambda t: (1, -2)}, ValueError, r"got \(1, -2\)"),
        ({"gamma": [1], "statistic": lambda t: t}, ValueError, "a finite number or a pair"),
        ({"gamma": [1], "num_imputations": 1}, ValueError, "num_imputations: expected at least 2"),
        ({"gamma": [1], "conclusion": np.nan}, ValueError, "conclusion: expected a finite number"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(settings, error, message):
    """What was given, and what is expected."""
    with pytest.raises(error, match=message) as caught:
        imputer().sensitivity(people(), **{"columns": "income", **settings})
    assert "\n" not in str(caught.value)


def test_heavy_tails_have_no_tilt():
    """A law whose tilt has no finite mass is refused; its shift is not."""
    fitted = gaussian()
    heavy = fitted._replace(config=dataclasses.replace(fitted.config, likelihood="student_t"))
    with pytest.raises(ValueError, match="light tails, got student_t"):
        analyse(fits=(heavy,), gamma=[1.0])
    assert analyse(fits=(heavy,), delta=[1.0], num_imputations=2).grid[1] == 1.0
