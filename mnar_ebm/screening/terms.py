r"""Which gap terms a table needs: few of many, by lasso regressions of each column's gaps.

A model at random that may read everything has many terms that it does not need, and a mechanism
that needs few would be compared with all of them. For every column with gaps, of the penalties

    min_b  -log p(s_d | features of earlier columns; b) + |b|_1 / C

the one with the highest log-likelihood less the number of terms that are not 0 is taken: that
number is the degrees of freedom of the lasso.

References:
    H. Zou, T. Hastie, R. Tibshirani, "On the 'degrees of freedom' of the lasso", Annals of
    Statistics 35, 2007, https://arxiv.org/abs/0712.0881, sec. 3.
"""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from mnar_ebm.missingness import gap_terms

PENALTIES = np.geomspace(0.01, 10.0, 8)
"""C, in standard units of the features; the strongest first."""


def select_terms(
    features: np.ndarray, gaps: np.ndarray, earlier: np.ndarray, was_asked: np.ndarray
) -> np.ndarray:
    """Return which terms are read of each column's gap, as 0 and 1. [F, D, D].

    Args:
        features: of rows (``gap_terms.features``). [N, F, D]
        gaps: ``True`` where missing. [N, D]
        earlier: whether the gap of d (second axis) may read column e. [D, D]
        was_asked: rows without which a column has no gap to explain. [N, D]
    """
    num_columns = gaps.shape[1]
    chosen = np.zeros((gap_terms.NUM_FEATURES, num_columns, num_columns))
    spread = features.std(axis=0)
    for column in range(num_columns):
        rows = was_asked[:, column]
        own = gaps[rows, column]
        can_read = (earlier[:, column] > 0) & (spread > 1e-6)
        if min(own.sum(), (~own).sum()) < 2 or not can_read.any():
            continue
        read = (features[:, can_read] - features[:, can_read].mean(axis=0)) / spread[can_read]
        chosen[can_read, column] = _lasso(read[rows], own)
    return chosen


def _lasso(features: np.ndarray, gap: np.ndarray) -> np.ndarray:
    """Return which features are taken, as 0 and 1. [N, M], [N] -> [M]."""
    rate = gap.mean()
    best = len(gap) * (rate * np.log(rate) + (1.0 - rate) * np.log1p(-rate))
    taken = np.zeros(features.shape[1])
    for penalty in PENALTIES:
        lasso = LogisticRegression(C=penalty, l1_ratio=1.0, solver="liblinear", random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            lasso.fit(features, gap)
        is_read = lasso.coef_[0] != 0
        logits = lasso.decision_function(features)
        log_p = -np.logaddexp(0.0, np.where(gap, -logits, logits)).sum()
        if log_p - is_read.sum() > best:
            best, taken = log_p - is_read.sum(), is_read.astype(float)
    return taken
