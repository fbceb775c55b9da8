r"""Whether hidden values decide what is missing, as far as a table can tell.

Every candidate has the same model of what gaps have in common. They differ by what is added:

    ignorable            nothing hidden is read
    no_self_censoring    what other columns hide, never the value itself
    self_masking         the hidden value itself

With \Delta the gain of log p(x_obs, s) over another, summed over rows, and k the parameters that it
took, a gain is *clear* if

    2 \Delta > the 99.9 % point of \chi²_k      and      \Delta - k > 1.5 \sqrt{N} sd_i \Delta_i

the first by theory for nested models that are right, the second for those that are not: the gain
has to come from most rows, not from a few. Self-masking has to gain clearly with columns bent
towards the shape that they were seen to have; with straight columns against bent ones without it,
for the model that is fitted in the end is straight; and with more latents. Then each column is
judged by itself: its slope stays if the fit is clearly worse without it.

All this is evidence for one family of models against another. Every model of values that hide
themselves has a counterpart at random that fits as well: they are told apart by the shape that is
assumed of p(x), and by nothing else.

References:
    Q. H. Vuong, "Likelihood Ratio Tests for Model Selection and Non-Nested Hypotheses",
    Econometrica 57, 1989 (the second).
    G. Molenberghs, C. Beunckens, C. Sotto, M. G. Kenward, "Every missingness not at random model
    has a missingness at random counterpart with equal fit", JRSS B 70, 2008.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mnar_ebm.data.table import Table
from mnar_ebm.screening import fit
from mnar_ebm.screening.bench import Bench, Fitted, Gain, gain
from mnar_ebm.screening.factors import Params

MORE_LATENTS = 2
COLUMN_LEVEL = 0.98
STARTS = (0.0, 1.0, -1.0)
"""Slopes that all columns start with: training does not pass from one tail to the other."""

IGNORABLE = "ignorable, columns bent"


class Finding(NamedTuple):
    """One comparison.

    Attributes:
        candidate: what was added.
        against: what it was added to, and how columns were modelled.
        gain: of the first over the second.
        is_clear: whether it counts.
    """

    candidate: str
    against: str
    gain: Gain
    is_clear: bool

    def __str__(self) -> str:
        """Return one line."""
        more = self.gain.num_parameters
        parameters = (
            f"{abs(more)} parameter{'s' * (abs(more) != 1)} {'more' if more >= 0 else 'less'}"
        )
        verdict = "clear" if self.is_clear else "not clear"
        return f"{self.candidate} against {self.against}: {self.gain}, {parameters}: {verdict}"


class Means(NamedTuple):
    """What columns would be on average if values were missing at random.

    Attributes:
        rows: indices of the rows that were read. [n]
        mean: of each encoded column over them, gaps filled, in the units of the table. [D]
    """

    rows: np.ndarray
    mean: np.ndarray


class Evidence(NamedTuple):
    """What a table says of why its values are missing.

    Attributes:
        mechanism: ``ignorable``, ``no_self_censoring`` or ``self_masking``.
        slopes: sign of the slope of each encoded column in its own value, where it hides itself; 0
            elsewhere. [D]
        gap_terms: whether gaps go together beyond what hidden values say.
        findings: the comparisons that were made, in order.
        random: means under missing at random.
        ess: effective share of the draws behind a row, at the median.
    """

    mechanism: str
    slopes: tuple[float, ...]
    gap_terms: bool
    findings: tuple[Finding, ...]
    random: Means
    ess: float

    @property
    def num_rows(self) -> int:
        """Rows that were read."""
        return len(self.random.rows)


class _Notes:
    """The findings so far."""

    def __init__(self, tell: Callable[[str], None]):
        self.findings: list[Finding] = []
        self._tell = tell

    def add(self, candidate: str, against: str, gain: Gain, is_clear: bool) -> bool:
        """Keep a finding, and return whether it is clear."""
        self.findings.append(Finding(candidate, against, gain, is_clear))
        self._tell(str(self.findings[-1]))
        return is_clear


def screen(
    table: Table, seed: int = 0, tell: Callable[[str], None] = lambda line: None
) -> Evidence:
    """Return what a table says of why its values are missing.

    Args:
        table: incomplete rows, encoded.
        seed: of rows, starts and draws.
        tell: called with a line after each comparison.
    """
    bench, notes = Bench(table, seed), _Notes(tell)
    ignorable = bench.settle(bench.first(bench.factors()))
    own, gap_terms = np.zeros(len(bench.has_gap)), True
    mechanism = _find_family(bench, ignorable, notes)
    if mechanism == "self_masking":
        own, slopes, gap_terms = _find_columns(bench, ignorable, notes)
        mechanism = "self_masking" if own.any() else "ignorable"
        own = slopes
    return Evidence(
        mechanism,
        tuple(float(slope) for slope in own),
        gap_terms,
        tuple(notes.findings),
        _means(bench, ignorable),
        float(np.median(ignorable.score.ess)) / fit.NUM_SCORING_DRAWS,
    )


def ignorable_means(table: Table, seed: int = 0) -> Means:
    """Return what columns would be on average if values were missing at random."""
    bench = Bench(table, seed)
    return _means(bench, bench.first(bench.factors()))


def _means(bench: Bench, ignorable: Fitted) -> Means:
    filled = bench.facts.standardiser.invert(np.asarray(ignorable.score.mean, np.float64))
    return Means(bench.rows, filled.mean(axis=0))


def _find_family(bench: Bench, ignorable: Fitted, notes: _Notes) -> str:
    """Return the family that gains most, of those that gain clearly."""
    found: dict[str, Gain] = {}
    masking = _self_masking(bench, ignorable.params, bench.has_gap, is_bent=True)
    gained = gain(masking, ignorable, bench.num_own(bench.gappy))
    if notes.add("self_masking", IGNORABLE, gained, gained.is_clear):
        found["self_masking"] = gained
    if len(bench.gappy) > 1:
        by_others = bench.settle(
            bench.more(bench.factors(reads_others=True), bench.reads(others=True), ignorable.params)
        )
        num_parameters = len(bench.gappy) * (int(bench.has_gap.sum()) - 1)
        gained = gain(by_others, ignorable, num_parameters)
        if notes.add("no_self_censoring", IGNORABLE, gained, gained.is_clear):
            found["no_self_censoring"] = gained
    return max(found, key=lambda name: found[name].net) if found else "ignorable"


def _find_columns(
    bench: Bench, ignorable: Fitted, notes: _Notes
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Return which columns hide themselves, by which sign, and whether gaps go together, too.

    None does if what self-masking gains does not stand where columns are modelled otherwise.
    """
    own = bench.has_gap.astype(float)
    none = np.zeros_like(own)
    straight = _self_masking(bench, ignorable.params, own, is_bent=False)
    fewer = 2 * int(bench.can_bend.sum())
    gained = gain(straight, ignorable, bench.num_own(bench.gappy) - fewer)
    if not notes.add("self_masking, columns straight", IGNORABLE, gained, gained.is_steady):
        return none, none, True
    if not _stands_with_latents(bench, own, straight, notes):
        return none, none, True
    own, straight = _judge_columns(bench, own, straight, notes)
    if not own.any():
        return none, none, True
    reads = bench.reads(own, gaps=False, is_bent=False)
    alone = bench.settle(bench.more(straight.factors, reads, straight.params))
    gained = gain(straight, alone, bench.num_gap_terms())
    has_terms = notes.add("gap terms", "self_masking alone", gained, gained.net > 0)
    return own, bench.slopes(straight, own), has_terms


def _self_masking(bench: Bench, params: Params, own: np.ndarray, is_bent: bool) -> Fitted:
    """Return the self-masking candidate from the best of its starts."""
    reads, factors = bench.reads(own, is_bent=is_bent), bench.factors()
    starts = [bench.with_slope(params, slope) for slope in STARTS]
    fits = [bench.more(factors, reads, start) for start in starts]
    return bench.settle(max(fits, key=lambda one: one.total))


def _stands_with_latents(bench: Bench, own: np.ndarray, straight: Fitted, notes: _Notes) -> bool:
    """Return whether self-masking gains clearly where the factor model has more latents."""
    factors = bench.factors(more_latents=MORE_LATENTS)
    ignorable = bench.settle(bench.first(factors))
    start = ignorable.params._replace(own=straight.params.own)
    masking = bench.settle(bench.more(factors, bench.reads(own), start))
    gained = gain(masking, ignorable, bench.num_own(bench.gappy))
    return notes.add("self_masking", f"{IGNORABLE}, more latents", gained, gained.is_clear)


def _judge_columns(
    bench: Bench, own: np.ndarray, fitted: Fitted, notes: _Notes
) -> tuple[np.ndarray, Fitted]:
    """Return which columns hide themselves, each judged by the fit without its own slope."""
    if len(bench.gappy) < 2:
        return own, fitted
    kept = own.copy()
    for block in bench.gappy:
        without = own.copy()
        without[block.columns] = 0.0
        simpler = bench.more(fitted.factors, bench.reads(without, is_bent=False), fitted.params)
        gained = gain(fitted, simpler, bench.num_own([block]))
        is_clear = gained.total > gained.threshold(COLUMN_LEVEL)
        name = f"self_masking of {bench.facts.columns[block.start]}"
        if not notes.add(name, "that of the other columns", gained, is_clear):
            kept[block.columns] = 0.0
    if (kept == own).all() or not kept.any():
        return kept, fitted
    reads = bench.reads(kept, is_bent=False)
    return kept, bench.more(fitted.factors, reads, fitted.params)
