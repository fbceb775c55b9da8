r"""Whether hidden values decide what is missing, as far as a table can tell.

Every candidate has the same model of what gaps have in common. They differ by what is added:

    ignorable            nothing hidden is read
    no_self_censoring    what other columns hide, never the value itself
    self_masking         the hidden value itself

With \Delta the gain of log p(x_obs, s) over the ignorable candidate, summed over rows, and k the
parameters that it took, a gain is *clear* if

    2 \Delta > the 99.9 % point of \chi²_k      and      \Delta - k > 2 \sqrt{N} sd_i \Delta_i

the first by theory for nested models that are right, the second for models that are not: the gain
has to come from most rows, not from a few. It has to be clear with columns bent towards the shape
that they were seen to have, with straight columns against bent ones without the mechanism, and with
more latents. Then each column is judged by itself: its slope stays if the fit is clearly worse
without it. All this is evidence for one family of models against another: values that hide
themselves can be told from gaps that go together only by the shape that is assumed of p(x).

References:
    Q. H. Vuong, "Likelihood Ratio Tests for Model Selection and Non-Nested Hypotheses",
    Econometrica 57, 1989, sec. 4-5.
    G. Molenberghs, C. Beunckens, C. Sotto, M. G. Kenward, "Every missingness not at random model
    has a missingness at random counterpart with equal fit", JRSS B 70, 2008.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from mnar_ebm import blocks as kinds
from mnar_ebm.config import Config
from mnar_ebm.data.table import Table
from mnar_ebm.models import make_model
from mnar_ebm.screening import factors as model
from mnar_ebm.screening import fit
from mnar_ebm.screening.factors import Factors, Params, Reads
from mnar_ebm.training.fitted import TableFacts, table_facts

MAX_ROWS = 2000
"""Most rows that are read, drawn at random."""

MAX_LATENTS = 10
MORE_LATENTS = 2
FIRST_STEPS, MORE_STEPS = 400, 250
FIRST_RATE, MORE_RATE = 0.05, 0.04
NUM_STANDARD_ERRORS = 1.5
LEVEL, COLUMN_LEVEL = 0.999, 0.98
STARTS = (0.0, 1.0, -1.0)
"""Slopes that all columns start with: training does not pass from one tail to the other."""


class Gain(NamedTuple):
    """What a candidate gains over one that is nested in it, or simpler.

    Attributes:
        total: gain of log p(x_obs, s), in nats, summed over rows.
        standard_error: of the sum, over rows.
        num_parameters: that it took more.
    """

    total: float
    standard_error: float
    num_parameters: int

    @property
    def net(self) -> float:
        """The gain less one nat for each parameter (Akaike's correction)."""
        return self.total - self.num_parameters

    @property
    def is_clear(self) -> bool:
        """Whether chance or a few rows would not do as much."""
        by_theory = stats.chi2.ppf(LEVEL, max(self.num_parameters, 1)) / 2.0
        return self.total > by_theory and self.is_steady

    @property
    def is_steady(self) -> bool:
        """Whether it is above what rows differ by, which needs no model to be right."""
        return self.net > NUM_STANDARD_ERRORS * self.standard_error

    def __str__(self) -> str:
        """Return gain and standard error."""
        return f"{self.total:.1f} ± {self.standard_error:.1f}"


class Finding(NamedTuple):
    """One comparison, for the report.

    Attributes:
        candidate: what was added.
        against: what to, and how the columns were modelled.
        gain: of the first over the second.
        is_clear: whether it counts.
    """

    candidate: str
    against: str
    gain: Gain
    is_clear: bool


class Evidence(NamedTuple):
    """What a table says of why its values are missing.

    Attributes:
        mechanism: ``ignorable``, ``no_self_censoring`` or ``self_masking``.
        slopes: of each encoded column in its own value, in standard units: its sign where it may
            hide itself, 0 where not. [D]
        gap_terms: whether gaps go together beyond what the mechanism says.
        findings: the comparisons that were made, in order.
        num_rows: rows that were read.
        ignorable_mean: mean of each encoded column, gaps filled by the ignorable candidate, in the
            units of the table. [D]
        median_ess: effective share of the draws behind a row, at the median.
    """

    mechanism: str
    slopes: tuple[float, ...]
    gap_terms: bool
    findings: tuple[Finding, ...]
    num_rows: int
    ignorable_mean: np.ndarray
    median_ess: float


class _Fitted(NamedTuple):
    """A candidate, fitted and scored."""

    factors: Factors
    reads: Reads
    params: Params
    score: fit.Score

    @property
    def log_p(self) -> np.ndarray:
        return np.asarray(self.score.log_p, np.float64)


class _Bench:
    """A table as the candidates read it, and how they are fitted."""

    def __init__(self, table: Table, seed: int):
        config = Config(tilt="none", decoder="linear", likelihood="two_part")
        facts = table_facts(config, table)
        rows = np.sort(np.random.default_rng(seed).permutation(len(table.x))[:MAX_ROWS])
        mask = table.mask[rows]
        x = np.where(mask, facts.standardiser.apply(table.x[rows]), 0.0)
        self.config, self.facts = config, facts
        self.rows = fit.Rows(jnp.asarray(x, jnp.float32), jnp.asarray(mask))
        self.blocks = table.blocks
        self.has_gap = _spread(table, ~mask.all(axis=0))
        self.can_bend = _can_bend(facts, x, mask)
        self.key = jax.random.key(seed)
        num_columns = len(self.blocks) or x.shape[1]
        self.num_latents = min(MAX_LATENTS, max(1, num_columns // 2))

    def factors(self, reads_others: bool = False, more_latents: int = 0) -> Factors:
        facts, num_latents = self.facts, self.num_latents + more_latents
        settings = {"latent_dim": num_latents, "mechanism": "selfmasking_probit"}
        config = Config(**self.config.model_fields() | settings)
        made = make_model(config, len(facts.columns), (), facts.blocks, facts.atom_side)
        return Factors(made, reads_others)

    def reads(
        self,
        own: np.ndarray | None = None,
        others: bool = False,
        gaps: bool = True,
        is_bent: bool = True,
    ) -> Reads:
        nothing = np.zeros(len(self.has_gap), np.float32)
        parts = (
            nothing if own is None else own,
            self.has_gap * others,
            self.has_gap * gaps,
            self.can_bend * is_bent,
        )
        return Reads(*(jnp.asarray(part, jnp.float32) for part in parts))

    def start(self, factors: Factors) -> Params:
        rate = jnp.asarray(self.facts.missing_rate)
        return model.init(jax.random.fold_in(self.key, 1), factors, rate)

    def fit(
        self, factors: Factors, reads: Reads, params: Params, is_first: bool = False
    ) -> _Fitted:
        steps, rate = (FIRST_STEPS, FIRST_RATE) if is_first else (MORE_STEPS, MORE_RATE)
        key = jax.random.fold_in(self.key, 2)
        params = fit.fit(factors, key, self.rows, params, reads, steps, rate)
        score = fit.score(factors, jax.random.fold_in(self.key, 3), self.rows, params, reads)
        return _Fitted(factors, reads, params, score)

    def num_own(self, own: np.ndarray) -> int:
        """Return how many parameters columns have that may hide themselves."""
        blocks = self.blocks or kinds.make_blocks([("numeric", 0)] * len(own))
        return sum(max(1, block.num_levels - 1) for block in blocks if own[block.start])

    def gain(self, one: _Fitted, other: _Fitted, num_parameters: int) -> Gain:
        """Return what one candidate gains over another that has so many parameters less."""
        rows = one.log_p - other.log_p
        error = float(rows.std(ddof=1) * np.sqrt(len(rows))) if len(rows) > 1 else np.inf
        return Gain(float(rows.sum()), error, num_parameters)


def screen(
    table: Table, seed: int = 0, tell: Callable[[str], None] = lambda line: None
) -> Evidence:
    """Return what a table says of why its values are missing.

    Args:
        table: incomplete rows, encoded.
        seed: of rows, starts and draws.
        tell: called with a line after each comparison.
    """
    bench = _Bench(table, seed)
    findings: list[Finding] = []

    def note(candidate: str, against: str, gain: Gain, is_clear: bool) -> bool:
        findings.append(Finding(candidate, against, gain, is_clear))
        tell(f"{candidate} against {against}: {gain} nats, {'clear' if is_clear else 'not clear'}")
        return is_clear

    def conclude(mechanism: str, slopes: np.ndarray, gap_terms: bool) -> Evidence:
        mean = _mean_of(bench, ignorable)
        ess = float(np.median(ignorable.score.ess)) / fit.NUM_SCORING_DRAWS
        signs = tuple(float(slope) for slope in slopes)
        return Evidence(mechanism, signs, gap_terms, tuple(findings), len(bench.rows.x), mean, ess)

    plain = bench.factors()
    first = bench.fit(plain, bench.reads(), bench.start(plain), is_first=True)
    ignorable = bench.fit(plain, first.reads, first.params)
    own = bench.has_gap.astype(np.float32)
    bent = _self_masking(bench, plain, own, True, first.params)
    is_own = note(
        "self_masking",
        "ignorable, columns bent",
        gain := bench.gain(bent, ignorable, bench.num_own(own)),
        gain.is_clear,
    )
    others, others_gain = _no_self_censoring(bench, first.params, ignorable)
    is_others = others is not None and note(
        "no_self_censoring", "ignorable, columns bent", others_gain, others_gain.is_clear
    )
    nothing = np.zeros_like(own)
    if is_others and others_gain.net > gain.net:
        return conclude("no_self_censoring", nothing, True)
    if not is_own:
        return conclude("no_self_censoring" if is_others else "ignorable", nothing, True)
    straight = _self_masking(bench, plain, own, False, first.params)
    gain = bench.gain(straight, ignorable, bench.num_own(own) - 2 * int(bench.can_bend.sum()))
    if not note("self_masking, columns straight", "ignorable, columns bent", gain, gain.is_steady):
        return conclude("ignorable", nothing, True)
    if not _survives_latents(bench, own, straight, note):
        return conclude("ignorable", nothing, True)
    own, straight = _judge_columns(bench, own, straight, note)
    if not own.any():
        return conclude("ignorable", nothing, True)
    signs = own * _signs(bench, straight)
    alone = bench.fit(plain, bench.reads(own, gaps=False, is_bent=False), straight.params)
    num_terms = fit_terms(bench)
    gain = bench.gain(straight, alone, num_terms)
    gap_terms = note("gap terms", "self_masking alone", gain, gain.net > 0)
    return conclude("self_masking", signs, gap_terms)


def fit_terms(bench: _Bench) -> int:
    """Return how many gap terms there are."""
    earlier = np.asarray(bench.start(bench.factors()).gaps["earlier"])
    values = earlier[:, bench.has_gap].sum()
    gaps = earlier[np.ix_(bench.has_gap, bench.has_gap)].sum()
    return int(2 * values + gaps)


def _self_masking(
    bench: _Bench, factors: Factors, own: np.ndarray, is_bent: bool, params: Params
) -> _Fitted:
    """Return the self-masking candidate from the best of its starts."""
    reads = bench.reads(own, is_bent=is_bent)
    fits = [bench.fit(factors, reads, _with_slope(params, slope, bench.blocks)) for slope in STARTS]
    return max(fits, key=lambda one: one.log_p.sum())


def _with_slope(params: Params, slope: float, blocks: tuple) -> Params:
    own = dict(params.own)
    numeric = own.get("numeric", {}) if blocks else own
    if "slope" not in numeric:
        return params
    numeric = numeric | {"slope": jnp.full_like(numeric["slope"], np.arcsinh(slope))}
    return params._replace(own=own | {"numeric": numeric} if blocks else numeric)


def _no_self_censoring(
    bench: _Bench, params: Params, ignorable: _Fitted
) -> tuple[_Fitted | None, Gain]:
    """Return the candidate that reads what other columns hide, if two columns have gaps."""
    has_gap = bench.has_gap
    num_gappy = int(_one_each(bench, has_gap).sum())
    if num_gappy < 2:
        return None, Gain(-np.inf, 0.0, 0)
    factors = bench.factors(reads_others=True)
    fitted = bench.fit(factors, bench.reads(others=True), params)
    return fitted, bench.gain(fitted, ignorable, num_gappy * (int(has_gap.sum()) - 1))


def _survives_latents(bench: _Bench, own: np.ndarray, straight: _Fitted, note: Callable) -> bool:
    """Return whether self-masking still gains clearly where the factor model has more latents."""
    more = bench.factors(more_latents=MORE_LATENTS)
    first = bench.fit(more, bench.reads(is_bent=True), bench.start(more), is_first=True)
    ignorable = bench.fit(more, first.reads, first.params)
    params = first.params._replace(own=straight.params.own)
    fitted = bench.fit(more, bench.reads(own, is_bent=True), params)
    gain = bench.gain(fitted, ignorable, bench.num_own(own))
    return bool(note("self_masking", "ignorable, columns bent, more latents", gain, gain.is_clear))


def _judge_columns(
    bench: _Bench, own: np.ndarray, fitted: _Fitted, note: Callable
) -> tuple[np.ndarray, _Fitted]:
    """Return which columns hide themselves, each judged by the fit without its own slope."""
    blocks = bench.blocks or kinds.make_blocks([("numeric", 0)] * len(own))
    gappy = [block for block in blocks if own[block.start]]
    if len(gappy) < 2:
        return own, fitted
    kept = own.copy()
    for block in gappy:
        without = own.copy()
        without[block.columns] = 0.0
        simpler = bench.fit(fitted.factors, bench.reads(without, is_bent=False), fitted.params)
        gain = bench.gain(fitted, simpler, max(1, block.num_levels - 1))
        is_clear = gain.total > stats.chi2.ppf(COLUMN_LEVEL, gain.num_parameters) / 2.0
        name = bench.facts.columns[block.start]
        if not note(f"self_masking of {name}", "that of the other columns", gain, is_clear):
            kept[block.columns] = 0.0
    if (kept == own).all() or not kept.any():
        return kept, fitted
    return kept, bench.fit(fitted.factors, bench.reads(kept, is_bent=False), fitted.params)


def _signs(bench: _Bench, fitted: _Fitted) -> np.ndarray:
    """Return the sign of each column's slope, 1 for levels. [D]."""
    signs = np.ones(len(bench.has_gap))
    own = fitted.params.own
    numeric = kinds.numeric(bench.blocks) if bench.blocks else np.arange(len(signs))
    if len(numeric):
        slope = own["numeric"]["slope"] if bench.blocks else own["slope"]
        signs[numeric] = np.where(np.asarray(slope) < 0, -1.0, 1.0)
    return signs


def _mean_of(bench: _Bench, fitted: _Fitted) -> np.ndarray:
    filled = bench.facts.standardiser.invert(np.asarray(fitted.score.mean, np.float64))
    return filled.mean(axis=0)


def _spread(table: Table, has_gap: np.ndarray) -> np.ndarray:
    return kinds.spread(table.blocks, kinds.one_each(table.blocks, has_gap))


def _one_each(bench: _Bench, flags: np.ndarray) -> np.ndarray:
    return kinds.one_each(bench.blocks, flags)


def _can_bend(facts: TableFacts, x: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return which columns are numeric, have no atom and have a shape. [D]."""
    can_bend = np.array([len(np.unique(own[seen])) > 2 for own, seen in zip(x.T, mask.T)])
    can_bend[kinds.columns_of(kinds.discrete(facts.blocks))] = False
    if facts.atom_side:
        can_bend &= np.array(facts.atom_side) == 0
    return can_bend
