r"""Whether hidden values decide what is missing, as far as a table can tell.

Every candidate has the same model of what gaps have in common. They differ by what is added:

    ignorable            nothing hidden is read
    no_self_censoring    what other columns hide, never the value itself
    self_masking         the hidden value itself

Gap terms are those that gaps at random need (``screening.terms``). Values that hide themselves may
do with fewer of them: with none, or with other gaps alone, or with all; what is best by log p less
the number of parameters (AIC) is compared. With \Delta the gain of log p(x_obs, s) over the
ignorable candidate, summed over rows, and k the parameters that it took more, or less, a gain is
*clear* if \Delta - k is above what chance does by the \chi² of the slopes, and, but for nested
models of columns that look normal, above what rows differ by: it has to come from most of them.

Columns are bent if that pays for its parameters where values are missing at random, or the skew of
a column would pass for a cut. Self-masking has to gain clearly with more latents, too, and, where
it needs all the terms that gaps at random need, with columns straight: what is fitted in the end
is straight. Then each column is judged by itself: its slope stays if the fit is clearly worse
without it.

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
from mnar_ebm.screening.bench import Bench, Fitted, Gain, chance, gain
from mnar_ebm.types import Array

MORE_LATENTS = 2
LEVEL, STRAIGHT_LEVEL, COLUMN_LEVEL = 0.999, 0.995, 0.98
"""Quantiles that a gain has to pass: of bent columns, of straight ones, of one column's slope."""

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

    @property
    def is_hidden(self) -> bool:
        """Whether what was added is read off hidden values."""
        return "self" in self.candidate

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
    ignorable = _ignorable(bench, notes)
    mechanism, slopes, has_terms = IGNORABLE, np.zeros(len(bench.has_gap)), True
    if bench.num_own:
        masking = _self_masking(bench, ignorable)
        mechanism = _find_family(bench, ignorable, masking, notes)
    if mechanism == "self_masking":
        slopes = _find_columns(bench, ignorable, masking, notes)
        mechanism = "self_masking" if slopes.any() else IGNORABLE
        has_terms = bool(masking.num_terms)
    return Evidence(
        mechanism,
        tuple(float(slope) for slope in slopes),
        has_terms,
        tuple(notes.findings),
        len(bench.rows),
        float(np.median(ignorable.score.ess)) / fit.NUM_SCORING_DRAWS,
        np.zeros(0) if mechanism == "ignorable" else bench.means(ignorable),
    )


def random_means(table: Table, seed: int = 0) -> np.ndarray:
    """Return what the mean of each encoded column would be, were values missing at random. [D]."""
    bench = Bench(table, seed)
    return bench.means(_ignorable(bench, _Notes(lambda line: None)))


def _ignorable(bench: Bench, notes: _Notes) -> Fitted:
    """Return the candidate that reads nothing hidden, bent if that pays for its parameters."""
    orders = (True, False) if bench.has_gap.sum() > 1 else (True,)
    fits = [bench.first(bench.factors(), fullest_first) for fullest_first in orders]
    straight = bench.settle(max(fits, key=lambda one: one.total - one.num_terms))
    if not bench.can_bend.any():
        return straight
    bent = bench.settle(bench.more(straight, shape=bench.can_bend))
    gained = gain(bent, straight, 2 * int(bench.can_bend.sum()))
    return bent if notes.add("bent columns", "straight ones", gained, gained.net > 0) else straight


def _self_masking(bench: Bench, ignorable: Fitted) -> Fitted:
    """Return the self-masking candidate with as many gap terms as it needs."""
    terms = ignorable.reads.terms
    gaps_alone = terms * (np.arange(len(terms)) == 0)[:, None, None]
    fits = [_from_starts(bench, ignorable, some) for some in (0.0 * terms, gaps_alone, terms)]
    return max(fits, key=lambda one: one.total - one.num_terms)


def _from_starts(
    bench: Bench, ignorable: Fitted, terms: Array, shape: np.ndarray | None = None
) -> Fitted:
    """Return the self-masking candidate with some gap terms, from the best of its starts."""
    changed = {"own": bench.can_hide, "terms": terms} | ({} if shape is None else {"shape": shape})
    starts = [bench.with_slope(ignorable, slope) for slope in STARTS]
    fits = [bench.more(start, **changed) for start in starts]
    return bench.settle(max(fits, key=lambda one: one.total))


def _gain_of(masking: Fitted, ignorable: Fitted) -> Gain:
    num_parameters = masking.num_own + masking.num_terms - ignorable.num_terms
    return gain(masking, ignorable, num_parameters)


def _is_clear(masking: Fitted, ignorable: Fitted) -> bool:
    """Return whether self-masking gains more than chance, and than rows differ by."""
    gained, is_nested = _gain_of(masking, ignorable), masking.num_terms == ignorable.num_terms
    is_bent = bool(ignorable.reads.shape.any())
    by_chance = chance(masking.num_own, LEVEL if is_bent else STRAIGHT_LEVEL)
    if is_nested and not is_bent:
        return gained.net > by_chance
    return gained.net > max(by_chance, (1.5 if is_nested else 1.0) * gained.standard_error)


def _find_family(bench: Bench, ignorable: Fitted, masking: Fitted, notes: _Notes) -> str:
    """Return the family that gains most, of those that gain clearly."""
    found: dict[str, float] = {}
    gained = _gain_of(masking, ignorable)
    if notes.add("self_masking", IGNORABLE, gained, _is_clear(masking, ignorable)):
        found["self_masking"] = gained.net
    if bench.num_own > 1:
        start = ignorable._replace(factors=bench.factors(reads_others=True))
        by_others = bench.settle(bench.more(start, others=bench.can_hide))
        gained = gain(by_others, ignorable, bench.num_others)
        is_clear = gained.net > max(chance(bench.num_others, LEVEL), 1.5 * gained.standard_error)
        if notes.add("no_self_censoring", IGNORABLE, gained, is_clear):
            found["no_self_censoring"] = gained.net
    return max(found, key=lambda name: found[name]) if found else IGNORABLE


def _find_columns(bench: Bench, ignorable: Fitted, masking: Fitted, notes: _Notes) -> np.ndarray:
    """Return the sign by which each column hides itself, or 0. [D].

    None does if what self-masking gains does not stand where columns are modelled otherwise.
    """
    none = np.zeros(len(bench.has_gap))
    is_bent, is_nested = ignorable.reads.shape.any(), masking.num_terms == ignorable.num_terms
    if is_bent and is_nested:
        shape = np.asarray(ignorable.reads.shape) * ~bench.has_gap
        straight = _from_starts(bench, ignorable, masking.reads.terms, shape)
        fewer = 2 * int((bench.can_bend & bench.has_gap).sum())
        gained = gain(straight, ignorable, masking.num_own - fewer)
        is_clear = gained.net > 1.5 * gained.standard_error
        if not notes.add("straight self_masking", f"bent {IGNORABLE}", gained, is_clear):
            return none
    if not _stands_with_latents(bench, ignorable, masking, notes):
        return none
    return _judge_columns(bench, masking, notes)


def _stands_with_latents(bench: Bench, ignorable: Fitted, masking: Fitted, notes: _Notes) -> bool:
    """Return whether self-masking gains clearly where the factor model has more latents."""
    factors = bench.factors(more_latents=MORE_LATENTS)
    wider = bench.settle(bench.first(factors, reads=ignorable.reads))
    start = wider.params._replace(own=masking.params.own)
    wider_masking = bench.settle(
        bench.more(wider._replace(params=start), own=masking.reads.own, terms=masking.reads.terms)
    )
    return notes.add(
        "self_masking",
        f"{IGNORABLE}, more latents",
        _gain_of(wider_masking, wider),
        _is_clear(wider_masking, wider),
    )


def _judge_columns(bench: Bench, masking: Fitted, notes: _Notes) -> np.ndarray:
    """Return the sign of each column's slope, if the fit without it is clearly worse. [D]."""
    own = np.asarray(masking.reads.own)
    columns = np.flatnonzero(own)
    if len(columns) < 2:
        return bench.signs(masking)
    kept = own.copy()
    for column in columns:
        simpler = bench.more(masking, own=own * (np.arange(len(own)) != column))
        gained = gain(masking, simpler, 1)
        name = f"self_masking of {bench.facts.columns[column]}"
        is_clear = gained.net > chance(1, COLUMN_LEVEL)
        kept[column] = notes.add(name, "that of the other columns", gained, is_clear)
    return bench.signs(masking) * kept
