"""How many independent draws a chain's draws are worth, by ArviZ."""

import numpy as np
from arviz_stats.base import array_stats

__all__ = ["bulk", "gradients_to_accuracy", "rank_rhat", "smallest", "standard_error"]


def bulk(draws: np.ndarray) -> np.ndarray:
    """Return the bulk effective sample size of each coordinate. [C, N, D] -> [D]"""
    return _over_coordinates(lambda x: array_stats.ess(x, method="bulk"), draws)


def smallest(draws: np.ndarray) -> float:
    """Return the smallest of the coordinates'; 0 where draws are not finite or do not move."""
    if not np.all(np.isfinite(draws)) or np.any(draws.std(axis=(0, 1)) == 0):
        return 0.0
    return float(bulk(draws).min())


def rank_rhat(draws: np.ndarray) -> float:
    """Return the largest rank-normalised R-hat of the coordinates."""
    return float(_over_coordinates(lambda x: array_stats.rhat(x, method="rank"), draws).max())


def standard_error(draws: np.ndarray) -> np.ndarray:
    """Return the Monte Carlo standard error of each coordinate's mean. [C, N, D] -> [D]"""
    return _over_coordinates(lambda x: array_stats.mcse(x, method="mean"), draws)


def gradients_to_accuracy(
    draws: np.ndarray, square: np.ndarray, square_variance: np.ndarray, num_gradients: float
) -> float:
    """Count the gradients until b² < 0.01 in the worst coordinate, and stays there.

        b² = (mean x² - E x²)² / var x²,

    averaged over chains, each of which has its own mean over its draws so far.

    Args:
        draws: [C, N, D].
        square: E x². [D]
        square_variance: var x². [D]
        num_gradients: of a draw.

    Returns:
        The gradients of one chain; infinite if its draws do not suffice.
    """
    counts = np.arange(1, draws.shape[1] + 1)[:, None]
    means = np.cumsum(draws.astype(np.float64) ** 2, axis=1) / counts
    worst = np.mean((means - square) ** 2 / square_variance, axis=0).max(axis=-1)
    above = np.flatnonzero(~(worst < 0.01))
    first = 0 if not len(above) else above[-1] + 1
    return (first + 1) * num_gradients if first < len(worst) else float("inf")


def _over_coordinates(function, draws: np.ndarray) -> np.ndarray:
    return np.array([float(function(draws[..., i])) for i in range(draws.shape[-1])])
