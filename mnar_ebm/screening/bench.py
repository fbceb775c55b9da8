"""A table as the candidates read it, how they are fitted, and what one gains over another."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from mnar_ebm import blocks as kinds
from mnar_ebm.blocks import Block, make_blocks
from mnar_ebm.config import Config
from mnar_ebm.data.table import Table
from mnar_ebm.models import make_model
from mnar_ebm.screening import factors as model
from mnar_ebm.screening import fit
from mnar_ebm.screening.factors import Factors, Params, Reads
from mnar_ebm.training.fitted import table_facts

MAX_ROWS = 2000
"""Most rows that are read, drawn at random."""

MAX_LATENTS = 10
FIRST_STEPS, FIRST_RATE = 400, 0.05
MORE_STEPS, MORE_RATE = 250, 0.04
MAX_ROUNDS = 5
TOLERANCE = 1.0
"""Nats that a round of steps gains, summed over rows, where a fit has not converged."""

NUM_STANDARD_ERRORS = 1.5
LEVEL = 0.999


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

    @property
    def is_steady(self) -> bool:
        """Whether it is above what rows differ by, which needs no model to be right."""
        return self.net > NUM_STANDARD_ERRORS * self.standard_error

    @property
    def is_clear(self) -> bool:
        r"""Whether it is steady, and above the point of \chi² that nested models seldom pass."""
        return self.is_steady and self.total > self.threshold(LEVEL)

    def threshold(self, level: float) -> float:
        r"""Return half of the ``level`` quantile of \chi² of so many parameters."""
        return float(stats.chi2.ppf(level, max(self.num_parameters, 1))) / 2.0

    def __str__(self) -> str:
        """Return gain and standard error."""
        return f"{self.total:.1f} ± {self.standard_error:.1f}"


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


def gain(one: Fitted, other: Fitted, num_parameters: int) -> Gain:
    """Return what one candidate gains over another that has so many parameters less."""
    rows = np.asarray(one.score.log_p, np.float64) - np.asarray(other.score.log_p, np.float64)
    error = float(rows.std(ddof=1) * np.sqrt(len(rows))) if len(rows) > 1 else np.inf
    return Gain(float(rows.sum()), error, num_parameters)


class Bench:
    """A table as the candidates read it, and how they are fitted.

    Attributes:
        table: the rows.
        facts: their standard units.
        rows: indices of those that are read. [n]
        blocks: the columns, numeric ones too.
        has_gap: of each encoded column. [D]
        can_bend: which encoded columns are numeric, have no atom and have a shape. [D]
    """

    def __init__(self, table: Table, seed: int):
        """Read the table; ``seed`` is of rows, starts and draws."""
        self._config = Config(tilt="none", decoder="linear", likelihood="two_part")
        self.table, self.facts = table, table_facts(self._config, table)
        order = np.random.default_rng(seed).permutation(len(table.x))
        self.rows = np.sort(order[:MAX_ROWS])
        mask = table.mask[self.rows]
        x = np.where(mask, self.facts.standardiser.apply(table.x[self.rows]), 0.0)
        self._read = fit.Rows(jnp.asarray(x, jnp.float32), jnp.asarray(mask))
        self.blocks = table.blocks or make_blocks([("numeric", 0)] * x.shape[1])
        self.has_gap = np.logical_not(mask.all(axis=0))
        self.can_bend = self._find_shapes(x, mask)
        self._key = jax.random.key(seed)
        self._num_latents = min(MAX_LATENTS, max(1, len(self.blocks) // 2))

    def _find_shapes(self, x: np.ndarray, mask: np.ndarray) -> np.ndarray:
        can_bend = np.array(
            [len(np.unique(own[seen])) > 2 for own, seen in zip(x.T, mask.T, strict=True)]
        )
        can_bend[kinds.columns_of(kinds.discrete(self.blocks))] = False
        return can_bend & (np.array(self.facts.atom_side or 0) == 0)

    @property
    def gappy(self) -> list[Block]:
        """The columns of the table with gaps."""
        return [block for block in self.blocks if self.has_gap[block.start]]

    def factors(self, reads_others: bool = False, more_latents: int = 0) -> Factors:
        """Return the factor model, of more latents than the table has by default."""
        num_latents = self._num_latents + more_latents
        settings = {"latent_dim": num_latents, "mechanism": "selfmasking_probit"}
        made = make_model(
            Config(**self._config.model_fields() | settings),
            len(self.facts.columns),
            (),
            self.facts.blocks,
            self.facts.atom_side,
        )
        return Factors(made, reads_others)

    def reads(
        self,
        own: np.ndarray | None = None,
        others: bool = False,
        gaps: bool = True,
        is_bent: bool = False,
    ) -> Reads:
        """Return what a candidate reads.

        Args:
            own: which encoded columns hide themselves; ``None``: none. [D]
            others: whether gaps are read off what other columns hide.
            gaps: whether gaps go together.
            is_bent: whether columns are bent.
        """
        nothing = np.zeros(len(self.has_gap))
        parts = (
            nothing if own is None else own,
            self.has_gap * others,
            self.has_gap * gaps,
            self.can_bend * is_bent,
        )
        return Reads(*(jnp.asarray(part, jnp.float32) for part in parts))

    def first(self, factors: Factors) -> Fitted:
        """Return the candidate that reads nothing hidden, columns straight, fitted from nothing."""
        rate = jnp.asarray(self.facts.missing_rate)
        params = model.init(jax.random.fold_in(self._key, 1), factors, rate)
        return self._fit(factors, self.reads(), params, FIRST_STEPS, FIRST_RATE)

    def more(self, factors: Factors, reads: Reads, params: Params) -> Fitted:
        """Return a candidate fitted from the parameters of another."""
        return self._fit(factors, reads, params, MORE_STEPS, MORE_RATE)

    def settle(self, fitted: Fitted) -> Fitted:
        """Return a candidate fitted on, until a round of steps gains no more."""
        for _ in range(MAX_ROUNDS):
            again = self.more(fitted.factors, fitted.reads, fitted.params)
            has_gained = again.total > fitted.total + TOLERANCE
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

    def num_own(self, blocks: Sequence[Block]) -> int:
        """Return how many parameters columns have that may hide themselves."""
        return sum(max(1, block.num_levels - 1) for block in blocks)

    def num_gap_terms(self) -> int:
        """Return how many gap terms are fitted: three powers of earlier columns, and gaps."""
        rate = jnp.asarray(self.facts.missing_rate)
        blocks = self.facts.blocks
        earlier = np.asarray(model.gap_terms.init(blocks, rate)["earlier"])[:, self.has_gap]
        return int(3 * earlier.sum() + earlier[self.has_gap].sum())

    def slopes(self, fitted: Fitted, own: np.ndarray) -> np.ndarray:
        """Return the sign of each own slope, 1 for levels, and 0 where there is none. [D]."""
        signs = np.ones(len(own))
        numeric = kinds.numeric(self.blocks)
        if len(numeric):
            parts = fitted.params.own
            slope = np.asarray((parts["numeric"] if self.facts.blocks else parts)["slope"])
            signs[numeric] = np.where(slope < 0, -1.0, 1.0)
        return signs * own

    def with_slope(self, params: Params, slope: float) -> Params:
        """Return the parameters with one slope for all numeric columns."""
        own, start = params.own, np.arcsinh(slope)
        if not self.facts.blocks:
            return params._replace(own=own | {"slope": jnp.full_like(own["slope"], start)})
        if "numeric" not in own:
            return params
        numeric = own["numeric"] | {"slope": jnp.full_like(own["numeric"]["slope"], start)}
        return params._replace(own=own | {"numeric": numeric})
