"""How good decisions are: what is told from the data, and how sure a classifier may be.

detection            AUROC, AUPR and the false alarms where 95 % are found, of a score
calibration error    sum_bins (share of the rows) |accuracy - mean confidence|
"""

from typing import NamedTuple

import numpy as np
from sklearn import metrics

from mnar_ebm import _checks


class Detection(NamedTuple):
    """How well a score tells rows of the data from others.

    Attributes:
        auroc: chance that a row of the data has a higher score than another one.
        aupr: area below precision over recall, of finding the others by their low scores.
        fpr95: share of the others that pass where 95 % of the data do.
    """

    auroc: float
    aupr: float
    fpr95: float


def detection(inside: np.ndarray, outside: np.ndarray) -> Detection:
    """Return how well scores, high for the data, tell two samples apart.

    Args:
        inside: scores of rows of the data. [N]
        outside: scores of others. [M]

    Raises:
        ValueError: a sample is empty, or a score is not finite.

    References:
        D. Hendrycks, K. Gimpel, "A Baseline for Detecting Misclassified and Out-of-Distribution
        Examples in Neural Networks", ICLR 2017, https://arxiv.org/abs/1610.02136, sec. 2.
    """
    inside, outside = np.asarray(inside, float), np.asarray(outside, float)
    for name, scores in {"inside": inside, "outside": outside}.items():
        if scores.ndim != 1 or not scores.size or not np.isfinite(scores).all():
            raise ValueError(f"{name}: expected finite scores of rows, got shape {scores.shape}")
    scores = np.concatenate([inside, outside])
    is_inside = np.repeat([True, False], [len(inside), len(outside)])
    passes = np.quantile(inside, 0.05)
    return Detection(
        float(metrics.roc_auc_score(is_inside, scores)),
        float(metrics.average_precision_score(~is_inside, -scores)),
        float((outside >= passes).mean()),
    )


def calibration_error(probabilities: np.ndarray, labels: np.ndarray, num_bins: int = 15) -> float:
    """Return the expected calibration error of the likeliest class, in bins of equal width.

        sum_b (N_b/N) |accuracy_b - mean confidence_b|

    Args:
        probabilities: of classes. [N, K]
        labels: the true ones. [N]
        num_bins: of the confidence, from 0 to 1.

    Raises:
        ValueError: the shapes do not go together, or probabilities do not sum to 1.

    References:
        C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On Calibration of Modern Neural Networks",
        ICML 2017, https://arxiv.org/abs/1706.04599, eq. 3.
    """
    probabilities, labels = np.asarray(probabilities, float), np.asarray(labels)
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1] or not labels.size:
        raise ValueError(
            "probabilities, labels: expected shapes [N, K] and [N], "
            f"got {probabilities.shape} and {labels.shape}"
        )
    if not np.allclose(probabilities.sum(axis=1), 1.0, atol=1e-4):
        raise ValueError("probabilities: expected rows with sum 1")
    _checks.check_whole("num_bins", num_bins, 1)
    confidence = probabilities.max(axis=1)
    is_right = probabilities.argmax(axis=1) == labels
    bins = np.minimum((confidence * num_bins).astype(int), num_bins - 1)
    gaps = np.bincount(bins, is_right - confidence, num_bins)
    return float(np.abs(gaps).sum() / len(labels))
