"""Rows whose values are on or off: what counts as on, and a run of any model of such rows."""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mnar_ebm import _checks
from mnar_ebm._settings import check_settings, setting
from mnar_ebm.data.table import Table
from mnar_ebm.settings import SCHEDULES
from mnar_ebm.training import Loop, Pace, Progress, Stage, pad_rows, run_folder
from mnar_ebm.training.run_folder import Record, RunFolder
from mnar_ebm.types import PyTree


@dataclasses.dataclass(frozen=True)
class UnitsConfig:
    """Settings of the training of any model of units, and of what counts as on."""

    threshold: float = setting(
        0.5,
        "A unit is on where the value is above this share of the table's largest; 0: values are "
        "taken as they are, 0 or 1.",
        between=(0, 1),
    )
    batch_size: int = setting(100, "Rows in a step.", at_least=1)
    learning_rate: float = setting(1e-2, "Peak of Adam's learning rates.", is_positive=True)
    schedule: str = setting(
        "cosine", "Learning rates warm up and decay to 0, or stay at their peak.", choices=SCHEDULES
    )
    num_steps: int = setting(4000, "Steps of training.", at_least=1)
    weight_decay: float = setting(
        0.0, "Decoupled weight decay of what couples units; 0: none.", at_least=0
    )
    validation_fraction: float = setting(
        0.1,
        "Share of rows held out, which choose the step that is kept; 0: none.",
        between=(0, 0.5),
    )
    patience: int = setting(
        20, "Evaluations without a better score of held-out rows before training stops.", at_least=1
    )
    seed: int = setting(0, "Seed of everything random.", between=(0, 2**32 - 1))

    def __post_init__(self) -> None:
        """Check every value; raise ``ValueError`` or ``TypeError`` naming the setting and why."""
        check_settings(self)

    def flat(self) -> Record:
        """Return every setting by its name."""
        return dataclasses.asdict(self)

    @property
    def pace(self) -> Pace:
        """How long and how fast training goes."""
        decays = (self.weight_decay,) if self.weight_decay > 0 else ()
        return Pace(self.num_steps, self.learning_rate, self.schedule, decays)


class How(NamedTuple):
    """Where a run is kept, whether it goes on, and who watches.

    Attributes:
        workdir: run folder for checkpoints and ``log.jsonl``; nothing is written without it.
        resume: go on from the newest checkpoint of ``workdir``.
        overwrite: drop the checkpoints of another run in ``workdir``.
        report: called with a record after every chunk of steps.
        should_stop: asked after every chunk; ``True`` saves and raises ``InterruptedTraining``.
    """

    workdir: str | pathlib.Path | None = None
    resume: bool = False
    overwrite: bool = False
    report: Callable[[Record], None] = lambda record: None
    should_stop: Callable[[], bool] = lambda: False


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


def table_facts(threshold: float, table: Table) -> tuple[Facts, np.ndarray]:
    """Return the facts of a table, and its rows as bits. [N, V].

    The truth is read where it is known: what a benchmark hides is not hidden here.

    Raises:
        ValueError: the table has gaps, or values that are not told to be on or off.
    """
    x = table.x if table.truth is None else table.truth
    has_gap = np.isnan(x).any(axis=0)
    if has_gap.any():
        raise ValueError(
            f"{table.name}: expected complete rows to train on, got gaps in column "
            f"{table.columns[int(has_gap.argmax())]!r}; impute fills those of other rows"
        )
    cut = float(threshold * x.max()) if threshold > 0 else None
    bits, _ = to_bits(x, cut, table.columns)
    rate = (bits.sum(axis=0) + 1.0) / (len(bits) + 2.0)
    return Facts(table.columns, cut, tuple(map(float, rate.astype(np.float32)))), bits


def split_rows(config: UnitsConfig, num_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows to train on and those held out, at random."""
    order = np.random.default_rng((config.seed, num_rows)).permutation(num_rows)
    num_held_out = round(config.validation_fraction * num_rows)
    return order[num_held_out:], order[:num_held_out]


def train(
    system: str,
    config: UnitsConfig,
    facts: Facts,
    bits: np.ndarray,
    stage: Stage,
    start: PyTree,
    how: How,
    watch: Callable[[Progress], Record] = lambda now: {},
) -> PyTree:
    """Return the parameters that a stage trains on rows of bits; of a finished run, those it left.

    Args:
        system: which system it is.
        config: settings.
        facts: of the table.
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
    workdir = pathlib.Path(how.workdir) if how.workdir is not None else None
    run_folder.check_new(workdir, how.resume, how.overwrite)
    parts = split_rows(config, len(bits))
    rows, held_out = (pad_rows(jnp.asarray(bits[chosen])) for chosen in parts)
    keys = run_folder.stage_keys(jax.random.key(config.seed), 1)
    about = (config.flat(), facts._asdict(), run_folder.digest(bits), system)
    with RunFolder(workdir, *about) as run:
        first, state = 0, None
        if workdir is not None and how.resume:
            _, first, state = run.restore([stage], start, type(config)().flat())
            if first == 1:
                return run_folder.load_finished(workdir, system, lambda record: start)[1]
        else:
            run.start_log()
        params = run_folder.run_in_folder(
            run,
            Loop(config.batch_size, patience=config.patience),
            [stage],
            start,
            rows,
            held_out,
            keys,
            first,
            state,
            watch=watch,
            report=how.report,
            should_stop=how.should_stop,
        )
        run.save_finished([stage], params)
    return params
