"""What a user should mind of a fit, in words."""

from collections.abc import Sequence

import numpy as np

from mnar_ebm.estimator.report.describe import NO_LINK
from mnar_ebm.estimator.report.report import Column, LevelColumn, Report
from mnar_ebm.missingness import MECHANISMS
from mnar_ebm.tilted import TiltReport

MIN_ROWS = 100
MAX_DISTANCE = 0.5
"""Of a column's mean from that under missing at random, in standard deviations."""

MIN_ESS = 20


def find_warnings(
    report: Report,
    empty: Sequence[str],
    tilts: Sequence[TiltReport],
    lost: Sequence[str],
    others: Sequence[tuple[Column | LevelColumn, ...]],
) -> tuple[str, ...]:
    """Return what to mind, one sentence each.

    Args:
        report: what the fit found.
        empty: names of the columns without a value.
        tilts: what the choice of the tilt's scale found in each fit, if a tilt was asked for.
        lost: names of the candidates and fits whose loss became NaN or infinite.
        others: what the fits beside the first say of the columns.
    """
    has_gap = [column for column in report.columns if column.missing_share > 0]
    constant = [column.name for column in report.columns if column.is_constant]
    reads_hidden = MECHANISMS[report.mechanism].reads_hidden
    disputed = [
        column.name
        for column, *rest in zip(report.columns, *others, strict=True)
        if isinstance(column, Column)
        and len({one.direction for one in (column, *rest)} - {NO_LINK}) > 1
    ]
    num_untilted = sum(not _has_tilt(tilt) for tilt in tilts)
    far = [column.name for column in has_gap if reads_hidden and _is_far(column)]
    num_rows = 0 if report.evidence is None else report.evidence.num_rows
    moved = [one for one in report.against_random if abs(one.distance) > MAX_DISTANCE]
    found = {
        **{f"what was assumed decides: {one}": True for one in moved},
        f"no value in {_list(empty)}, which no model can fill": bool(empty),
        f"only one value in {_list(constant)}, and so in what is imputed": bool(constant),
        f"the mechanisms were compared on {num_rows} rows, too few to tell small differences": (
            report.evidence is not None and num_rows < MIN_ROWS
        ),
        f"the loss of {_list(lost)} became NaN or infinite, which was left out": bool(lost),
        "that values are missing not at random rests on the shape that the model gives the "
        "complete values; no table can prove it": bool(has_gap) and reads_hidden,
        f"in {_list(far)} the values that go missing half of the time lie outside the observed "
        "ones: slope and threshold are extrapolated": bool(far),
        f"few draws carry the weight (median {report.median_ess:.0f} of {report.num_samples}): "
        "raise num_samples": report.median_ess < min(MIN_ESS, 0.5 * report.num_samples),
        f"the fits do not agree on which values of {_list(disputed)} go missing": bool(disputed),
        f"in {num_untilted} of {len(tilts)} fits no tilt whose weights can be relied on raised the "
        "held-out bound, so none is used": num_untilted > 0,
    }
    return tuple(sentence for sentence, holds in found.items() if holds)


def _has_tilt(tilt: TiltReport) -> bool:
    return bool(tilt.tilt_scale or (tilt.unbiased is not None and tilt.unbiased.tilt_scale))


def _is_far(column: Column | LevelColumn) -> bool:
    """Return whether a threshold that matters lies outside the observed values."""
    if isinstance(column, LevelColumn):
        return False
    is_inside = column.bin_edges[0] <= column.threshold <= column.bin_edges[-1]
    return (
        bool(np.isfinite(column.threshold)) and not is_inside and "go missing" in (column.direction)
    )


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more columns"
