"""The picture of a report: P(missing | value) of every column over what was observed of it."""

from typing import TYPE_CHECKING

from mnar_ebm import _checks
from mnar_ebm.estimator.report import Column, Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_COLUMNS = 16
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
        _draw_column(axis, column)
    for axis in axes.flat[len(columns) :]:
        axis.axis("off")
    for axis in axes[:, 0]:
        axis.set_ylabel("P(missing | value)")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, ncols=3, loc="outside upper center", frameon=False, fontsize="small"
    )
    return figure


def _draw_column(axis: "Axes", column: Column) -> None:
    """Draw one column; the histogram is scaled to a height of 1."""
    axis.stairs(
        column.bin_counts / max(column.bin_counts.max(), 1),
        column.bin_edges,
        fill=True,
        color=_OBSERVED,
        alpha=0.35,
        label="observed values",
    )
    axis.plot(column.grid, column.probability, color=_MISSING, linewidth=2, label="P(missing)")
    if column.grid[0] < column.threshold < column.grid[-1]:
        axis.axvline(column.threshold, color=_MISSING, linestyle=":", label="missing half the time")
    axis.set(ylim=(0, 1.02), xlim=(column.grid[0], column.grid[-1]))
    axis.set_title(f"{column.name}: {column.direction}", fontsize="small", wrap=True)
    axis.spines[["top", "right"]].set_visible(False)
