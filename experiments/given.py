"""The rows that a run is given."""

from typing import NamedTuple

import numpy as np

from mnar_ebm import data


class Given(NamedTuple):
    """The rows that a run is given.

    Attributes:
        table: the selected rows, or all if there are no others.
        csv: the rows of ``whole`` as a CSV file, which ``imputed.csv`` completes; none of images.
        whole: the rows whose gaps are to be filled: ``table``, and among them those that were
            followed up, complete.
        unbiased: an unbiased sample of the population, if there is one.
        labels: classes of the rows, of images that have some. [N]
    """

    table: data.Table
    csv: data.Csv | None
    whole: data.Table
    unbiased: data.Table | None = None
    labels: np.ndarray | None = None
