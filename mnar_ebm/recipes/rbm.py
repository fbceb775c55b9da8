"""A restricted Boltzmann machine of a table's rows: settings, training, and what is made of it."""

import dataclasses
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mnar_ebm._settings import setting
from mnar_ebm.boltzmann import RBM, Bracket, ChainSettings, bracket, clamp, make_stage, rbm
from mnar_ebm.boltzmann.training import PHASES
from mnar_ebm.data.table import Table
from mnar_ebm.files import replacing
from mnar_ebm.recipes import coding, run, units
from mnar_ebm.recipes.coding import Facts
from mnar_ebm.recipes.run import How, split_rows
from mnar_ebm.recipes.units import UnitsConfig
from mnar_ebm.training import Progress, Stage, loop, verdict
from mnar_ebm.training.run_folder import Record
from mnar_ebm.types import Array, Key

SYSTEM = "rbm"

FEW_UNITS = 12
"""Most units of the smaller side for which held-out rows are judged by the exact likelihood."""

NUM_MEAN_DRAWS = 100
"""Draws whose mean says how likely a missing unit is on, where that is not summed."""

WATCHED, NUM_WATCHED_TEMPERATURES = 10, 200
"""Chunks of steps from one bracket of the held-out likelihood to the next, and its temperatures."""

JUDGES = ("auto", "pseudo", "likelihood")

NUM_JUDGED_SWEEPS, NUM_JUDGED_PATHS = 100, 50
"""Sweeps of the chains, from held-out rows, and paths of the bracket that stops training."""

FIELDS, NUM_FIELDS = "fields", 16
"""Folder of a run with the weights of the first units, after chunks of steps 1, 2, 4, 8 ..."""

NUM_SWEEPS = 1000
"""Sweeps of the chains that stand for a machine that cannot be enumerated."""


@dataclasses.dataclass(frozen=True)
class Config(UnitsConfig):
    """Settings of a machine and of its training."""

    num_hidden: int = setting(64, "Hidden units.", at_least=1)
    negative_phase: str = setting(
        "pcd", "Chains from the batch (cd), or going on from step to step (pcd).", choices=PHASES
    )
    num_chains: int = setting(100, "Chains that pcd carries along.", at_least=1)
    num_sweeps: int = setting(1, "Sweeps of Gibbs in a step.", at_least=1)
    visible: str = setting(
        "binary",
        "What a column is: on or off, a number (gaussian), or a level from 0 up (multinomial).",
        choices=coding.KINDS,
    )
    momentum: float = setting(
        0.0,
        "Share of the last step that goes on, of plain gradient steps; 0: Adam.",
        between=(0, 0.999),
    )
    sparsity_price: float = setting(
        0.0, "Price of hidden units that are on too often or too seldom; 0: none.", at_least=0
    )
    sparsity_rate: float = setting(
        0.1, "How often a hidden unit should be on, if that has a price.", between=(0.001, 0.999)
    )
    stop_by: str = setting(
        "auto",
        "What held-out rows are judged by, and training is stopped by: their pseudo-likelihood "
        "(of numbers, Hyvärinen's score), their likelihood, exact or the middle of a bracket; "
        "auto: the likelihood if one side has 12 units at most.",
        choices=JUDGES,
    )

    @property
    def chains(self) -> ChainSettings:
        """How the negative phase is estimated, and how parameters move."""
        return ChainSettings(
            self.negative_phase,
            self.num_chains,
            self.num_sweeps,
            self.momentum or None,
            self.sparsity_price,
            self.sparsity_rate,
        )


class FittedMachine(NamedTuple):
    """A trained machine, and what it knows of its table."""

    config: Config
    facts: Facts
    machine: RBM

    @property
    def is_exact(self) -> bool:
        """Whether log Z and draws are exact, by enumeration of the smaller side."""
        return num_summed(self.facts, self.machine) <= rbm.MAX_UNITS

    def sample(self, num_samples: int, seed: int = 0, num_sweeps: int = NUM_SWEEPS) -> np.ndarray:
        """Return rows: independent, where the machine can be enumerated. [N, D].

        Args:
            num_samples: N.
            seed: of the draws.
            num_sweeps: of chains from independent units, where it cannot; a chain for each row.
        """
        key, kind = jax.random.key(seed), self.facts.kind
        if self.is_exact:
            units = rbm.sample(key, self.machine, num_samples, kind)
        else:
            units = _run_chains(key, self, num_samples, num_sweeps)
        return coding.decode(self.facts, np.asarray(units))

    def impute(
        self, x: np.ndarray, num_imputations: int, seed: int = 0, num_sweeps: int = NUM_SWEEPS
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return rows whose missing units are filled given the others, which are clamped.

        Args:
            x: rows, NaN where missing. [N, D]
            num_imputations: M.
            seed: of the draws.
            num_sweeps: of chains, where there are too many hidden units to sum over.

        Returns:
            The mean of each column, of a bit how likely it is on, of levels the likeliest, [N, D],
            exact where hidden units are few and else of 100 draws at least; and M draws of the
            rows, [M, N, D]. Observed bits as bits.
        """
        kind = self.facts.kind
        units, mask = map(jnp.asarray, coding.encode(self.facts, x))
        key, is_few = jax.random.key(seed), self.config.num_hidden <= rbm.MAX_UNITS
        num_draws = num_imputations if is_few else max(num_imputations, NUM_MEAN_DRAWS)
        draws = clamp.impute(key, self.machine, units, mask, num_draws, num_sweeps, kind)
        mean = clamp.mean(self.machine, units, mask, kind) if is_few else draws.mean(axis=0)
        decoded = (np.asarray(part) for part in (mean, draws[:num_imputations]))
        means, rows = (coding.decode(self.facts, part) for part in decoded)
        return means, rows

    def log_z(self, seed: int = 0, num_temperatures: int = 1000) -> Bracket | Array:
        """Return log Z of the units, or a bracket where the machine cannot be enumerated.

        The upper side rests on chains then, which may not have crossed: see ``boltzmann.bracket``.
        """
        kind = self.facts.kind
        if self.is_exact:
            return rbm.log_z(self.machine, kind)
        key_draws, key_paths = jax.random.split(jax.random.key(seed))
        draws = _run_chains(key_draws, self, 100, NUM_SWEEPS)
        base = self.facts.base_bias
        return bracket(key_paths, self.machine, base, draws, num_temperatures, kind=kind)


def num_summed(facts: Facts, machine: RBM) -> int:
    """Return how many units log Z is summed over: hidden ones, or fewer visible bits."""
    num_visible, num_hidden = machine.weights.shape
    return min(num_visible, num_hidden) if facts.visible == "binary" else num_hidden


def _run_chains(key: Key, fitted: FittedMachine, num_chains: int, num_sweeps: int) -> Array:
    """Return chains from independent units with the laws of the columns. [C, V]."""
    key_start, key_chains = jax.random.split(key)
    kind, first = fitted.facts.kind, coding.independent(fitted.facts, 1)
    start = rbm.sample_independent(key_start, first, num_chains, kind)
    return _gibbs(key_chains, fitted.machine, start, num_sweeps, kind)


_gibbs = jax.jit(rbm.gibbs, static_argnums=(3, 4))


def train(
    config: Config,
    table: Table,
    workdir: str | pathlib.Path | None = None,
    **how: Any,
) -> FittedMachine:
    """Train a machine on the rows of a table; killed at any moment, it can go on.

    Args:
        config: settings.
        table: complete rows, or rows whose truth is known.
        workdir: run folder for checkpoints and ``log.jsonl``; nothing is written without it.
        **how: resume, overwrite, report, should_stop (``run.How``).

    Raises:
        ValueError: settings, rows and checkpoint do not go together.
        NonFiniteLossError: the loss became NaN or infinite; the last checkpoint is kept.
        InterruptedTraining: ``should_stop`` said so; the state was saved first.
    """
    facts, rows = coding.table_facts(config.visible, config.threshold, table)
    held_out = jnp.asarray(rows[split_rows(config, len(rows))[1]])
    machine = units.train(
        SYSTEM,
        config,
        facts,
        rows,
        _stage(config, facts),
        _start(config, facts),
        How(workdir, **how),
        watch=lambda now: _watch(config, facts, held_out, workdir, now),
    )
    return FittedMachine(config, facts, machine)


def _start(config: Config, facts: Facts) -> RBM:
    key = jax.random.fold_in(jax.random.key(config.seed), 0)
    return coding.start(key, facts, config.num_hidden)


def _stage(config: Config, facts: Facts) -> Stage:
    """Return the stage that trains a machine, and how held-out rows judge it."""
    kind = facts.kind
    stage = make_stage(config.chains, config.pace, coding.mean_units(facts), kind)
    summed = num_summed(facts, coding.independent(facts, config.num_hidden))
    if config.stop_by == "pseudo" or (config.stop_by == "auto" and summed > FEW_UNITS):
        return stage

    def evaluate(key: Key, machine: RBM, batch: Array, is_row: Array) -> Any:
        pseudo = stage.evaluate(key, machine, batch, is_row).score
        free = jnp.mean(rbm.free_energy(machine, batch, kind), where=is_row) + facts.log_volume
        if summed <= rbm.MAX_UNITS:
            score = -free - rbm.log_z(machine, kind)
            return verdict(score, pseudo_likelihood=pseudo)
        key_chains, key_paths = jax.random.split(key)
        draws = rbm.gibbs(key_chains, machine, batch[:NUM_JUDGED_PATHS], NUM_JUDGED_SWEEPS, kind)
        sides = bracket(
            key_paths,
            machine,
            facts.base_bias,
            draws,
            NUM_WATCHED_TEMPERATURES,
            NUM_JUDGED_PATHS,
            kind,
        )
        low, high = -free - sides.upper.log_z, -free - sides.lower.log_z
        return verdict(
            (low + high) / 2, pseudo_likelihood=pseudo, judged_lower=low, judged_upper=high
        )

    return stage._replace(evaluate=evaluate)


def _watch(
    config: Config,
    facts: Facts,
    held_out: Array,
    workdir: str | pathlib.Path | None,
    now: Progress,
) -> Record:
    """Keep some weights, and return a bracket of the held-out likelihood, every so often."""
    step, fitted = now.record["step"], FittedMachine(config, facts, now.params)
    number = -(-step // loop.CHUNK_STEPS)
    if workdir is not None and (number & (number - 1) == 0 or step == config.num_steps):
        keep_fields(pathlib.Path(workdir), step, fitted.machine)
    is_due = step % (WATCHED * loop.CHUNK_STEPS) == 0 or step == config.num_steps
    if not is_due or fitted.is_exact or not len(held_out):
        return {}
    return likelihood(fitted, held_out, NUM_WATCHED_TEMPERATURES)


def keep_fields(workdir: pathlib.Path, step: int, machine: RBM) -> None:
    """Write the weights of the first hidden units after a step."""
    folder = workdir / FIELDS
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / f"{step:09}.npy") as part, part.open("wb") as file:
        np.save(file, np.asarray(machine.weights[:, :NUM_FIELDS].T))


def read_fields(workdir: pathlib.Path) -> dict[int, np.ndarray]:
    """Return the weights that were kept, by step. [16, V] each."""
    found = sorted((workdir / FIELDS).glob("*.npy"))
    return {int(path.stem): np.load(path) for path in found}


def likelihood(fitted: FittedMachine, v: Array, num_temperatures: int = 1000) -> Record:
    """Return the mean log-likelihood of rows, in nats: exactly, or both of its sides.

    Args:
        fitted: the machine.
        v: rows of units. [N, V]
        num_temperatures: of a bracket.
    """
    facts = fitted.facts
    energies = rbm.free_energy(fitted.machine, jnp.asarray(v), facts.kind)
    mean_free = float(energies.mean()) + facts.log_volume
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

    def describe(record: Record) -> tuple[Config, Facts]:
        return Config(**record["config"]), Facts.from_json(record["facts"])

    return FittedMachine(*run.load(workdir, SYSTEM, describe, _start))
