"""The engine: it trains anything that has a loss; see ``training.stage`` and ``training.loop``.

What was here before, training of a table, is in ``mnar_ebm.run``, ``tilted`` and ``debiasing``; the
old names are found for one release.
"""

import functools

from mnar_ebm import moved
from mnar_ebm.training.chunks import Loop
from mnar_ebm.training.loop import (
    InterruptedTraining,
    NonFiniteLossError,
    Progress,
    run_stages,
)
from mnar_ebm.training.optimiser import Pace
from mnar_ebm.training.plan import pad_rows
from mnar_ebm.training.stage import Stage, Verdict, verdict

__all__ = [
    "InterruptedTraining",
    "Loop",
    "NonFiniteLossError",
    "Pace",
    "Progress",
    "Stage",
    "Verdict",
    "pad_rows",
    "run_stages",
    "verdict",
]


__getattr__ = functools.partial(moved.find, __name__)
