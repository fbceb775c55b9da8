r"""What was learned of why values are missing, in the units of the table and in words.

The columns of s are independent given x, so that for every mechanism

    logit P(missing_d|x) = log p(s with d missing|x) - log p(s with d observed|x)

which is drawn over the values of column d with the other columns at their means. Self-masking
is told as P(missing_d|x) = F(slope (x_d - threshold)), F the probit or the logistic function.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from mnar_ebm.data.table import Table
from mnar_ebm.missingness import selfmasking
from mnar_ebm.training import FittedModel
from mnar_ebm.types import Array, PyTree

LEAST_CHANGE = 0.3
"""Least change of P(missing) between two standard deviations below the mean and two above it, of
the observed values, that is put in words."""

NUM_BINS = 30
NUM_GRID = 201


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A mechanism that was tried.

    Attributes:
        mechanism: its name.
        bound: held-out bound of (x_obs, s), in nats a row, of values in standard units.
        difference: that less the bound of the mechanism taken.
        standard_error: of the difference, over held-out rows.
    """

    mechanism: str
    bound: float
    difference: float
    standard_error: float


@dataclasses.dataclass(frozen=True, eq=False)
class Column:
    """What was learned of one column.

    Attributes:
        name: its name.
        missing_share: share of its cells that are missing.
        num_values: how many different values were observed.
        direction: which of its values go missing, in words.
        slope: of the mechanism in the column's own value, per original unit; NaN where the
            mechanism does not read it.
        threshold: the value that goes missing half of the time; NaN as above.
        grid: values, in original units. [G]
        probability: P(missing | value) there, other columns at their means. [G]
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
class Report:
    """What a fit found; ``print`` it.

    Attributes:
        mechanism: the mechanism taken.
        reason: why.
        candidates: every mechanism that was tried, the simplest first.
        columns: what was learned of each column that is modelled.
        num_held_out: rows that the candidates were compared on.
        median_ess: median number of effective draws behind a held-out row with a gap.
        num_samples: draws behind each row.
        tilt_scale: lambda of the tilt, 0 without one.
        warnings: what to mind, in words.
    """

    mechanism: str
    reason: str
    candidates: tuple[Candidate, ...]
    columns: tuple[Column, ...]
    num_held_out: int
    median_ess: float
    num_samples: int
    tilt_scale: float
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        """Return the report as text."""
        lines = [f"mechanism {self.mechanism}: {self.reason}"]
        lines.append(f"held-out bounds, nats a row of (observed values, mask), {self._rows()}")
        for one in self.candidates:
            line = f"  {one.mechanism:22}{one.bound:9.3f}"
            if one.mechanism != self.mechanism:
                line += f"   {one.difference:+.3f} ± {one.standard_error:.3f}"
            lines.append(line)
        lines.append("columns")
        lines += [f"  {column}" for column in self.columns]
        lines.append(
            f"effective draws behind a row: median {self.median_ess:.0f} of {self.num_samples}"
        )
        return "\n".join([*lines, *(f"warning: {warning}" for warning in self.warnings)])

    def _rows(self) -> str:
        return f"{self.num_held_out} row{'s' * (self.num_held_out != 1)}"


def log_odds(fitted: FittedModel, column: int, x: jax.Array) -> jax.Array:
    """Return logit P(missing) of a column at rows in standard units. [..., D] -> [...]."""
    return _log_odds(fitted.model.mechanism.log_prob, fitted.params.mechanism, column, x)


@functools.partial(jax.jit, static_argnums=0)
def _log_odds(
    log_prob: Callable[[PyTree, Array, Array], Array], params: PyTree, column: Array, x: Array
) -> Array:
    everything = jnp.ones(x.shape[-1], bool)
    hidden = jnp.arange(x.shape[-1]) != column
    return log_prob(params, x, hidden) - log_prob(params, x, everything)


def own_terms(fitted: FittedModel) -> tuple[np.ndarray, np.ndarray]:
    """Return slope and intercept of the mechanism in each column's own standard value. [D] each.

    Where a mechanism reads more, it is the linear part at the mean of every column.
    """
    name, sign, params = fitted.config.mechanism, fitted.config.sign, fitted.params.mechanism
    num_columns = len(fitted.facts.columns)
    if name.startswith("selfmasking"):
        terms = selfmasking.slope(params, sign), selfmasking.intercept(params, sign)
    elif name in ("linear", "nonlinear"):
        values = [
            jax.value_and_grad(lambda x, column=column: log_odds(fitted, column, x))(
                jnp.zeros(num_columns)
            )
            for column in range(num_columns)
        ]
        terms = (
            jnp.stack([slopes[column] for column, (_, slopes) in enumerate(values)]),
            jnp.stack([value for value, _ in values]),
        )
    else:
        terms = jnp.full(num_columns, jnp.nan), jnp.full(num_columns, jnp.nan)
    return np.asarray(terms[0], np.float64), np.asarray(terms[1], np.float64)


def describe_columns(fitted: FittedModel, table: Table) -> tuple[Column, ...]:
    """Return what the mechanism says of every column of the table it was fitted to."""
    slopes, intercepts = own_terms(fitted)
    mean, scale = fitted.facts.standardiser.mean, fitted.facts.standardiser.scale
    columns = []
    for index, name in enumerate(table.columns):
        observed = table.x[table.mask[:, index], index]
        missing_share = 1.0 - len(observed) / len(table.x)
        counts, edges = np.histogram(observed, bins=NUM_BINS)
        grid = np.linspace(observed.min() - scale[index], observed.max() + scale[index], NUM_GRID)
        probability = _probability(fitted, index, (grid - mean[index]) / scale[index])
        low, high = _probability(fitted, index, np.array([-2.0, 2.0]))
        with np.errstate(divide="ignore"):
            threshold = mean[index] - scale[index] * intercepts[index] / slopes[index]
        columns.append(
            Column(
                name,
                missing_share,
                len(np.unique(observed)),
                _direction(fitted.config.mechanism, missing_share, high - low),
                float(slopes[index] / scale[index]),
                float(threshold),
                grid,
                probability,
                edges,
                counts,
            )
        )
    return tuple(columns)


def _probability(fitted: FittedModel, column: int, values: np.ndarray) -> np.ndarray:
    """Return P(missing) of a column at standard values, others at their means. [V] -> [V]."""
    x = np.zeros((len(values), len(fitted.facts.columns)), np.float32)
    x[:, column] = values
    return np.asarray(jax.nn.sigmoid(log_odds(fitted, column, jnp.asarray(x))))


def _direction(mechanism: str, missing_share: float, change: float) -> str:
    if missing_share == 0:
        return "no value is missing"
    if mechanism == "none":
        return "why values are missing is not modelled"
    if mechanism == "mcar":
        return "values go missing whatever they are"
    if mechanism == "mar":
        return "whether a value is missing depends on the complete columns alone"
    if abs(change) < LEAST_CHANGE:
        return "no clear link between a value and its going missing"
    return "high values go missing" if change > 0 else "low values go missing"
