"""Where a mechanism starts and how much it reads, by short trainings and the held-out bound.

A mechanism that hides high values and one that hides low ones explain the same gaps by unlike
tails, and training does not pass from one to the other: each sign of a slope is the neighbourhood
of a local optimum of its own. So three starts are trained for a share of the steps, with the same
seed, the same rows and the same program, and the one with the highest held-out bound is trained.

A linear mechanism explains gaps by other columns as well as by what they hide, and few rows tell
which: much of a column's selection passes to the columns that go with it. What it reads of others
is shrunk as far as the held-out bound allows (``tilted.held_out``). Three standard errors have to
speak for less shrinkage: where p(x) is somewhat wrong, the other columns make up for it.
"""

from collections.abc import Callable, Sequence

import numpy as np

from mnar_ebm.config import Config
from mnar_ebm.missingness import MECHANISMS
from mnar_ebm.settings import SLOPES
from mnar_ebm.tilted.held_out import best_of, simplest_of
from mnar_ebm.training.loop import try_all

DECAYS = (10.0, 1.0, 0.0)
"""Weight decays of what a linear mechanism reads of other columns, the simplest mechanism first."""

DECAY_STANDARD_ERRORS = 3.0

CHOSEN = ("slope_start", "mechanism_weight_decay")
"""Settings that are chosen."""

START_SHARE = 1 / 6
DECAY_SHARE = 1 / 2
"""Shares of the steps: the slopes of a mechanism that reads less have to grow steeper."""

MIN_STEPS = 1000

Bounds = Callable[[Config], np.ndarray]
"""Trains a config and returns the bounds of the held-out rows, in nats; may raise
``NonFiniteLossError``. [N]"""


def choose_start(config: Config, bounds_of: Bounds) -> Config:
    """Return the config with the start chosen, if that was left to the held-out bound.

    Args:
        config: settings.
        bounds_of: trains a config and returns the bounds of the held-out rows, in nats. [N]

    Raises:
        NonFiniteLossError: the loss became NaN or infinite from every start; from some, they are
            left out.
    """
    if config.optimisation.slope_start != "best":
        return config
    starts = [config.replace(slope_start=name) for name in SLOPES]
    slopes = MECHANISMS[config.model.mechanism].slopes
    if not slopes or (slopes == "own" and config.model.sign != "unknown"):
        return starts[0]
    best = best_of(_try(starts, START_SHARE, bounds_of))
    if slopes != "row" or config.optimisation.mechanism_weight_decay > 0:
        return best
    decayed = [best.replace(mechanism_weight_decay=decay) for decay in DECAYS]
    return simplest_of(_try(decayed, DECAY_SHARE, bounds_of), DECAY_STANDARD_ERRORS)


def _try(candidates: Sequence[Config], share: float, bounds_of: Bounds) -> dict[Config, np.ndarray]:
    """Return the bounds of each candidate, trained for a share of the steps without a tilt."""

    def shorten(config: Config) -> Config:
        num_steps = max(
            round(share * config.optimisation.num_steps),
            min(MIN_STEPS, config.optimisation.num_steps),
        )
        return config.replace(tilt="none", joint_steps=0, num_steps=num_steps)

    tried, lost = try_all(bounds_of, {candidate: shorten(candidate) for candidate in candidates})
    if not tried:
        raise lost[candidates[0]]
    return tried
