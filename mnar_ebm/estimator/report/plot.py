"""Pictures: of a report, and of a sensitivity analysis.

That of a report is P(missing | value) of every column over what was observed of it.
"""

import textwrap
from typing import TYPE_CHECKING

import numpy as np

from mnar_ebm import _checks
from mnar_ebm.estimator.report.report import Column, LevelColumn, Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mnar_ebm.estimator.sensitivity import Sensitivity

MAX_COLUMNS = 16
TITLE_WIDTH = 38
MAX_UPRIGHT = 4
"""Most levels whose names stand side by side."""

_OBSERVED, _MISSING, _ESTIMATE = "#888888", "#cc6677", "#4477aa"


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


def draw_sensitivity(found: "Sensitivity") -> "Figure":
    """Draw a statistic and its interval over the size of a departure from the fitted model."""
    import matplotlib.pyplot as plt  # here, for a fit needs no figures

    figure, axis = plt.subplots(figsize=(6.0, 3.8), layout="constrained")
    axis.fill_between(
        found.grid,
        found.low,
        found.high,
        color=_ESTIMATE,
        alpha=0.2,
        linewidth=0,
        label=f"{found.level:.0%} interval",
    )
    axis.plot(found.grid, found.estimate, "o-", ms=3, color=_ESTIMATE, label="estimate")
    axis.axvline(0.0, color=_OBSERVED, linewidth=1, label="fitted model")
    if found.conclusion is not None:
        axis.axhline(found.conclusion, color="black", linestyle="--", linewidth=1)
        axis.annotate(
            f"{found.conclusion:g}",
            (1, found.conclusion),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
        )
    for point in found.tipping_points:
        if point is not None:
            axis.axvline(point, color=_MISSING, linestyle=":", label=f"turns at {point:.2g}")
    what = "log odds of missing, per" if found.parameter == "gamma" else "shift, in units of"
    units = zip(found.units, found.columns, strict=True)
    told = textwrap.shorten(", ".join(f"{unit:.3g} of {name}" for unit, name in units), 60)
    axis.set_xlabel(f"{found.parameter}: {what} {told}", parse_math=False)
    axis.set_ylabel(found.statistic, parse_math=False)
    axis.margins(x=0.02)
    axis.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=5, frameon=False, fontsize="small")
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
