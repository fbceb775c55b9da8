"""The rows that a run is given."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mnar_ebm import data
from mnar_ebm.data.datasets.labelled import Parts


class Given(NamedTuple):
    """The rows that a run is given.

    Attributes:
        table: the selected rows, or all if there are no others.
        whole: the rows whose gaps are to be filled: ``table``, and among them those that were
            followed up, complete.
        csv: the file of ``whole``, if it is from one.
        unbiased: an unbiased sample of the population, if there is one.
        classes: reads the images of a named set with their classes, if it has some.
        others: reads images of other sets with as many pixels, by their names.
    """

    table: data.Table
    whole: data.Table
    csv: data.Csv | None = None
    unbiased: data.Table | None = None
    classes: Callable[[], Parts] | None = None
    others: Callable[[], dict[str, np.ndarray]] = dict

    @property
    def file(self) -> data.Csv:
        """The rows of ``whole`` as a CSV file, which ``imputed.csv`` completes."""
        return data.from_table(self.whole) if self.csv is None else self.csv
