"""The Slovenian plebiscite: three questions of a survey, whose answer "don't know" is a gap.

Before the vote 2074 people were asked whether they are for secession, for independence, and whether
they would attend; not to attend counted as no. The vote told what all think: 88.5 % of the
electorate attended and voted for independence.

References:
    D. B. Rubin, H. S. Stern, V. Vehovar, "Handling 'Don't Know' Survey Responses: The Case of the
    Slovenian Plebiscite", JASA 90, 1995, 822-828, Table 1 (counts) and Table 2 (estimates).
"""

from typing import NamedTuple

import numpy as np

from experiments.benchmark.do_no_harm.designs import Design, Example
from experiments.benchmark.do_no_harm.values import LEVELS, Values, levels
from mnar_ebm import metrics

QUESTIONS = ("secession", "attendance", "independence")
# Secession down, yes, no, don't know; across, for each answer to attendance (yes, no, don't
# know), independence yes, no, don't know.
COUNTS = np.array(
    [
        [1191, 8, 21, 8, 0, 4, 107, 3, 9],
        [158, 68, 29, 7, 14, 3, 18, 43, 31],
        [90, 2, 109, 1, 2, 25, 19, 8, 96],
    ]
).reshape(3, 3, 3)
TRUTH = 0.885
PUBLISHED = {"EM, missing at random": 0.882, "answers to both questions": 0.929}

_CODES = np.array([1.0, 0.0, np.nan])  # of yes, no, don't know


class Estimate(NamedTuple):
    """Share of those who attend and are for independence.

    Attributes:
        estimate: of one table, or pooled over several.
        low: lower end of the 95 % interval, if several were pooled.
        high: upper end.
    """

    estimate: float
    low: float | None = None
    high: float | None = None


def make(seed: int, num_rows: int) -> Example:
    """Return the survey; neither the seed nor the number of rows changes it."""
    del seed, num_rows
    x = np.repeat(_CODES[np.argwhere(COUNTS >= 0)], COUNTS.ravel(), axis=0)
    types = tuple(levels(name, LEVELS["binary"]) for name in QUESTIONS)
    return Example(Values(x, types), ~np.isnan(x))


DESIGN = Design("plebiscite", "survey", "don't know in three questions of 2074 people", make)


def judge(x: np.ndarray, draws: np.ndarray | None) -> Estimate:
    """Return what completed tables say.

    Args:
        x: a completed table, of which the estimate is without draws. [N, D]
        draws: several, to pool. [N, M, D]
    """
    if draws is None:
        return Estimate(float(_is_yes(x).mean()))
    shares = _is_yes(draws).mean(axis=0)[:, None]
    pooled = metrics.pool(shares, shares * (1.0 - shares) / len(draws), len(draws) - 1)
    low, high = pooled.interval()
    return Estimate(float(pooled.estimate[0]), float(low[0]), float(high[0]))


def _is_yes(x: np.ndarray) -> np.ndarray:
    """Return who attends and is for independence. [...]."""
    return (x[..., 1] == 1) & (x[..., 2] == 1)
