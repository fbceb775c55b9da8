"""A restricted Boltzmann machine of a table's rows: settings, training, and what is made of it."""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mnar_ebm import _checks
from mnar_ebm._settings import check_settings, setting
from mnar_ebm.boltzmann import RBM, Bracket, ChainSettings, bracket, clamp, make_stage, rbm
from mnar_ebm.boltzmann.training import PHASES
from mnar_ebm.data.table import Table
from mnar_ebm.settings import SCHEDULES
from mnar_ebm.training import Loop, Pace, Progress, Stage, pad_rows, run_folder, verdict
from mnar_ebm.training.run_folder import Record, RunFolder
from mnar_ebm.types import Array, Key

SYSTEM = "rbm"

FEW_UNITS = 12
"""Most units of the smaller side for which held-out rows are judged by the exact likelihood."""

NUM_MEAN_DRAWS = 100
"""Draws whose mean says how likely a missing unit is on, where that is not summed."""

NUM_SWEEPS = 1000
"""Sweeps of the chains that stand for a machine that cannot be enumerated."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of a machine, of its training, and of what counts as on."""

    num_hidden: int = setting(64, "Hidden units.", at_least=1)
    negative_phase: str = setting(
        "pcd", "Chains from the batch (cd), or going on from step to step (pcd).", choices=PHASES
    )
    num_chains: int = setting(100, "Chains that pcd carries along.", at_least=1)
    num_sweeps: int = setting(1, "Sweeps of Gibbs in a step.", at_least=1)
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
    weight_decay: float = setting(0.0, "Decoupled weight decay of the weights.", at_least=0)
    validation_fraction: float = setting(
        0.1, "Share of rows held out, which choose the step that is kept.", between=(0, 0.5)
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


class Facts(NamedTuple):
    """What a machine must know of the table that it is fitted to.

    Attributes:
        columns: the V names.
        cut: values above it are on; none if they are taken as they are.
        rate: how often each unit is on, kept off 0 and 1. [V]
    """

    columns: tuple[str, ...]
    cut: float | None
    rate: tuple[float, ...]


class FittedMachine(NamedTuple):
    """A trained machine, and what it knows of its table."""

    config: Config
    facts: Facts
    machine: RBM

    @property
    def is_exact(self) -> bool:
        """Whether log Z and draws are exact, by enumeration of the smaller side."""
        return min(self.machine.weights.shape) <= rbm.MAX_UNITS

    def bits(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return rows as bits, 0 in their gaps, and where they are observed. [N, V]."""
        return to_bits(x, self.facts.cut, self.facts.columns)

    def sample(self, num_samples: int, seed: int = 0, num_sweeps: int = NUM_SWEEPS) -> np.ndarray:
        """Return rows of bits: independent, where the machine can be enumerated. [N, V].

        Args:
            num_samples: N.
            seed: of the draws.
            num_sweeps: of chains from independent bits, where it cannot; a chain for each row.
        """
        key = jax.random.key(seed)
        if self.is_exact:
            return np.asarray(rbm.sample(key, self.machine, num_samples))
        return np.asarray(_run_chains(key, self, num_samples, num_sweeps))

    def impute(
        self, x: np.ndarray, num_imputations: int, seed: int = 0, num_sweeps: int = NUM_SWEEPS
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return rows whose missing units are filled given the others, which are clamped.

        Args:
            x: rows, NaN where missing. [N, V]
            num_imputations: M.
            seed: of the draws.
            num_sweeps: of chains, where there are too many hidden units to sum over.

        Returns:
            How likely each unit is on, [N, V], exact where hidden units are few and else the mean
            of 100 draws at least; and M draws of the rows, [M, N, V]. Observed units as bits.
        """
        bits, mask = map(jnp.asarray, self.bits(x))
        key, is_few = jax.random.key(seed), self.config.num_hidden <= rbm.MAX_UNITS
        num_draws = num_imputations if is_few else max(num_imputations, NUM_MEAN_DRAWS)
        draws = clamp.impute(key, self.machine, bits, mask, num_draws, num_sweeps)
        mean = clamp.mean(self.machine, bits, mask) if is_few else draws.mean(axis=0)
        return np.asarray(mean), np.asarray(draws[:num_imputations])

    def log_z(self, seed: int = 0, num_temperatures: int = 1000) -> Bracket | Array:
        """Return log Z, or a bracket where the machine cannot be enumerated.

        The upper side rests on chains then, which may not have crossed: see ``boltzmann.bracket``.
        """
        if self.is_exact:
            return rbm.log_z(self.machine)
        key_draws, key_paths = jax.random.split(jax.random.key(seed))
        draws = _run_chains(key_draws, self, 100, NUM_SWEEPS)
        base = jax.scipy.special.logit(jnp.asarray(self.facts.rate))
        return bracket(key_paths, self.machine, base, draws, num_temperatures)


def _run_chains(key: Key, fitted: FittedMachine, num_chains: int, num_sweeps: int) -> Array:
    """Return chains from independent bits as often on as the data. [C, V]."""
    key_start, key_chains = jax.random.split(key)
    logits = jax.scipy.special.logit(jnp.asarray(fitted.facts.rate))
    start = rbm.draw(key_start, jnp.broadcast_to(logits, (num_chains, logits.shape[0])))
    return _gibbs(key_chains, fitted.machine, start, num_sweeps)


_gibbs = jax.jit(rbm.gibbs, static_argnums=3)


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
            f"x: expected 0 or 1 in a machine of binary units, got {x[row, column]:g} in row "
            f"{row}, column {columns[column]!r}; threshold says what counts as on"
        )
    return filled.astype(np.float32), is_observed


def table_facts(config: Config, table: Table) -> tuple[Facts, np.ndarray]:
    """Return the facts of a table, and its rows as bits. [N, V].

    The truth is read where it is known: what a benchmark hides is not hidden here.

    Raises:
        ValueError: the table has gaps, or values that are not told to be on or off.
    """
    x = table.x if table.truth is None else table.truth
    has_gap = np.isnan(x).any(axis=0)
    if has_gap.any():
        raise ValueError(
            f"{table.name}: expected complete rows to train a machine on, got gaps in column "
            f"{table.columns[int(has_gap.argmax())]!r}; impute fills those of other rows"
        )
    cut = float(config.threshold * x.max()) if config.threshold > 0 else None
    bits, _ = to_bits(x, cut, table.columns)
    rate = (bits.sum(axis=0) + 1.0) / (len(bits) + 2.0)
    return Facts(table.columns, cut, tuple(map(float, rate.astype(np.float32)))), bits


def split_rows(config: Config, num_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows to train on and those held out, at random."""
    order = np.random.default_rng((config.seed, num_rows)).permutation(num_rows)
    num_held_out = round(config.validation_fraction * num_rows)
    return order[num_held_out:], order[:num_held_out]


def train(
    config: Config,
    table: Table,
    workdir: str | pathlib.Path | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    report: Callable[[Record], None] = lambda record: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> FittedMachine:
    """Train a machine on the rows of a table; killed at any moment, it can go on.

    Args:
        config: settings.
        table: complete rows, or rows whose truth is known.
        workdir: run folder for checkpoints and ``log.jsonl``; nothing is written without it.
        resume: go on from the newest checkpoint of ``workdir``.
        overwrite: drop the checkpoints of another run in ``workdir``.
        report: called with a record after every chunk of steps.
        should_stop: asked after every chunk; ``True`` saves and raises.

    Raises:
        ValueError: settings, rows and checkpoint do not go together.
        NonFiniteLossError: the loss became NaN or infinite; the last checkpoint is kept.
        InterruptedTraining: ``should_stop`` said so; the state was saved first.
    """
    workdir = pathlib.Path(workdir) if workdir is not None else None
    run_folder.check_new(workdir, resume, overwrite)
    facts, bits = table_facts(config, table)
    key_init, key_steps = jax.random.split(jax.random.key(config.seed))
    rate = jnp.asarray(facts.rate)
    start = rbm.init(key_init, rate, config.num_hidden)
    stages = [_stage(config, rate)]
    loop = Loop(config.batch_size, patience=config.patience)
    rows, held_out = (bits[chosen] for chosen in split_rows(config, len(bits)))
    about = (config.flat(), facts._asdict(), run_folder.digest(bits), SYSTEM)
    with RunFolder(workdir, *about) as run:
        params, first, state = start, 0, None
        if resume:
            params, first, state = run.restore(stages, start, Config().flat())
            if workdir is not None and first == len(stages):
                return load(workdir)
        else:
            run.start_log()
        machine = run_folder.run_in_folder(
            run,
            loop,
            stages,
            params,
            pad_rows(jnp.asarray(rows)),
            pad_rows(jnp.asarray(held_out)),
            run_folder.stage_keys(key_steps, len(stages)),
            first,
            state,
            watch=lambda now: _watch(config, facts, jnp.asarray(held_out), now),
            report=report,
            should_stop=should_stop,
        )
        run.save_finished(stages, machine)
    return FittedMachine(config, facts, machine)


def _stage(config: Config, rate: Array) -> Stage:
    """Return the stage that trains a machine, judged by its likelihood where that is cheap."""
    decays = (config.weight_decay,) if config.weight_decay > 0 else ()
    pace = Pace(config.num_steps, config.learning_rate, config.schedule, decays=decays)
    chains = ChainSettings(config.negative_phase, config.num_chains, config.num_sweeps)
    stage = make_stage(chains, pace, rate)
    if min(config.num_hidden, rate.shape[0]) > FEW_UNITS:
        return stage

    def evaluate(key: Key, machine: RBM, batch: Array, is_row: Array) -> Any:
        scores = rbm.log_likelihood(machine, batch, rbm.log_z(machine))
        pseudo = stage.evaluate(key, machine, batch, is_row)
        return verdict(jnp.mean(scores, where=is_row), pseudo_likelihood=pseudo.score)

    return stage._replace(evaluate=evaluate)


WATCHED = 10
"""Chunks of steps from one bracket of the likelihood to the next, and its temperatures."""


def _watch(config: Config, facts: Facts, held_out: Array, now: Progress) -> Record:
    """Return a bracket of the held-out likelihood, every so often, if it is not exact anyway."""
    is_due = now.record["step"] % (WATCHED * 200) == 0 or now.record["step"] == config.num_steps
    if not is_due or min(now.params.weights.shape) <= rbm.MAX_UNITS or not len(held_out):
        return {}
    return likelihood(FittedMachine(config, facts, now.params), held_out, num_temperatures=200)


def likelihood(fitted: FittedMachine, v: Array, num_temperatures: int = 1000) -> Record:
    """Return the mean log-likelihood of rows of bits, in nats: exactly, or both of its sides.

    Args:
        fitted: the machine.
        v: rows of bits. [N, V]
        num_temperatures: of a bracket.
    """
    mean_free = float(rbm.free_energy(fitted.machine, jnp.asarray(v)).mean())
    log_z = fitted.log_z(fitted.config.seed, num_temperatures)
    if not isinstance(log_z, Bracket):
        return {"log_likelihood": -mean_free - float(log_z)}
    sides = {"lower": log_z.upper, "upper": log_z.lower}
    return {
        f"log_likelihood_{name}{what}": value
        for name, side in sides.items()
        for what, value in {
            "": -mean_free - float(side.log_z),
            "_error": float(side.standard_error),
        }.items()
    }


def load(workdir: str | pathlib.Path) -> FittedMachine:
    """Return the machine of a finished run.

    Raises:
        ValueError: the folder has no checkpoint, an unfinished or a damaged one, or one of
            another system.
    """

    def like(record: Record) -> RBM:
        config, facts = _described(record)
        return rbm.init(jax.random.key(0), jnp.asarray(facts.rate), config.num_hidden)

    record, machine = run_folder.load_finished(pathlib.Path(workdir), SYSTEM, like)
    return FittedMachine(*_described(record), machine)


def _described(record: Record) -> tuple[Config, Facts]:
    """Return what a record says of its run."""
    facts = record["facts"]
    return (
        Config(**record["config"]),
        Facts(tuple(facts["columns"]), facts["cut"], tuple(facts["rate"])),
    )
