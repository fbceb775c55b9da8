"""Figures of a machine: how it trained, its filters, and a chain on its way."""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib import pyplot as plt

from mnar_ebm.boltzmann import rbm
from mnar_ebm.recipes import coding
from mnar_ebm.recipes.rbm import FittedMachine

from .. import figures  # its settings of matplotlib

_SWEEPS = (0, 1, 3, 10, 30, 100, 300, 1000)


def draw_training(log: list[dict[str, Any]], epoch: float, path: pathlib.Path) -> None:
    """Draw the score of held-out rows, their likelihood where it was taken, and the energy gap.

    Args:
        log: records of the run.
        epoch: steps in a pass over the rows.
        path: file to write.
    """
    figure, (top, bottom) = plt.subplots(
        2, 1, sharex=True, figsize=(7, 4.5), height_ratios=(3, 1), layout="constrained"
    )
    epochs = [record["step"] / epoch for record in log]
    is_exact = "pseudo_likelihood" in log[0]
    labels = {
        "held_out": "held out, likelihood" if is_exact else "held out, pseudo-likelihood",
        "pseudo_likelihood": "held out, pseudo-likelihood",
    }
    for name, label in labels.items():
        if name in log[0]:
            top.plot(epochs, [record[name] for record in log], "-o", ms=2, label=label)
    taken = [record for record in log if "log_likelihood_lower" in record]
    if taken:
        low, high = (
            np.array([record[f"log_likelihood_{side}"] for record in taken])
            for side in ("lower", "upper")
        )
        top.errorbar(
            [record["step"] / epoch for record in taken],
            (low + high) / 2,
            abs(high - low) / 2,
            fmt="s",
            ms=3,
            capsize=3,
            label="held out, both sides of the likelihood",
        )
    top.set_ylabel("nats a row")
    top.legend(loc="lower right")
    bottom.plot(epochs, [record["energy_gap"] for record in log], "-o", ms=2, color="#888888")
    bottom.axhline(0.0, color="#222222", linewidth=0.5)
    bottom.set(xlabel="epoch", ylabel="energy gap")
    figures.save(figure, path)


def draw_filters(fitted: FittedMachine, path: pathlib.Path) -> None:
    """Draw the weights of hidden units, those of the largest norm first.

    As images, if the visible units are as many as the pixels of a square.
    """
    weights = np.asarray(fitted.machine.weights)
    order = np.argsort(-np.linalg.norm(weights, axis=0))[:64]
    largest = np.abs(weights[:, order]).max()
    figures.draw_images(
        weights[:, order].T, path, 8, {"cmap": "RdBu_r", "vmin": -largest, "vmax": largest}
    )


def draw_fields(fields: dict[int, np.ndarray], epoch: float, path: pathlib.Path) -> None:
    """Draw how weights of the first hidden units came to be, a column each, epochs downwards.

    Args:
        fields: weights by the step after which they were kept. [16, V] each
        epoch: steps in a pass over the rows.
        path: file to write.
    """
    if not fields:
        return
    weights = np.stack(list(fields.values()))
    largest = np.abs(weights[-1]).max()
    labels = [f"epoch {step / epoch:.3g}" for step in fields]
    style = {"cmap": "RdBu_r", "vmin": -largest, "vmax": largest}
    figures.draw_images(
        weights.reshape(-1, weights.shape[-1]), path, weights.shape[1], style, labels
    )


def draw_chain(fitted: FittedMachine, rows: np.ndarray, path: pathlib.Path) -> None:
    """Draw eight chains from data, a column each, after so many sweeps of Gibbs, row by row."""
    key, facts = jax.random.key(fitted.config.seed), fitted.facts
    now = jnp.asarray(rows[np.linspace(0, len(rows) - 1, 8).astype(int)])
    seen = [np.asarray(now)]
    for number, (before, after) in enumerate(zip(_SWEEPS, _SWEEPS[1:], strict=False)):
        key_now = jax.random.fold_in(key, number)
        now = rbm.gibbs(key_now, fitted.machine, now, after - before, facts.kind)
        seen.append(np.asarray(now))
    labels = [f"{count} sweeps" for count in _SWEEPS]
    values = coding.decode(facts, np.concatenate(seen))
    least, most = np.quantile(values, (0.0, 1.0))
    figures.draw_images(values, path, 8, {"cmap": "gray_r", "vmin": least, "vmax": most}, labels)
