"""The benchmarks: of each library's module, what to check and what to time.

A benchmark is ``prepare(library, case, settings) -> [Measurement]``, empty where the library has
nothing for it.
"""

import math
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from experiments.benchmark.samplers import checks, effective_size, reference
from experiments.benchmark.samplers.interface import Check, Draws, Measurement
from experiments.benchmark.samplers.targets import (
    LENGTHS,
    MLP_SCALES,
    TARGETS,
    EightGaussians,
    Machine,
    mlp,
)

__all__ = ["BENCHMARKS", "OVER_CHAINS", "Benchmark", "Settings"]

_LANGEVIN_STEP, _MLP_STEP, _HMC_STEP, _NUM_LEAPS = 0.005, 0.01, 0.1, 10
_NUM_SEEDS = 10
_FIND_LENGTHS = ("HMC", "NUTS")
"""Methods that find how long trajectories should be, where nothing is set."""


class Settings(NamedTuple):
    """What a run of the benchmarks is asked for.

    Attributes:
        num_chains: of the benchmarks on a Gaussian, and of the block Gibbs sampler.
        share: of the steps and draws that the benchmarks take in full; below 1 for a trial.
    """

    num_chains: int
    share: float

    def scaled(self, number: int, at_least: int = 2) -> int:
        """Return the share of a number of steps or draws."""
        return max(at_least, math.ceil(self.share * number))


class Benchmark(NamedTuple):
    """One of the benchmarks.

    Attributes:
        cases: names of the targets that it runs on.
        unit: of which a run's amount is told, for each second.
        needs: the function of a library's module that it calls.
        prepare: ``(library, case, settings) -> measurements``.
    """

    cases: tuple[str, ...]
    unit: str
    needs: str
    prepare: Callable[[ModuleType, str, Settings], list[Measurement]]


def _prepare_gaussian(sampler: str) -> Callable[[ModuleType, str, Settings], list[Measurement]]:
    """Throughput on the Gaussian: the check's chains start from their own invariant law."""

    def prepare(library: ModuleType, case: str, settings: Settings) -> list[Measurement]:
        target = TARGETS[case]
        step_size = _HMC_STEP if sampler == "hmc" else _LANGEVIN_STEP
        chains = library.chains(sampler, target, _NUM_LEAPS, step_size)
        if chains is None:
            return []
        num_steps = settings.scaled(100 if sampler == "hmc" else 1000)
        law = target.square
        if sampler == "ula":
            law = reference.ula_variance(law, step_size)

        def check() -> Check:
            starts = reference.gaussian_draws(target, 1, 256, law).astype(np.float32)
            draws = chains.draw(2, starts, settings.scaled(100), 2 if sampler == "hmc" else 4)
            if sampler == "ula":
                return checks.variance(draws, law)
            rate = reference.expected_acceptance(target, sampler, step_size, _NUM_LEAPS)
            return checks.metropolis(draws, law, rate)

        starts = reference.gaussian_draws(target, 3, settings.num_chains, law).astype(np.float32)
        amount = settings.num_chains * num_steps
        run = chains.advance(starts, num_steps)
        return [Measurement("", check, run, lambda ends: amount)]

    return prepare


def _prepare_mlp(library: ModuleType, case: str, settings: Settings) -> list[Measurement]:
    """Throughput of ULA under a network's energy."""
    target, (num_chains, dim, num_steps) = mlp(case), MLP_SCALES[case]
    chains = library.chains("ula", target, 0, _MLP_STEP)
    if chains is None:
        return []
    num_steps = settings.scaled(num_steps)
    starts = np.random.default_rng(4).normal(size=(num_chains, dim)).astype(np.float32)
    run = chains.advance(starts, num_steps)

    def check() -> Check:
        expected = reference.mlp_langevin(target, starts, num_steps, _MLP_STEP)
        return checks.same_law(
            np.asarray(run(5)), expected, lambda x: reference.mlp_energy(target.constants, x)[0]
        )

    return [Measurement("", check, run, lambda ends: num_chains * num_steps)]


def _prepare_cd(library: ModuleType, case: str, settings: Settings) -> list[Measurement]:
    """Gradients of CD-10 a second: ten ULA steps from the data, then the weights' gradient."""
    target, (num_rows, dim, _) = mlp(case), MLP_SCALES[case]
    data = np.random.default_rng(6).normal(size=(num_rows, dim)).astype(np.float32)
    run = library.contrastive_divergence(target, 10, _MLP_STEP).gradient(data)

    def check() -> Check:
        expected = reference.mlp_langevin(target, data, 10, _MLP_STEP)
        return checks.contrastive(target, data, run(7), expected)

    return [Measurement("", check, run, lambda outcome: 1)]


def _prepare_adaptive(library: ModuleType, case: str, settings: Settings) -> list[Measurement]:
    """Smallest effective sample size a second, warm-up included, from starts near 0."""
    target = TARGETS[case]
    num = settings.scaled(1000, at_least=20)
    starts = (0.1 * np.random.default_rng(10).normal(size=(4, target.dim))).astype(np.float32)

    def measurement(method: str, run: Callable[[int, np.ndarray], Draws]) -> Measurement:
        return Measurement(
            method,
            lambda: checks.moments(run(11, starts), target),
            lambda seed: run(seed, starts),
            lambda draws: effective_size.smallest(draws.positions),
        )

    return [measurement(*item) for item in library.adaptive(target, num, num).items()]


def _prepare_gradients(library: ModuleType, case: str, settings: Settings) -> list[Measurement]:
    """Smallest effective sample size, of x and x², a gradient after warm-up, over ten seeds."""
    target = LENGTHS[case]()
    num = settings.scaled(1000, at_least=50)

    def measurement(method: str, run: Callable[[int, np.ndarray], Draws]) -> Measurement:
        def one(seed: int) -> Draws:
            starts = np.random.default_rng(seed).normal(size=(4, target.dim)).astype(np.float32)
            return run(seed, starts)

        def check() -> Check:
            found = [one(100 + seed) for seed in range(_NUM_SEEDS)]
            return checks.efficiency(found, target)

        return Measurement(
            method, check, one, lambda draws: effective_size.smallest(draws.positions)
        )

    runs = library.adaptive(target, num, num)
    return [measurement(name, run) for name, run in runs.items() if name in _FIND_LENGTHS]


def _prepare_evidence(library: ModuleType, case: str, settings: Settings) -> list[Measurement]:
    """Runs a second of estimators of log Z with 2000 draws, checked over ten seeds."""

    def measurement(method: str, run: Callable[[int], Any]) -> Measurement:
        def check() -> Check:
            found = [run(100 + seed) for seed in range(_NUM_SEEDS)]
            errors = np.array([one.log_z - EightGaussians.log_z for one in found])
            masses = [EightGaussians.mass_error(one.draws, one.weights) for one in found]
            return checks.evidence(errors, np.array(masses))

        return Measurement(method, check, run, lambda outcome: 1)

    runs = library.evidence(settings.scaled(2000, at_least=100))
    return [measurement(*item) for item in runs.items()]


def _prepare_gibbs(library: ModuleType, case: str, settings: Settings) -> list[Measurement]:
    """Sweeps a second of a 64 x 32 machine; a 5 x 3 one is checked against enumeration."""
    small, large = Machine.random(5, 3), Machine.random(64, 32)
    num_sweeps = settings.scaled(1000)

    def check() -> Check:
        run = library.gibbs(small, 50)(np.zeros((4096, 5)))
        visible = np.concatenate([np.asarray(run(seed)) for seed in range(5)])
        index = visible.astype(int) @ (1 << np.arange(5))
        return checks.counts(np.bincount(index, minlength=32), small.visible_law())

    run = library.gibbs(large, num_sweeps)(np.zeros((settings.num_chains, 64)))
    return [Measurement("", check, run, lambda ends: settings.num_chains * num_sweeps)]


BENCHMARKS = {
    "ula": Benchmark(("gaussian",), "chain-steps", "chains", _prepare_gaussian("ula")),
    "mlp": Benchmark(tuple(MLP_SCALES), "chain-steps", "chains", _prepare_mlp),
    "cd": Benchmark(tuple(MLP_SCALES), "gradients", "contrastive_divergence", _prepare_cd),
    "mala": Benchmark(("gaussian",), "chain-steps", "chains", _prepare_gaussian("mala")),
    "hmc": Benchmark(("gaussian",), "chain-steps", "chains", _prepare_gaussian("hmc")),
    "ess": Benchmark(
        ("banana", "funnel", "gaussian", "double_well"), "min-ESS", "adaptive", _prepare_adaptive
    ),
    "gradients": Benchmark(tuple(LENGTHS), "min-ESS", "adaptive", _prepare_gradients),
    "log_z": Benchmark(("eight_gaussians",), "runs", "evidence", _prepare_evidence),
    "gibbs": Benchmark(("rbm",), "sweeps", "gibbs", _prepare_gibbs),
}

OVER_CHAINS = ("ula", "mala", "hmc", "gibbs")
"""Those whose number of chains is asked for; the others have theirs."""
