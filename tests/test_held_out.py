"""What models are compared by: scores of rows that none was fitted to."""

from types import SimpleNamespace

import numpy as np
import pytest

from mnar_ebm import data
from mnar_ebm.blocks import make_blocks
from mnar_ebm.config import Config
from mnar_ebm.training import held_out

NUM_ROWS = 4000


def fill_with(value, scale=1.0):
    """Return a model that fills every gap with a value, of a table in units of a scale."""
    return SimpleNamespace(
        config=Config(validation_fraction=0.5),
        facts=SimpleNamespace(standardiser=data.Standardiser(np.zeros(4), np.full(4, scale))),
        impute=lambda x, seed: SimpleNamespace(mean=np.where(np.isnan(x), value, x)),
    )


def make_table(row, kinds=()):
    """Return a table of one row again and again, with a gap of the second in all but a column."""
    x = np.tile(np.asarray(row, float), (NUM_ROWS, 1))
    x[1, 1:] = np.nan
    return data.make_table("same", list("abcd"), x, blocks=make_blocks(kinds))


def test_cells_of_columns_with_gaps_are_hidden():
    """Filled with 3, a cell costs 4; a share of them is hidden, in columns that have gaps alone."""
    scores = held_out.hidden_cell_scores(fill_with(3.0), make_table([1, 1, 1, 1]))
    assert scores.shape == (held_out.MAX_ROWS,) and set(scores) == {0.0, -4.0, -8.0, -12.0}
    share = -scores.mean() / 4 / 3
    error = np.sqrt(0.3 * 0.7 / (3 * len(scores)))
    assert abs(share - held_out.HIDDEN_SHARE) < 4 * error
    np.testing.assert_array_equal(
        held_out.hidden_cell_scores(fill_with(2.0), make_table([1, 1, 1, 1])), scores / 4
    )  # the same cells
    np.testing.assert_array_equal(
        held_out.hidden_cell_scores(fill_with(3.0, scale=2.0), make_table([1, 1, 1, 1])), scores / 4
    )  # in standard units


def test_cells_of_any_column_are_hidden_where_none_has_a_gap():
    """Each of four cells is, with the same chance."""
    complete = data.make_table("same", list("abcd"), np.ones((NUM_ROWS, 4)))
    scores = held_out.hidden_cell_scores(fill_with(3.0), complete)
    assert set(scores) == {0.0, -4.0, -8.0, -12.0, -16.0}
    error = np.sqrt(0.3 * 0.7 / (4 * len(scores)))
    assert abs(-scores.mean() / 4 / 4 - held_out.HIDDEN_SHARE) < 4 * error


def test_all_encoded_columns_of_a_column_are_hidden_together():
    """A column of three levels costs 9 + 9 + 4, or nothing."""
    table = make_table([1, 0, 0, 1], [("numeric", 0), ("categorical", 3)])
    assert set(held_out.hidden_cell_scores(fill_with(3.0), table)) == {0.0, -22.0}


@pytest.mark.parametrize("num_rows, most", [(5, 5), (3, 7), (0, 7), (10, 3), (5000, 256)])
def test_some_rows_are_taken_from_the_whole_of_a_table(num_rows, most):
    """All of them if they are few; else as many as may be, and each stretch has its share."""
    rows = held_out.some_rows(num_rows, most)
    assert len(rows) == min(num_rows, most) and (np.diff(rows) > 0).all()
    edges = np.linspace(0, num_rows, len(rows) + 1)
    assert (np.abs(rows - edges[:-1]) < 1).all()


@pytest.mark.parametrize("gap, expected", [(0.5, "a"), (2.0, "b")])
def test_the_simplest_that_the_best_is_not_clearly_above(gap, expected):
    """Differences of mean 1 and standard error 1/2, times less or more than their noise."""
    noise = np.tile([-5.0, 5.0], 50)
    noise *= 0.5 * np.sqrt(len(noise)) / noise.std(ddof=1)
    scores = {"a": np.zeros(100), "b": gap + noise}
    assert held_out.simplest_of(scores) == expected and held_out.best_of(scores) == "b"
