"""A table as the candidates read it, how they are fitted, and what one gains over another."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from mnar_ebm import kinds
from mnar_ebm.config import Config
from mnar_ebm.data import reasons
from mnar_ebm.data.table import Table
from mnar_ebm.kinds import make_blocks
from mnar_ebm.missingness import gap_terms, not_asked
from mnar_ebm.models import make_model
from mnar_ebm.screening import factors as model
from mnar_ebm.screening import fit
from mnar_ebm.screening.factors import Factors, Params, Reads
from mnar_ebm.screening.terms import select_terms
from mnar_ebm.tilted.facts import table_facts
from mnar_ebm.types import Array


class Tuning(NamedTuple):
    """What is read of a table, and how long a candidate is fitted.

    Attributes:
        max_rows: most rows that are read, drawn at random.
        max_cells: most cells in them.
        max_latents: most latents, of one for two columns.
        more_latents: how many more a finding has to stand with.
        first_steps: steps of the first candidate.
        first_rate: its learning rate.
        more_steps: steps of a candidate fitted from another.
        more_rate: its learning rate.
        trial_steps: steps of one that is only tried.
        max_rounds: most rounds of steps until a fit has converged.
        tolerance: nats that a round gains, summed over rows, where it has not.
    """

    max_rows: int = 1500
    max_cells: int = 30_000
    max_latents: int = 10
    more_latents: int = 2
    first_steps: int = 400
    first_rate: float = 0.05
    more_steps: int = 250
    more_rate: float = 0.04
    trial_steps: int = 100
    max_rounds: int = 4
    tolerance: float = 1.0


TUNING = Tuning()


class Gain(NamedTuple):
    """What a candidate gains over another.

    Attributes:
        total: gain of log p(x_obs, s), in nats, summed over rows.
        standard_error: of the sum, over rows.
        num_parameters: that it took more, or fewer if below 0.
    """

    total: float
    standard_error: float
    num_parameters: int

    @property
    def net(self) -> float:
        """The gain less one nat for each parameter, which is what they gain of nothing (AIC)."""
        return self.total - self.num_parameters

    def __str__(self) -> str:
        """Return gain and standard error."""
        return f"{self.total:.1f} ± {self.standard_error:.1f}"


def chance(num_parameters: int, level: float) -> float:
    r"""Return what so many parameters of nothing seldom gain, less one nat for each.

    It is half of the ``level`` quantile of \chi² with so many degrees of freedom, less these.
    """
    return float(stats.chi2.ppf(level, num_parameters)) / 2.0 - num_parameters


class Fitted(NamedTuple):
    """A candidate, fitted and scored.

    Attributes:
        factors: the model.
        reads: what it reads.
        params: as fitted.
        score: what it says of every row.
    """

    factors: Factors
    reads: Reads
    params: Params
    score: fit.Score

    @property
    def total(self) -> float:
        """Sum of log p(x_obs, s) over rows, in nats."""
        return float(np.asarray(self.score.log_p, np.float64).sum())

    @property
    def num_own(self) -> int:
        """How many columns may hide themselves, by a slope each."""
        return int(self.reads.own.sum())

    @property
    def num_terms(self) -> int:
        """How many gap terms are read."""
        return int(self.reads.terms.sum())


def gain(one: Fitted, other: Fitted, num_parameters: int) -> Gain:
    """Return what one candidate gains over another that has so many parameters less."""
    rows = np.asarray(one.score.log_p, np.float64) - np.asarray(other.score.log_p, np.float64)
    error = float(rows.std(ddof=1) * np.sqrt(len(rows))) if len(rows) > 1 else np.inf
    return Gain(float(rows.sum()), error, num_parameters)


class Bench:
    """A table as the candidates read it, and how they are fitted.

    Attributes:
        facts: what is known of the table, its standard units too.
        rows: indices of those that are read. [n]
        blocks: the columns, numeric ones too.
        has_gap: of each encoded column, of what was asked. [D]
        can_bend: which encoded columns are numeric, have no atom and have a shape. [D]
        can_hide: numeric columns with gaps: of levels nothing is assumed that could tell values
            that hide themselves from gaps at random. [D]
    """

    def __init__(self, table: Table, seed: int):
        """Read the table; ``seed`` is of rows, starts and draws."""
        self._config = Config(tilt="none", decoder="linear", likelihood="two_part")
        self.facts = table_facts(self._config, table)
        order = np.random.default_rng(seed).permutation(len(table.x))
        self.rows = np.sort(order[: min(TUNING.max_rows, TUNING.max_cells // table.x.shape[1])])
        mask = table.mask[self.rows]
        was_asked = ~reasons.is_not_asked(table.x[self.rows])
        x = np.where(mask, self.facts.standardiser.apply(table.x[self.rows]), 0.0)
        x = np.where(was_asked, x, not_asked.MARK)
        self._read = fit.Rows(jnp.asarray(x, jnp.float32), jnp.asarray(mask))
        self.blocks = table.blocks or make_blocks([("numeric", 0)] * x.shape[1])
        self.has_gap = (was_asked & ~mask).any(axis=0)
        is_numeric = np.isin(np.arange(x.shape[1]), kinds.numeric(self.blocks))
        self.can_hide = self.has_gap & is_numeric
        has_shape = [len(np.unique(own[seen])) > 2 for own, seen in zip(x.T, mask.T, strict=True)]
        has_atom = np.array(self.facts.atom_side or 0) != 0
        self.can_bend = is_numeric & np.array(has_shape) & ~has_atom
        self._key = jax.random.key(seed)
        self._num_latents = min(TUNING.max_latents, max(1, len(self.blocks) // 2))

    def factors(self, reads_others: bool = False) -> Factors:
        """Return the factor model, with room for more latents than are read by default."""
        num_latents = self._num_latents + TUNING.more_latents
        made = make_model(
            self._config.replace(latent_dim=num_latents, mechanism="selfmasking_probit").model,
            len(self.facts.columns),
            (),
            self.facts.blocks,
            self.facts.atom_side,
        )
        return Factors(made, reads_others)

    def first(
        self, factors: Factors, fullest_first: bool = True, reads: Reads | None = None
    ) -> Fitted:
        """Return the candidate that reads nothing hidden, fitted from nothing.

        Args:
            factors: the model.
            fullest_first: the order of the columns with gaps, in which later ones read earlier
                ones; those without are the first in either.
            reads: what it reads; ``None``: the gap terms that columns need, and columns straight.
        """
        key, rate = jax.random.fold_in(self._key, 1), jnp.asarray(self.facts.missing_rate)
        params = model.init(key, factors, rate)
        if reads is None:
            nothing = jnp.zeros(len(self.has_gap))
            terms = jnp.asarray(self._terms(fullest_first), jnp.float32)
            has_gap = jnp.asarray(self.has_gap, jnp.float32)
            latents = (
                jnp.ones(self._num_latents + TUNING.more_latents)
                .at[-TUNING.more_latents :]
                .set(0.0)
            )
            reads = Reads(nothing, nothing, has_gap, terms, nothing, latents)
        return self._fit(factors, reads, params, TUNING.first_steps, TUNING.first_rate)

    def _terms(self, fullest_first: bool) -> np.ndarray:
        """Return the gap terms that are needed, at the first encoded column of each. [F, D, D]."""
        rate = self.facts.missing_rate
        order = rate if fullest_first else np.where(self.has_gap, 1.0 - rate, 0.0)
        earlier = np.asarray(gap_terms.init(self.facts.blocks, jnp.asarray(order))["earlier"])
        starts = np.isin(np.arange(len(rate)), [block.start for block in self.blocks])
        features = np.asarray(gap_terms.features(self._read.x, self._read.mask), float)
        gaps = ~np.asarray(self._read.mask)
        was_asked = ~np.isposinf(np.asarray(self._read.x))
        return select_terms(features, gaps, earlier * (starts & self.has_gap), was_asked)

    def more(self, fitted: Fitted, num_steps: int = TUNING.more_steps, **changed: Any) -> Fitted:
        """Return a candidate fitted from another, with fields of what it reads changed."""
        arrays = {name: jnp.asarray(value, jnp.float32) for name, value in changed.items()}
        reads = fitted.reads._replace(**arrays)
        return self._fit(fitted.factors, reads, fitted.params, num_steps, TUNING.more_rate)

    def settle(self, fitted: Fitted) -> Fitted:
        """Return a candidate fitted on, until a round of steps gains no more."""
        for _ in range(TUNING.max_rounds):
            again = self.more(fitted)
            has_gained = again.total > fitted.total + TUNING.tolerance
            fitted = max(fitted, again, key=lambda one: one.total)
            if not has_gained:
                break
        return fitted

    def _fit(
        self, factors: Factors, reads: Reads, params: Params, num_steps: int, rate: float
    ) -> Fitted:
        key_fit, key_score = jax.random.split(self._key)
        params = fit.fit(factors, key_fit, self._read, params, reads, num_steps, rate)
        return Fitted(
            factors, reads, params, fit.score(factors, key_score, self._read, params, reads)
        )

    def means(self, fitted: Fitted) -> np.ndarray:
        """Return means of encoded columns, gaps filled, in the units of the table. [D]."""
        parts = (fitted.factors, self._key, self._read, fitted.params, fitted.reads)
        filled = np.asarray(fit.fill(*parts), np.float64)
        return self.facts.standardiser.invert(filled).mean(axis=0)

    @property
    def num_own(self) -> int:
        """How many columns may hide themselves, by a slope each."""
        return int(self.can_hide.sum())

    @property
    def num_others(self) -> int:
        """How many slopes there are of gaps in what other columns hide."""
        num_gappy = sum(bool(self.has_gap[block.start]) for block in self.blocks)
        return self.num_own * (num_gappy - 1)

    def signs(self, fitted: Fitted) -> np.ndarray:
        """Return the sign of each own slope, 0 where there is none. [D]."""
        signs = np.zeros(len(self.has_gap))
        signs[kinds.numeric(self.blocks)] = np.where(self._slope(fitted) < 0, -1.0, 1.0)
        return signs * np.asarray(fitted.reads.own)

    def with_slope(self, fitted: Fitted, slope: float) -> Fitted:
        """Return a candidate whose next fit starts with one slope for all numeric columns."""
        own = fitted.params.own
        start = {"slope": jnp.full_like(self._slope(fitted), np.arcsinh(slope))}
        changed = own | {"numeric": own["numeric"] | start} if self.facts.blocks else own | start
        return fitted._replace(params=fitted.params._replace(own=changed))

    def _slope(self, fitted: Fitted) -> Array:
        """Return asinh of the slopes of numeric columns. [n]."""
        own = fitted.params.own
        return (own["numeric"] if self.facts.blocks else own)["slope"]
