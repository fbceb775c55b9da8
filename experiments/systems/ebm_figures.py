"""Figures of a density: how it trained, and draws beside rows."""

import pathlib
from typing import Any

import numpy as np
from matplotlib import pyplot as plt

from mnar_ebm.data.datasets.labelled import Labelled
from mnar_ebm.nets.convolution import image_shape
from mnar_ebm.recipes.fitted import FittedDensity
from mnar_ebm.types import Array

from .. import figures  # its settings of matplotlib

_MAX_COLUMNS = 8


def draw_training(log: list[dict[str, Any]], path: pathlib.Path) -> None:
    """Draw the score of held-out rows, or the loss, and the energy gap where there are chains."""
    has_gap = any("energy_gap" in record for record in log)
    figure, axes = plt.subplots(
        1 + has_gap, 1, sharex=True, figsize=(7, 3 + 1.5 * has_gap), layout="constrained"
    )
    axes = np.atleast_1d(axes)
    offset = 0
    for stage in dict.fromkeys(record["stage"] for record in log):
        records = [record for record in log if record["stage"] == stage]
        steps = [offset + record["step"] for record in records]
        name = "held_out" if "held_out" in records[0] else "loss"
        axes[0].plot(steps, [r[name] for r in records], "-o", ms=2, label=f"{stage}, {name}")
        if "energy_gap" in records[0]:
            axes[1].plot(steps, [r["energy_gap"] for r in records], "-o", ms=2, color="#888888")
        offset = steps[-1]
    axes[0].set_ylabel("score of held-out rows")
    axes[0].legend()
    if has_gap:
        axes[1].axhline(0.0, color="#222222", linewidth=0.5)
        axes[1].set_ylabel("energy gap")
    axes[-1].set_xlabel("step")
    figures.save(figure, path)


def draw_rows(fitted: FittedDensity, rows: np.ndarray, draws: Array, path: pathlib.Path) -> None:
    """Draw rows and draws: as images if columns fill a square of 5 x 5 or more, else by column."""
    side = round(len(fitted.facts.columns) ** 0.5)
    rows, draws = fitted.original(rows), fitted.shown(draws)
    if fitted.config.network != "mlp" or (side >= 5 and side**2 == len(fitted.facts.columns)):
        both = np.concatenate([rows[:16], draws[:32]])
        _draw_images(both, path, ["rows", "", "model"])
        return
    shown = range(min(rows.shape[1], _MAX_COLUMNS))
    figure, axes = plt.subplots(
        1, len(shown), figsize=(2.4 * len(shown), 2.2), squeeze=False, layout="constrained"
    )
    for column, axis in zip(shown, axes[0], strict=True):
        edges = np.linspace(*np.percentile(rows[:, column], (0.5, 99.5)), 26)
        axis.hist(rows[:, column], edges, density=True, color="#888888", alpha=0.35, label="rows")
        drawn = draws[:, column]
        axis.hist(drawn, edges, density=True, color="#cc6677", histtype="step", label="model")
        axis.set_title(fitted.facts.columns[column], parse_math=False)
        axis.set_yticks([])
    axes[0, 0].legend()
    figures.save(figure, path)


def draw_classes(rows: Labelled, draws: dict[int, np.ndarray], path: pathlib.Path) -> None:
    """Draw eight images of each class and below them as many draws of it."""
    images, labels = [], []
    for one, drawn in draws.items():
        images += [rows.x[rows.label == one][:8], drawn[:8]]
        labels += [f"{one}", "drawn"]
    _draw_images(np.concatenate(images), path, labels)


def _draw_images(images: np.ndarray, path: pathlib.Path, labels: list[str]) -> None:
    """Draw images, eight across, the brightest pixel of all in black, or colours as they are."""
    *sides, colours = image_shape(images.shape[1])
    if colours == 3:
        images = (images - images.min()) / np.ptp(images)
        figures.draw_images(images, path, 8, {}, labels, (*sides, colours))
        return
    style = {"cmap": "gray_r", "vmin": images.min(), "vmax": images.max()}
    figures.draw_images(images, path, 8, style, labels, tuple(sides))
