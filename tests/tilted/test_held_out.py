"""What models are compared by: scores of rows that none was fitted to."""

from types import SimpleNamespace

import numpy as np
import pytest

from mnar_ebm import data
from mnar_ebm.config import Config
from mnar_ebm.kinds import make_blocks
from mnar_ebm.tilted import held_out

NUM_ROWS = 4000


def fill_with(value, scale=1.0):
    """Return a model that fills every gap with a value, of a table in units of a scale."""
    return SimpleNamespace(
        config=Config(validation_fraction=0.5),
        facts=SimpleNamespace(standardiser=data.Standardiser(np.zeros(4), np.full(4, scale))),
        impute=lambda x, num_imputations, seed, is_most: SimpleNamespace(
            draws=np.repeat(np.where(np.isnan(x), value, x)[:, None], num_imputations, axis=1)
        ),
    )


def make_table(row, kinds=()):
    """Return a table of one row again and again, with a gap of the second in all but a column."""
    x = np.tile(np.asarray(row, float), (NUM_ROWS, 1))
    x[1, 1:] = np.nan
    return data.make_table("same", list("abcd"), x, blocks=make_blocks(kinds))


def test_cells_of_columns_with_gaps_are_hidden_once():
    """Filled with 3, a cell costs 2; of the four columns three have gaps."""
    table = make_table([1, 1, 1, 1])
    scores = held_out.hidden_cell_scores(fill_with(3.0), table)
    rows = held_out.split_rows(Config(validation_fraction=0.5), NUM_ROWS)[1]
    rows = rows[held_out.some_rows(len(rows), held_out.MAX_ROWS)]
    np.testing.assert_array_equal(scores, -2.0 * table.mask[rows, 1:].sum(axis=1))
    in_wide_units = held_out.hidden_cell_scores(fill_with(3.0, scale=2.0), table)
    np.testing.assert_array_equal(in_wide_units, scores / 2)


def test_cells_of_any_column_are_hidden_where_none_has_a_gap():
    """Each of the four once."""
    complete = data.make_table("same", list("abcd"), np.ones((NUM_ROWS, 4)))
    assert set(held_out.hidden_cell_scores(fill_with(3.0), complete)) == {-8.0}


def test_cells_are_hidden_a_group_at_a_time():
    """The same for every model, a share of the cells each; other cells of their rows are seen."""
    table, asked = make_table([1, 1, 1, 1]), []

    model = fill_with(0.0)
    fill = model.impute
    model.impute = lambda x, **how: asked.append(np.isnan(x)) or fill(x, **how)
    for _ in range(2):
        held_out.hidden_cell_scores(model, table)
    first, second = np.reshape(asked, (2, held_out.NUM_GROUPS, -1))
    np.testing.assert_array_equal(first, second)
    share = 1 / held_out.NUM_GROUPS
    error = np.sqrt(share * (1 - share) / (3 * held_out.MAX_ROWS))
    assert (np.abs(np.mean(asked, axis=(1, 2)) * 4 / 3 - share) < 4 * error).all()


def test_draws_that_are_too_narrow_cost_more():
    """Of cells that are N(0, 1) the right spread costs least, 1/sqrt(pi) less than a point."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(NUM_ROWS, 4))
    table, costs = data.make_table("normal", list("abcd"), x), {}
    for spread in (0.0, 0.5, 1.0, 2.0):
        model = fill_with(0.0)

        def draw(x, num_imputations, seed, is_most, spread=spread):
            noise = spread * rng.normal(size=(len(x), num_imputations, 4))
            return SimpleNamespace(draws=np.where(np.isnan(x)[:, None], noise, x[:, None]))

        model.impute = draw
        costs[spread] = -held_out.hidden_cell_scores(model, table)
    means = {spread: cost.mean() / 4 for spread, cost in costs.items()}
    assert min(means, key=means.get) == 1.0
    for spread, expected in ((0.0, np.sqrt(2 / np.pi)), (1.0, 1 / np.sqrt(np.pi))):
        error = costs[spread].std() / np.sqrt(len(costs[spread])) / 4
        assert abs(means[spread] - expected) < 4 * error


def test_all_encoded_columns_of_a_column_are_hidden_together():
    """One group has all three of a column of levels, the others none."""
    table, asked = make_table([1, 0, 0, 1], [("numeric", 0), ("categorical", 3)]), []
    model = fill_with(3.0)
    fill = model.impute
    model.impute = lambda x, **how: asked.append(np.isnan(x)) or fill(x, **how)
    held_out.hidden_cell_scores(model, table)
    levels = np.concatenate(asked)[:, 1:]
    assert (levels.any(axis=1) == levels.all(axis=1)).all() and levels.any()


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
