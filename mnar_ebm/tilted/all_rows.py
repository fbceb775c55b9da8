"""Train on: for longer, with all rows, or with rows drawn of them.

A fifth of a small table is much to leave out, and its rare rows most of all: a row that is far from
all others is filled badly by a model that was not fitted to it.
"""

from collections.abc import Callable

import jax
import numpy as np

from mnar_ebm.data.table import Table
from mnar_ebm.tilted.fitted import FittedModel, make_batch
from mnar_ebm.tilted.held_out import split_rows
from mnar_ebm.tilted.stages import make_loop, make_stages
from mnar_ebm.training import loop
from mnar_ebm.training.plan import pad_rows
from mnar_ebm.training.run_folder import Record
from mnar_ebm.types import Key

SHARE = 0.25
"""Share of the steps of the stage ``base``."""

_ALL_ROWS = 1000
"""What is folded into the seed's key: more than a run has stages."""


def train_on(
    fitted: FittedModel,
    table: Table,
    unbiased: Table | None = None,
    number: int = 1,
    report: Callable[[Record], None] = lambda record: None,
) -> FittedModel:
    """Return the model after the stage ``base`` once more, from where it is, with the same rows.

    Args:
        fitted: a model without a tilt that ``train`` returned.
        table: the rows that it was trained with, in original units.
        unbiased: the unbiased sample that it was trained with, if there was one.
        number: which time it is, by which batches and draws are others.
        report: called with a record after every chunk of steps.

    Raises:
        ValueError: the model has a tilt.
        NonFiniteLossError: the loss became NaN or infinite; ``fitted`` is unharmed.
    """
    rows = split_rows(fitted.config, len(table.x))[0]
    key = jax.random.fold_in(jax.random.key(fitted.config.seed), _ALL_ROWS + number)
    tell = _named("base", report)
    now = _go_on(fitted, key, table.x[rows], table, unbiased, tell, 1.0)
    return fitted._replace(params=now.params)


def train_on_all_rows(
    fitted: FittedModel,
    table: Table,
    unbiased: Table | None = None,
    report: Callable[[Record], None] = lambda record: None,
) -> FittedModel:
    """Return the model after a short stage ``base``, from where it is, with all rows.

    It is a quarter as long: no row is left to tell when a deep decoder begins to learn rows by
    heart. The bound of the rows that were held out is watched as before, but they are fitted to.

    Args:
        fitted: a model without a tilt, which would go with its base, that ``train`` returned.
        table: the rows that it was trained with, in original units.
        unbiased: the unbiased sample that it was trained with, if there was one.
        report: called with a record after every chunk of steps.

    Raises:
        ValueError: the model has a tilt.
        NonFiniteLossError: the loss became NaN or infinite; ``fitted`` is unharmed.
    """
    key = jax.random.fold_in(jax.random.key(fitted.config.seed), _ALL_ROWS)
    now = _go_on(fitted, key, table.x, table, unbiased, _named("all rows", report), SHARE)
    return fitted._replace(params=now.params)


def train_on_bootstrap(
    fitted: FittedModel,
    table: Table,
    seed: int,
    unbiased: Table | None = None,
    report: Callable[[Record], None] = lambda record: None,
) -> FittedModel:
    """Return the model after a short stage ``base``, from where it is, on a bootstrap of the rows.

    As many are drawn as there are, with replacement. What the parameters of such fits differ by is
    how uncertain those of one fit are; draws of several fits carry that into what is imputed.

    Args:
        fitted: a model that ``train_on_all_rows`` returned.
        table: the rows that it was trained with, in original units.
        seed: of the rows that are drawn.
        unbiased: the unbiased sample that it was trained with, if there was one; all are kept.
        report: called with a record after every chunk of steps.

    Raises:
        ValueError: the model has a tilt.
        NonFiniteLossError: the loss became NaN or infinite; ``fitted`` is unharmed.

    References:
        B. Efron, "Missing Data, Imputation, and the Bootstrap", JASA 89, 1994, sec. 3.
    """
    rows = np.random.default_rng((seed, _ALL_ROWS)).integers(len(table.x), size=len(table.x))
    key = jax.random.fold_in(jax.random.key(seed), _ALL_ROWS)
    tell = _named("all rows", report)
    now = _go_on(fitted, key, table.x[rows], table, unbiased, tell, SHARE)
    return fitted._replace(params=now.stage.merge(fitted.params, now.state.average))


def _go_on(
    fitted: FittedModel,
    key: Key,
    x: np.ndarray,
    table: Table,
    unbiased: Table | None,
    report: Callable[[Record], None],
    share: float,
) -> loop.Progress:
    """Train on with rows ``x`` for a share of the steps; return where that ends."""
    if fitted.config.model.tilt != "none":
        raise ValueError(
            f"fitted: expected a model without a tilt, got tilt={fitted.config.model.tilt}"
        )
    num_steps = max(1, round(share * fitted.config.optimisation.num_steps))
    config = fitted.config.replace(num_steps=num_steps)
    (stage,) = make_stages(config, fitted.model)
    rows = make_batch(fitted, x, unbiased)
    held_out = make_batch(fitted, table.x[split_rows(fitted.config, len(table.x))[1]])
    for now in loop.run_stages(
        make_loop(config),
        [stage],
        fitted.params,
        pad_rows(rows, len(make_batch(fitted, table.x, unbiased).x)),
        pad_rows(held_out),
        [(key, key)],
    ):
        if now.record:
            report(now.record)
    return now


def _named(stage: str, report: Callable[[Record], None]) -> Callable[[Record], None]:
    return lambda record: report(record | {"stage": stage})
