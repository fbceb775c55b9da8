"""Figures of a lattice: how it trained, states beside states, statistics of rows and model."""

import pathlib
from typing import Any

import numpy as np
from matplotlib import pyplot as plt

from mnar_ebm.recipes.ising import FittedLattice

from .. import figures  # its settings of matplotlib


def draw_training(log: list[dict[str, Any]], path: pathlib.Path) -> None:
    """Draw the score of held-out rows, or the loss where there are none."""
    figure, axis = plt.subplots(figsize=(7, 3), layout="constrained")
    name = "held_out" if "held_out" in log[0] else "loss"
    axis.plot([record["step"] for record in log], [record[name] for record in log], "-o", ms=2)
    label = "held-out pseudo-likelihood (nats a row)" if name == "held_out" else "loss"
    axis.set(xlabel="step", ylabel=label)
    figures.save(figure, path)


def draw_states(
    fitted: FittedLattice, rows: np.ndarray, drawn: np.ndarray, path: pathlib.Path
) -> None:
    """Draw eight rows of the data, and below them sixteen of the model. [N, V], [C, V]."""
    states = np.concatenate([rows[:8], drawn[:16]])
    labels = ["rows", "model"] if len(rows) >= 8 else []
    figures.draw_images(
        states, path, 8, {"cmap": "gray_r", "vmin": 0, "vmax": 1}, labels, fitted.shape
    )


def draw_statistics(drawn: dict[str, tuple[np.ndarray, np.ndarray]], path: pathlib.Path) -> None:
    """Draw the laws of statistics over rows and over draws of the model."""
    figure, axes = plt.subplots(1, len(drawn), figsize=(3 * len(drawn), 2.4), layout="constrained")
    for axis, (name, (rows, model)) in zip(axes, drawn.items(), strict=True):
        edges = np.linspace(*np.percentile(np.append(rows, model), (0, 100)), 16)
        axis.hist(rows, edges, density=True, color="#888888", alpha=0.35, label="rows")
        axis.hist(model, edges, density=True, color="#cc6677", histtype="step", label="model")
        axis.set(xlabel=name, yticks=[])
    axes[0].legend()
    figures.save(figure, path)
