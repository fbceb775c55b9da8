"""A restricted Boltzmann machine of a table's rows: settings, training, and what is made of it."""

import dataclasses
import functools
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mnar_ebm._settings import setting
from mnar_ebm.boltzmann import RBM, Bracket, ChainSettings, bracket, clamp, make_stage, rbm
from mnar_ebm.boltzmann.training import PHASES
from mnar_ebm.data.table import Table
from mnar_ebm.recipes import run, units
from mnar_ebm.recipes.run import How, split_rows
from mnar_ebm.recipes.units import Facts, UnitsConfig
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
        return units.to_bits(x, self.facts.cut, self.facts.columns)

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
    facts, bits = units.table_facts(config.threshold, table)
    rate = jnp.asarray(facts.rate)
    held_out = jnp.asarray(bits[split_rows(config, len(bits))[1]])
    machine = units.train(
        SYSTEM,
        config,
        facts,
        bits,
        _stage(config, rate),
        _start(config, facts),
        How(workdir, **how),
        watch=lambda now: _watch(config, facts, held_out, now),
    )
    return FittedMachine(config, facts, machine)


def _start(config: Config, facts: Facts) -> RBM:
    key = jax.random.fold_in(jax.random.key(config.seed), 0)
    return rbm.init(key, jnp.asarray(facts.rate), config.num_hidden)


def _stage(config: Config, rate: Array) -> Stage:
    """Return the stage that trains a machine, judged by its likelihood where that is cheap."""
    chains = ChainSettings(config.negative_phase, config.num_chains, config.num_sweeps)
    stage = make_stage(chains, config.pace, rate)
    if min(config.num_hidden, rate.shape[0]) > FEW_UNITS:
        return stage

    def evaluate(key: Key, machine: RBM, batch: Array, is_row: Array) -> Any:
        scores = rbm.log_likelihood(machine, batch, rbm.log_z(machine))
        pseudo = stage.evaluate(key, machine, batch, is_row)
        return verdict(jnp.mean(scores, where=is_row), pseudo_likelihood=pseudo.score)

    return stage._replace(evaluate=evaluate)


def _watch(config: Config, facts: Facts, held_out: Array, now: Progress) -> Record:
    """Return a bracket of the held-out likelihood, every so often, if it is not exact anyway."""
    step, fitted = now.record["step"], FittedMachine(config, facts, now.params)
    is_due = step % (WATCHED * loop.CHUNK_STEPS) == 0 or step == config.num_steps
    if not is_due or fitted.is_exact or not len(held_out):
        return {}
    return likelihood(fitted, held_out, NUM_WATCHED_TEMPERATURES)


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
    describe = functools.partial(units.describe, Config)
    return FittedMachine(*run.load(workdir, SYSTEM, describe, _start))
