"""Some columns of a wide table, which speak for all: a fit to all would take hours.

What is found of the family holds for the whole table. A column that was not read hides itself if
most of those that were read do, by the sign that most have.
"""

import numpy as np

from mnar_ebm import kinds
from mnar_ebm.data.table import Table, make_table
from mnar_ebm.kinds import make_blocks

MAX_COLUMNS = 30
"""Most columns that are read: those with most gaps, up to half, and others at random."""


def some_columns(table: Table, seed: int) -> np.ndarray:
    """Return the encoded columns that are read, all if there are few. [n]."""
    blocks = table.blocks or make_blocks([("numeric", 0)] * len(table.columns))
    if len(blocks) <= MAX_COLUMNS:
        return np.arange(len(table.columns))
    num_gaps = (~table.mask).sum(axis=0)[[block.start for block in blocks]]
    order = np.random.default_rng(seed).permutation(len(blocks))
    gappy = [one for one in order if num_gaps[one]]
    gappy = sorted(gappy, key=lambda one: -num_gaps[one])[: MAX_COLUMNS // 2]
    rest = [one for one in order if one not in set(gappy)]
    kept = sorted([*gappy, *rest][:MAX_COLUMNS])
    return kinds.columns_of(tuple(blocks[one] for one in kept))


def part_of(table: Table, columns: np.ndarray) -> Table:
    """Return the table of some encoded columns, whole blocks."""
    kept = set(columns)
    blocks = [(one.kind, one.num_levels) for one in table.blocks if one.start in kept]
    names = [table.columns[column] for column in columns]
    return make_table(table.name, names, table.x[:, columns], blocks=make_blocks(blocks))


def spread_slopes(table: Table, columns: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """Return the signs of slopes of all encoded columns, from those of some. [n] -> [D]."""
    is_numeric = np.ones(len(table.columns), bool)
    is_numeric[kinds.columns_of(kinds.discrete(table.blocks))] = False
    can_hide = is_numeric & np.logical_not(table.mask.all(axis=0))
    own = slopes[can_hide[columns]]
    of_most = np.sign(own.sum()) if np.count_nonzero(own) > len(own) / 2 else 0.0
    spread = np.where(can_hide, of_most, 0.0)
    spread[columns] = slopes
    return spread
