"""From settings and a table to the model that is kept, and what there is to tell of it."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mnar_ebm import kinds
from mnar_ebm.config import Config
from mnar_ebm.data.table import Table
from mnar_ebm.estimator import selection
from mnar_ebm.estimator.against_random import compare_with_random
from mnar_ebm.estimator.columns import ColumnType
from mnar_ebm.estimator.patterns import find_patterns
from mnar_ebm.estimator.report import Report
from mnar_ebm.estimator.report.cautions import find_warnings
from mnar_ebm.estimator.report.describe import describe_columns
from mnar_ebm.estimator.selection import Mechanism, Trained
from mnar_ebm.missingness import MECHANISMS
from mnar_ebm.training import NonFiniteLossError
from mnar_ebm.training.loop import try_all

TRIAL_SHARE, LONGER_SHARE = 1 / 4, 1 / 2
"""Shares of its training after which a deep decoder is compared: the second only if the first was
inconclusive, it being better, but not clearly."""

MAX_LATENTS = 8
"""Most latents of a linear decoder where a hidden value is read: what rows beyond those that were
seen have in common is said by few of them more soberly than by many."""

Train = Callable[[Config], Trained]


class Choice(NamedTuple):
    """The model that is taken.

    Attributes:
        kept: the model, fitted once.
        reason: why its decoder or its gap terms were taken, in words, if there was a choice.
        lost: models whose loss became NaN or infinite, by name.
    """

    kept: Trained
    reason: str
    lost: dict[str, NonFiniteLossError]


def fit_table(
    config: Config,
    mechanism: str,
    decoders: Mapping[str, Mapping[str, Any]],
    num_models: int,
    table: Table,
    unbiased: Table | None,
    columns: tuple[ColumnType, ...],
    empty: Sequence[str],
    tell: Callable[[int, str], None],
) -> tuple[list[Trained], Report]:
    """Find the mechanism, choose a decoder, fit it again, and report.

    Without a tilt the model is trained on with its held-out rows too, and the other fits are that
    of all rows trained on with rows drawn of them; with one they are made anew with other seeds.

    Args:
        config: settings, but for mechanism and decoder.
        mechanism: one of ``missingness.MECHANISMS``, or ``auto``.
        decoders: some of ``settings.DECODERS``, the simplest first, with the settings of each.
        num_models: fits of the model that is taken.
        table: incomplete rows, encoded.
        unbiased: an unbiased sample of the population, encoded, if there is one.
        columns: what its columns are.
        empty: names of columns that were left out, for they have no value.
        tell: called with how verbose one must be to be told, and with a line.

    Returns:
        The fits, the first of which the report tells of, and the report.

    Raises:
        ValueError: mechanism, settings and table do not go together.
        NonFiniteLossError: no candidate had a finite loss; those that had none are left out.
    """

    def tell_step(line: str) -> None:
        tell(2, f"MNARImputer: {line}")

    def train(candidate: Config) -> Trained:
        return selection.train_to_the_end(candidate, table, tell_step, unbiased)

    found = Mechanism({"mechanism": mechanism}, "as asked")
    if mechanism == "auto":
        found = selection.find_mechanism(table, config.seed, tell_step)
    choice = choose_model(config, found, decoders, table, train)
    first = choice.kept
    if config.model.tilt == "none":  # a tilt goes with the base that it was fitted to
        first = selection.with_all_rows(first, table, tell_step, unbiased)
    again, not_again = selection.train_again(first, num_models - 1, table, tell_step, unbiased)
    fits = [first, *again]
    described = [describe_columns(one.fitted, table, columns) for one in fits]
    names = [str(column.name) for column in columns]
    report = Report(
        mechanism=first.fitted.config.model.mechanism,
        reason="; ".join(filter(None, [found.reason, choice.reason])),
        evidence=found.evidence,
        against_random=compare_with_random(first.fitted, table, columns, found.evidence),
        patterns=find_patterns(names, _one_each(table)),
        columns=described[0],
        num_held_out=len(first.row_bounds),
        median_ess=selection.median_ess(first.fitted, table),
        num_samples=config.num_imputation_samples,
        num_models=len(fits),
        tilt_scale=first.tilt.tilt_scale,
        unbiased=first.tilt.unbiased,
        warnings=(),
    )
    lost = choice.lost | {
        f"fit {seed - config.seed + 1}": error for seed, error in not_again.items()
    }
    for name, error in lost.items():
        tell_step(f"{name} is left out: {error}")
    tilts = [one.tilt for one in fits] if config.model.tilt != "none" else []
    warnings = find_warnings(report, empty, tilts, tuple(lost), described[1:])
    if not choice.kept.has_converged:
        steps = choice.kept.num_steps
        warnings += (f"the bound had not converged after {steps} steps: raise max_iter",)
    tell(1, f"MNARImputer: mechanism {report.mechanism}: {report.reason}")
    return fits, dataclasses.replace(report, warnings=warnings)


def choose_model(
    config: Config,
    found: Mechanism,
    decoders: Mapping[str, Mapping[str, Any]],
    table: Table,
    train: Train,
) -> Choice:
    """Train the models that there are of the mechanism that was found, and take one.

    Where no hidden value decides what is missing, the decoder is chosen
    (``selection.choose_decoder``); a deep one, which takes long, by a short training first, by a
    longer one if it is better, but not clearly, and is trained anew if it is taken. Elsewhere it is
    the first: beyond the values that were seen nothing compares decoders, and a line goes on more
    soberly than a network. There, if gap terms were found, a model without them is tried, too
    (``selection.choose_gap_terms``).

    Columns are bent only if no hidden value is read: a bend is fitted to what was seen, and follows
    the cut that a mechanism makes.

    Raises:
        NonFiniteLossError: no model had a finite loss.
    """
    settled = _settle(config, found.settings)
    models = {name: settled.replace(**fields) for name, fields in decoders.items()}
    if not MECHANISMS[settled.model.mechanism].reads_hidden:
        return _choose_decoder(models, table, train)
    first, fields = next(iter(models.values())), next(iter(decoders.values()))
    if found.evidence is not None and found.evidence.has_signs and settled.model.sign == "unknown":
        first = first.replace(slope_start="high", own_slopes=found.evidence.slopes)
    if "latent_dim" in fields:  # not as asked
        first = first.replace(latent_dim=min(MAX_LATENTS, first.model.latent_dim))
    return _choose_gap_terms(first, bool(found.settings.get("gap_terms")), train)


def _choose_decoder(models: Mapping[str, Config], table: Table, train: Train) -> Choice:
    """Take one of the models that read no hidden value, a deep one if a short training says so."""
    if len(models) == 1:
        trained, lost = _train_all(train, models)
        return Choice(next(iter(trained.values())), "", lost)
    trials = {name: _on_trial(one, TRIAL_SHARE) for name, one in models.items()}
    trained, lost = _train_all(train, trials)
    kept, best, reason = selection.choose_decoder(trained, table)
    if best != kept and trials[best] != models[best]:  # it is better, but not clearly
        due = [name for name in trained if trials[name] != models[name]]
        longer = {name: _on_trial(models[name], LONGER_SHARE) for name in due}
        again, lost_again = try_all(train, longer)
        trained, lost = trained | again, lost | lost_again
        kept, _, reason = selection.choose_decoder(trained, table)
    if trials[kept] != models[kept]:
        again, lost_again = try_all(train, {kept: models[kept]})
        trained, lost = trained | again, lost | lost_again
    return Choice(trained[kept], reason, lost)


def _choose_gap_terms(config: Config, are_found: bool, train: Train) -> Choice:
    """Take a model that reads hidden values; if gap terms were found, with them or without."""
    models = {"with gap terms": config}
    if are_found:
        models = {"without gap terms": config.replace(gap_terms=False)} | models
    trained, lost = _train_all(train, models)
    if not are_found:
        return Choice(next(iter(trained.values())), "", lost)
    return Choice(*selection.choose_gap_terms(trained), lost)


def _train_all(
    train: Train, models: Mapping[str, Config]
) -> tuple[dict[str, Trained], dict[str, NonFiniteLossError]]:
    """Return the models that had a finite loss, and what the others raised; raise if all did."""
    trained, lost = try_all(train, models)
    if not trained:
        raise next(iter(lost.values()))
    return trained, lost


def _on_trial(config: Config, share: float) -> Config:
    """Return the settings with fewer steps where an encoder is trained, which takes many."""
    if config.model.proposal == "laplace":
        return config
    return config.replace(num_steps=math.ceil(share * config.optimisation.num_steps))


def _settle(config: Config, settings: dict[str, Any]) -> Config:
    """Return the settings with a mechanism, bent only if it reads no hidden value.

    A sign that was asked for goes before the slopes that were found.
    """
    if config.model.sign != "unknown":
        settings = {name: value for name, value in settings.items() if name != "own_slopes"}
    config = config.replace(**settings)
    is_bent = config.standardise == "yeo_johnson"
    if is_bent and MECHANISMS[config.model.mechanism].reads_hidden:
        return config.replace(standardise="observed")
    return config


def _one_each(table: Table) -> np.ndarray:
    """Return the mask of the columns of the table, not of the encoded ones. [N, D]."""
    return kinds.one_each(table.blocks, table.mask)
