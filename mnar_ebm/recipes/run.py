"""A run of any system: settings of its training, and where it is kept."""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from mnar_ebm._settings import check_settings, setting
from mnar_ebm.data.table import Table
from mnar_ebm.settings import SCHEDULES
from mnar_ebm.training import Loop, Pace, Progress, Stage, run_folder, saved
from mnar_ebm.training.loop import stage_keys
from mnar_ebm.training.plan import Rows
from mnar_ebm.training.run_folder import Record, RunFolder
from mnar_ebm.types import PyTree


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """Settings of the training of any system."""

    batch_size: int = setting(100, "Rows in a step.", at_least=1)
    learning_rate: float = setting(1e-2, "Peak of Adam's learning rates.", is_positive=True)
    schedule: str = setting(
        "cosine", "Learning rates warm up and decay to 0, or stay at their peak.", choices=SCHEDULES
    )
    num_steps: int = setting(4000, "Steps of training.", at_least=1)
    weight_decay: float = setting(
        0.0, "Decoupled weight decay of weights, of couplings or of kernels; 0: none.", at_least=0
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


def complete_rows(table: Table) -> np.ndarray:
    """Return the rows of a table. [N, D].

    The truth is read where it is known: what a benchmark hides is not hidden here.

    Raises:
        ValueError: the table has gaps.
    """
    x = table.x if table.truth is None else table.truth
    has_gap = np.isnan(x).any(axis=0)
    if has_gap.any():
        raise ValueError(
            f"{table.name}: expected complete rows to train on, got gaps in column "
            f"{table.columns[int(has_gap.argmax())]!r}; impute fills those of other rows"
        )
    return x


def split_rows(config: RunConfig, num_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows to train on and those held out, at random."""
    order = np.random.default_rng((config.seed, num_rows)).permutation(num_rows)
    num_held_out = round(config.validation_fraction * num_rows)
    return order[num_held_out:], order[:num_held_out]


class About(NamedTuple):
    """What a checkpoint says of its run, beside its stage.

    Attributes:
        system: which system it is.
        config: settings.
        facts: what the model had to know of its table, as JSON.
        rows: digest of the rows.
    """

    system: str
    config: RunConfig
    facts: Record
    rows: str


def train(
    about: About,
    stages: Sequence[Stage],
    start: PyTree,
    rows: Rows,
    held_out: Rows,
    how: How,
    watch: Callable[[Progress], Record] = lambda now: {},
    ema_decay: float = 0.0,
) -> PyTree:
    """Return the parameters that stages train; of a finished run, those that it left.

    Args:
        about: what the run is.
        stages: what to do.
        start: parameters to start from.
        rows: to train on.
        held_out: to judge by.
        how: where the run is kept.
        watch: what else a record is to hold, after a chunk of steps.
        ema_decay: of the running mean that is judged; 0: none.

    Raises:
        ValueError: settings, rows and checkpoint do not go together.
        NonFiniteLossError: the loss became NaN or infinite; the last checkpoint is kept.
        InterruptedTraining: ``how.should_stop`` said so; the state was saved first.
    """
    workdir = pathlib.Path(how.workdir) if how.workdir is not None else None
    run_folder.check_new(workdir, how.resume, how.overwrite)
    system, config, facts, digest = about
    keys = stage_keys(jax.random.key(config.seed), len(stages))
    with RunFolder(workdir, config.flat(), facts, digest, system) as run:
        params, first, state = start, 0, None
        if workdir is not None and how.resume:
            params, first, state = run.restore(stages, start, type(config)().flat())
            if first == len(stages):
                return saved.load_finished(workdir, system, lambda record: start)[1]
        else:
            run.start_log()
        params = run_folder.run_in_folder(
            run,
            Loop(config.batch_size, ema_decay=ema_decay, patience=config.patience),
            stages,
            params,
            rows,
            held_out,
            keys,
            first,
            state,
            watch=watch,
            report=how.report,
            should_stop=how.should_stop,
        )
        run.save_finished(stages, params)
    return params


def load(
    workdir: str | pathlib.Path,
    system: str,
    describe: Callable[[Record], tuple[Any, Any]],
    start: Callable[[Any, Any], PyTree],
) -> tuple[Any, Any, PyTree]:
    """Return settings, facts and parameters of a finished run.

    Args:
        workdir: its folder.
        system: which system it must be of.
        describe: from its record, settings and facts.
        start: from these, parameters of the same structure and shapes.

    Raises:
        ValueError: the folder has no checkpoint, an unfinished or a damaged one, or one of
            another system.
    """
    record, params = saved.load_finished(
        pathlib.Path(workdir), system, lambda record: start(*describe(record))
    )
    return *describe(record), params
