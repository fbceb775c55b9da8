"""Train, from a config and a table to a fitted model; killed at any moment, it can go on."""

import pathlib
from collections.abc import Callable

import jax
import numpy as np

from mnar_ebm.config import Config
from mnar_ebm.data.table import Table
from mnar_ebm.debiasing.unbiased import check_unbiased, debias
from mnar_ebm.devices import warn_of_rounding
from mnar_ebm.tilted.facts import TableFacts, table_facts
from mnar_ebm.tilted.fitted import FittedModel, check_sizes, make_batch, make_fitted
from mnar_ebm.tilted.held_out import impute_held_out, split_rows
from mnar_ebm.tilted.stages import make_loop, make_stages
from mnar_ebm.tilted.start import CHOSEN, choose_start
from mnar_ebm.tilted.tilt_scale import TiltReport, choose_tilt_scale
from mnar_ebm.training import checkpoints, run_folder, saved
from mnar_ebm.training.loop import stage_keys
from mnar_ebm.training.plan import pad_rows
from mnar_ebm.training.run_folder import Record, RunFolder

SYSTEM = "tilted"
"""What the record of a run folder calls a tilted table."""


def check(config: Config, table: Table, unbiased: Table | None = None) -> None:
    """Raise now what ``train`` would raise of such arguments, before anything is written."""
    _check_types(config, table, unbiased)
    facts = table_facts(config, table)
    check_sizes(config, facts)
    make_fitted(config, facts)
    split_rows(config, len(table.x))
    if unbiased is not None:
        check_unbiased(config, facts, unbiased)


def _check_types(config: Config, table: Table, unbiased: Table | None) -> None:
    """Raise ``TypeError`` for what is no config or table; arrays become one by ``make_table``."""
    given = [("config", config, Config), ("table", table, Table), ("unbiased", unbiased, Table)]
    for name, value, kind in given:
        if not isinstance(value, kind) and not (name == "unbiased" and value is None):
            hint = ", as data.make_table makes" if kind is Table else ""
            raise TypeError(f"{name}: expected a {kind.__name__}{hint}, got {type(value).__name__}")


def train(
    config: Config,
    table: Table,
    workdir: str | pathlib.Path | None = None,
    *,
    unbiased: Table | None = None,
    resume: bool = False,
    overwrite: bool = False,
    report: Callable[[Record], None] = lambda record: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> tuple[FittedModel, TiltReport]:
    """Fit base and mechanism, then the tilt, then its scale; then tilt to the unbiased rows.

    Unbiased rows are trained on beside the others, but without a mechanism, and none is held out;
    in the end, if there is a tilt, a second one is fitted to them alone (``debiasing.unbiased``).

    With ``slope_start="best"`` short trainings come first (``tilted.start``), which are reported
    but not kept: a run that is killed within them does them again.

    Args:
        config: settings.
        table: incomplete rows in original units.
        unbiased: a sample of the population, with the same columns; its gaps are at random.
        workdir: run folder for checkpoints and ``log.jsonl``; nothing is written without it.
        resume: go on from the newest checkpoint of ``workdir``.
        overwrite: drop the checkpoints of another run in ``workdir``.
        report: called with a record after every chunk of steps.
        should_stop: asked after every chunk; ``True`` saves and raises.

    Returns:
        The fitted model, and what choosing the tilt's scale found, on the held-out rows or, where
        there are none, on those that were trained on.

    Raises:
        TypeError: an argument is of another type.
        ValueError: config, rows and checkpoint do not go together, ``workdir`` holds checkpoints
            that neither is to be gone on with nor to be dropped, or another run writes into it.
        NonFiniteLossError: the loss became NaN or infinite; the last checkpoint is kept.
        InterruptedTraining: ``should_stop`` said so; the state was saved first.
    """
    _check_types(config, table, unbiased)
    warn_of_rounding()
    workdir = pathlib.Path(workdir) if workdir is not None else None
    run_folder.check_new(workdir, resume, overwrite)
    resumed = workdir if resume else None
    config = with_start(config, table, unbiased, resumed, report, should_stop)
    facts = table_facts(config, table)
    check_sizes(config, facts)
    if unbiased is not None:
        check_unbiased(config, facts, unbiased)
    rows = run_folder.digest(table.x, *([] if unbiased is None else [unbiased.x]))
    about = {name: fact for name, fact in facts.to_json().items() if name != "second_energy"}
    with RunFolder(workdir, config.flat(), about, rows, SYSTEM) as run:
        return _train(config, facts, table, unbiased, run, resumed, report, should_stop)


def _train(
    config: Config,
    facts: TableFacts,
    table: Table,
    unbiased: Table | None,
    run: RunFolder,
    resumed: pathlib.Path | None,
    report: Callable[[Record], None],
    should_stop: Callable[[], bool],
) -> tuple[FittedModel, TiltReport]:
    """Run the stages, choose the tilt's scale, and tilt to the unbiased rows."""
    fitted = make_fitted(config, facts)
    rows_train, rows_held_out = split_rows(config, len(table.x))
    train_data = make_batch(fitted, table.x[rows_train], unbiased)
    held_out = make_batch(fitted, table.x[rows_held_out])
    room = 0 if config.model.tilt != "none" else len(make_batch(fitted, table.x, unbiased).x)
    key = jax.random.key(config.seed)
    stages = make_stages(config, fitted.model)
    params, first, state = fitted.params, 0, None
    if resumed is not None:
        params, first, state = run.restore(stages, params, Config().flat())
        if first == len(stages):
            params = load(resumed).without_second().params
    else:
        run.start_log()
    params = run_folder.run_in_folder(
        run,
        make_loop(config),
        stages,
        params,
        pad_rows(train_data, room),
        pad_rows(held_out),
        stage_keys(key, len(stages)),
        first,
        state,
        report=report,
        should_stop=should_stop,
    )
    key_scale = jax.random.fold_in(key, 1 + len(stages))
    judged = held_out if len(rows_held_out) else make_batch(fitted, table.x[rows_train])
    bend = facts.standardiser.bend
    params, tilt_report = choose_tilt_scale(key_scale, fitted.model, params, judged, bend)
    fitted = fitted._replace(params=params)
    if unbiased is not None and "none" not in (config.model.tilt, config.unbiased.unbiased_energy):
        fitted, found = debias(fitted, unbiased)
        tilt_report = tilt_report._replace(unbiased=found)
    run.save_finished(stages, fitted.params, fitted.facts.to_json())
    return fitted, tilt_report


def with_start(
    config: Config,
    table: Table,
    unbiased: Table | None = None,
    resumed: pathlib.Path | None = None,
    report: Callable[[Record], None] = lambda record: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Config:
    """Return the config with its start chosen: as in the run that is resumed, or anew."""

    def bounds_of(start: Config) -> np.ndarray:
        decay = start.optimisation.mechanism_weight_decay
        stage = f"start {start.optimisation.slope_start}" + f", decay {decay:g}" * (decay > 0)

        def tell(record: Record) -> None:
            report(record | {"stage": stage})

        fitted, _ = train(start, table, unbiased=unbiased, report=tell, should_stop=should_stop)
        return impute_held_out(fitted, table)[1].bound

    if (
        config.optimisation.slope_start == "best"
        and resumed
        and checkpoints.has_checkpoint(resumed)
    ):
        kept = saved.read_record(resumed)["config"]
        return config.replace(**{name: kept[name] for name in CHOSEN if name in kept})
    return choose_start(config, bounds_of)


def load(workdir: str | pathlib.Path) -> FittedModel:
    """Return the fitted model of a finished run.

    Raises:
        ValueError: the folder has no checkpoint, an unfinished or a damaged one, one of another
            system (``mnar_ebm.recipes``), or of another run than its ``run.cfg`` tells.
    """
    record, params = saved.load_finished(
        pathlib.Path(workdir), SYSTEM, lambda record: _start_of(record).params, _chosen
    )
    return _start_of(record)._replace(params=params)


def _chosen(told: dict[str, str]) -> tuple[str, ...]:
    """Return the settings that a run chose for itself, by what it was told."""
    return CHOSEN if told.get("slope_start") == "best" else ()


def _start_of(record: Record) -> FittedModel:
    """Return the model that a record is of, as at its start."""
    return make_fitted(Config(**record["config"]), TableFacts.from_json(record["facts"]))
