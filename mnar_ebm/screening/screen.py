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
a column would pass for a cut; then more errors have to speak for a gain. Self-masking has to gain
clearly with more latents, too. Where columns are straight, or are so once self-masking is told,
each is judged by itself: its slope stays if the fit is clearly worse without it. The shape of bent
ones is not known so well: all with gaps are taken, and no terms, which would make up for what the
shape is wrong by.

All this is evidence for one family of models against another. Every model of values that hide
themselves has a counterpart at random that fits as well: they are told apart by the shape that is
assumed of p(x), and by nothing else.

References:
    Q. H. Vuong, "Likelihood Ratio Tests for Model Selection and Non-Nested Hypotheses",
    Econometrica 57, 1989 (what rows differ by).
    G. Molenberghs, C. Beunckens, C. Sotto, M. G. Kenward, "Every missingness not at random model
    has a missingness at random counterpart with equal fit", JRSS B 70, 2008.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from mnar_ebm.data.table import Table
from mnar_ebm.screening import fit, wide
from mnar_ebm.screening.bench import TRIAL_STEPS, Bench, Fitted, Gain, chance, gain
from mnar_ebm.types import Array

LEVEL, STRAIGHT_LEVEL, COLUMN_LEVEL = 0.999, 0.995, 0.98
"""Quantiles that a gain has to pass: of bent columns, of straight ones, of one column's slope."""

BENT_ERRORS = 2.5
"""Standard errors over rows that a gain has to pass where columns are bent: their shape is not
known, and what is nested in a wrong model gains by chance more than theory says."""

MAX_JUDGED = 12
"""Most columns that are judged one by one: each takes a fit."""

STARTS = (0.0, 1.0, -1.0)
"""Slopes that all columns start with: training does not pass from one tail to the other."""

IGNORABLE = "ignorable"


BENT = "bent self_masking"


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
        slopes: sign of the slope of each encoded column in its own value, where it hides itself, or
            1 where columns are bent and the sign is not known; 0 elsewhere. [D]
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

    @property
    def has_signs(self) -> bool:
        """Whether the signs of slopes are known: values hide themselves in straight columns."""
        bent = [one.is_clear for one in self.findings if one.candidate == BENT]
        return self.mechanism == "self_masking" and not any(bent)


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

    Of a wide table some columns speak for all (``screening.wide``).

    Args:
        table: incomplete rows, encoded.
        seed: of rows, columns, starts and draws.
        tell: called with a line after each comparison.
    """
    columns = wide.some_columns(table, seed)
    if len(columns) == len(table.columns):
        return _screen(table, seed, tell)
    found = _screen(wide.part_of(table, columns), seed, tell)
    slopes = wide.spread_slopes(table, columns, np.array(found.slopes))
    means = np.full(len(table.columns), np.nan)
    means[columns] = found.random_means if len(found.random_means) else np.nan
    return found._replace(slopes=tuple(map(float, slopes)), random_means=means)


def _screen(table: Table, seed: int, tell: Callable[[str], None]) -> Evidence:
    bench, notes = Bench(table, seed), _Notes(tell)
    nothing = (0.0,) * len(bench.has_gap)
    if not bench.num_own:  # levels alone: there is nothing to compare
        return Evidence(IGNORABLE, nothing, True, (), len(bench.rows), 1.0, np.zeros(0))
    ignorable = _ignorable(bench, notes)
    masking, is_bent = _self_masking(bench, ignorable), bool(ignorable.reads.shape.any())
    if not is_bent and _gain_of(masking, ignorable).net + masking.num_own > 1:
        masking = _judge_columns(bench, masking, notes)
    mechanism, slopes, has_terms = _find_family(bench, ignorable, masking, notes), nothing, True
    if mechanism == "self_masking" and not _stands_with_latents(bench, ignorable, masking, notes):
        mechanism = IGNORABLE
    if mechanism == "self_masking":
        if is_bent:
            masking, is_bent = _straighten(bench, ignorable, masking, notes)
        signs = bench.can_hide if is_bent else bench.signs(masking)
        slopes = tuple(float(sign) for sign in signs)
        has_terms = bool(masking.num_terms) and not is_bent
    return Evidence(
        mechanism,
        slopes,
        has_terms,
        tuple(notes.findings),
        len(bench.rows),
        float(np.median(ignorable.score.ess)) / fit.NUM_SCORING_DRAWS,
        np.zeros(0) if mechanism == IGNORABLE else bench.means(ignorable),
    )


def random_means(table: Table, seed: int = 0) -> np.ndarray:
    """Return what the mean of each encoded column would be, were values missing at random. [D].

    It is NaN in columns of a wide table that are not read.
    """
    columns = wide.some_columns(table, seed)
    bench, means = Bench(wide.part_of(table, columns), seed), np.full(len(table.columns), np.nan)
    means[columns] = bench.means(_ignorable(bench, _Notes(lambda line: None)))
    return means


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
    """Return self-masking of all columns that may, with the gap terms that pay for themselves."""
    terms = ignorable.reads.terms
    alone, by_all = (_from_starts(bench, ignorable, some) for some in (0.0 * terms, terms))
    gaps_alone = terms * (np.arange(len(terms)) == 0)[:, None, None]
    fits = [alone, by_all, bench.more(alone, terms=gaps_alone)]
    return max(map(bench.settle, fits), key=lambda one: one.total - one.num_terms)


def _from_starts(bench: Bench, ignorable: Fitted, terms: Array) -> Fitted:
    """Return self-masking of all columns that may, with some gap terms, from its best start."""
    starts = [bench.with_slope(ignorable, slope) for slope in STARTS]
    tried = [bench.more(start, TRIAL_STEPS, own=bench.can_hide, terms=terms) for start in starts]
    return bench.more(max(tried, key=lambda one: one.total))


def _judge_columns(bench: Bench, masking: Fitted, notes: _Notes) -> Fitted:
    """Return self-masking of the columns without whose slopes the fit is clearly worse."""
    own = np.asarray(masking.reads.own)
    kept, columns = own.copy(), np.flatnonzero(own)
    if not 1 < len(columns) <= MAX_JUDGED:
        return masking
    for column in columns:
        simpler = bench.more(masking, own=own * (np.arange(len(own)) != column))
        gained = gain(masking, simpler, 1)
        name = f"self_masking of {bench.facts.columns[column]}"
        is_clear = gained.net > chance(1, COLUMN_LEVEL)
        kept[column] = notes.add(name, "that of the other columns", gained, is_clear)
    if (kept == own).all() or not kept.any():
        return masking
    return bench.settle(bench.more(masking, own=kept))


def _straighten(
    bench: Bench, ignorable: Fitted, masking: Fitted, notes: _Notes
) -> tuple[Fitted, bool]:
    """Return self-masking of straight columns, each judged, unless bends pay; and whether they do.

    A cut bends what is seen of a normal column; with the cut told, it is straight.
    """
    straight = _self_masking(bench, bench.more(ignorable, shape=0.0 * ignorable.reads.shape))
    more = 2 * int(bench.can_bend.sum()) + masking.num_terms - straight.num_terms
    gained = gain(masking, straight, more)
    if notes.add(BENT, "straight self_masking", gained, gained.net > 0):
        return masking, True
    return _judge_columns(bench, straight, notes), False


def _gain_of(masking: Fitted, ignorable: Fitted) -> Gain:
    num_parameters = masking.num_own + masking.num_terms - ignorable.num_terms
    return gain(masking, ignorable, num_parameters)


def _is_clear(bench: Bench, masking: Fitted, ignorable: Fitted) -> bool:
    """Return whether self-masking gains more than chance, and than rows differ by.

    Chance is that of all slopes that there might have been, for those that are kept were chosen.
    """
    gained, is_bent = _gain_of(masking, ignorable), bool(ignorable.reads.shape.any())
    by_chance = chance(bench.num_own, LEVEL if is_bent else STRAIGHT_LEVEL)
    errors = 1.0
    if masking.num_terms == ignorable.num_terms:  # nested
        errors = BENT_ERRORS if is_bent else 0.0
    return gained.net > max(by_chance, errors * gained.standard_error)


def _find_family(bench: Bench, ignorable: Fitted, masking: Fitted, notes: _Notes) -> str:
    """Return the family that clearly gains; of both, no-self-censoring only if clearly better."""
    found, gained = [], _gain_of(masking, ignorable)
    if notes.add("self_masking", IGNORABLE, gained, _is_clear(bench, masking, ignorable)):
        found.append("self_masking")
    if bench.num_own > 1:
        start = ignorable._replace(factors=bench.factors(reads_others=True))
        by_others = bench.settle(bench.more(start, others=bench.can_hide))
        gained = gain(by_others, ignorable, bench.num_others)
        errors = BENT_ERRORS if ignorable.reads.shape.any() else 0.0
        is_clear = gained.net > max(chance(bench.num_others, LEVEL), errors * gained.standard_error)
        if notes.add("no_self_censoring", IGNORABLE, gained, is_clear):
            found.append("no_self_censoring")
    if len(found) == 2:
        fewer = _gain_of(masking, ignorable).num_parameters
        gained = gain(by_others, masking, bench.num_others - fewer)
        is_clear = gained.net > BENT_ERRORS * gained.standard_error
        if not notes.add("no_self_censoring", "self_masking", gained, is_clear):
            return "self_masking"
    return found[-1] if found else IGNORABLE


def _stands_with_latents(bench: Bench, ignorable: Fitted, masking: Fitted, notes: _Notes) -> bool:
    """Return whether self-masking gains clearly where the factor model has more latents."""
    reads = ignorable.reads._replace(latents=jnp.ones_like(ignorable.reads.latents))
    wider = bench.settle(bench.first(ignorable.factors, reads=reads))
    start = wider.params._replace(own=masking.params.own)
    wider_masking = bench.settle(
        bench.more(wider._replace(params=start), own=masking.reads.own, terms=masking.reads.terms)
    )
    return notes.add(
        "self_masking",
        f"{IGNORABLE}, more latents",
        _gain_of(wider_masking, wider),
        _is_clear(bench, wider_masking, wider),
    )
