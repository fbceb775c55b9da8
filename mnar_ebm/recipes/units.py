"""Rows whose values are on or off: what counts as on, and a run of any model of such rows."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from mnar_ebm import _checks
from mnar_ebm._settings import setting
from mnar_ebm.data.table import Table
from mnar_ebm.recipes import run
from mnar_ebm.recipes.run import About, How, RunConfig, split_rows
from mnar_ebm.training import Progress, Stage, pad_rows, run_folder
from mnar_ebm.training.run_folder import Record
from mnar_ebm.types import PyTree


@dataclasses.dataclass(frozen=True)
class UnitsConfig(RunConfig):
    """Settings of the training of any model of units, and of what counts as on."""

    threshold: float = setting(
        0.5,
        "A unit is on where the value is above this share of the table's largest; 0: values are "
        "taken as they are, 0 or 1.",
        between=(0, 1),
    )


class Facts(NamedTuple):
    """What a model of units must know of the table that it is fitted to.

    Attributes:
        columns: the V names.
        cut: values above it are on; none if they are taken as they are.
        rate: how often each unit is on, kept off 0 and 1. [V]
    """

    columns: tuple[str, ...]
    cut: float | None
    rate: tuple[float, ...]

    @classmethod
    def from_json(cls, fields: Record) -> "Facts":
        """Return the facts of a record."""
        return cls(tuple(fields["columns"]), fields["cut"], tuple(fields["rate"]))


def to_bits(
    x: np.ndarray, cut: float | None, columns: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Return values as bits, 0 in their gaps, and where they are observed. [N, V], [N, V].

    Raises:
        TypeError: a value is not a number.
        ValueError: there are other columns, or no cut is told and a value is neither 0 nor 1.
    """
    x = _checks.check_table("x", x, len(columns), columns)
    is_observed = ~np.isnan(x)
    filled = np.where(is_observed, x, 0.0)
    if cut is not None:
        return (filled > cut).astype(np.float32) * is_observed, is_observed
    outside = (filled != 0) & (filled != 1)
    if outside.any():
        row, column = np.argwhere(outside)[0]
        raise ValueError(
            f"x: expected 0 or 1, for units are on or off, got {x[row, column]:g} in row "
            f"{row}, column {columns[column]!r}; threshold says what counts as on"
        )
    return filled.astype(np.float32), is_observed


def describe(kind: type[UnitsConfig], record: Record) -> tuple[Any, Facts]:
    """Return what a record says of its run, whose settings are of a kind."""
    return kind(**record["config"]), Facts.from_json(record["facts"])


def table_facts(threshold: float, table: Table) -> tuple[Facts, np.ndarray]:
    """Return the facts of a table, and its rows as bits. [N, V].

    Raises:
        ValueError: the table has gaps, or values that are not told to be on or off.
    """
    x = run.complete_rows(table)
    cut = float(threshold * x.max()) if threshold > 0 else None
    bits, _ = to_bits(x, cut, table.columns)
    rate = (bits.sum(axis=0) + 1.0) / (len(bits) + 2.0)
    return Facts(table.columns, cut, tuple(map(float, rate.astype(np.float32)))), bits


def train(
    system: str,
    config: UnitsConfig,
    facts: Any,
    bits: np.ndarray,
    stage: Stage,
    start: PyTree,
    how: How,
    watch: Callable[[Progress], Record] = lambda now: {},
) -> PyTree:
    """Return the parameters that a stage trains on rows of bits.

    Args:
        system: which system it is.
        config: settings.
        facts: of the table, a tuple with names.
        bits: its rows. [N, V]
        stage: what to do.
        start: parameters to start from.
        how: where the run is kept.
        watch: what else a record is to hold, after a chunk of steps.

    Raises:
        ValueError: settings, rows and checkpoint do not go together.
        NonFiniteLossError: the loss became NaN or infinite; the last checkpoint is kept.
        InterruptedTraining: ``how.should_stop`` said so; the state was saved first.
    """
    about = About(system, config, facts._asdict(), run_folder.digest(bits))
    rows, held_out = (
        pad_rows(jnp.asarray(bits[chosen])) for chosen in split_rows(config, len(bits))
    )
    return run.train(about, [stage], start, rows, held_out, how, watch)
