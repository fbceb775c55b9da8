r"""Which mechanism: the simplest whose held-out bound is not clearly below the best.

With b_i(m) the bound of held-out row i, of (x_obs, s), under mechanism m, and m* the best on
average,

    d_i(m) = b_i(m*) - b_i(m),      take the first m with mean_i d_i <= 2 sd_i d_i / \sqrt{N}

in order of what a mechanism may read: no hidden value, the hidden value itself, the whole row.
Every candidate models s too, or the bounds would not be of the same thing. Two standard errors,
for the candidates' rows are the same and their bounds differ by less than either varies.

References:
    L. Breiman, J. Friedman, C. Stone, R. Olshen, "Classification and Regression Trees", 1984,
    sec. 3.4.3 (the rule of standard errors).
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from mnar_ebm.config import Config
from mnar_ebm.data.table import Table
from mnar_ebm.estimator import gaps
from mnar_ebm.training import FittedModel, TiltReport, train
from mnar_ebm.training.run import split_rows

NUM_STANDARD_ERRORS = 2.0
MAX_ROWS = 1024
"""Most held-out rows that candidates are compared on."""


class Trained(NamedTuple):
    """A candidate, fitted.

    Attributes:
        fitted: the model.
        tilt: what the choice of its tilt's scale found.
        num_steps: steps of training, of all stages.
        row_bounds: bound of each held-out row, in nats and standard units. [N]
        ess: effective number of draws behind each held-out row. [N]
    """

    fitted: FittedModel
    tilt: TiltReport
    num_steps: int
    row_bounds: np.ndarray
    ess: np.ndarray


class Difference(NamedTuple):
    """By how much one candidate's held-out bound is above another's, in nats a row."""

    mean: float
    standard_error: float

    def __str__(self) -> str:
        """Return mean and standard error."""
        return f"{self.mean:.3f} ± {self.standard_error:.3f}"


def candidate_mechanisms(table: Table) -> tuple[tuple[str, ...], str]:
    """Return the mechanisms to compare, the simplest first, and why if it is one alone."""
    if table.mask.all():
        return ("mcar",), "no value is missing, so there is nothing to compare"
    if not gaps.are_predictable(table):
        return ("mcar",), "nothing that was observed predicts which values are missing"
    ignorable = "mar" if table.mask.all(axis=0).any() else "mcar"
    return (ignorable, "selfmasking_probit", "linear"), ""


def train_candidate(
    config: Config, table: Table, tell: Callable[[str], None], unbiased: Table | None = None
) -> Trained:
    """Train one candidate and score the held-out rows, which are the same for all.

    Args:
        config: settings, the mechanism among them.
        table: incomplete rows in original units.
        tell: called with a line after every chunk of steps.
        unbiased: rows of everybody, if there are any.
    """
    steps: dict[str, int] = {}

    def note(record: Mapping[str, float | str]) -> None:
        steps[str(record["stage"])] = int(record["step"])
        tell(
            f"{config.mechanism}: stage {record['stage']}, step {record['step']} of "
            f"{record['num_steps']}, held-out bound {record['held_out']:.3f} nats a row"
        )

    fitted, tilt = train(config, table, unbiased=unbiased, report=note)
    rows = split_rows(config, len(table.x))[1][:MAX_ROWS]
    imputed = fitted.impute(table.x[rows], seed=config.seed)
    has_gap = ~table.mask[rows].all(axis=1)
    ess = imputed.ess[has_gap] if has_gap.any() else imputed.ess
    return Trained(fitted, tilt, sum(steps.values()), imputed.bound, ess)


def difference(above: np.ndarray, below: np.ndarray) -> Difference:
    """Return the mean of paired differences and its standard error, infinite for one row."""
    paired = np.asarray(above, np.float64) - np.asarray(below, np.float64)
    if len(paired) < 2:
        return Difference(float(paired.mean()), math.inf)
    return Difference(float(paired.mean()), float(paired.std(ddof=1) / math.sqrt(len(paired))))


def choose(row_bounds: Mapping[str, np.ndarray]) -> tuple[str, str]:
    """Return the mechanism to take, and why, in words.

    Args:
        row_bounds: bounds of the same held-out rows [N] by mechanism, the simplest first.
    """
    best = max(row_bounds, key=lambda name: float(np.mean(row_bounds[name])))
    chosen = next(
        name
        for name in row_bounds
        if name == best or not is_clear(row_bounds[best], row_bounds[name])
    )
    ruled_out = list(row_bounds)[: list(row_bounds).index(chosen)]
    reasons = [
        f"its held-out bound is {difference(row_bounds[chosen], row_bounds[other])} nats a row "
        f"above that of {other}"
        for other in ruled_out
    ]
    if chosen == best:
        reasons.append("no candidate's is higher")
    else:
        gap = difference(row_bounds[best], row_bounds[chosen])
        reasons.append(
            f"the held-out bound of {best} is higher by {gap}, not more than two standard errors, "
            "and the simpler is taken"
        )
    return chosen, "; ".join(reasons)


def choose_decoder(mechanism: str, trained: Mapping[str, Trained]) -> tuple[Trained, str]:
    """Return the model to take, and why, in words.

    Where no hidden value decides what is missing, it is the simplest decoder that none is clearly
    above. Under self-masking it is the simplest of all: beyond the values that were seen no bound
    compares decoders, and a line goes on more soberly than a network.

    Args:
        mechanism: the mechanism of all.
        trained: by decoder, the simplest first.
    """
    names = list(trained)
    kept = names[0]
    if mechanism.startswith("selfmasking"):
        return trained[kept], f"decoder {kept}, for no bound compares them beyond what was seen"
    for name in names[1:]:
        if is_clear(trained[name].row_bounds, trained[kept].row_bounds):
            kept = name
    others = [
        f"its held-out bound is {difference(trained[kept].row_bounds, one.row_bounds)} nats a row "
        f"above that of {name}"
        for name, one in trained.items()
        if name != kept
    ]
    return trained[kept], "; ".join([f"decoder {kept}", *others])


def is_clear(above: np.ndarray, below: np.ndarray) -> bool:
    """Return whether one candidate's bounds are above another's by more than chance would do."""
    gap = difference(above, below)
    return gap.mean > NUM_STANDARD_ERRORS * gap.standard_error
