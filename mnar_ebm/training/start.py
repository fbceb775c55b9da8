"""Where the slopes of a mechanism start, by short trainings and the held-out bound.

A mechanism that hides high values and one that hides low ones explain the same gaps by unlike
tails, and training does not pass from one to the other: each sign of a slope is the neighbourhood
of a local optimum of its own. So three starts are trained for a share of the steps, with the same
seed, the same rows and the same program, and the one with the highest held-out bound is trained.
"""

import dataclasses
from collections.abc import Callable

from mnar_ebm.config import Config

SLOPES = {"flat": 0.0, "high": 1.0, "low": -1.0}
"""Slope of each column's link to its own value, in standard units, that a start begins with."""

SHARE_OF_STEPS = 1 / 6
MIN_STEPS = 1000


def choose_start(config: Config, bound_of: Callable[[Config], float]) -> Config:
    """Return the config with the start chosen, if that was left to the held-out bound.

    Args:
        config: settings.
        bound_of: trains a config and returns its held-out bound, in nats a row.
    """
    if config.slope_start != "best":
        return config
    starts = [dataclasses.replace(config, slope_start=name) for name in SLOPES]
    is_open = config.mechanism.startswith("selfmasking") and config.sign == "unknown"
    if not (is_open or config.mechanism == "linear"):
        return starts[0]
    num_steps = max(round(SHARE_OF_STEPS * config.num_steps), min(MIN_STEPS, config.num_steps))

    def bound(start: Config) -> float:
        return bound_of(dataclasses.replace(start, tilt="none", joint_steps=0, num_steps=num_steps))

    return max(starts, key=bound)
