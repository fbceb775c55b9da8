"""Masks: how many cells they hide, and what that depends on."""

import numpy as np
import pytest

from mnar_ebm import data
from mnar_ebm.data import masks

NUM_ROWS, NUM_COLUMNS = 20_000, 6
RANDOM = {
    "mcar": masks.mask_mcar,
    "mar": masks.mask_mar,
    "logistic": masks.mask_logistic,
    "self_logistic": masks.mask_self_logistic,
    "regime": masks.mask_regime,
}


@pytest.fixture(scope="module")
def x():
    """Return independent columns of different means and spreads."""
    rng = np.random.default_rng(0)
    return 3.0 + rng.normal(size=(NUM_ROWS, NUM_COLUMNS)) * np.arange(1, NUM_COLUMNS + 1)


def z_of_difference(values, missing):
    """Return by how many standard errors missing values differ from observed ones, on average."""
    parts = values[missing], values[~missing]
    variance = sum(part.var() / len(part) for part in parts)
    return (parts[0].mean() - parts[1].mean()) / np.sqrt(variance)


@pytest.mark.parametrize("name", data.MASKS)
def test_every_mask_is_repeated_by_its_seed_and_ignores_units(x, name):
    """The same seed, the same mask, also of columns in other units; nothing is wholly hidden."""
    mask = data.hide(name, 1, x)
    assert mask.shape == x.shape and mask.dtype == bool
    np.testing.assert_array_equal(data.hide(name, 1, 4.0 * x), mask)
    assert not mask.all() and mask.any(axis=0).all()
    is_random = name in (*RANDOM, "quantile", "one_variable", "weighted_sum")
    assert np.array_equal(data.hide(name, 2, x), mask) is not is_random


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.7])
@pytest.mark.parametrize("name", RANDOM)
def test_the_rate_is_the_one_asked_for(x, name, rate):
    """In every column that may have gaps."""
    missing = 1.0 - RANDOM[name](0, x, rate).mean(axis=0)
    hidden = missing > 0
    assert hidden.sum() == (NUM_COLUMNS - 1 if name == "mar" else NUM_COLUMNS)
    standard_error = np.sqrt(rate * (1 - rate) / NUM_ROWS)
    assert (np.abs(missing[hidden] - rate) < 5 * standard_error).all()


def test_completely_at_random_nothing_matters(x):
    """Missing values are like observed ones."""
    mask = masks.mask_mcar(0, x)
    for column in range(NUM_COLUMNS):
        for other in range(NUM_COLUMNS):
            assert abs(z_of_difference(x[:, other], ~mask[:, column])) < 5


@pytest.mark.parametrize("name", ["mar", "logistic"])
def test_what_is_read_matters_and_nothing_else(x, name):
    """The one input column decides on the others, which do not; it is observed at random or all."""
    mask = RANDOM[name](0, x)
    inputs = masks._choose(np.random.default_rng(0), NUM_COLUMNS, 0.3)
    (column,) = inputs
    assert mask[:, column].all() == (name == "mar")
    for hidden in set(range(NUM_COLUMNS)) - {column}:
        assert abs(z_of_difference(x[:, column], ~mask[:, hidden])) > 10
        assert abs(z_of_difference(x[:, hidden], ~mask[:, hidden])) < 5
    if name == "logistic":
        assert abs(z_of_difference(x[:, column], ~mask[:, column])) < 5


def test_self_masking_depends_on_the_value_alone(x):
    """P(missing) = sigmoid(a ± x) in standard units: equal bins of x have that rate."""
    mask = masks.mask_self_logistic(0, x)
    standard = (x - x.mean(axis=0)) / x.std(axis=0)
    for column in range(NUM_COLUMNS):
        missing = ~mask[:, column]
        sign = np.sign(z_of_difference(x[:, column], missing))
        bins = np.array_split(np.argsort(standard[:, column]), 10)
        rates = np.array([missing[rows].mean() for rows in bins])
        centres = np.array([standard[rows, column].mean() for rows in bins])
        slope = np.polyfit(centres, np.log(rates / (1 - rates)), 1)[0]
        # A logit of a share of n has the standard error 1/sqrt(n r (1 - r)), at most 0.1 here.
        assert abs(slope - sign) < 5 * 0.1 / np.sqrt(10)
        other = (column + 1) % NUM_COLUMNS
        assert abs(z_of_difference(x[:, other], missing)) < 5


def test_quantile_hides_tails_of_half_of_the_columns(x):
    """Cells in a tail at the rate asked for; none elsewhere."""
    for cut, share in (("both", 0.5), ("upper", 0.25), ("lower", 0.25)):
        missing = ~masks.mask_quantile(0, x, rate=0.6, cut=cut)
        columns = np.flatnonzero(missing.any(axis=0))
        assert len(columns) == NUM_COLUMNS // 2
        low, high = np.quantile(x, (0.25, 0.75), axis=0)
        for column in columns:
            below, above = x[:, column] <= low[column], x[:, column] >= high[column]
            tail = {"both": below | above, "upper": above, "lower": below}[cut]
            assert not missing[~tail, column].any()
            standard_error = np.sqrt(0.24 / (share * NUM_ROWS))
            assert abs(missing[tail, column].mean() - 0.6) < 5 * standard_error
    with pytest.raises(ValueError, match="cut: expected one of upper, lower, both, got 'left'"):
        masks.mask_quantile(0, x, cut="left")


@pytest.mark.parametrize("name", ["extremes", "around_mean"])
def test_two_sided_self_masking(x, name):
    """What is hidden is farther from, or nearer to, the mean than all that is not."""
    mask = data.hide(name, 0, x)
    half = NUM_COLUMNS // 2
    assert mask[:, half:].all()
    np.testing.assert_allclose(1 - mask[:, :half].mean(axis=0), 0.3, atol=1 / NUM_ROWS)
    distance = np.abs(x - x.mean(axis=0))
    for column in range(half):
        hidden, shown = distance[~mask[:, column], column], distance[mask[:, column], column]
        if name == "extremes":
            assert hidden.min() >= shown.max()
        else:
            assert hidden.max() <= shown.min()


def test_one_variable_loses_values_above_its_median(x):
    """One column, at the rate asked for."""
    missing = ~masks.mask_one_variable(0, x)
    (column,) = np.flatnonzero(missing.any(axis=0))
    above = x[:, column] > np.median(x[:, column])
    assert not missing[~above].any()
    standard_error = np.sqrt(0.8 * 0.2 / above.sum())
    assert abs(missing[above, column].mean() - 0.8) < 5 * standard_error


def test_a_weighted_sum_hides_a_set_of_columns_in_a_share_of_the_rows(x):
    """Every row loses one of five sets, and rows with the same gaps are neighbours in the sum."""
    mask = masks.mask_weighted_sum(0, x)
    weights = np.random.default_rng(0).normal(size=NUM_COLUMNS)
    total = ((x - x.mean(axis=0)) / x.std(axis=0)) @ weights
    sets = mask[np.argsort(total)].reshape(5, -1, NUM_COLUMNS)
    assert (sets == sets[:, :1]).all()
    assert (~sets[:, 0]).sum() == NUM_COLUMNS and (~sets[:, 0]).any(axis=1).all()
    assert (~sets[:, 0]).any(axis=0).all()


def test_in_a_regime_one_gap_tells_of_the_others(x):
    """A row whose high value is hidden loses high values of the next column too."""
    missing = ~masks.mask_regime(0, x)
    high = missing & (x > x.mean(axis=0) + x.std(axis=0))
    others = x[high[:, 0], 1], missing[high[:, 0], 1]
    assert z_of_difference(*others) > 10
    assert abs(z_of_difference(x[:, 1], missing[:, 1])) < 5


def test_the_cut_off_can_be_moved_up():
    """To the mean plus some standard deviations."""
    x = np.array([[0.0, 0.0], [2.0, 0.0], [4.0, 0.0]])  # mean 2, standard deviation 1.63
    for num_sds, hidden in ((0.0, 1), (1.0, 1), (1.5, 0), (-1.0, 2)):
        assert (~masks.mask_above_mean(x, num_sds)).sum() == hidden


def test_wrong_input_is_refused(x):
    """In one line that names it."""
    with pytest.raises(ValueError, match="mask: expected one of above_mean, .* got 'mnar'"):
        data.hide("mnar", 0, x)
    with pytest.raises(ValueError, match="rate: expected a share between 0 and 1, got 1.5"):
        masks.mask_mcar(0, x, 1.5)
    with pytest.raises(ValueError, match="x: expected complete values, got NaN"):
        data.hide("mar", 0, np.array([[np.nan, 1.0]]))
