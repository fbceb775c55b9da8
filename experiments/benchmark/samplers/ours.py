"""``mnar_ebm.samplers``, through its public functions alone."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmark.samplers import jax_loops
from experiments.benchmark.samplers.interface import (
    AdaptiveRun,
    Chains,
    ContrastiveDivergence,
    Draws,
    Evidence,
    EvidenceRun,
    GibbsRun,
)
from experiments.benchmark.samplers.jax_loops import Kept
from experiments.benchmark.samplers.targets import EightGaussians, Machine, Target
from mnar_ebm import samplers

VERSION = None  # the project's own

_PRIOR_SCALES = {"banana": jnp.array([10.0, 1.0]), "double well-8": 1.0, "Gaussian-100": 1.0}
"""Scales of the Gaussian that elliptical slice sampling splits off, where one is natural."""


def chains(
    sampler: str, target: Target, num_integration_steps: int, step_size: float
) -> Chains | None:
    """Run ``ula``, ``mala`` or ``hmc`` by ``sample``."""
    logdensity = jax_loops.logdensity_fn(target)
    algorithm = {
        "ula": lambda: samplers.ula(logdensity, step_size),
        "mala": lambda: samplers.mala(logdensity, step_size),
        "hmc": lambda: samplers.hmc(
            logdensity, step_size, num_integration_steps=num_integration_steps
        ),
    }[sampler]()

    def keep(state: Any, info: Any) -> Kept:
        error = info.energy_error if sampler == "hmc" else jnp.zeros(0)
        return Kept(state.position, getattr(info, "acceptance_rate", jnp.nan), error)

    def advance(starts: np.ndarray, num_steps: int) -> Callable[[int], Any]:
        return jax_loops.timed(functools.partial(_ends, algorithm, num_steps), starts)

    def draw(seed: int, starts: np.ndarray, num_draws: int, thin: int) -> Draws:
        def run(key: Any, start: Any) -> Kept:
            return samplers.sample(key, algorithm, start, num_draws, thin=thin, transform=keep)[1]

        keys = jax.random.split(jax.random.key(seed), len(starts))
        num_gradients = num_integration_steps if sampler == "hmc" else 1
        return jax_loops.on_host(jax.jit(jax.vmap(run))(keys, starts), num_gradients)

    return Chains(advance, draw)


_NUMBERS_IN_CACHE = 100_000
"""Coordinates of the chains that run side by side on a CPU, as by ``langevin(batch_size=...)``."""


def _ends(algorithm: samplers.SamplingAlgorithm, num_steps: int, key: Any, starts: Any) -> Any:
    """Return where chains end. [C, D]."""
    keys = jax.random.split(key, len(starts))
    batch_size = max(1, _NUMBERS_IN_CACHE // starts.shape[-1])
    if jax.default_backend() != "cpu" or len(starts) <= batch_size:
        return jax.vmap(lambda k, x: _end(algorithm, num_steps, k, x))(keys, starts)
    return jax.lax.map(
        lambda chain: _end(algorithm, num_steps, *chain), (keys, starts), batch_size=batch_size
    )


def _end(algorithm: samplers.SamplingAlgorithm, num_steps: int, key: Any, start: Any) -> Any:
    """Return where one chain ends. [D]."""
    state, _ = samplers.sample(
        key, algorithm, start, 1, thin=num_steps, transform=lambda state, info: None
    )
    return state.position


def contrastive_divergence(
    target: Target, num_steps: int, step_size: float
) -> ContrastiveDivergence:
    """Differentiate the energies at data and at the ends of ``ula`` chains from them."""

    def advance(key: Any, logdensity: Callable[[Any], Any], start: Any) -> Any:
        return _end(samplers.ula(logdensity, step_size), num_steps, key, start)

    return ContrastiveDivergence(jax_loops.contrastive_divergence(target, advance))


def adaptive(target: Target, num_warmup: int, num_draws: int) -> dict[str, AdaptiveRun]:
    """Offer HMC and MALA by default, and elliptical slice sampling, which has nothing to adapt."""
    logdensity = jax.tree_util.Partial(jax_loops.logdensity_fn(target))
    runs = {
        "HMC": _adaptive(
            lambda key, starts: samplers.hamiltonian(
                key, logdensity, starts, num_draws, num_adaptation_steps=num_warmup
            )
        ),
        "MALA": _adaptive(
            lambda key, starts: samplers.adjusted_langevin(
                key, logdensity, starts, num_draws, num_adaptation_steps=num_warmup
            )
        ),
    }
    if target.name in _PRIOR_SCALES:
        scale = _PRIOR_SCALES[target.name]
        algorithm = samplers.elliptical_slice(
            lambda x: logdensity(x) + 0.5 * jnp.sum((x / scale) ** 2), scale=scale
        )

        def slice_sampling(key: Any, starts: Any) -> Any:
            def run(key: Any, start: Any) -> Any:
                return samplers.sample(key, algorithm, start, num_draws, burn_in=num_warmup)[1]

            return jax.vmap(run)(jax.random.split(key, len(starts)), starts)

        runs["elliptical slice"] = _adaptive(slice_sampling)
    return runs


def _adaptive(run: Callable[[Any, Any], Any]) -> AdaptiveRun:
    """Bring the draws of ``run(key, starts)`` to the host, and what they cost."""
    compiled = jax.jit(run)

    def adaptive_run(seed: int, starts: np.ndarray) -> Draws:
        draws, info, *_ = jax.block_until_ready(compiled(jax.random.key(seed), starts))
        if not hasattr(info, "acceptance_rate"):  # of a slice
            return Draws(np.asarray(draws))
        num_gradients = float(np.mean(getattr(info, "num_integration_steps", 1)))
        rate = float(np.mean(info.acceptance_rate))
        return Draws(np.asarray(draws), rate, num_gradients=num_gradients)

    return adaptive_run


def evidence(num_samples: int) -> dict[str, EvidenceRun]:
    """Offer importance sampling, its annealed kin, SMC, and the bridge over SMC's draws."""

    def base(x: Any) -> Any:
        return EightGaussians.base_logdensity(x, jnp)

    def log_weight(x: Any) -> Any:
        return EightGaussians.logdensity(x, jnp) - base(x)

    def draw_base(key: Any) -> Any:
        return EightGaussians.base_scale * jax.random.normal(key, (2,))

    even = jnp.full(num_samples, 1 / num_samples)
    build_hmc = functools.partial(samplers.hmc, step_size=0.2, num_integration_steps=2)
    build_mala = functools.partial(samplers.mala, step_size=0.03)

    def snis(key: Any) -> Any:
        x = jax.vmap(draw_base)(jax.random.split(key, num_samples))
        log_w = jax.vmap(log_weight)(x)
        return samplers.log_mean_exp(log_w), x, jnp.exp(samplers.normalise(log_w))

    def ais(key: Any) -> Any:
        betas = jnp.linspace(0, 1, 201)
        found = samplers.ais(key, draw_base, base, log_weight, build_hmc, betas, num_samples)
        return found.log_z, found.draws, jnp.exp(samplers.normalise(found.log_w))

    def smc(key: Any) -> Any:
        found = samplers.smc(
            key, draw_base, base, log_weight, build_mala, num_samples, 10, target_ess=0.7
        )
        return found.log_z, found.draws, even

    def bridge(key: Any) -> Any:
        key_base, key_smc = jax.random.split(key)
        x = jax.vmap(draw_base)(jax.random.split(key_base, num_samples))
        _, draws, _ = smc(key_smc)
        found = samplers.bridge(jax.vmap(log_weight)(x), jax.vmap(log_weight)(draws))
        return found.log_z, draws, even

    methods = {"SNIS": snis, "AIS, 200 x HMC-2": ais, "SMC, 10 x MALA": smc, "bridge": bridge}
    return {name: _evidence(method) for name, method in methods.items()}


def _evidence(method: Callable[[Any], Any]) -> EvidenceRun:
    run = jax_loops.timed(method)

    def evidence_run(seed: int) -> Evidence:
        log_z, draws, weights = map(np.asarray, run(seed))
        return Evidence(float(log_z), draws, weights)

    return evidence_run


def gibbs(machine: Machine, num_sweeps: int) -> GibbsRun:
    """Sweep over the two blocks of the machine."""
    weights, b, c = map(jnp.asarray, machine)

    def bernoulli(key: Any, logits: Any) -> Any:
        return (jax.random.uniform(key, logits.shape) < jax.nn.sigmoid(logits)).astype(float)

    algorithm = samplers.gibbs(
        {
            "h": lambda key, x: bernoulli(key, x["v"] @ weights + c),
            "v": lambda key, x: bernoulli(key, weights @ x["h"] + b),
        }
    )

    def ends(key: Any, visible: Any) -> Any:
        def end(key: Any, v: Any) -> Any:
            start = {"v": v, "h": jnp.zeros_like(c)}
            return _end(algorithm, num_sweeps, key, start)["v"]

        return jax.vmap(end)(jax.random.split(key, len(visible)), visible)

    return lambda visible: jax_loops.timed(ends, visible.astype(np.float32))
