"""Mean and standard deviation of columns, exact where a column is constant.

A sum of many equal numbers is rounded, and the rounding error of a constant column would pass for
its spread.
"""

import numpy as np


def mean(x: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Return the mean of the observed cells of each column, 0 where there is none. [D].

    Args:
        x: values; what a missing cell holds is never read. [N, D]
        mask: ``True`` where observed; all are, without it. [N, D]
    """
    mask = np.ones(x.shape, bool) if mask is None else mask
    count = mask.sum(axis=0)
    average = np.where(mask, x, 0.0).sum(axis=0) / np.maximum(count, 1)
    low = np.min(x, axis=0, where=mask, initial=np.inf)
    high = np.max(x, axis=0, where=mask, initial=-np.inf)
    return np.where(count > 0, np.clip(average, low, high), 0.0)


def scale(
    x: np.ndarray, mask: np.ndarray | None = None, centre: np.ndarray | None = None
) -> np.ndarray:
    """Return the root mean square distance of observed cells from the centre, 1 where it is 0. [D].

    Args:
        x: values; what a missing cell holds is never read. [N, D]
        mask: ``True`` where observed; all are, without it. [N, D]
        centre: of each column; its mean, without it. [D]
    """
    mask = np.ones(x.shape, bool) if mask is None else mask
    centre = mean(x, mask) if centre is None else centre
    squares = ((np.where(mask, x, centre) - centre) ** 2).sum(axis=0)
    distance = np.sqrt(squares / np.maximum(mask.sum(axis=0), 1))
    return np.where(distance <= 10 * np.finfo(np.float64).eps * np.abs(centre), 1.0, distance)
