"""How far what was assumed moves the means of columns, in words and in units of the table."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from mnar_ebm import MNARImputer, data, screening
from mnar_ebm.config import Config
from mnar_ebm.estimator import against_random
from mnar_ebm.estimator.against_random import MeanAgainstRandom, compare_with_random
from mnar_ebm.estimator.columns import ColumnType
from mnar_ebm.estimator.report.cautions import MAX_DISTANCE, find_warnings
from mnar_ebm.kinds import make_blocks
from mnar_ebm.missingness import MECHANISMS
from mnar_ebm.screening import Evidence

pytestmark = pytest.mark.usefixtures("quick_compile_all")

NUM_ROWS = 120
TINY = {"slope_start": "flat", "hidden_dim": 4, "likelihood": "gaussian"}
COLUMNS = (
    ColumnType("income"),
    ColumnType("owner", "binary", (False, True)),
    ColumnType("hours"),
    ColumnType("size", "ordinal", ("S", "M", "L")),
    ColumnType("children"),
    ColumnType("born"),
)
BLOCKS = make_blocks(
    [("numeric", 0), ("binary", 2), ("numeric", 0), ("ordinal", 3), ("numeric", 0), ("numeric", 0)]
)
NAMES = ("income", "owner", "hours", "size_S", "size_M", "size_L", "children", "born")
INCOME, HOURS, CHILDREN, BORN = 0, 2, 6, 7


def make_rows():
    """Return encoded rows: incomes and hours with gaps, one number of children, years in full."""
    rng = np.random.default_rng(0)
    x = np.stack(
        [
            40_000 + 9_000 * rng.normal(size=NUM_ROWS),
            rng.random(NUM_ROWS) < 0.5,
            30 + 10 * rng.normal(size=NUM_ROWS),
            *np.eye(3)[rng.integers(3, size=NUM_ROWS)].T,
            np.full(NUM_ROWS, 2.0),
            1980 + 8 * rng.normal(size=NUM_ROWS),
        ],
        axis=1,
    )
    for block in BLOCKS[:-1]:
        x[rng.random(NUM_ROWS) < 0.25, block.columns] = np.nan
    return data.make_table("people", NAMES, x, blocks=BLOCKS)


class Stub:
    """A fitted model that fills a gap with what it is told to."""

    def __init__(self, mechanism, filling):
        """Take the mechanism, and a value for each encoded column."""
        self.config = Config(tilt="none", mechanism=mechanism, seed=5)
        self.filling, self.asked = np.asarray(filling, float), []

    def impute(self, x, **settings):
        """Return the rows filled."""
        self.asked.append((x, settings))
        return SimpleNamespace(mean=np.where(np.isnan(x), self.filling, x))


FILLING = np.array([52_000, 0.5, 24.0, 0.3, 0.3, 0.4, 2.0, 0.0])
RANDOM = np.array([41_000, 0.5, 31.0, 0.3, 0.3, 0.4, 2.0, 1980])


EVIDENCE = Evidence("self_masking", (1.0,) * 8, True, (), NUM_ROWS, 0.9, RANDOM)


def test_means_are_in_units_of_the_table():
    """Over all rows, gaps filled; the distance in standard deviations of what was observed."""
    table = make_rows()
    fitted = Stub("selfmasking_probit", FILLING)
    compared = compare_with_random(fitted, table, COLUMNS, EVIDENCE)
    assert [one.name for one in compared] == ["income", "hours"]  # numbers with gaps that vary
    for one, column in zip(compared, (INCOME, HOURS), strict=True):
        observed = table.x[table.mask[:, column], column]
        mean = np.where(table.mask, table.x, FILLING)[:, column].mean()
        np.testing.assert_allclose([one.mean, one.random], [mean, RANDOM[column]])
        np.testing.assert_allclose(one.distance, (mean - RANDOM[column]) / observed.std())
    ((asked, settings),) = fitted.asked
    np.testing.assert_array_equal(asked, table.x)
    assert settings == {"seed": 5, "is_most": True}
    assert compared[0].distance > 0 > compared[1].distance


def test_units_do_not_move_a_distance():
    """What is told in thousands is told of a thousandth."""
    table = make_rows()
    scale = np.where(np.arange(8) == INCOME, 1e-3, 1.0)
    other = data.make_table("people", NAMES, table.x * scale, blocks=BLOCKS)
    scaled = EVIDENCE._replace(random_means=RANDOM * scale)
    first, *_ = compare_with_random(Stub("linear", FILLING), table, COLUMNS, EVIDENCE)
    second, *_ = compare_with_random(Stub("linear", FILLING * scale), other, COLUMNS, scaled)
    np.testing.assert_allclose([second.mean, second.random], [first.mean / 1e3, 41.0])
    np.testing.assert_allclose(second.distance, first.distance)


def test_a_factor_model_tells_the_means_where_nothing_was_screened(monkeypatch):
    """By the seed of the fit; evidence saves the work."""
    asked = []

    def random_means(table, seed):
        asked.append(seed)
        return RANDOM

    monkeypatch.setattr(against_random, "random_means", random_means)
    fitted, table = Stub("linear", FILLING), make_rows()
    compared = compare_with_random(fitted, table, COLUMNS, None)
    assert asked == [5] and compared[0].random == 41_000
    compare_with_random(fitted, table, COLUMNS, EVIDENCE)
    assert asked == [5]


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_nothing_is_told_where_gaps_are_at_random_or_there_are_none(mechanism):
    """Nor is any work done."""
    table = make_rows()
    full = data.make_table("people", NAMES, np.where(table.mask, table.x, FILLING))
    fitted = Stub(mechanism, FILLING)
    assert compare_with_random(fitted, full, COLUMNS, None) == () and not fitted.asked
    compared = compare_with_random(fitted, table, COLUMNS, EVIDENCE)
    assert bool(compared) == bool(fitted.asked) == MECHANISMS[mechanism].reads_hidden


def test_a_comparison_reads():
    """Both means, how far, and on which side."""
    above = MeanAgainstRandom("income", 47_250.0, 41_000.0, 0.6944)
    assert str(above) == (
        "the mean of income would be 41000, here it is 47250, 0.69 standard deviations above"
    )
    below = MeanAgainstRandom("hours", 24.5, 31.25, -0.6)
    assert str(below) == (
        "the mean of hours would be 31.25, here it is 24.5, 0.60 standard deviations below"
    )


@pytest.fixture(scope="module")
def report():
    """Return the report of a tiny fit whose gaps hide nothing."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(60, 2)) * [9_000, 10] + [40_000, 30]
    x[rng.random(x.shape) < 0.3] = np.nan
    imputer = MNARImputer(
        mechanism="selfmasking_probit",
        max_iter=2,
        num_models=1,
        num_samples=50,
        settings=TINY,
        random_state=0,
    )
    return imputer.fit(pd.DataFrame(x, columns=["income", "hours"])).report_


def test_a_fit_has_the_comparison_of_its_columns(report):
    """In the order of the table, near to what was observed, for it was hardly trained."""
    assert [one.name for one in report.against_random] == ["income", "hours"]
    income, hours = report.against_random
    assert 35_000 < income.mean < 45_000 and 25 < hours.mean < 35
    for one in (income, hours):
        assert abs(one.distance) < 1 and f"under missing at random: {one}" in str(report)


@pytest.mark.parametrize("distance", [0.49, -0.49, 0.51, -2.0])
def test_what_was_assumed_decides_beyond_half_a_standard_deviation(report, distance):
    """The warning tells both means; of other columns it says nothing."""
    assert MAX_DISTANCE == 0.5
    moved = MeanAgainstRandom("income", 47_250.0, 41_000.0, distance)
    near = MeanAgainstRandom("hours", 24.5, 24.6, -0.01)
    told = find_warnings(dataclasses.replace(report, against_random=(near, moved)), (), [], (), ())
    found = [line for line in told if line.startswith("what was assumed decides: ")]
    if abs(distance) < 0.5:
        assert not found
        return
    (line,) = found
    assert "the mean of income would be 41000, here it is 47250" in line
    assert line.endswith(
        f"{abs(distance):.2f} standard deviations {'above' if distance > 0 else 'below'}"
    )


def test_a_fit_that_moves_a_mean_far_is_warned_of(monkeypatch):
    """From the means to the report of the imputer."""
    means = np.array([12_000.0, 30.0])
    monkeypatch.setattr(against_random, "random_means", lambda table, seed: means)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(60, 2)) * [9_000, 10] + [40_000, 30]
    x[rng.random(x.shape) < 0.3] = np.nan
    quick = {"max_iter": 2, "num_models": 1, "num_samples": 50, "random_state": 0}
    imputer = MNARImputer(mechanism="selfmasking_probit", settings=TINY, **quick).fit(x)
    (line,) = [one for one in imputer.report_.warnings if "what was assumed decides" in one]
    assert "the mean of x0 would be 12000, here it is " in line and line.endswith(" above")
    assert f"warning: {line}" in str(imputer.report_)


@pytest.mark.slow
def test_the_factor_model_fills_gaps_at_random_by_what_goes_with_them():
    """A column whose upper half is missing where another is high: its mean is that of all rows."""
    rng = np.random.default_rng(2)
    common = rng.normal(size=(1500, 1))
    truth = 100 + 20 * (0.9 * common + np.sqrt(0.19) * rng.normal(size=(1500, 3)))
    x = truth.copy()
    x[(truth[:, 1] > 105) & (rng.random(1500) < 0.9), 0] = np.nan
    table = data.make_table("toy", ("a", "b", "c"), x)
    means = screening.random_means(table)
    np.testing.assert_allclose(means[1:], truth[:, 1:].mean(axis=0), rtol=1e-4)
    error = 20 * 0.5 / np.sqrt(np.isnan(x[:, 0]).sum())
    assert abs(means[0] - truth[:, 0].mean()) < 4 * error
    assert np.nanmean(x[:, 0]) < truth[:, 0].mean() - 8 * error
