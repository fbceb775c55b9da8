"""What a library's module offers to the benchmarks, and what a benchmark makes of it.

``ours.py``, ``blackjax_.py``, ``tfp_.py``, ``numpyro_.py`` and ``torchebm_.py`` define those of the
following functions that their library can serve; a benchmark passes over a library that lacks its
function, or whose function returns ``None``:

    chains(sampler, target, num_integration_steps, step_size) -> Chains or None
    contrastive_divergence(target, num_steps, step_size) -> ContrastiveDivergence
    adaptive(target, num_warmup, num_draws) -> {method: AdaptiveRun}
    evidence(num_samples) -> {method: EvidenceRun}
    gibbs(machine, num_sweeps) -> GibbsRun

A module imports its library at the top, so that importing the module tells whether it is installed.
Every run takes a seed first, and returns when its work is done, not when it is queued.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

__all__ = [
    "AdaptiveRun",
    "Chains",
    "Check",
    "ContrastiveDivergence",
    "Draws",
    "Evidence",
    "EvidenceRun",
    "GibbsRun",
    "Measurement",
]

NAN = float("nan")


class Draws(NamedTuple):
    """Draws of C chains, on the host.

    Attributes:
        positions: [C, N, D].
        acceptance_rate: mean over chains and draws; NaN if the library does not tell.
        energy_error: ΔH of each proposal, empty if the library does not tell. [C, N]
        num_gradients: that one chain takes for one draw; NaN if there are none.
    """

    positions: np.ndarray
    acceptance_rate: float = NAN
    energy_error: np.ndarray = np.zeros((0, 0))
    num_gradients: float = NAN


class Chains(NamedTuple):
    """A sampler with its settings, for a target.

    Attributes:
        advance: ``(starts [C, D], num_steps) -> (seed -> ends [C, D])``; the inner one is timed.
        draw: ``(seed, starts [C, D], num_draws, thin) -> Draws``, for the check.
    """

    advance: Callable[[np.ndarray, int], Callable[[int], Any]]
    draw: Callable[[int, np.ndarray, int, int], Draws]


class ContrastiveDivergence(NamedTuple):
    """One gradient of contrastive divergence.

    Attributes:
        gradient: ``data [B, D] -> (seed -> (loss [], negatives [B, D], gradient))``; it is timed.
            The gradient is of each weight, by its name.
    """

    gradient: Callable[[np.ndarray], Callable[[int], tuple[Any, Any, dict[str, Any]]]]


class Evidence(NamedTuple):
    """An estimate of log Z and the draws that come with it.

    Attributes:
        log_z: the estimate.
        draws: of the target. [N, D]
        weights: of the draws, with sum 1. [N]
    """

    log_z: float
    draws: np.ndarray
    weights: np.ndarray


AdaptiveRun: TypeAlias = Callable[[int, np.ndarray], Draws]
"""``(seed, starts [C, D]) -> Draws``: warms up, then draws."""

EvidenceRun: TypeAlias = Callable[[int], Evidence]

GibbsRun: TypeAlias = Callable[[np.ndarray], Callable[[int], Any]]
"""``visible [C, V] -> (seed -> visible [C, V] at the end)``; the inner one is timed."""


class Check(NamedTuple):
    """Whether a sampler samples what it should.

    Attributes:
        reason: what is wrong, in a few words; empty if nothing is.
        numbers: what was measured, by name.
    """

    reason: str
    numbers: dict[str, float]


class Measurement(NamedTuple):
    """One thing to check and then to time.

    Attributes:
        method: which of the library's methods it is; empty if there is one alone.
        check: tells whether it is right; if not, it is not timed.
        run: what is timed, of a seed.
        amount: how much of its unit a run has done, from what the run returned.
    """

    method: str
    check: Callable[[], Check]
    run: Callable[[int], Any]
    amount: Callable[[Any], float]
