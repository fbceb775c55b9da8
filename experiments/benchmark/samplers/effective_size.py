"""How many independent draws a chain's draws are worth, by ArviZ."""

from collections.abc import Callable
from typing import Any

import numpy as np
from arviz_stats.base import array_stats

__all__ = ["bulk", "gradients_to_accuracy", "rank_rhat", "smallest", "standard_error"]


def bulk(draws: np.ndarray) -> np.ndarray:
    """Return the bulk effective sample size of each coordinate. [C, N, D] -> [D]."""
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
    """Return the Monte Carlo standard error of each coordinate's mean. [C, N, D] -> [D]."""
    return _over_coordinates(lambda x: array_stats.mcse(x, method="mean"), draws)


def gradients_to_accuracy(squares: np.ndarray, num_gradients: float) -> float:
    """Count the gradients of one chain until b² < 0.01 in the worst coordinate.

        b² = (mean x² - E x²)² / var x²

    In equilibrium E b² of n draws is τ / n, with τ the draws for each independent one; so n is
    100 τ, and τ is estimated from all of the draws.

    Args:
        squares: x² of the draws. [C, N, D]
        num_gradients: that one chain takes for one draw.
    """
    num_draws = squares.shape[0] * squares.shape[1]
    return 100 * num_gradients * num_draws / smallest(squares)


def _over_coordinates(function: Callable[[np.ndarray], Any], draws: np.ndarray) -> np.ndarray:
    return np.array([float(function(draws[..., i])) for i in range(draws.shape[-1])])
