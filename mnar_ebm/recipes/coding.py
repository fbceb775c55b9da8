"""A table's rows as the visible units of a machine, and back: bits, Gaussians, levels.

| kind | a column is | units | base of brackets |
|---|---|---|---|
| binary | on or off | one bit | how often it is on |
| gaussian | a number | one, standardised | N(0, 1) |
| multinomial | a level, 0 to K - 1 | K of which one is on | how often each level is |
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mnar_ebm import _checks
from mnar_ebm.boltzmann import BINARY, GAUSSIAN, RBM, Visible, annealed, multinomial, rbm
from mnar_ebm.data.table import Table
from mnar_ebm.recipes import run, units
from mnar_ebm.training.run_folder import Record
from mnar_ebm.types import Array, Key

KINDS = ("binary", "gaussian", "multinomial")


class Facts(NamedTuple):
    """What a machine must know of the table that it is fitted to.

    Attributes:
        columns: the D names.
        cut: of bits, values above it are on; none if they are taken as they are.
        rate: of bits and levels, how often each is on, kept off 0 and 1. [V]
        visible: the kind of units.
        num_levels: K of levels, else 1.
        centre: of Gaussians, the mean of each column. [D]
        scale: their standard deviations. [D]
    """

    columns: tuple[str, ...]
    cut: float | None
    rate: tuple[float, ...]
    visible: str = "binary"
    num_levels: int = 1
    centre: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()

    @classmethod
    def from_json(cls, fields: Record) -> "Facts":
        """Return the facts of a record."""
        told: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in fields.items()
        }
        return cls(**told)

    @property
    def kind(self) -> Visible:
        """The kind of the visible units."""
        if self.visible == "multinomial":
            return multinomial(self.num_levels)
        return GAUSSIAN if self.visible == "gaussian" else BINARY

    @property
    def base_bias(self) -> Array:
        """Biases of independent units with the laws of the columns. [V]."""
        if self.visible == "gaussian":
            return jnp.zeros(len(self.columns))
        rate = jnp.asarray(self.rate)
        return jnp.log(rate) if self.visible == "multinomial" else jax.scipy.special.logit(rate)

    @property
    def log_volume(self) -> float:
        """What a log-density of the units has more than one of the values, in nats."""
        return float(np.log(self.scale).sum())


def table_facts(visible: str, threshold: float, table: Table) -> tuple[Facts, np.ndarray]:
    """Return the facts of a table, and its rows as units. [N, V].

    Args:
        visible: the kind of units.
        threshold: of bits, the share of the largest value above which they are on.
        table: complete rows, or rows whose truth is known.

    Raises:
        ValueError: the table has gaps, or values that such units have not.
    """
    if visible == "binary":
        of_bits, bits = units.table_facts(threshold, table)
        return Facts(*of_bits), bits
    x = run.complete_rows(table)
    if visible == "gaussian":
        scale = x.std(axis=0)
        if not scale.all():
            name = table.columns[int((scale == 0).argmax())]
            raise ValueError(
                f"{table.name}: expected columns that vary, got {name!r}, which does not"
            )
        centre, spread = (tuple(map(float, part)) for part in (x.mean(axis=0), scale))
        facts = Facts(table.columns, None, (), visible, 1, centre, spread)
        return facts, encode(facts, x)[0]
    facts = Facts(table.columns, None, (), visible, max(2, int(x.max()) + 1))
    rows = encode(facts, x)[0]
    rate = (rows.sum(axis=0) + 1.0) / (len(rows) + facts.num_levels)
    return facts._replace(rate=tuple(map(float, rate.astype(np.float32)))), rows


def encode(facts: Facts, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return values as units, 0 in gaps, and which units are observed. [N, D] -> [N, V], [N, V].

    Raises:
        TypeError: a value is not a number.
        ValueError: there are other columns, or a value is none that such units have.
    """
    if facts.visible == "binary":
        return units.to_bits(x, facts.cut, facts.columns)
    x = _checks.check_table("x", x, len(facts.columns), facts.columns)
    is_observed = ~np.isnan(x)
    filled = np.where(is_observed, x, 0.0)
    if facts.visible == "gaussian":
        rows = (filled - np.array(facts.centre)) / np.array(facts.scale)
        return np.where(is_observed, rows, 0.0).astype(np.float32), is_observed
    is_wrong = ~np.isin(filled, np.arange(facts.num_levels))
    if is_wrong.any():
        row, column = np.argwhere(is_wrong)[0]
        raise ValueError(
            f"x: expected levels 0 to {facts.num_levels - 1}, got {x[row, column]:g} in row "
            f"{row}, column {facts.columns[column]!r}"
        )
    rows = np.eye(facts.num_levels, dtype=np.float32)[filled.astype(int)]
    rows = rows * is_observed[..., None]
    return rows.reshape(len(x), -1), np.repeat(is_observed, facts.num_levels, axis=1)


def decode(facts: Facts, v: np.ndarray) -> np.ndarray:
    """Return units, or their means, as values: of levels the likeliest. [..., V] -> [..., D]."""
    if facts.visible == "gaussian":
        return v * np.array(facts.scale) + np.array(facts.centre)
    if facts.visible == "multinomial":
        levels = v.reshape(*v.shape[:-1], -1, facts.num_levels)
        return levels.argmax(axis=-1).astype(float)
    return v


def start(key: Key, facts: Facts, num_hidden: int) -> RBM:
    """Return the machine that training starts from: nearly independent units."""
    bias = facts.base_bias
    weights = 0.01 * jax.random.normal(key, (bias.shape[0], num_hidden))
    log_scale = jnp.zeros_like(bias) if facts.visible == "gaussian" else ()
    return RBM(bias, jnp.zeros(num_hidden), weights, log_scale)


def mean_units(facts: Facts) -> Array:
    """Return the mean of each unit in the data, the offsets of training. [V]."""
    return jnp.asarray(facts.rate) if facts.rate else jnp.zeros(len(facts.columns))


def independent(facts: Facts, num_hidden: int) -> RBM:
    """Return the machine of independent units with the laws of the columns."""
    return annealed.without_weights(start(jax.random.key(0), facts, num_hidden), facts.base_bias)


def independent_log_likelihood(facts: Facts, v: np.ndarray) -> float:
    """Return the mean log p of rows of units [N, V] under independent ones, of their values."""
    one = independent(facts, 1)
    log_z = rbm.log_z_independent(one, facts.kind)
    log_p = rbm.log_likelihood(one, jnp.asarray(v), log_z, facts.kind)
    return float(log_p.mean()) - facts.log_volume
