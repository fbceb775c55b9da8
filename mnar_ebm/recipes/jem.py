r"""A classifier that is a density too: its logits are energies of what it reads.

    p(y|x) = softmax_y f(x),      p(x) = p_0(x) sum_y exp(f_y(x)) / Z,      -log p(y|x) - log p(x)

is minimised, the second term by chains that persist. The rows of the two terms need not be the
same: few rows may have labels. As the reference is that of all classes, p(y|x) is that of the
logits, and p(x|y) has energy -f_y(x): ``models.ebm.classifier_ebm`` is the one or the other.

References:
    W. Grathwohl et al., "Your Classifier is Secretly an Energy Based Model and You Should Treat it
    Like One", ICLR 2020, https://arxiv.org/abs/1912.03263.
"""

import dataclasses
import functools
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mnar_ebm import _checks
from mnar_ebm._settings import setting
from mnar_ebm.data.table import Table
from mnar_ebm.models.ebm import EBMParams, Network, Reference, classifier_ebm, normal_reference
from mnar_ebm.nets.convolution import NETWORKS
from mnar_ebm.objectives.contrastive import jem
from mnar_ebm.programs import once
from mnar_ebm.recipes import negatives, noise, run
from mnar_ebm.recipes.ebm import LEVEL_WEIGHT
from mnar_ebm.recipes.fitted import DensityConfig, Facts, FittedDensity, table_facts
from mnar_ebm.recipes.negatives import ChainSettings, Memory
from mnar_ebm.recipes.run import About, How
from mnar_ebm.training import Pace, Stage, Verdict, pad_rows, run_folder, verdict
from mnar_ebm.training.run_folder import Record
from mnar_ebm.training.stage import Loss
from mnar_ebm.types import Array, Key

SYSTEM = "jem"


class Labelled(NamedTuple):
    """Rows, and beside each one whose class is known: itself, where all are.

    Attributes:
        x: what the density is of. [B, ...]
        known: rows with a class. [B, ...]
        label: their classes, whole numbers from 0. [B]
    """

    x: Array
    known: Array
    label: Array


@once
def make_stage(
    classifier: Network,
    reference: Reference,
    settings: ChainSettings,
    pace: Pace,
    weight: float = 1.0,
    max_gap: float = 1000.0,
) -> Stage:
    """Return the stage of the joint loss, judged by log p(y|x) of held-out rows.

    Args:
        classifier: the logits.
        reference: of what it reads.
        settings: of the chains.
        pace: how long and how fast it goes.
        weight: of log p(x) beside log p(y|x); 0: a plain classifier, without chains.
        max_gap: largest running mean of the energy gap, in nats; beyond it the stage ends.

    Raises:
        TypeError: a setting is no whole number.
        ValueError: a setting may not be as it is.
    """
    negatives.check_settings(settings)
    _checks.check_at_least("weight", weight, 0.0)
    _checks.check_positive("max_gap", max_gap)
    ebm = classifier_ebm(classifier, reference)

    def loss(key: Key, params: Any, batch: Labelled, held_out: Any, memory: Memory) -> Loss:
        if not weight:
            return each(params, batch, batch.x, 0.0).mean(), ({}, memory)
        fixed = jax.lax.stop_gradient(params)
        drawn = negatives.draw_negatives(key, ebm, fixed, batch.x, memory, settings)
        values = each(params, batch, drawn.negatives, weight)
        level, of_negatives = (
            jax.vmap(ebm.energy, (None, 0))(params.energy, x).mean()
            for x in (batch.x, drawn.negatives)
        )
        gap = jax.lax.stop_gradient(level - of_negatives)
        info = {"energy_gap": gap, **drawn.info}
        value = values.mean() + weight * LEVEL_WEIGHT * level**2
        return value, (info, negatives.remember_gap(drawn.memory, gap))

    def each(params: EBMParams, batch: Labelled, negative: Array, weight: float) -> Array:
        def one(row: Labelled, negative: Array) -> Array:
            logits_fn = functools.partial(classifier.apply, params.energy)
            return jem(logits_fn, row.x, negative, row.known, row.label, weight)

        return jax.vmap(one)(batch, negative)

    def evaluate(key: Key, params: EBMParams, batch: Labelled, is_row: Array) -> Verdict:
        logits = jax.vmap(classifier.apply, (None, 0))(params.energy, batch.known)
        log_p = jnp.take_along_axis(jax.nn.log_softmax(logits), batch.label[:, None], axis=1)[:, 0]
        is_right = logits.argmax(axis=1) == batch.label
        accuracy = jnp.mean(is_right, where=is_row)
        return verdict(jnp.mean(log_p, where=is_row), accuracy=accuracy)

    return Stage(
        "jem",
        loss,
        evaluate,
        pace,
        select=lambda params: params.energy,
        merge=lambda params, energy: params._replace(energy=energy),
        init_memory=lambda key: negatives.init_memory(key, ebm, settings, bool(weight)),
        is_lost=lambda memory: ~(jnp.abs(memory.gap) <= max_gap),
        advice="try a lower learning rate or more steps of the chains",
    )


@dataclasses.dataclass(frozen=True)
class Config(DensityConfig):
    """Settings of a classifier that is a density, and of its training."""

    network: str = setting("plain", "Of the logits.", choices=tuple(NETWORKS))
    reference_scale: float = setting(
        1.0, "Standard deviation of the reference, in those of the columns.", is_positive=True
    )
    density_weight: float = setting(
        0.1, "Of log p(x) beside log p(y|x); 0: a classifier alone.", at_least=0
    )
    num_labels: int = setting(
        0,
        "Rows trained on whose class is told, as many of each; 0: of all. Those held out have "
        "theirs, and choose the step that is kept.",
        at_least=0,
    )


class FittedClassifier(NamedTuple):
    """A trained classifier, and what it knows of its rows.

    Attributes:
        config: settings.
        facts: what its densities know of the rows.
        num_classes: Y.
        params: what was learned.
    """

    config: Config
    facts: Facts
    num_classes: int
    params: EBMParams

    def density(self, label: int | None = None) -> FittedDensity:
        """Return p(x), or p(x|y) of one class.

        Raises:
            ValueError: there is no such class.
        """
        if label is not None and not 0 <= label < self.num_classes:
            raise ValueError(f"label: expected 0 to {self.num_classes - 1}, got {label}")
        model = _model(self.config, len(self.facts.columns), self.num_classes)
        ebm = classifier_ebm(*model, label)
        return FittedDensity(self.config, self.facts, self.params, ebm)

    @property
    def network(self) -> Network:
        """The logits, of rows in standard units."""
        return _model(self.config, len(self.facts.columns), self.num_classes)[0]

    def logits(self, standard: Array | np.ndarray) -> Array:
        """Return f of rows in standard units. [N, D] -> [N, Y]."""
        each = functools.partial(self.network.apply, self.params.energy)
        return jax.lax.map(each, jnp.asarray(standard), batch_size=256)


def check(config: Config, table: Table, labels: np.ndarray) -> None:
    """Raise what training would raise of such rows and classes."""
    table_facts(config, table)
    chosen, _ = run.split_rows(config, len(labels))
    _some_of_each(labels[chosen], config.num_labels, config.seed)


def train(
    config: Config,
    table: Table,
    labels: np.ndarray,
    workdir: str | pathlib.Path | None = None,
    **how: Any,
) -> FittedClassifier:
    """Train a classifier and density on the rows of a table; killed at any moment, it can go on.

    Args:
        config: settings.
        table: complete rows, or rows whose truth is known.
        labels: their classes, from 0. [N]
        workdir: run folder for checkpoints and ``log.jsonl``; nothing is written without it.
        **how: resume, overwrite, report, should_stop (``run.How``).

    Raises:
        ValueError: settings, rows and checkpoint do not go together.
        NonFiniteLossError: the loss became NaN or infinite; the last checkpoint is kept.
        InterruptedTraining: ``should_stop`` said so; the state was saved first.
    """
    facts, rows = table_facts(config, table)
    num_classes = int(labels.max()) + 1
    classifier, reference = _model(config, rows.shape[1], num_classes)
    weight = config.density_weight
    stage = make_stage(classifier, reference, config.chains, config.pace, weight)
    if config.data_noise:
        stage = noise.noisy(stage, config.data_noise, _blur)
    chosen, held_out = run.split_rows(config, len(rows))
    known = chosen[_some_of_each(labels[chosen], config.num_labels, config.seed)]
    beside = np.resize(known, len(chosen)) if config.num_labels else chosen
    rows_train, rows_held_out = (
        pad_rows(Labelled(*map(jnp.asarray, (rows[of], rows[with_class], labels[with_class]))))
        for of, with_class in ((chosen, beside), (held_out, held_out))
    )
    told = facts.to_json() | {"num_classes": num_classes}
    params = run.train(
        About(SYSTEM, config, told, run_folder.digest(rows)),
        [stage],
        _start(config, (facts, num_classes)),
        rows_train,
        rows_held_out,
        How(workdir, **how),
        ema_decay=config.average_decay,
    )
    return FittedClassifier(config, facts, num_classes, params)


def load(workdir: str | pathlib.Path) -> FittedClassifier:
    """Return the classifier of a finished run.

    Raises:
        ValueError: the folder has no checkpoint, an unfinished or a damaged one, or one of
            another system.
    """

    def describe(record: Record) -> tuple[Config, tuple[Facts, int]]:
        facts = Facts.from_json(record["facts"])
        return Config(**record["config"]), (facts, record["facts"]["num_classes"])

    config, (facts, num_classes), params = run.load(workdir, SYSTEM, describe, _start)
    return FittedClassifier(config, facts, num_classes, params)


def _model(config: Config, num_columns: int, num_classes: int) -> tuple[Network, Reference]:
    network = config.images.network(config.network, num_columns, num_classes)
    return network, normal_reference((num_columns,), config.reference_scale)


def _start(config: Config, told: tuple[Facts, int]) -> EBMParams:
    facts, num_classes = told
    network, _ = _model(config, len(facts.columns), num_classes)
    key = jax.random.fold_in(jax.random.key(config.seed), 0)
    return EBMParams(network.init(key), jnp.zeros((), float))


def _blur(key: Key, sigma: float, batch: Labelled) -> Labelled:
    keys = jax.random.split(key)
    x, known = (
        noise.add(one, sigma, rows) for one, rows in zip(keys, (batch.x, batch.known), strict=True)
    )
    return batch._replace(x=x, known=known)


def _some_of_each(labels: np.ndarray, num_labels: int, seed: int) -> np.ndarray:
    """Return the indices of so many rows, as many of each class as can be; 0: of all.

    Raises:
        ValueError: there are fewer rows, or fewer labels than classes.
    """
    classes = np.unique(labels)
    if not num_labels:
        return np.arange(len(labels))
    if not len(classes) <= num_labels <= len(labels):
        raise ValueError(
            f"num_labels: expected {len(classes)} to {len(labels)}, one of each class at least, "
            f"got {num_labels}"
        )
    order = np.random.default_rng((seed, num_labels)).permutation(len(labels))
    rank = np.empty(len(labels), int)  # of a row within its class, in random order
    for one in classes:
        of_class = order[labels[order] == one]
        rank[of_class] = np.arange(len(of_class))
    return np.sort(order[np.argsort(rank[order], kind="stable")[:num_labels]])
