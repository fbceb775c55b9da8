r"""How a conclusion depends on what the data cannot tell: values missing beyond what was modelled.

The rows that were observed fit another model as well, under which the missing values are larger or
smaller than the fitted one says. So they are moved off it, step by step (``departures``): by a tilt
exp(\gamma u), or a shift by \delta standard deviations. For each size, tables are completed, the
statistic is computed in each, and what they give is pooled by Rubin's rules. The randomness of the
draws is the same for every size, so that the curve is smooth.

The *tipping point* is the size nearest to 0, the fitted model, at which the interval no longer says
what it says there of a stated value. Whether a departure of that size is plausible is a question to
those who know how the data came about; the ratio of P(missing) that it means helps to answer.

References:
    J. R. Carpenter, M. G. Kenward, "Multiple Imputation and its Application", 2013, ch. 10.
    S. van Buuren, "Flexible Imputation of Missing Data", 2nd edition, 2018, sec. 9.2.
"""

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mnar_ebm.estimator.report import plot
from mnar_ebm.estimator.report.cautions import MIN_ESS


class TippingPoints(NamedTuple):
    """Where the conclusion turns, below 0 and above it; ``None`` where it does not on the grid."""

    below: float | None
    above: float | None


@dataclasses.dataclass(frozen=True, eq=False)
class Sensitivity:
    """A statistic over the size of a departure from the fitted model; ``print`` it, or ``plot``.

    Attributes:
        statistic: its name.
        parameter: ``gamma``, of a tilt, or ``delta``, of a shift.
        columns: the columns whose missing values depart. [C]
        units: what ``u`` is measured in, of each: its standard deviation, or 1, a level. [C]
        ends: between what ``missing_ratio`` compares, high and low, in words. [C]
        grid: sizes, ascending; 0 is among them. [G]
        estimate: the pooled statistic. [G]
        low: lower end of its interval, of ``level``. [G]
        high: upper end. [G]
        missing_information: share of the information that the gaps cost. [G]
        missing_ratio: P(missing) at the high end of a column over that at the low end, by
            ``departures.ratio_by_tilt`` or ``ratio_by_shift``. [G, C]
        least_ess: least effective number of draws behind a row with a gap in these columns. [G]
        median_ess: median of these numbers. [G]
        num_samples: draws behind a row, of each fit.
        conclusion: the value that the statistic is compared with, if one was stated.
        level: nominal coverage of the interval.
    """

    statistic: str
    parameter: str
    columns: tuple[str, ...]
    units: tuple[float, ...]
    ends: tuple[tuple[str, str], ...]
    grid: np.ndarray
    estimate: np.ndarray
    low: np.ndarray
    high: np.ndarray
    missing_information: np.ndarray
    missing_ratio: np.ndarray
    least_ess: np.ndarray
    median_ess: np.ndarray
    num_samples: int
    conclusion: float | None
    level: float

    @property
    def verdict(self) -> str:
        """What the interval at 0 says of the stated value: ``above``, ``below``, ``undecided``."""
        if self.conclusion is None:
            return ""
        at = int(np.flatnonzero(self.grid == 0)[0])
        if self.low[at] > self.conclusion:
            return "above"
        return "below" if self.high[at] < self.conclusion else "undecided"

    @property
    def tipping_points(self) -> TippingPoints:
        """Sizes nearest to 0 at which the verdict turns, linear between those of the grid."""
        if self.conclusion is None:
            return TippingPoints(None, None)
        above, below = self.low - self.conclusion, self.conclusion - self.high
        margins = {"above": [above], "below": [below], "undecided": [-above, -below]}
        at = int(np.flatnonzero(self.grid == 0)[0])

        def nearest(side: slice) -> float | None:
            turns = [_first_turn(self.grid[side], one[side]) for one in margins[self.verdict]]
            return min((turn for turn in turns if turn is not None), key=abs, default=None)

        return TippingPoints(nearest(slice(at, None, -1)), nearest(slice(at, None)))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to mind, in words."""
        is_few = self.least_ess < min(MIN_ESS, 0.5 * self.num_samples)
        if not is_few.any():
            return ()
        sizes = ", ".join(f"{size:g}" for size in self.grid[is_few])
        way_out = f"or keep to a smaller {self.parameter}"
        if is_few[self.grid == 0].any():
            way_out = "or train longer, for it is so without a departure, too"
        return (
            f"few draws carry the weight at {self.parameter} = {sizes}: some row has an effective "
            f"number of {self.least_ess[is_few].min():.1f}, half of the rows have one below "
            f"{self.median_ess[is_few].min():.0f}; raise the importance samples behind a row (now "
            f"{self.num_samples}), {way_out}",
        )

    def to_frame(self) -> pd.DataFrame:
        """Return a table, one row for each size."""
        frame = pd.DataFrame({self.parameter: self.grid})
        for name in ("estimate", "low", "high", "missing_information"):
            frame[name] = getattr(self, name)
        for name, ratio in zip(self.columns, self.missing_ratio.T, strict=True):
            frame[f"missing_ratio {name}"] = ratio
        return frame.assign(least_ess=self.least_ess, median_ess=self.median_ess)

    def plot(self) -> Any:
        """Return a matplotlib figure: the statistic and its interval over the size."""
        return plot.draw_sensitivity(self)

    def __str__(self) -> str:
        """Return the table, and what it says in sentences."""
        how = {
            "gamma": "the missing values tilted by exp(gamma u)",
            "delta": "the missing values shifted by delta standard deviations",
        }
        lines = [f"{self.statistic}, {how[self.parameter]}"]
        for name, unit in zip(self.columns, self.units, strict=True):
            lines.append(f"  {name}: in units of {unit:.4g}")
        head = ("estimate", "low", "high", "missing info", "ratio", "least ess", "median ess")
        lines.append(f"{self.parameter:>8}" + "".join(f"{word:>13}" for word in head))
        for at, size in enumerate(self.grid):
            ratios = "/".join(f"{ratio:.3g}" for ratio in self.missing_ratio[at])
            numbers = (self.estimate[at], self.low[at], self.high[at])
            lines.append(
                f"{size:8.3g}"
                + "".join(f"{number:13.5g}" for number in numbers)
                + f"{self.missing_information[at]:13.1%}{'x ' + ratios:>13}"
                + f"{self.least_ess[at]:13.0f}{self.median_ess[at]:13.0f}"
            )
        lines.append(
            f"low, high: {self.level:.0%} interval; ratio: of P(missing), high values to low ones; "
            "ess: effective draws behind a row"
        )
        lines += [f"{self.parameter} = {size:g}: {self.say(size)}" for size in self._extremes()]
        lines += self._sentences()
        return "\n".join([*lines, *(f"warning: {warning}" for warning in self.warnings)])

    def say(self, size: float) -> str:
        """Return what a departure says of missingness, in words, interpolated on the grid."""
        told, is_tilt = [], self.parameter == "gamma"
        for (high, low), ratio in zip(self.ends, self.missing_ratio.T, strict=True):
            with np.errstate(divide="ignore"):
                value = np.exp(np.interp(size, self.grid, np.log(ratio)))
            near, where = ("at", "all else equal") if is_tilt else ("about", "in completed tables")
            told.append(
                f"{where}, a value {near} {high} goes missing {value:.3g} times as often as one "
                f"{near} {low}"
            )
        return "; ".join(told)

    def _extremes(self) -> list[float]:
        return list(dict.fromkeys([float(self.grid[0]), 0.0, float(self.grid[-1])]))

    def _sentences(self) -> list[str]:
        """Return the conclusion and where it turns."""
        if self.conclusion is None:
            return []
        stands = {"undecided": f"cannot be told from {self.conclusion:g}"}
        stand = stands.get(self.verdict, f"is {self.verdict} {self.conclusion:g}")
        lines = [f"by the fitted model, the {self.statistic} {stand}"]
        for side, point in zip(("below", "above"), self.tipping_points, strict=True):
            end = self.grid[0] if side == "below" else self.grid[-1]
            if end == 0:
                continue
            lines.append(
                f"it turns at {self.parameter} = {point:.3g}: {self.say(point)}"
                if point is not None
                else f"it does not turn up to {self.parameter} = {end:g}"
            )
        return lines


def _first_turn(grid: np.ndarray, margin: np.ndarray) -> float | None:
    """Return where a margin, 0 or more at first, falls below 0, linear in between. [G]."""
    lost = np.flatnonzero(margin < 0)
    if not lost.size:
        return None
    after = int(lost[0])
    share = margin[after - 1] / (margin[after - 1] - margin[after])
    return float(grid[after - 1] + share * (grid[after] - grid[after - 1]))
