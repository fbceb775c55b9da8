"""Whether a sampler samples what it should: each check names what is wrong, or nothing."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from experiments.benchmark.samplers import effective_size, reference
from experiments.benchmark.samplers.interface import Check, Draws
from experiments.benchmark.samplers.targets import Target

__all__ = [
    "contrastive",
    "counts",
    "efficiency",
    "evidence",
    "metropolis",
    "moments",
    "same_law",
    "variance",
]

_MAX_Z = 4.0  # of one number; of the largest of D, what is as unlikely
_MAX_RHAT = 1.1
_ACCEPTANCE_TOLERANCE = 0.01
_MIN_P_VALUE = 1e-4


def variance(draws: Draws, expected: np.ndarray) -> Check:
    """Hold that E x² of every coordinate is as expected, by the spread of the chains' means."""
    if not np.all(np.isfinite(draws.positions)):
        return Check("not finite", {})
    squares = np.mean(draws.positions.astype(np.float64) ** 2, axis=1)  # [C, D]
    error = squares.mean(axis=0) - expected
    z = float(np.abs(error / _standard_error(squares)).max())
    numbers = {"max_z": z, "max_relative_error": float(np.abs(error / expected).max())}
    is_right = z < _largest_z(expected.size)
    return Check("" if is_right else f"variance off, |z| = {z:.1f}", numbers)


def metropolis(draws: Draws, expected: np.ndarray, acceptance_rate: float) -> Check:
    """Hold that the variance and the acceptance rate are right, and that E[exp(-ΔH)] = 1."""
    reason, numbers = variance(draws, expected)
    if not np.isnan(draws.acceptance_rate):
        numbers["acceptance_rate"] = draws.acceptance_rate
        error = _MAX_Z * np.sqrt(
            acceptance_rate * (1 - acceptance_rate) / draws.positions[..., 0].size
        )
        if abs(draws.acceptance_rate - acceptance_rate) > max(_ACCEPTANCE_TOLERANCE, error):
            reason = reason or (
                f"accepts {draws.acceptance_rate:.3f}, expected {acceptance_rate:.3f}"
            )
    if draws.energy_error.size:
        ratios = np.exp(-draws.energy_error.astype(np.float64)).mean(axis=1)
        numbers["mean_exp_energy_error"] = float(ratios.mean())
        z = abs(ratios.mean() - 1) / _standard_error(ratios)
        if not z < _MAX_Z:
            reason = reason or f"E exp(-ΔH) = {ratios.mean():.3f}"
    return Check(reason, numbers)


def same_law(ends: np.ndarray, expected: np.ndarray, energy_fn: Any) -> Check:
    """Hold that two sets of ends have the same mean energy and mean square, within their errors."""
    if not np.all(np.isfinite(ends)):
        return Check("not finite", {})
    scores = []
    for statistic in (energy_fn, lambda x: np.mean(x**2, axis=1)):
        a, b = statistic(ends.astype(np.float64)), statistic(expected)
        error = np.hypot(_standard_error(a), _standard_error(b))
        scores.append(abs(float((a.mean() - b.mean()) / error)))
    reason = "" if max(scores) < _MAX_Z else f"energy or scale off, |z| = {max(scores):.1f}"
    return Check(reason, {"max_z": max(scores)})


def contrastive(
    target: Target, data: np.ndarray, outcome: tuple[Any, Any, Any], expected: np.ndarray
) -> Check:
    """Hold that loss and gradient are those of the negatives, and these as they should be."""
    loss, negatives, gradient = outcome
    negatives = np.asarray(negatives, np.float64)
    check = same_law(negatives, expected, lambda x: reference.mlp_energy(target.constants, x)[0])
    rng = np.random.default_rng(3)
    direction = {name: rng.normal(size=w.shape) for name, w in target.constants.items()}

    def loss_at(shift: float) -> float:
        constants = {name: w + shift * direction[name] for name, w in target.constants.items()}
        return float(
            reference.mlp_energy(constants, data.astype(np.float64))[0].mean()
            - reference.mlp_energy(constants, negatives)[0].mean()
        )

    slope = (loss_at(1e-5) - loss_at(-1e-5)) / 2e-5
    told = sum(float(np.sum(np.asarray(gradient[name]) * d)) for name, d in direction.items())
    numbers = check.numbers | {"loss": float(loss), "slope": told}
    if abs(float(loss) - loss_at(0)) > 1e-4 * max(1, abs(loss_at(0))):
        return Check(check.reason or f"loss {float(loss):.5f}, expected {loss_at(0):.5f}", numbers)
    if abs(told - slope) > 1e-3 * max(1, abs(slope)):
        return Check(check.reason or f"gradient {told:.4f}, expected {slope:.4f}", numbers)
    return Check(check.reason, numbers)


def moments(draws: Draws, target: Target) -> Check:
    """Hold that E x and E x² are right within Monte Carlo errors, and tell how fast they were."""
    positions = draws.positions
    if not effective_size.smallest(positions) > 0:
        return Check("not finite, or does not move", {})
    squares = positions.astype(np.float64) ** 2
    scores = (squares.mean(axis=(0, 1)) - target.square) / effective_size.standard_error(squares)
    if not target.has_hidden_sign:
        means = positions.mean(axis=(0, 1)) / effective_size.standard_error(positions)
        scores = np.append(scores, means)
    z, rhat = float(np.abs(scores).max()), effective_size.rank_rhat(positions)
    numbers = {
        "max_z": z,
        "min_ess": effective_size.smallest(positions),
        "rhat": rhat,
        "acceptance_rate": draws.acceptance_rate,
        "num_gradients": draws.num_gradients,
        "gradients_to_accuracy": effective_size.gradients_to_accuracy(squares, draws.num_gradients),
    }
    if not rhat < _MAX_RHAT:
        return Check(f"not mixed, R-hat = {rhat:.2f}", numbers)
    return Check("" if z < _largest_z(scores.size) else f"moments off, |z| = {z:.1f}", numbers)


def efficiency(found: Sequence[Draws], target: Target) -> Check:
    """Tell the smallest effective sample size of x and x² a gradient, over seeds.

    All chains together have to have mixed, and to have the right moments.
    """
    together = np.concatenate([one.positions for one in found])
    rhats = [effective_size.rank_rhat(one.positions) for one in found]
    reason, numbers = moments(Draws(together, num_gradients=1.0), target)
    sizes = [
        min(map(effective_size.smallest, (one.positions, one.positions.astype(np.float64) ** 2)))
        / (one.num_gradients * one.positions[..., 0].size)
        for one in found
    ]
    return Check(
        reason,
        {
            "ess_per_gradient": float(np.mean(sizes)),
            "standard_error": float(np.std(sizes, ddof=1) / np.sqrt(len(sizes))),
            "median_rhat": float(np.median(rhats)),
            "max_z": numbers.get("max_z", float("nan")),
        },
    )


def evidence(errors: np.ndarray, mass_errors: np.ndarray) -> Check:
    """Hold that the mean error of log Z over runs is 0 within 4 standard errors."""
    spread = float(errors.std(ddof=1))
    z = float(errors.mean() / (spread / np.sqrt(len(errors))))
    numbers = {
        "mean_error": float(errors.mean()),
        "sd": spread,
        "z": z,
        "mode_mass_tv": float(mass_errors.mean()),
    }
    reason = "" if abs(z) < _MAX_Z else f"log Z off by {errors.mean():+.3f}, {z:+.1f} s.e."
    return Check(reason, numbers)


def counts(observed: np.ndarray, law: np.ndarray) -> Check:
    """Hold that counts follow a law (χ²)."""
    p_value = reference.chi_squared_p_value(observed, law)
    return Check(
        "" if p_value > _MIN_P_VALUE else f"p = {p_value:.1g} against enumeration",
        {"p_value": p_value},
    )


def _largest_z(size: int) -> float:
    """Return the bound on the largest of D scores that is passed as seldom as 4 by one."""
    return float(stats.norm.isf(stats.norm.sf(_MAX_Z) / size))


def _standard_error(values: np.ndarray) -> np.ndarray:
    """Return that of the mean over the first axis."""
    return values.std(axis=0, ddof=1) / np.sqrt(len(values))
