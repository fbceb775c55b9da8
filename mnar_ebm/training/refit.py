"""Train on with all rows, once what had to be chosen on held-out rows is chosen.

A fifth of a small table is much to leave out, and its rare rows most of all: a row that is far from
all others is filled badly by a model that was not fitted to it.
"""

import dataclasses
from collections.abc import Callable

import jax

from mnar_ebm.data.table import Table
from mnar_ebm.training import loop
from mnar_ebm.training.fitted import FittedModel, make_batch
from mnar_ebm.training.held_out import split_rows
from mnar_ebm.training.run_folder import Record
from mnar_ebm.training.stages import make_stages
from mnar_ebm.training.tilt_scale import estimate_log_z

_REFIT = 1000
"""What is folded into the seed's key: more than a run has stages."""


def refit(
    fitted: FittedModel, table: Table, report: Callable[[Record], None] = lambda record: None
) -> FittedModel:
    r"""Return the model after the stage ``base`` once more, from where it is, with all rows.

    Encoder, decoder and mechanism move; the energy and its scale \lambda stay, and log Z is
    estimated for the new base. The bound of the rows that were held out is watched as before, but
    no longer is one of rows that were not fitted to.

    Args:
        fitted: a model that ``train`` returned, without a second tilt, which is fitted to its base.
        table: the rows that it was trained with, in original units.
        report: called with a record after every chunk of steps.
    """
    seed = fitted.config.seed
    config = dataclasses.replace(fitted.config, seed=0, slope_start="flat")  # the program of train
    stage = make_stages(config, fitted.model)[0]
    rows = make_batch(fitted, table.x)
    held_out = make_batch(fitted, table.x[split_rows(fitted.config, len(table.x))[1]])
    key_stage, key_log_z = jax.random.split(jax.random.fold_in(jax.random.key(seed), _REFIT))
    state = loop.init_state(stage, fitted.params, key_stage)
    steps = loop.run_stage(config, stage, fitted.params, state, rows, held_out, key_stage)
    for latest, record in steps:
        state = latest
        report(record | {"stage": "refit"})
    params = loop.finish(config, stage, fitted.params, state)
    return fitted._replace(params=estimate_log_z(key_log_z, fitted.model, params))
