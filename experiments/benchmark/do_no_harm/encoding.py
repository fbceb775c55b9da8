"""Tables of numbers and levels for methods that know numbers alone.

A column of k levels becomes k - 1 of zeros and ones. With one more each would be what the others
leave of 1, and chained regressions would stay at the shares that they started from.
"""

from typing import NamedTuple

import numpy as np

from experiments.benchmark.do_no_harm.designs import Example
from mnar_ebm import data
from mnar_ebm.estimator import columns


class Encoded(NamedTuple):
    """An example in standard units of its observed cells.

    Attributes:
        table: NaN where missing; its truth is not told.
        standardiser: the map to standard units.
        is_kept: of the encoded columns, those that the table has. [D']
        example: what was encoded.
    """

    table: data.Table
    standardiser: data.Standardiser
    is_kept: np.ndarray
    example: Example

    def decode(self, tables: np.ndarray) -> np.ndarray:
        """Return codes, of the likeliest levels, observed ones as they came. [..., D].

        Args:
            tables: completed rows [N, D"], or several for each [N, M, D"], of D" kept columns.
        """
        table, mask = self.example.values, self.example.mask
        encoded = np.zeros((*tables.shape[:-1], len(self.is_kept)))
        encoded[..., self.is_kept] = self.standardiser.invert(tables)
        for block in columns.blocks_of(table.types):
            if block.width > 1:
                rest = encoded[..., block.start + 1 : block.start + block.width].sum(axis=-1)
                encoded[..., block.start] = 1.0 - rest
        codes = columns.contract(encoded, table.types)
        rows = (slice(None), *(None,) * (codes.ndim - 2))  # beside the draws of each
        return np.where(mask[rows], table.x[rows], codes)


def encode(example: Example) -> Encoded:
    """Return the table in numbers, without the first level of each column of more than two."""
    types = example.values.types
    encoded = columns.expand(np.where(example.mask, example.values.x, np.nan), types)
    is_kept = np.ones(encoded.shape[1], bool)
    is_kept[[block.start for block in columns.blocks_of(types) if block.width > 1]] = False
    encoded = encoded[:, is_kept]
    standardiser = data.Standardiser.fit(encoded, ~np.isnan(encoded))
    names = np.array([name for column in types for name in column.encoded_names])[is_kept]
    table = data.make_table("X", names, standardiser.apply(encoded))
    return Encoded(table, standardiser, is_kept, example)
