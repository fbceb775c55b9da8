r"""Whether anything that was observed tells which cells are missing.

For every column d with gaps, of ``TUNING.max_columns`` at most, a logistic regression predicts its
gaps from the other columns (their values and squares, 0 where missing, and their own gaps), on rows
that it was not fitted to. Row i gains

    g_i = \sum_d log p(s_id | other columns) - log p(s_id),

and with mean g at most two standard errors above 0, values are taken as missing completely at
random: gaps that depend on values of related columns, hidden or not, would be predicted. Otherwise
only the shape of a column could tell, and a shape has other reasons.

References:
    R. J. A. Little, "A Test of Missing Completely at Random for Multivariate Data with Missing
    Values", Journal of the American Statistical Association 83, 1988 (the question, by means).
    D. Lopez-Paz, M. Oquab, "Revisiting Classifier Two-Sample Tests", ICLR 2017,
    https://arxiv.org/abs/1610.06545 (the answer, by a classifier).
"""

from typing import NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from mnar_ebm import kinds
from mnar_ebm.data.table import Standardiser, Table
from mnar_ebm.kinds import make_blocks


class Tuning(NamedTuple):
    """What is read of a table, and when gaps count as predicted.

    Attributes:
        num_folds: of the cross-validation.
        num_standard_errors: of the mean gain, which must be above them.
        max_value: largest standardised value that is read as it is: a far one would decide on its
            own.
        prior_variance: of the coefficients: a gap that is not predicted should cost little.
        max_rows: most rows that are read, drawn at random.
        max_columns: most columns whose gaps are predicted, drawn at random.
    """

    num_folds: int = 5
    num_standard_errors: float = 2.0
    max_value: float = 3.0
    prior_variance: float = 0.02
    max_rows: int = 2000
    max_columns: int = 50


TUNING = Tuning()


def are_predictable(table: Table) -> bool:
    """Return whether held-out gaps are predicted better than by how often they occur."""
    gains = _gains(table)
    return bool(gains.mean() > TUNING.num_standard_errors * gains.std() / np.sqrt(len(gains)))


def _gains(table: Table) -> np.ndarray:
    """Return g of every row that is read. [N]."""
    rng = np.random.default_rng(0)
    rows = rng.permutation(len(table.x))[: TUNING.max_rows]
    x, mask = table.x[rows], table.mask[rows]
    standard = np.clip(Standardiser.fit(x, mask).apply(x), -TUNING.max_value, TUNING.max_value)
    filled = np.where(mask, standard, 0.0)
    blocks = table.blocks or make_blocks([("numeric", 0)] * x.shape[1])
    gaps = ~kinds.one_each(blocks, mask)
    gains = np.zeros(len(x))
    counts = gaps.sum(axis=0)
    is_told = np.minimum(counts, len(gaps) - counts) >= TUNING.num_folds
    for index in rng.permutation(np.flatnonzero(is_told))[: TUNING.max_columns]:
        block, gap = blocks[index], gaps[:, index]
        others = np.delete(filled, block.columns, axis=1)
        features = np.hstack([others, others**2, np.delete(gaps, index, axis=1)])
        if features.shape[1] == 0:  # a column alone: nothing could predict its gaps
            continue
        folds = StratifiedKFold(TUNING.num_folds, shuffle=True, random_state=0)
        classifier = LogisticRegression(C=TUNING.prior_variance, max_iter=1000)
        predicted = cross_val_predict(classifier, features, gap, cv=folds, method="predict_proba")
        rate = np.where(gap, gap.mean(), 1.0 - gap.mean())
        gains += np.log(predicted[np.arange(len(x)), gap.astype(int)]) - np.log(rate)
    return gains
