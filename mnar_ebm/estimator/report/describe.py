r"""What a mechanism says of each column of the table that it was fitted to.

The columns of s are independent given x and what the gaps have in common, so that for every
mechanism

    logit P(missing_d|x) = log p(s with d missing|x) - log p(s with d observed|x)

which is told over the values of column d with the other columns at their means; what gaps have in
common (``missingness.gap_model``) is held at that of a row that is observed there, its latents at
0, their mean. Self-masking is told as P(missing_d|x) = F(slope (x_d - threshold)), F the probit or
the logistic function, in a numeric column, and as P(missing_d|level) in any other. It is NaN where
a mechanism says nothing.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from mnar_ebm import kinds
from mnar_ebm.data.table import Table
from mnar_ebm.estimator.columns import ColumnType, blocks_of
from mnar_ebm.estimator.report.report import Column, LevelColumn
from mnar_ebm.kinds import Block
from mnar_ebm.missingness import MECHANISMS, GapModel, selfmasking
from mnar_ebm.tilted import FittedModel
from mnar_ebm.types import Array, PyTree

LEAST_CHANGE = 0.3
"""Least change of P(missing) between two standard deviations below the mean and two above it, of
the observed values, or between two levels, that is put in words."""

HIGH, LOW = "high values go missing", "low values go missing"
NO_LINK = "no clear link between a value and its going missing"
NUM_BINS = 30
NUM_GRID = 201


def log_odds(
    fitted: FittedModel, columns: slice, x: jax.Array, at: np.ndarray | None = None
) -> jax.Array:
    """Return logit P(missing) of a column at rows in standard units. [..., D] -> [...].

    Args:
        fitted: the model.
        columns: the encoded columns of one column.
        x: rows in standard units. [..., D]
        at: the row whose gap terms count, in standard units; ``None``: 0. [D]
    """
    observed = np.ones(x.shape[-1], bool)
    observed[columns] = False
    center = jnp.zeros(x.shape[-1]) if at is None else jnp.asarray(at)
    z = jnp.zeros(fitted.model.vae.latent_dim)
    return _log_odds(fitted.model.mechanism, fitted.params.mechanism, observed, x, center, z)


@functools.partial(jax.jit, static_argnums=0)
def _log_odds(
    gaps: GapModel, params: PyTree, observed: Array, x: Array, center: Array, z: Array
) -> Array:
    everything = jnp.ones(x.shape[-1], bool)
    shift = gaps.shift(params, center, everything, z)
    seen, hidden = (gaps.own.log_prob(params, x, mask, shift) for mask in (everything, observed))
    return hidden - seen


def center_of(fitted: FittedModel, table: Table) -> np.ndarray:
    """Return the mean of what was observed of each encoded column, in standard units. [D]."""
    return np.nanmean(fitted.facts.standardiser.apply(table.x), axis=0).astype(np.float32)


def own_terms(fitted: FittedModel, center: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return slope and intercept of the mechanism in each numeric column's own value. [D] each.

    In standard units, the intercept at the value 0; NaN elsewhere. Where a mechanism reads more,
    it is the linear part at the mean of every column, ``center`` [D].
    """
    settings, params = fitted.config.model, fitted.params.mechanism
    params = params.get("own", params)  # without what gaps have in common
    kind = MECHANISMS[settings.mechanism]
    num_columns, blocks = len(fitted.facts.columns), fitted.facts.blocks
    numeric = kinds.numeric(blocks) if blocks else np.arange(num_columns)
    slopes, intercepts = np.full((2, num_columns), np.nan)
    if kind.slopes == "own" and len(numeric):
        own = params["numeric"] if blocks else params
        slopes[numeric] = selfmasking.slope(own, settings.sign)
        intercepts[numeric] = selfmasking.intercept(own, settings.sign)
        if settings.own_slopes:
            slopes[np.array(settings.hides_itself) == 0] = np.nan
    elif kind.reads_own and kind.slopes != "own":
        for column in numeric:
            at_center, gradient = jax.value_and_grad(
                lambda x, column=column: log_odds(fitted, slice(column, column + 1), x, center)
            )(jnp.asarray(center))
            slopes[column] = gradient[column]
            intercepts[column] = at_center - gradient[column] * center[column]
    return slopes, intercepts


def describe_columns(
    fitted: FittedModel, table: Table, columns: tuple[ColumnType, ...]
) -> tuple[Column | LevelColumn, ...]:
    """Return what the mechanism says of every column of the table it was fitted to."""
    center = center_of(fitted, table)
    terms = own_terms(fitted, center)
    return tuple(
        _describe_numeric(fitted, table, center, column, block.start, terms)
        if column.kind == "numeric"
        else _describe_levels(fitted, table, center, column, block)
        for column, block in zip(columns, blocks_of(columns), strict=True)
    )


def _describe_numeric(
    fitted: FittedModel,
    table: Table,
    center: np.ndarray,
    column: ColumnType,
    index: int,
    terms: tuple[np.ndarray, np.ndarray],
) -> Column:
    slope, intercept = terms[0][index], terms[1][index]
    standardiser = fitted.facts.standardiser
    mean, scale = standardiser.mean[index], standardiser.scale[index]
    observed = table.x[table.mask[:, index], index]
    missing_share = 1.0 - len(observed) / len(table.x)
    counts, edges = np.histogram(observed, bins=NUM_BINS, range=_span(observed))
    grid = np.linspace(observed.min() - scale, observed.max() + scale, NUM_GRID)
    own = slice(index, index + 1)
    standard = standardiser.apply(np.tile(grid[:, None], len(center)))[:, own]
    probability = _probability(fitted, center, own, standard)
    two_sd = 2.0 * observed.std() / scale
    low, high = _probability(fitted, center, own, center[index] + np.array([[-two_sd], [two_sd]]))
    with np.errstate(divide="ignore"):
        threshold = mean - scale * intercept / slope
    return Column(
        str(column.name),
        missing_share,
        len(np.unique(observed)),
        _direction(fitted.config.model.mechanism, missing_share, high - low),
        float(slope / scale),
        float(threshold),
        grid,
        probability,
        edges,
        counts,
    )


def _describe_levels(
    fitted: FittedModel, table: Table, center: np.ndarray, column: ColumnType, block: Block
) -> LevelColumn:
    levels = np.eye(block.num_levels)
    encoded = levels[:, 1:] if block.kind == "binary" else levels
    probability = _probability(fitted, center, block.columns, encoded)[: len(column.levels)]
    observed = table.x[table.mask[:, block.start], block.columns]
    codes = observed[:, 0] if block.kind == "binary" else observed.argmax(axis=1)
    counts = np.bincount(codes.astype(int), minlength=block.num_levels)[: len(column.levels)]
    missing_share = 1.0 - len(observed) / len(table.x)
    most, least = column.levels[probability.argmax()], column.levels[probability.argmin()]
    direction = _direction(fitted.config.model.mechanism, missing_share, np.ptp(probability))
    if direction == HIGH:
        direction = f"{most} goes missing most often, {least} least"
    return LevelColumn(
        str(column.name),
        missing_share,
        direction,
        column.levels,
        probability,
        counts,
        column.is_two_valued,
    )


def _span(values: np.ndarray) -> tuple[float, float]:
    """Return the range of values [N], widened where floats do not tell ``NUM_BINS`` bins apart."""
    low, high = float(values.min()), float(values.max())
    least = 4 * NUM_BINS * float(np.spacing(max(abs(low), abs(high))))
    return (low, high) if high - low > least else (low - max(least, 0.5), high + max(least, 0.5))


def _probability(
    fitted: FittedModel, center: np.ndarray, columns: slice, values: np.ndarray
) -> np.ndarray:
    """Return P(missing) of a column at standard values, others at their means. [V, W] -> [V].

    NaN where the mechanism does not model it, and for ``mar`` in the columns without a gap, which
    are what it reads: there is no row of s with such a cell missing.
    """
    name, complete = fitted.config.model.mechanism, fitted.facts.observed_columns
    is_read = MECHANISMS[name].reads_complete and columns.start in complete
    if name == "none" or is_read:
        return np.full(len(values), np.nan)
    x = np.tile(center, (len(values), 1))
    x[:, columns] = values
    return np.asarray(jax.nn.sigmoid(log_odds(fitted, columns, jnp.asarray(x), center)))


def _direction(mechanism: str, missing_share: float, change: float) -> str:
    if missing_share == 0:
        return "no value is missing"
    if MECHANISMS[mechanism].direction:
        return MECHANISMS[mechanism].direction
    if abs(change) < LEAST_CHANGE:
        return NO_LINK
    return HIGH if change > 0 else LOW
