"""blackjax: its kernels, each in a scan under vmap."""

from typing import Any

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
from blackjax.mcmc import diffusions
from blackjax.smc import extend_params, resampling

from experiments.benchmark.samplers import jax_loops
from experiments.benchmark.samplers.interface import (
    AdaptiveRun,
    Chains,
    ContrastiveDivergence,
    Draws,
    Evidence,
    EvidenceRun,
)
from experiments.benchmark.samplers.jax_loops import Kept
from experiments.benchmark.samplers.targets import EightGaussians, Target

VERSION = blackjax.__version__


def chains(
    sampler: str, target: Target, num_integration_steps: int, step_size: float
) -> Chains | None:
    """Run the Euler step of the overdamped Langevin diffusion, ``mala`` or ``hmc``."""
    logdensity = jax_loops.logdensity_fn(target)
    if sampler == "ula":
        return jax_loops.chains(*_diffusion(logdensity, step_size), num_gradients=1)
    if sampler == "mala":
        algorithm = blackjax.mala(logdensity, step_size)
    else:
        ones = jnp.ones(target.dim)
        algorithm = blackjax.hmc(logdensity, step_size, ones, num_integration_steps)

    def step(key: Any, state: Any) -> tuple[Any, Kept]:
        new, info = algorithm.step(key, state)
        error = _energy_error(state, info) if sampler == "hmc" else jnp.zeros(0)
        return new, Kept(new.position, info.acceptance_rate, error)

    num_gradients = num_integration_steps if sampler == "hmc" else 1
    return jax_loops.chains(lambda x, key: algorithm.init(x), step, num_gradients)


def _diffusion(logdensity: Any, step_size: float) -> tuple[Any, Any]:
    value_and_grad = jax.value_and_grad(logdensity)
    one_step = diffusions.overdamped_langevin(value_and_grad)

    def init(x: Any, key: Any = None) -> Any:
        return diffusions.DiffusionState(x, *value_and_grad(x))

    def step(key: Any, state: Any) -> tuple[Any, Kept]:
        new = one_step(key, state, step_size)
        return new, Kept(new.position)

    return init, step


def _energy_error(state: Any, info: Any) -> Any:
    """Compute ΔH from what the info holds; the mass matrix is I."""
    start = 0.5 * jnp.sum(info.momentum**2) - state.logdensity
    end = 0.5 * jnp.sum(info.proposal.momentum**2) - info.proposal.logdensity
    return end - start


def contrastive_divergence(
    target: Target, num_steps: int, step_size: float
) -> ContrastiveDivergence:
    """Differentiate the energies at data and at the ends of diffusions from them."""

    def advance(key: Any, logdensity: Any, start: Any) -> Any:
        init, step = _diffusion(logdensity, step_size)
        keys = jax.random.split(key, num_steps)
        state, _ = jax.lax.scan(lambda s, k: (step(k, s)[0], None), init(start), keys)
        return state.position

    return ContrastiveDivergence(jax_loops.contrastive_divergence(target, advance))


def adaptive(target: Target, num_warmup: int, num_draws: int) -> dict[str, AdaptiveRun]:
    """Offer NUTS after ``window_adaptation``."""
    logdensity = jax_loops.logdensity_fn(target)

    def run(key: Any, start: Any) -> Any:
        key_adapt, key_sample = jax.random.split(key)
        warmup = blackjax.window_adaptation(
            blackjax.nuts, logdensity, adaptation_info_fn=lambda *args: ()
        )
        (state, settings), _ = warmup.run(key_adapt, start, num_warmup)
        step = blackjax.nuts(logdensity, **settings).step

        def draw(state: Any, key: Any) -> Any:
            state, info = step(key, state)
            return state, (state.position, info.acceptance_rate, info.num_integration_steps)

        return jax.lax.scan(draw, state, jax.random.split(key_sample, num_draws))[1]

    compiled = jax.jit(jax.vmap(run))

    def adaptive_run(seed: int, starts: np.ndarray) -> Draws:
        keys = jax.random.split(jax.random.key(seed), len(starts))
        positions, rates, counts = map(np.asarray, compiled(keys, starts))
        return Draws(positions, float(rates.mean()), num_gradients=float(counts.mean()))

    return {"NUTS": adaptive_run}


def evidence(num_samples: int) -> dict[str, EvidenceRun]:
    """Offer adaptive tempered SMC with MALA."""

    def base(x: Any) -> Any:
        return EightGaussians.base_logdensity(x, jnp)

    algorithm = blackjax.adaptive_tempered_smc(
        base,
        lambda x: EightGaussians.logdensity(x, jnp) - base(x),
        blackjax.mala.build_kernel(),
        blackjax.mala.init,
        extend_params({"step_size": 0.03}),
        resampling.systematic,
        target_ess=0.7,
        num_mcmc_steps=10,
    )

    def goes_on(carry: Any) -> Any:
        return carry[1].tempering_param < 1

    def step(carry: Any) -> Any:
        key, state, log_z = carry
        key, key_step = jax.random.split(key)
        state, info = algorithm.step(key_step, state)
        return key, state, log_z + info.log_likelihood_increment

    def run(key: Any) -> Any:
        key_base, key_steps = jax.random.split(key)
        start = EightGaussians.base_scale * jax.random.normal(key_base, (num_samples, 2))
        state = algorithm.init(start)
        _, state, log_z = jax.lax.while_loop(goes_on, step, (key_steps, state, jnp.zeros(())))
        return log_z, state.particles

    compiled = jax_loops.timed(run)

    def evidence_run(seed: int) -> Evidence:
        log_z, draws = map(np.asarray, compiled(seed))
        return Evidence(float(log_z), draws, np.full(num_samples, 1 / num_samples))

    return {"SMC, 10 x MALA": evidence_run}
