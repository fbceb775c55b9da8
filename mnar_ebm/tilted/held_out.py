r"""Rows that are held out, and the choice among models by them.

By bounds, it is the simplest model that the best is not clearly above on rows that none was fitted
to.

With b_i(m) the bound of held-out row i, of (x_obs, s), under model m, and m* the best on average,

    d_i(m) = b_i(m*) - b_i(m),      take the first m with mean_i d_i <= c sd_i d_i / \sqrt{N}

in order of simplicity. The errors are of differences, for the rows are the same and their bounds
differ by less than either varies; c is 2, but where more is said.

A bound is the density of a whole row, in which columns that say nearly the same count most. How
well a model fills gaps that are at random is seen directly: every cell of a held-out row that was
seen is hidden once, with others of its row, and

    e_i(m) = sum_j (E|X_ij - x_ij| - ½ E|X_ij - X'_ij|),      j among the cells that were hidden

with X and X' drawn by model m, in standard units: the continuous ranked probability score, which
is least in the mean for the law of the cell. A mean that is a little nearer does not make up for
draws that are too narrow. There, too, it is the simplest model that none is clearly better than.

References:
    L. Breiman, J. Friedman, C. Stone, R. Olshen, "Classification and Regression Trees", 1984,
    sec. 3.4.3 (the rule of standard errors).
    T. Gneiting, A. E. Raftery, "Strictly Proper Scoring Rules, Prediction, and Estimation", JASA
    102, 2007, https://doi.org/10.1198/016214506000001437, eq. 21.
"""

import math
from collections.abc import Hashable, Mapping
from typing import NamedTuple, TypeVar

import numpy as np

from mnar_ebm import kinds
from mnar_ebm.config import Config
from mnar_ebm.data.table import Table
from mnar_ebm.inference.imputation import Imputation
from mnar_ebm.metrics.imputation import crps_of_cells
from mnar_ebm.tilted.fitted import FittedModel
from mnar_ebm.training.plan import some_rows

NUM_STANDARD_ERRORS = 2.0
MAX_ROWS = 1024
"""Most held-out rows that models are compared on."""

NUM_GROUPS = 10
"""Groups of cells of a held-out row that are hidden in turn, in columns that have gaps: few at a
time, for a row with many more gaps than others asks something else of a model."""

NUM_DRAWS = 50
"""Draws of each cell that was hidden."""

Name = TypeVar("Name", bound=Hashable)


class Difference(NamedTuple):
    """By how much one model's mean score of held-out rows is above another's."""

    mean: float
    standard_error: float

    def __str__(self) -> str:
        """Return mean and standard error."""
        return f"{self.mean:.3f} ± {self.standard_error:.3f}"


def split_rows(config: Config, num_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the training and of the held-out rows, at random by the seed."""
    if num_rows < 2:
        raise ValueError(f"table: expected at least 2 rows, got {num_rows}")
    fraction = config.optimisation.validation_fraction
    order = np.random.default_rng(config.seed).permutation(num_rows)
    num_held_out = max(1, round(fraction * num_rows)) if fraction else 0
    return np.sort(order[num_held_out:]), np.sort(order[:num_held_out])


def impute_held_out(fitted: FittedModel, table: Table) -> tuple[np.ndarray, Imputation]:
    """Return which rows models are compared on, of those not fitted to, and their imputation."""
    rows = _compared_rows(fitted, table)
    # Bounds with a mode are as good by few draws; with draws of x, which are not read, the program
    # is that of ``hidden_cell_scores``.
    is_most, seed = fitted.model.vae.encode is None, fitted.config.seed
    x = table.x[rows]
    return rows, fitted.impute(x, num_imputations=NUM_DRAWS, seed=seed, is_most=is_most)


def hidden_cell_scores(fitted: FittedModel, table: Table) -> np.ndarray:
    """Return -e_i of every held-out row, in standard units; the same cells for all. [N].

    It compares models where what is missing does not depend on what it would be: then cells that
    were seen are, given the rest of their rows, like those that were not. They are hidden in the
    columns that have gaps, or in all if none has, a group of cells drawn at random at a time.
    """
    rows, seed = _compared_rows(fitted, table), fitted.config.seed
    x, mask, has_gap = table.x[rows], table.mask[rows], ~table.mask.all(axis=0)
    group = np.random.default_rng((seed, 1)).integers(NUM_GROUPS, size=mask.shape)
    group = kinds.spread(table.blocks, kinds.one_each(table.blocks, group))
    scores = np.zeros(len(rows))
    for hidden in range(NUM_GROUPS):
        is_hidden = mask & (group == hidden) & (has_gap | ~has_gap.any())
        hidden_x = np.where(is_hidden, np.nan, x)
        drawn = fitted.impute(hidden_x, num_imputations=NUM_DRAWS, seed=seed, is_most=True)
        error = crps_of_cells(drawn.draws.swapaxes(1, 2), x) / fitted.facts.standardiser.scale
        scores -= np.where(is_hidden, error, 0.0).sum(axis=1)
    return scores


def _compared_rows(fitted: FittedModel, table: Table) -> np.ndarray:
    rows = split_rows(fitted.config, len(table.x))[1]
    return rows[some_rows(len(rows), MAX_ROWS)]


def difference(above: np.ndarray, below: np.ndarray) -> Difference:
    """Return the mean of paired differences and its standard error, infinite for one row."""
    paired = np.asarray(above, np.float64) - np.asarray(below, np.float64)
    if len(paired) < 2:
        return Difference(float(paired.mean()), math.inf)
    return Difference(float(paired.mean()), float(paired.std(ddof=1) / math.sqrt(len(paired))))


def is_clear(
    above: np.ndarray, below: np.ndarray, num_standard_errors: float = NUM_STANDARD_ERRORS
) -> bool:
    """Return whether one model's scores are above another's by more than chance would do."""
    gap = difference(above, below)
    return gap.mean > num_standard_errors * gap.standard_error


def best_of(row_scores: Mapping[Name, np.ndarray]) -> Name:
    """Return the model with the highest mean score, a bound or -e."""
    return max(row_scores, key=lambda name: float(np.mean(row_scores[name])))


def simplest_of(
    row_scores: Mapping[Name, np.ndarray], num_standard_errors: float = NUM_STANDARD_ERRORS
) -> Name:
    """Return the first model that the best is not clearly above.

    Args:
        row_scores: bounds of the same held-out rows [N] by model, the simplest first.
        num_standard_errors: c, how many of them are clear.
    """
    best = best_of(row_scores)
    return next(
        name
        for name, scores in row_scores.items()
        if name == best or not is_clear(row_scores[best], scores, num_standard_errors)
    )
