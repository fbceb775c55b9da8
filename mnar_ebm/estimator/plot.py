"""The picture of a report: P(missing | value) of every column over what was observed of it."""

import textwrap
from typing import TYPE_CHECKING

import numpy as np

from mnar_ebm import _checks
from mnar_ebm.estimator.report import Column, LevelColumn, Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_COLUMNS = 16
TITLE_WIDTH = 38
MAX_UPRIGHT = 4
"""Most levels whose names stand side by side."""

_OBSERVED, _MISSING = "#888888", "#cc6677"


def draw(report: Report, max_columns: int = MAX_COLUMNS) -> "Figure":
    """Draw the columns with gaps, those with the most first; all, if there is no gap.

    Args:
        report: what a fit found.
        max_columns: the most columns to draw.

    Raises:
        ValueError: ``max_columns`` is below 1.
    """
    import matplotlib.pyplot as plt  # here, for a fit needs no figures

    _checks.check_at_least("max_columns", max_columns, 1)
    columns = [column for column in report.columns if column.missing_share > 0] or report.columns
    columns = sorted(columns, key=lambda column: -column.missing_share)[:max_columns]
    num_across = min(4, len(columns))
    num_down = -(-len(columns) // num_across)
    figure, axes = plt.subplots(
        num_down,
        num_across,
        figsize=(max(5.0, 3.1 * num_across), 2.4 * num_down + 0.7),
        squeeze=False,
        layout="constrained",
    )
    for axis, column in zip(axes.flat, columns, strict=False):
        if isinstance(column, LevelColumn):
            _draw_levels(axis, column)
        else:
            _draw_values(axis, column)
        axis.set_ylim(0, 1.02)
        title = textwrap.fill(f"{column.name}: {column.direction}", TITLE_WIDTH)
        axis.set_title(title, fontsize="small", parse_math=False)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes.flat[len(columns) :]:
        axis.axis("off")
    for axis in axes[:, 0]:
        axis.set_ylabel("P(missing | value)")
    shown = {
        label: handle
        for axis in axes.flat
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        shown.values(),
        shown.keys(),
        ncols=3,
        loc="outside upper center",
        frameon=False,
        fontsize="small",
    )
    return figure


def _draw_values(axis: "Axes", column: Column) -> None:
    """Draw a numeric column; the histogram is scaled to a height of 1."""
    axis.stairs(
        column.bin_counts / max(column.bin_counts.max(), 1),
        column.bin_edges,
        fill=True,
        color=_OBSERVED,
        alpha=0.35,
        label="observed values",
    )
    if np.isfinite(column.probability).all():
        axis.plot(column.grid, column.probability, color=_MISSING, linewidth=2, label="P(missing)")
    if column.grid[0] < column.threshold < column.grid[-1]:
        axis.axvline(column.threshold, color=_MISSING, linestyle=":", label="missing half the time")
    axis.set_xlim(column.grid[0], column.grid[-1])


def _draw_levels(axis: "Axes", column: LevelColumn) -> None:
    """Draw a discrete column: for each level how often it was observed, and P(missing)."""
    at = range(len(column.levels))
    axis.bar(
        at,
        column.counts / max(column.counts.max(), 1),
        width=0.9,
        color=_OBSERVED,
        alpha=0.35,
        label="observed values",
    )
    if np.isfinite(column.probability).all():
        axis.bar(at, column.probability, width=0.3, color=_MISSING, label="P(missing)")
    axis.set_xticks(at, [str(level) for level in column.levels])
    if len(column.levels) > MAX_UPRIGHT:
        axis.tick_params(axis="x", rotation=60)
