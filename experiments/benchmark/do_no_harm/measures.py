"""How good a completed table is, in numbers and in levels."""

from typing import Any

import numpy as np

from experiments.benchmark.do_no_harm.designs import Example
from experiments.benchmark.do_no_harm.methods import Completed
from mnar_ebm import metrics
from mnar_ebm.data import moments


def judge(example: Example, completed: Completed) -> dict[str, Any]:
    """Return what a method got wrong; None where there is nothing to judge.

    Returns:
        ``rmse`` over missing numbers, in standard deviations of the true columns; ``wrong``, the
        share of missing levels that are wrong; ``coverage_90`` of central intervals of the draws
        of numbers; ``bias``, the largest distance of a completed numeric column's mean from the
        true one, in its standard deviations, over columns with gaps.
    """
    truth, mask = example.values.x, example.mask
    is_numeric = example.values.is_numeric
    result: dict[str, Any] = dict.fromkeys(("rmse", "wrong", "coverage_90", "bias"))
    if not mask[:, ~is_numeric].all():
        is_wrong = completed.x[:, ~is_numeric] != truth[:, ~is_numeric]
        result["wrong"] = float(is_wrong[~mask[:, ~is_numeric]].mean())
    if mask[:, is_numeric].all():
        return result
    cells = (truth[:, is_numeric], mask[:, is_numeric])
    result["rmse"] = metrics.imputation_rmse(completed.x[:, is_numeric], *cells)
    result["bias"] = float(np.max(np.abs(_bias(completed.x[:, is_numeric], *cells))))
    if completed.draws is not None:
        draws = completed.draws[:, :, is_numeric]
        result["coverage_90"] = metrics.interval_coverage(draws, *cells, level=0.9)
    return result


def _bias(x: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return how far the means of completed columns with gaps are off. [J]."""
    off = (moments.mean(x) - moments.mean(truth)) / moments.scale(truth)
    return off[~mask.all(axis=0)]
