r"""Whether hidden values decide what is missing, as far as a table can tell.

Every candidate has the same model of what gaps have in common. They differ by what is added:

    ignorable            nothing hidden is read
    no_self_censoring    what other columns hide, never the value itself
    self_masking         the hidden value itself

With \Delta the gain of log p(x_obs, s) over another, summed over rows, and k the parameters that it
took, a gain is *clear* if

    2 \Delta > the 99.9 % point of \chi²_k      and      \Delta - k > 1.5 \sqrt{N} sd_i \Delta_i

the first by theory for nested models that are right, the second for those that are not: the gain
has to come from most rows, not from a few. Columns are bent if that pays for its parameters where
values are missing at random, or the skew of a column would pass for a cut. Self-masking has to gain
clearly so; with straight columns against bent ones without it, for the model that is fitted in the
end is straight; and with more latents. Then each column is judged by itself: its slope stays if
the fit is clearly worse without it.

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
from mnar_ebm.screening.factors import Factors

MORE_LATENTS = 2
COLUMN_LEVEL = 0.98
STARTS = (0.0, 1.0, -1.0)
"""Slopes that all columns start with: training does not pass from one tail to the other."""

IGNORABLE = "ignorable"


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


class Evidence(NamedTuple):
    """What a table says of why its values are missing.

    Attributes:
        mechanism: ``ignorable``, ``no_self_censoring`` or ``self_masking``.
        slopes: sign of the slope of each encoded column in its own value, where it hides itself; 0
            elsewhere. [D]
        gap_terms: whether gaps go together beyond what hidden values say.
        findings: the comparisons that were made, in order.
        num_rows: rows that were read.
        ess: effective share of the draws behind a row, at the median.
        random_means: what the mean of each encoded column would be, were values missing at random,
            in the units of the table; empty where they are taken to be. [D]
    """

    mechanism: str
    slopes: tuple[float, ...]
    gap_terms: bool
    findings: tuple[Finding, ...]
    num_rows: int
    ess: float
    random_means: np.ndarray


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
    ignorable = _ignorable(bench, bench.factors(), notes)
    own, gap_terms = np.zeros(len(bench.has_gap)), True
    mechanism = _find_family(bench, ignorable, notes)
    if mechanism == "self_masking":
        own, gap_terms = _find_columns(bench, ignorable, notes)
        mechanism = "self_masking" if own.any() else "ignorable"
    return Evidence(
        mechanism,
        tuple(float(slope) for slope in own),
        gap_terms,
        tuple(notes.findings),
        len(bench.rows),
        float(np.median(ignorable.score.ess)) / fit.NUM_SCORING_DRAWS,
        np.zeros(0) if mechanism == "ignorable" else bench.means(ignorable),
    )


def random_means(table: Table, seed: int = 0) -> np.ndarray:
    """Return what the mean of each encoded column would be, were values missing at random. [D]."""
    bench = Bench(table, seed)
    return bench.means(_ignorable(bench, bench.factors(), _Notes(lambda line: None)))


def _ignorable(bench: Bench, factors: Factors, notes: _Notes) -> Fitted:
    """Return the candidate that reads nothing hidden, bent if that pays for its parameters."""
    straight = bench.settle(bench.first(factors))
    num_parameters = 2 * int(bench.can_bend.sum())
    if not num_parameters:
        return straight
    bent = bench.settle(bench.more(factors, bench.reads(is_bent=True), straight.params))
    gained = gain(bent, straight, num_parameters)
    return bent if notes.add("bent columns", "straight ones", gained, gained.net > 0) else straight


def _is_bent(fitted: Fitted) -> bool:
    return bool(np.any(fitted.reads.shape))


def _find_family(bench: Bench, ignorable: Fitted, notes: _Notes) -> str:
    """Return the family that gains most, of those that gain clearly."""
    found: dict[str, Gain] = {}
    is_bent = _is_bent(ignorable)
    masking = _self_masking(bench, ignorable, bench.has_gap, is_bent)
    gained = gain(masking, ignorable, bench.num_own(bench.gappy))
    if notes.add("self_masking", IGNORABLE, gained, gained.is_clear):
        found["self_masking"] = gained
    if len(bench.gappy) > 1:
        reads = bench.reads(others=True, is_bent=is_bent)
        factors = bench.factors(reads_others=True)
        by_others = bench.settle(bench.more(factors, reads, ignorable.params))
        num_parameters = len(bench.gappy) * (int(bench.has_gap.sum()) - 1)
        gained = gain(by_others, ignorable, num_parameters)
        if notes.add("no_self_censoring", IGNORABLE, gained, gained.is_clear):
            found["no_self_censoring"] = gained
    return max(found, key=lambda name: found[name].net) if found else "ignorable"


def _find_columns(bench: Bench, ignorable: Fitted, notes: _Notes) -> tuple[np.ndarray, bool]:
    """Return the sign by which each column hides itself, or 0, and whether gaps go together.

    None does if what self-masking gains does not stand where columns are modelled otherwise.
    """
    own = bench.has_gap.astype(float)
    none = np.zeros_like(own)
    straight = _self_masking(bench, ignorable, own, is_bent=False)
    if _is_bent(ignorable):
        fewer = 2 * int(bench.can_bend.sum())
        gained = gain(straight, ignorable, bench.num_own(bench.gappy) - fewer)
        if not notes.add("straight self_masking", f"bent {IGNORABLE}", gained, gained.is_steady):
            return none, True
    if not _stands_with_latents(bench, own, straight, notes):
        return none, True
    own, straight = _judge_columns(bench, own, straight, notes)
    if not own.any():
        return none, True
    reads = bench.reads(own, gaps=False)
    alone = bench.settle(bench.more(straight.factors, reads, straight.params))
    gained = gain(straight, alone, bench.num_gap_terms())
    has_terms = notes.add("gap terms", "self_masking alone", gained, gained.net > 0)
    return bench.slopes(straight, own), has_terms


def _self_masking(bench: Bench, ignorable: Fitted, own: np.ndarray, is_bent: bool) -> Fitted:
    """Return the self-masking candidate from the best of its starts."""
    reads, factors = bench.reads(own, is_bent=is_bent), ignorable.factors
    starts = [bench.with_slope(ignorable.params, slope) for slope in STARTS]
    fits = [bench.more(factors, reads, start) for start in starts]
    return bench.settle(max(fits, key=lambda one: one.total))


def _stands_with_latents(bench: Bench, own: np.ndarray, straight: Fitted, notes: _Notes) -> bool:
    """Return whether self-masking gains clearly where the factor model has more latents."""
    factors = bench.factors(more_latents=MORE_LATENTS)
    ignorable = _ignorable(bench, factors, notes)
    start = ignorable.params._replace(own=straight.params.own)
    reads = bench.reads(own, is_bent=_is_bent(ignorable))
    masking = bench.settle(bench.more(factors, reads, start))
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
        simpler = bench.more(fitted.factors, bench.reads(without), fitted.params)
        gained = gain(fitted, simpler, bench.num_own([block]))
        is_clear = gained.total > gained.threshold(COLUMN_LEVEL)
        name = f"self_masking of {bench.facts.columns[block.start]}"
        if not notes.add(name, "that of the other columns", gained, is_clear):
            kept[block.columns] = 0.0
    if (kept == own).all() or not kept.any():
        return kept, fitted
    return kept, bench.settle(bench.more(fitted.factors, bench.reads(kept), fitted.params))
