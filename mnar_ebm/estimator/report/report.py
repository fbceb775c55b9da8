"""What was learned of why values are missing, in the units of the table and in words."""

import dataclasses
from typing import Any

import numpy as np

from mnar_ebm.debiasing import UnbiasedReport
from mnar_ebm.estimator.against_random import MeanAgainstRandom
from mnar_ebm.estimator.patterns import Patterns
from mnar_ebm.missingness import MECHANISMS
from mnar_ebm.screening import Evidence

MAX_LEVELS_IN_WORDS = 6


@dataclasses.dataclass(frozen=True, eq=False)
class Column:
    """What was learned of one numeric column.

    Attributes:
        name: its name.
        missing_share: share of its cells that are missing.
        num_values: how many different values were observed.
        direction: which of its values go missing, in words.
        slope: of the mechanism in the column's own value, per original unit; NaN where the
            mechanism does not read it.
        threshold: the value that goes missing half of the time; NaN as above.
        grid: values, in original units. [G]
        probability: P(missing | value) there, other columns at their means; NaN where the
            mechanism does not tell. [G]
        bin_edges: of the histogram of observed values. [H + 1]
        bin_counts: observed values in each bin. [H]
    """

    name: str
    missing_share: float
    num_values: int
    direction: str
    slope: float
    threshold: float
    grid: np.ndarray
    probability: np.ndarray
    bin_edges: np.ndarray
    bin_counts: np.ndarray

    @property
    def is_constant(self) -> bool:
        """Whether only one value was observed."""
        return self.num_values == 1

    def __str__(self) -> str:
        """Return one line."""
        line = f"{self.name}: {self.missing_share:.1%} missing; {self.direction}"
        if np.isfinite(self.slope) and self.missing_share > 0:
            line += f" (slope {self.slope:.3g}, half of them at {self.threshold:.4g})"
        return line


@dataclasses.dataclass(frozen=True, eq=False)
class LevelColumn:
    """What was learned of one column that is binary, ordinal or categorical.

    Attributes:
        name: its name.
        missing_share: share of its cells that are missing.
        direction: which of its levels go missing, in words.
        levels: the k levels seen in ``fit``, in order.
        probability: P(missing | level), other columns at their means; NaN as above. [k]
        counts: observed cells of each level. [k]
        is_two_valued: whether the levels are the only two numbers of the column.
    """

    name: str
    missing_share: float
    direction: str
    levels: tuple[Any, ...]
    probability: np.ndarray
    counts: np.ndarray
    is_two_valued: bool = False

    @property
    def is_constant(self) -> bool:
        """Whether only one level was observed."""
        return int(np.count_nonzero(self.counts)) == 1

    def __str__(self) -> str:
        """Return one line, with the levels that go missing most."""
        line = f"{self.name}: {self.missing_share:.1%} missing; {self.direction}"
        if self.is_two_valued:
            line += "; two numbers alone, which are taken as levels"
        if self.missing_share == 0 or np.isnan(self.probability).any():
            return line
        most = np.argsort(-self.probability, kind="stable")[:MAX_LEVELS_IN_WORDS]
        told = [f"{self.levels[level]}: {self.probability[level]:.2f}" for level in most]
        rest = ", ..." if len(self.levels) > len(told) else ""
        return f"{line} (P(missing) of {', '.join(told)}{rest})"


@dataclasses.dataclass(frozen=True, eq=False)
class Report:
    """What a fit found; ``print`` it.

    Attributes:
        mechanism: the mechanism taken.
        reason: why.
        evidence: what was compared to find it; ``None`` where nothing was.
        against_random: what the mean of each numeric column would be if values were missing at
            random; empty where that is what was taken.
        patterns: what the gaps have in common, as far as it has a name.
        columns: what was learned of each column that is modelled.
        num_held_out: rows that decoders were compared on, before the one that was taken was
            trained with them too.
        median_ess: median number of effective draws behind a held-out row with a gap.
        num_samples: most draws behind each row, of each fit.
        num_models: fits that are averaged; all but ``warnings`` is of the first.
        tilt_scale: lambda of the tilt, 0 without one.
        unbiased: what the fit of a second tilt to unbiased rows found, if it was made.
        warnings: what to mind, in words.
    """

    mechanism: str
    reason: str
    evidence: Evidence | None
    against_random: tuple[MeanAgainstRandom, ...]
    patterns: Patterns
    columns: tuple[Column | LevelColumn, ...]
    num_held_out: int
    median_ess: float
    num_samples: int
    num_models: int
    tilt_scale: float
    unbiased: UnbiasedReport | None
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        """Return the report as text."""
        lines = [f"assumed: {MECHANISMS[self.mechanism].assumption} (mechanism {self.mechanism})"]
        lines.append(f"why: {self.reason}")
        lines += [f"under missing at random: {one}" for one in self._most_moved()]
        if self.evidence is not None:
            lines.append(
                f"gains of log p(observed values, gaps) over {self.evidence.num_rows} rows, in "
                "nats; what a family of models can tell, which is no proof"
            )
            lines += [f"  {one}" for one in self.evidence.findings]
        lines += [f"gaps: {sentence}" for sentence in self.patterns.sentences]
        lines.append("columns")
        lines += [f"  {column}" for column in self.columns]
        lines.append(
            f"effective draws behind a row: median {self.median_ess:.0f} of at most "
            f"{self.num_samples}"
        )
        lines += [] if self.unbiased is None else [str(self.unbiased)]
        if self.num_models > 1:
            lines.append(f"{self.num_models} fits are averaged; what is told above is of the first")
        return "\n".join([*lines, *(f"warning: {warning}" for warning in self.warnings)])

    def _most_moved(self) -> list[MeanAgainstRandom]:
        """Return the columns whose means depend most on what was assumed."""
        order = sorted(self.against_random, key=lambda one: -abs(one.distance))
        return order[:MAX_LEVELS_IN_WORDS]
