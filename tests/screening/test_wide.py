"""Some columns of a wide table speak for all."""

import numpy as np

from mnar_ebm.data.table import make_table
from mnar_ebm.kinds import make_blocks
from mnar_ebm.screening import wide


def wide_table(num_columns=40, num_gappy=25):
    """Return a table of numbers, the first columns of which have gaps. [50, D]."""
    x = np.random.default_rng(0).normal(size=(50, num_columns))
    x[:20, :num_gappy] = np.nan
    return make_table("t", [f"x{i}" for i in range(num_columns)], x)


def test_half_of_the_columns_that_are_read_have_gaps():
    table = wide_table()
    columns = wide.some_columns(table, seed=0)
    assert len(columns) == wide.MAX_COLUMNS == len(set(columns))
    assert (columns < 25).sum() >= wide.MAX_COLUMNS // 2
    part = wide.part_of(table, columns)
    np.testing.assert_array_equal(part.x, table.x[:, columns])
    assert part.columns == tuple(table.columns[column] for column in columns)
    few = wide_table(5, 2)
    assert list(wide.some_columns(few, seed=0)) == list(range(5))


def test_what_most_columns_do_is_taken_of_those_that_were_not_read():
    """By the sign that most have; never of a column without a gap."""
    table = wide_table()
    columns = wide.some_columns(table, seed=0)
    has_gap = np.arange(40) < 25
    slopes = np.where(columns < 25, -1.0, 0.0)
    np.testing.assert_array_equal(wide.spread_slopes(table, columns, slopes), -1.0 * has_gap)
    slopes[3:] = 0.0  # few of them hide themselves
    spread = wide.spread_slopes(table, columns, slopes)
    np.testing.assert_array_equal(spread[columns], slopes)
    assert not np.delete(spread, columns).any()


def test_blocks_stay_whole():
    """One-hot columns are read together, and never hide themselves."""
    x = np.zeros((50, 3 * 40))
    x[:, ::3] = 1.0
    x[:10, :3] = np.nan
    blocks = make_blocks([("categorical", 3)] * 40)
    table = make_table("t", [f"x{i}" for i in range(120)], x, blocks=blocks)
    columns = wide.some_columns(table, seed=1)
    assert len(columns) == 3 * wide.MAX_COLUMNS and 0 in columns
    part = wide.part_of(table, columns)
    assert len(part.blocks) == wide.MAX_COLUMNS and part.mask.shape == (50, len(columns))
    assert not wide.spread_slopes(table, columns, np.zeros(len(columns))).any()
