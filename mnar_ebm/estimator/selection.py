"""Which mechanism, by what ``screening`` finds, and which decoder, by cells of held-out rows."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from mnar_ebm.config import Config
from mnar_ebm.data.table import Table
from mnar_ebm.estimator import gaps
from mnar_ebm.run import train
from mnar_ebm.screening import Evidence, screen
from mnar_ebm.tilted import FittedModel, TiltReport, train_on, train_on_all_rows, train_on_bootstrap
from mnar_ebm.tilted.held_out import (
    best_of,
    difference,
    hidden_cell_scores,
    impute_held_out,
    simplest_of,
)
from mnar_ebm.training import NonFiniteLossError
from mnar_ebm.training.loop import try_all

MAX_NAMES = 6
DECODER_STANDARD_ERRORS = 1.0

ROUND_STEPS, TOLERANCE = 400, 0.01
"""Steps of a round where no encoder is trained, and nats a held-out row that are no gain."""


class Trained(NamedTuple):
    """A candidate, fitted.

    Attributes:
        fitted: the model.
        tilt: what the choice of its tilt's scale found.
        num_steps: steps of training, of all stages.
        row_bounds: bound of each held-out row, in nats, of values in their units. [N]
        has_converged: whether training ended because its last steps gained nothing.
    """

    fitted: FittedModel
    tilt: TiltReport
    num_steps: int
    row_bounds: np.ndarray
    has_converged: bool = True


class Mechanism(NamedTuple):
    """The mechanism to fit, and why.

    Attributes:
        settings: fields of ``Config`` that say which.
        reason: why, in words.
        evidence: what was compared, if anything was.
    """

    settings: dict[str, Any]
    reason: str
    evidence: Evidence | None = None


def find_mechanism(table: Table, seed: int, tell: Callable[[str], None]) -> Mechanism:
    """Return the mechanism that a table speaks for, the simplest if for none clearly."""
    if table.mask.all():
        reason = "no value is missing, so there is nothing to compare"
        return Mechanism({"mechanism": "mcar"}, reason)
    if not gaps.are_predictable(table):
        return Mechanism(
            {"mechanism": "mcar"},
            "nothing that was observed predicts which values are missing, as it would be too if "
            "values hid themselves in columns that nothing else tells of",
        )
    evidence = screen(table, seed, tell)
    settings: dict[str, Any] = {"mechanism": evidence.mechanism}
    if evidence.mechanism == "self_masking":
        signs = np.array(evidence.slopes)
        is_all = ((signs != 0) == ~table.mask.all(axis=0)).all() and len(set(signs) - {0.0}) == 1
        own_slopes = () if is_all else evidence.slopes
        settings = {"mechanism": "selfmasking_probit", "own_slopes": own_slopes}
    if evidence.mechanism != "ignorable":
        settings |= {"gap_terms": evidence.gap_terms}
    return Mechanism(settings, in_words(evidence, table), evidence)


def in_words(evidence: Evidence, table: Table) -> str:
    """Return what the evidence says, and what it cannot say."""
    gains = {one.candidate: one.gain for one in reversed(evidence.findings)}  # the first of each
    if evidence.mechanism == "ignorable":
        refused = [one for one in evidence.findings if not one.is_clear and one.is_hidden]
        if not refused:
            return (
                "only levels are missing, and nothing that is assumed of them could tell a level "
                "that hides itself from gaps at random"
            )
        last = refused[-1]
        return (
            f"observed values and other gaps tell as much: {last.candidate} gains {last.gain} nats "
            f"over {last.against} in {evidence.num_rows} rows, which is not clear; values that "
            "hide themselves a little would not be told from this"
        )
    if evidence.mechanism == "no_self_censoring":
        gained = gains["no_self_censoring"]
        return f"hidden values of other columns gain {gained} nats over gaps at random"
    starts = [block.start for block in table.blocks] or range(len(table.columns))
    names = [table.columns[start] for start in starts if evidence.slopes[start]]
    shown = ", ".join(names[:MAX_NAMES]) + ", ..." * (len(names) > MAX_NAMES)
    together = ", beside gaps that go together" if evidence.gap_terms else ""
    return (
        f"values of {shown} hide themselves{together}: that gains {gains['self_masking']} nats "
        "over gaps at random, as far as the shape of the columns can tell"
    )


def train_candidate(
    config: Config, table: Table, tell: Callable[[str], None], unbiased: Table | None = None
) -> Trained:
    """Train one candidate and score the held-out rows, which are the same for all.

    Args:
        config: settings, the mechanism among them.
        table: incomplete rows in original units.
        tell: called with a line after every chunk of steps.
        unbiased: an unbiased sample of the population, if there is one.
    """
    num_steps, last = 0, ("", 0)

    def note(record: Mapping[str, float | str]) -> None:
        nonlocal num_steps, last
        stage, step = str(record["stage"]), int(record["step"])
        goes_on = stage == last[0] and step > last[1]
        num_steps += step - last[1] * goes_on
        last = stage, step
        tell(
            f"{config.model.mechanism}: stage {record['stage']}, step {record['step']} of "
            f"{record['num_steps']}, held-out bound {record['held_out']:.3f} nats a row"
        )

    fitted, tilt = train(config, table, unbiased=unbiased, report=note)
    return Trained(fitted, tilt, num_steps, _row_bounds(fitted, table))


def _row_bounds(fitted: FittedModel, table: Table) -> np.ndarray:
    """Return the bound of each held-out row, in nats, of values in their units. [N]."""
    rows, imputed = impute_held_out(fitted, table)
    return imputed.bound + fitted.facts.log_derivative(table.x[rows])


def train_to_the_end(
    config: Config, table: Table, tell: Callable[[str], None], unbiased: Table | None = None
) -> Trained:
    """Return ``train_candidate``; without an encoder, in rounds until one gains nothing.

    A round is the schedule of ``ROUND_STEPS`` steps, from where the last one ended. There are no
    more of them than the steps of the config allow. Where a loss is not finite after the first, or
    a bound falls, the round before is kept.
    """
    num_steps = config.optimisation.num_steps
    if config.model.proposal != "laplace" or config.model.tilt != "none":
        return train_candidate(config, table, tell, unbiased)
    config = config.replace(num_steps=min(ROUND_STEPS, num_steps))
    one = train_candidate(config, table, tell, unbiased)
    for number in range(1, num_steps // ROUND_STEPS):
        try:
            fitted = train_on(one.fitted, table, unbiased, number)
        except NonFiniteLossError:
            return one
        bounds = _row_bounds(fitted, table)
        gained = difference(bounds, one.row_bounds)
        tell(f"{config.model.mechanism}: round {number + 1} of steps gains {gained} nats a row")
        if gained.mean > 0:
            one = one._replace(fitted=fitted, row_bounds=bounds)
        one = one._replace(num_steps=one.num_steps + config.optimisation.num_steps)
        if gained.mean < TOLERANCE:
            return one
    return one._replace(has_converged=False)


def median_ess(fitted: FittedModel, table: Table) -> float:
    """Return the median number of effective draws behind held-out rows with a gap, if any has."""
    rows, imputed = impute_held_out(fitted, table)
    has_gap = ~table.mask[rows].all(axis=1)
    return float(np.median(imputed.ess[has_gap] if has_gap.any() else imputed.ess))


def with_all_rows(
    one: Trained, table: Table, tell: Callable[[str], None], unbiased: Table | None = None
) -> Trained:
    """Return a candidate without a tilt trained on with the held-out rows too.

    Its bounds stay those of rows that it was not fitted to. Where the loss is no longer finite, the
    candidate is returned as it came.
    """
    last = 0

    def note(record: Mapping[str, float | str]) -> None:
        nonlocal last
        last = int(record["step"])
        tell(f"{one.fitted.config.model.mechanism}: all rows, step {last} of {record['num_steps']}")

    try:
        fitted = train_on_all_rows(one.fitted, table, unbiased, report=note)
    except NonFiniteLossError as error:
        tell(f"{error}: the model without the held-out rows is kept")
        return one
    return one._replace(fitted=fitted, num_steps=one.num_steps + last)


def train_again(
    one: Trained,
    num_models: int,
    table: Table,
    tell: Callable[[str], None],
    unbiased: Table | None = None,
) -> tuple[list[Trained], dict[int, NonFiniteLossError]]:
    """Return so many fits beside one of all rows, and what those raised that are left out, by seed.

    Each goes on from it with rows drawn of the rows. A tilt goes with the base that it was fitted
    to: with one, each is made anew with a seed of its own, from the start that was chosen.
    """
    config = one.fitted.config
    seeds = [config.seed + 1 + index for index in range(num_models)]

    def fit(seed: int) -> Trained:
        name = f"fit {seeds.index(seed) + 2}"
        if config.model.tilt == "none":
            tell(f"{name}: rows drawn of all")
            return one._replace(fitted=train_on_bootstrap(one.fitted, table, seed, unbiased))
        anew = config.replace(seed=seed)
        return train_candidate(anew, table, lambda line: tell(f"{name}: {line}"), unbiased)

    trained, lost = try_all(fit, {seed: seed for seed in seeds})
    return list(trained.values()), lost


def choose_gap_terms(trained: Mapping[str, Trained]) -> tuple[Trained, str]:
    """Return the model to take of those without and with gap terms, and why, in words.

    By held-out bounds, it is the simplest that the best is not clearly above.

    Args:
        trained: by what they are called, that without gap terms first.
    """
    bounds = {name: one.row_bounds for name, one in trained.items()}
    kept = simplest_of(bounds)
    said = "its held-out bound is {} nats a row above that of the model {}"
    return trained[kept], "; ".join([f"taken {kept}", *_against_others(bounds, kept, said)])


def choose_decoder(trained: Mapping[str, Trained], table: Table) -> tuple[str, str, str]:
    """Return the decoder to take, the one that fills best, and why the first, in words.

    Where no hidden value decides what is missing, it is the simplest decoder that none fills cells
    of held-out rows better than by a standard error.

    Args:
        trained: by decoder, the simplest first.
        table: incomplete rows in original units.
    """
    scores = {name: hidden_cell_scores(one.fitted, table) for name, one in trained.items()}
    kept = simplest_of(scores, DECODER_STANDARD_ERRORS)
    said = "its squared error of hidden cells is {} a held-out row below that of {}"
    reason = "; ".join([f"decoder {kept}", *_against_others(scores, kept, said)])
    return kept, best_of(scores), reason


def _against_others(scores: Mapping[str, np.ndarray], kept: str, said: str) -> list[str]:
    """Return, of every other model, by how much the mean score of the one that is kept is above."""
    others = [name for name in scores if name != kept]
    return [said.format(difference(scores[kept], scores[name]), name) for name in others]
