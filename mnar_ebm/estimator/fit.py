"""From settings and a table to the model that is kept, and what there is to tell of it."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from mnar_ebm.config import IGNORABLE, Config
from mnar_ebm.data.table import Table
from mnar_ebm.estimator import selection
from mnar_ebm.estimator.columns import ColumnType
from mnar_ebm.estimator.describe import describe_columns
from mnar_ebm.estimator.report import Candidate, Report
from mnar_ebm.estimator.selection import Trained
from mnar_ebm.estimator.warnings import find_warnings
from mnar_ebm.training import NonFiniteLossError
from mnar_ebm.training.held_out import difference
from mnar_ebm.training.loop import try_all

Train = Callable[[Config], Trained]


class Choice(NamedTuple):
    """The model that is taken.

    Attributes:
        kept: the model, fitted once.
        reason: why it was taken, in words.
        candidates: every mechanism that was tried, the simplest first.
        lost: candidates whose loss became NaN or infinite, by name.
    """

    kept: Trained
    reason: str
    candidates: tuple[Candidate, ...]
    lost: dict[str, NonFiniteLossError]


def fit_table(
    config: Config,
    mechanism: str,
    decoders: Sequence[str],
    num_models: int,
    table: Table,
    unbiased: Table | None,
    columns: tuple[ColumnType, ...],
    empty: Sequence[str],
    tell: Callable[[int, str], None],
) -> tuple[list[Trained], Report]:
    """Choose a model, fit it again with other seeds, and report.

    Fits without a tilt are trained on with their held-out rows too.

    Args:
        config: settings, but for mechanism and decoder.
        mechanism: one of ``config.MECHANISMS``, or ``auto``.
        decoders: some of ``config.DECODERS``, the simplest first.
        num_models: fits of the model that is taken.
        table: incomplete rows, encoded.
        unbiased: rows of everybody, encoded, if there are any.
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
        return selection.train_candidate(candidate, table, tell_step, unbiased)

    choice = choose_model(config, mechanism, decoders, table, train)
    again, not_again = selection.train_again(
        choice.kept, num_models - 1, table, tell_step, unbiased
    )
    fits = [choice.kept, *again]
    if config.tilt == "none":  # a tilt goes with the base that it was fitted to
        fits = [selection.with_all_rows(one, table, tell_step, unbiased) for one in fits]
    first = fits[0]
    described = [describe_columns(one.fitted, table, columns) for one in fits]
    report = Report(
        mechanism=first.fitted.config.mechanism,
        reason=choice.reason,
        candidates=choice.candidates,
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
    tilts = [one.tilt for one in fits] if config.tilt != "none" else []
    warnings = find_warnings(report, empty, tilts, tuple(lost), described[1:])
    tell(1, f"MNARImputer: mechanism {report.mechanism}: {report.reason}")
    return fits, dataclasses.replace(report, warnings=warnings)


def choose_model(
    config: Config, mechanism: str, decoders: Sequence[str], table: Table, train: Train
) -> Choice:
    """Train the candidates and take one.

    Mechanisms are compared under the last decoder, which takes most shapes: under one that takes
    few, a mechanism that cuts off a tail would pass for the skew of a column. For the same reason
    one that reads hidden values is checked with columns bent (``_check_bent``). The mechanism taken
    is then trained with every decoder (``selection.choose_decoder``), bent only if it reads no
    hidden value: a bend is fitted to what was seen, and follows the cut.

    Raises:
        NonFiniteLossError: no mechanism had a finite loss.
    """
    train = functools.cache(train)  # what was compared is not trained again
    names: tuple[str, ...] = (mechanism,)
    reason = "as asked"
    if mechanism == "auto":
        names, reason = selection.candidate_mechanisms(table)
    deep = dataclasses.replace(config, decoder=decoders[-1])
    configs = {name: _with_mechanism(deep, name, is_bent=len(names) == 1) for name in names}
    trained, lost = try_all(train, configs)
    if not trained:
        raise lost[names[0]]
    chosen = next(iter(trained))
    if len(trained) > 1:
        chosen, reason = selection.choose({k: one.row_bounds for k, one in trained.items()})
        can_bend = config.standardise == "yeo_johnson" and names[0] in trained
        if can_bend and chosen not in IGNORABLE:
            chosen, reason = _check_bent(deep, names[0], chosen, reason, trained, train)
    elif lost:
        reason = "no other mechanism had a finite loss"
    candidates = tuple(
        Candidate(
            name,
            float(one.row_bounds.mean()),
            *difference(one.row_bounds, trained[chosen].row_bounds),
        )
        for name, one in trained.items()
    )
    settled = _with_mechanism(deep, chosen, is_bent=True)
    by_decoder = {name: dataclasses.replace(settled, decoder=name) for name in decoders}
    found, also_lost = try_all(train, by_decoder)
    kept, why = selection.choose_decoder(chosen, found or {decoders[-1]: trained[chosen]}, table)
    if len(decoders) > 1:
        reason = "; ".join(filter(None, [reason, why]))
    return Choice(kept, reason, candidates, lost | also_lost)


def _check_bent(
    bent: Config,
    simplest: str,
    chosen: str,
    reason: str,
    straight: Mapping[str, Trained],
    train: Train,
) -> tuple[str, str]:
    """Return the mechanism to take, and why, once the skew of columns may be bent away.

    One that reads hidden values stays if its bound is no lower than that of the simplest with
    columns bent; else both are compared bent, by the same rule.

    Args:
        bent: settings with columns bent.
        simplest: a mechanism that reads no hidden value.
        chosen: the one that was taken with columns straight.
        reason: why.
        straight: what was compared, straight.
        train: trains others.
    """
    configs = {name: dataclasses.replace(bent, mechanism=name) for name in (simplest, chosen)}
    without, _ = try_all(train, {simplest: configs[simplest]})
    if not without:
        return chosen, reason
    if without[simplest].row_bounds.mean() <= straight[chosen].row_bounds.mean():
        return chosen, f"{reason}; that of {simplest} with columns bent towards normal is no higher"
    both, _ = try_all(train, configs)
    chosen, why = selection.choose({name: one.row_bounds for name, one in both.items()})
    return chosen, f"with columns bent towards normal, where bounds are higher, {why}"


def _with_mechanism(config: Config, mechanism: str, is_bent: bool) -> Config:
    """Return the settings with a mechanism; bent, if asked, only if it reads no hidden value."""
    is_straight = config.standardise == "yeo_johnson" and not (is_bent and mechanism in IGNORABLE)
    standardise = "observed" if is_straight else config.standardise
    return dataclasses.replace(config, mechanism=mechanism, standardise=standardise)
