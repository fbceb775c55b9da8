"""numpyro: its functional HMC and NUTS in a scan, which spares them a compilation in every call."""

from typing import Any

import jax
import numpy as np
import numpyro
from numpyro.infer.hmc import hmc

from experiments.benchmark.samplers import jax_loops
from experiments.benchmark.samplers.interface import AdaptiveRun, Chains, Draws
from experiments.benchmark.samplers.jax_loops import Kept
from experiments.benchmark.samplers.targets import Target

VERSION = numpyro.__version__


def chains(
    sampler: str, target: Target, num_integration_steps: int, step_size: float
) -> Chains | None:
    """Run HMC; numpyro has no Langevin sampler."""
    if sampler != "hmc":
        return None
    logdensity = jax_loops.logdensity_fn(target)
    init_kernel, sample_kernel = hmc(lambda x: -logdensity(x), algo="HMC")

    def init(x: Any, key: Any) -> Any:
        return init_kernel(
            x,
            num_warmup=0,
            step_size=step_size,
            adapt_step_size=False,
            adapt_mass_matrix=False,
            trajectory_length=step_size * num_integration_steps,
            rng_key=key,
        )

    def step(key: Any, state: Any) -> tuple[Any, Kept]:
        state = sample_kernel(state)  # it carries a key of its own
        return state, Kept(state.z, state.accept_prob)

    return jax_loops.chains(init, step, num_integration_steps)


def adaptive(target: Target, num_warmup: int, num_draws: int) -> dict[str, AdaptiveRun]:
    """Offer NUTS with its own adaptation."""
    logdensity = jax_loops.logdensity_fn(target)
    init_kernel, sample_kernel = hmc(lambda x: -logdensity(x), algo="NUTS")

    def run(key: Any, start: Any) -> Any:
        state = init_kernel(start, num_warmup=num_warmup, rng_key=key)
        state = jax.lax.fori_loop(0, num_warmup, lambda _, s: sample_kernel(s), state)

        def draw(state: Any, _: Any) -> Any:
            state = sample_kernel(state)
            return state, (state.z, state.accept_prob, state.num_steps)

        return jax.lax.scan(draw, state, length=num_draws)[1]

    compiled = jax.jit(jax.vmap(run))

    def adaptive_run(seed: int, starts: np.ndarray) -> Draws:
        keys = jax.random.split(jax.random.key(seed), len(starts))
        positions, rates, counts = map(np.asarray, compiled(keys, starts))
        return Draws(positions, float(rates.mean()), num_gradients=float(counts.mean()))

    return {"NUTS": adaptive_run}
