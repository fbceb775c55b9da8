"""Tables, the benchmark's mask and the standardiser."""

import json

import numpy as np
import pytest

from mnar_ebm import data, metrics


def test_make_table_reads_the_mask_from_nan():
    """Rows without a value and constant columns are fine."""
    table = data.make_table("t", ["a", "b"], [[1, np.nan], [np.nan, np.nan], [1, 3]])
    np.testing.assert_array_equal(table.mask, [[True, False], [False, False], [True, True]])
    assert table.columns == ("a", "b") and table.x.dtype == np.float64 and table.truth is None


@pytest.mark.parametrize(
    ("columns", "x", "truth", "error", "match"),
    [
        (["a"], [["one"]], None, TypeError, "t: expected a numeric table"),
        (["a"], [1.0], None, ValueError, r"shape \[rows, columns\], got shape \(1,\)"),
        (["a"], np.empty((0, 1)), None, ValueError, r"got shape \(0, 1\)"),
        (["a"], [[1.0, 2.0]], None, ValueError, "expected 1 columns, got 2"),
        (["a", "b"], [[1.0, np.inf]], None, ValueError, "got inf in row 0, column 'b'"),
        (["a", "b"], [[1.0, -1e200]], None, ValueError, r"at most 1e\+150 in size, got -1e\+200"),
        (["a", "b"], [[1.0, np.nan]], None, ValueError, "a value in column 'b', got none"),
        (["a"], [[1.0]], [[1.0], [2.0]], ValueError, r"\(truth\): expected shape \(1, 1\)"),
        (["a"], [[1.0]], [[-np.inf]], ValueError, r"t \(truth\).*got -inf.*column 'a'"),
    ],
)
def test_make_table_refuses(columns, x, truth, error, match):
    """What is not a table is named."""
    with pytest.raises(error, match=match):
        data.make_table("t", columns, x, truth)


def test_mask_above_mean_hides_high_values_of_the_first_half():
    """Five columns: two can lose cells, a cell at the mean stays."""
    x = np.array([[0.0, 5, 9, 9, 9], [1.0, 1, 0, 0, 0], [2.0, 0, 0, 0, 0]])
    expected = np.ones((3, 5), bool)
    expected[2, 0] = expected[0, 1] = False
    np.testing.assert_array_equal(data.mask_above_mean(x), expected)


def test_mask_above_mean_keeps_constant_columns():
    """The mean of 0.7 three times is below 0.7 in float64, yet nothing is above average."""
    x = np.full((3, 2), 0.7)
    assert x.mean(axis=0)[0] < 0.7
    assert data.mask_above_mean(x).all()


def test_mask_above_mean_refuses_missing_cells():
    """The protocol starts from complete values."""
    with pytest.raises(ValueError, match="expected complete values, got NaN"):
        data.mask_above_mean(np.array([[np.nan, 1.0]]))


def test_standardiser_fits_observed_cells():
    """What a missing cell holds is not read; constant and empty columns have scale 1."""
    x = np.array([[1.0, 0.1, np.nan, 1e9], [3.0, 0.1, np.nan, 2.0], [np.nan, 0.1, np.nan, 4.0]])
    mask = np.array([[1, 1, 0, 0], [1, 1, 0, 1], [0, 1, 0, 1]], bool)
    standardiser = data.Standardiser.fit(x, mask)
    np.testing.assert_allclose(standardiser.mean, [2.0, 0.1, 0.0, 3.0])
    np.testing.assert_allclose(standardiser.scale, [1.0, 1.0, 1.0, 1.0])
    standardiser = data.Standardiser.fit(10 * x, mask)
    np.testing.assert_allclose(standardiser.scale, [10.0, 1.0, 1.0, 10.0])


def test_a_constant_column_is_one_whatever_its_sum():
    """To the standardiser, the mask above the mean and the error of an imputation."""
    x = np.column_stack([np.full(1000, 0.1), np.arange(1000.0)])  # whose sums are not 100
    standardiser = data.Standardiser.fit(x, np.ones_like(x, bool))
    assert standardiser.mean[0] == 0.1 and standardiser.scale[0] == 1.0
    assert data.mask_above_mean(x)[:, 0].all()
    mask = np.arange(2) == np.ones((1000, 1))
    assert metrics.imputation_rmse(x + 0.01, x, mask) < 0.02


def test_standardiser_scale_is_the_standard_deviation():
    """On a complete column it is NumPy's own, and apply gives mean 0 and deviation 1."""
    x = np.random.default_rng(0).normal(3, 2, (50, 4))
    standardiser = data.Standardiser.fit(x, np.ones_like(x, bool))
    np.testing.assert_allclose(standardiser.scale, x.std(axis=0), rtol=1e-12)
    standard = standardiser.apply(x)
    np.testing.assert_allclose(standard.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(standardiser.invert(standard), x, rtol=1e-12)
    np.testing.assert_array_equal(data.Standardiser.identity(4).apply(x), x)


def test_standardiser_survives_json_exactly():
    """Floats come back bit for bit."""
    x = np.random.default_rng(1).lognormal(0, 5, (9, 3))
    before = data.Standardiser.fit(x, np.ones_like(x, bool))
    after = data.Standardiser.from_json(json.loads(json.dumps(before.to_json())))
    np.testing.assert_array_equal(after.mean, before.mean)
    np.testing.assert_array_equal(after.scale, before.scale)


def columns_of(*columns):
    """Return columns as a table. [N, D]."""
    return np.array(columns, float).T


def test_atoms_are_heaps_on_a_limit():
    """Zeros of an amount and a cap are found; a mode inside, integers and two levels are not."""
    rng = np.random.default_rng(0)
    amount = np.where(rng.random(200) < 0.3, 0.0, rng.exponential(size=200))
    capped = np.minimum(rng.normal(size=200), 0.5)
    inside = np.where(rng.random(200) < 0.5, 0.1, rng.normal(size=200))
    integers, binary = rng.integers(0, 5, 200), rng.integers(0, 2, 200)
    x = columns_of(amount, capped, inside, integers, binary, np.ones(200))
    atoms = data.find_atoms(x, np.ones_like(x, bool))
    np.testing.assert_array_equal(atoms.value, [0.0, 0.5, *[np.nan] * 4])
    assert atoms.side == (1, -1, 0, 0, 0, 0)
    assert data.find_atoms(x[:, 2:], np.ones((200, 4), bool)).side == ()


def test_atoms_and_units_are_read_off_observed_cells():
    """A heap of missing cells is none, and a column with an atom is centred at it."""
    values = np.array([5.0] * 4 + [6.0, 8.0, 5.0] + [np.nan] * 9)
    x, mask = columns_of(values, np.arange(16)), columns_of(~np.isnan(values), np.ones(16)) == 1
    atoms = data.find_atoms(np.where(mask, x, 6.0), mask)
    assert atoms.side == (1, 0)
    standard = data.Standardiser.fit(x, mask, atoms)
    assert (standard.mean[0], standard.scale[0]) == (5.0, np.sqrt((1 + 9) / 2))
    assert (standard.mean[1], standard.scale[1]) == (7.5, np.std(np.arange(16)))
