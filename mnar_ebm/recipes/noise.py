"""Rows with noise: a smooth density in place of one on a thin sheet, and back.

What is fitted to x + σε is the density p of noisy rows. A noisy row y is brought back by

    E[x given y] = y + σ² ∇log p(y)

References:
    B. Efron, "Tweedie's Formula and Selection Bias", JASA 106, 2011,
    https://doi.org/10.1198/jasa.2011.tm11181, eq. 1.4.
"""

from collections.abc import Callable
from typing import Any

import jax

from mnar_ebm.samplers.base import LogDensityFn
from mnar_ebm.training import Stage, Verdict
from mnar_ebm.training.stage import Loss
from mnar_ebm.types import Array, Key, PyTree

Blur = Callable[[Key, float, Any], Any]
"""``(key, sigma, batch) -> batch`` with noise in its rows."""


def add(key: Key, sigma: float, rows: Array) -> Array:
    """Return rows with independent normal noise in every coordinate."""
    return rows + sigma * jax.random.normal(key, rows.shape, rows.dtype)


def noisy(stage: Stage, sigma: float, blur: Blur) -> Stage:
    """Return a stage that sees its rows with noise: anew at each step, the same when it judges."""

    def loss(key: Key, params: Any, batch: Any, held_out: Any, memory: PyTree) -> Loss:
        key_noise, key_loss = jax.random.split(key)
        return stage.loss(key_loss, params, blur(key_noise, sigma, batch), held_out, memory)

    def evaluate(key: Key, params: Any, batch: Any, is_row: Array) -> Verdict:
        key_noise, key_judge = jax.random.split(key)
        return stage.evaluate(key_judge, params, blur(key_noise, sigma, batch), is_row)

    return stage._replace(loss=loss, evaluate=evaluate)


def denoise(logdensity_fn: LogDensityFn, sigma: float, row: Array) -> Array:
    """Return E[x given y] of one noisy row y, by the density of noisy rows."""
    return row + sigma**2 * jax.grad(logdensity_fn)(row)
