"""What is told of a mechanism, beside its own probabilities."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from mnar_ebm import data
from mnar_ebm.config import Config
from mnar_ebm.estimator.columns import ColumnType
from mnar_ebm.estimator.report import describe
from mnar_ebm.estimator.report.describe import describe_columns
from mnar_ebm.tilted import make_fitted, table_facts

CONFIG = Config(tilt="none", latent_dim=2, hidden_dim=8, mechanism="linear")
COLUMNS = (ColumnType("income"), ColumnType("hours"))


def make_table():
    """Return incomes beside hours, a third of which are 0; gaps in both."""
    rng = np.random.default_rng(0)
    income = 40_000 + 9_000 * rng.normal(size=300)
    hours = np.where(rng.random(300) < 0.35, 0.0, 1 + rng.gamma(4.0, 9.0, 300))
    x = np.stack([income, hours], axis=1)
    return data.make_table("t", ("income", "hours"), np.where(rng.random(x.shape) < 0.2, np.nan, x))


@pytest.mark.parametrize(
    "settings", [{}, {"likelihood": "two_part"}, {"standardise": "none"}], ids=str
)
def test_a_threshold_is_where_half_go_missing(settings):
    """In units of the table: with an atom as the centre of a column, and without standard units."""
    table = make_table()
    config = dataclasses.replace(CONFIG, **settings)
    fitted = make_fitted(config, table_facts(config, table))
    scale, mean = fitted.facts.standardiser.scale, fitted.facts.standardiser.mean
    slopes = np.array([1 / 9_000, -1 / 15]) * scale  # in standard units
    halves = (np.array([45_000, 20.0]) - mean) / scale
    others = np.array([[0.0, 0.3], [-0.2, 0.0]]) * scale[:, None] / [[9_000.0], [15.0]]
    center = np.nanmean((table.x - mean) / scale, axis=0)
    params = {
        "slope": jnp.arcsinh(slopes),
        "others": jnp.asarray(others),
        "offset": jnp.asarray(-slopes * halves - center @ others),
    }
    fitted = fitted._replace(params=fitted.params._replace(mechanism=params))
    for column, half, slope in zip(
        describe_columns(fitted, table, COLUMNS), (45_000, 20.0), (1 / 9_000, -1 / 15), strict=True
    ):
        np.testing.assert_allclose([column.threshold, column.slope], [half, slope], rtol=1e-3)
        order = np.argsort(column.probability)
        crossing = np.interp(0.5, column.probability[order], column.grid[order])
        np.testing.assert_allclose(crossing, half, rtol=1e-2)
        assert column.direction == ("high" if slope > 0 else "low") + " values go missing"


@pytest.mark.parametrize("gap_terms", [False, True])
@pytest.mark.parametrize("mechanism", ["none", "mar"])
def test_what_a_mechanism_does_not_tell_is_nan(mechanism, gap_terms):
    """Of any column, or of those without a gap, which others are told by."""
    x = make_table().x
    x[:, 0] = 40_000 + 9_000 * np.random.default_rng(1).normal(size=300)
    table = data.make_table("t", ("income", "hours"), x)
    config = dataclasses.replace(CONFIG, mechanism=mechanism, gap_terms=gap_terms)
    fitted = make_fitted(config, table_facts(config, table))
    income, hours = describe_columns(fitted, table, COLUMNS)
    assert np.isnan(income.probability).all()
    assert np.isnan(hours.probability).all() == (mechanism == "none")


@pytest.mark.parametrize("values", [[0.3, 0.1 + 0.2], [1e17, 1e17], [1.7e18, 1.7e18 + 256]])
def test_values_too_close_for_bins_have_a_histogram(values):
    """All counted, in bins that differ."""
    x = np.stack([np.tile(values, 150), make_table().x[:, 1]], axis=1)
    table = data.make_table("t", ("income", "hours"), x)
    fitted = make_fitted(CONFIG, table_facts(CONFIG, table))
    income, _ = describe_columns(fitted, table, COLUMNS)
    assert income.bin_counts.sum() == 300 and (np.diff(income.bin_edges) > 0).all()


@pytest.mark.parametrize("mechanism", ["ignorable", "no_self_censoring"])
@pytest.mark.parametrize("gap_terms", [False, True])
def test_what_others_decide_is_told_as_such(mechanism, gap_terms):
    """No slope, and the same probability whatever the column holds."""
    table = make_table()
    config = dataclasses.replace(CONFIG, mechanism=mechanism, gap_terms=gap_terms)
    fitted = make_fitted(config, table_facts(config, table))
    rng = np.random.default_rng(2)
    moved = {
        name: leaf if name == "earlier" else leaf + jnp.asarray(rng.normal(size=leaf.shape))
        for part in (fitted.params.mechanism,)
        for name, leaf in (part.get("own", part) | part.get("gaps", {})).items()
    }
    params = {name: moved[name] for name in moved if name not in ("coefficients", "earlier")}
    if "gaps" in fitted.params.mechanism:
        gaps = {name: moved[name] for name in ("coefficients", "earlier")}
        params = {"own": params, "gaps": gaps}
    fitted = fitted._replace(params=fitted.params._replace(mechanism=params))
    for column in describe_columns(fitted, table, COLUMNS):
        assert np.isnan(column.slope) and np.isnan(column.threshold)
        assert 0 < column.probability[0] < 1 and np.ptp(column.probability) < 1e-5
        assert column.direction.startswith("whether a value is missing depends on ")


def test_gap_terms_move_the_level_not_the_slope_that_is_told():
    """Self-masking is told at the gap terms of a row that is observed, at its mean."""
    table = make_table()
    settings = {"mechanism": "selfmasking_probit", "gap_terms": True, "own_slopes": (2.0, 0.0)}
    settings |= {"slope_start": "high"}
    config = dataclasses.replace(CONFIG, **settings)
    fitted = make_fitted(config, table_facts(config, table))
    income, hours = describe_columns(fitted, table, COLUMNS)
    scale = fitted.facts.standardiser.scale
    np.testing.assert_allclose(income.slope, 2.0 / scale[0], rtol=1e-5)
    assert np.isnan(hours.slope) and np.isnan(hours.threshold) and "slope" not in str(hours)
    assert (np.diff(income.probability) >= 0).all() and income.direction == describe.HIGH
    assert np.ptp(hours.probability) < 1e-6 and hours.direction == describe.NO_LINK
    np.testing.assert_allclose(hours.probability[0], hours.missing_share, rtol=1e-4)
    gaps = fitted.params.mechanism["gaps"]
    terms = gaps["coefficients"].at[0].set(2.0)  # of the gaps of earlier columns alone
    params = fitted.params.mechanism | {"gaps": gaps | {"coefficients": terms}}
    moved = fitted._replace(params=fitted.params._replace(mechanism=params))
    for one, other in zip(describe_columns(moved, table, COLUMNS), (income, hours), strict=True):
        np.testing.assert_allclose(one.probability, other.probability, rtol=1e-6)
    terms = gaps["coefficients"].at[2].set(2.0)  # of the squares of their values
    params = fitted.params.mechanism | {"gaps": gaps | {"coefficients": terms}}
    moved = fitted._replace(params=fitted.params._replace(mechanism=params))
    told = describe_columns(moved, table, COLUMNS)
    later = int(np.asarray(gaps["earlier"]).sum(axis=0).argmax())
    change = [
        np.abs(one.probability - other.probability).max()
        for one, other in zip(told, (income, hours), strict=True)
    ]
    assert change[later] > 0.05 and change[1 - later] < 1e-6
