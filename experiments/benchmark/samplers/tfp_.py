"""TensorFlow Probability on JAX: its kernels on a batch of chains, by ``sample_chain``."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tensorflow_probability
from tensorflow_probability.substrates import jax as tfp

from experiments.benchmark.samplers import jax_loops
from experiments.benchmark.samplers.interface import Chains, Draws, Evidence, EvidenceRun
from experiments.benchmark.samplers.targets import EightGaussians, Target

VERSION = tensorflow_probability.__version__


def chains(
    sampler: str, target: Target, num_integration_steps: int, step_size: float
) -> Chains | None:
    """Run the Langevin and Hamiltonian kernels; their Langevin step size is twice ours."""
    logdensity = jax_loops.logdensity_fn(target)
    kernel = {
        "ula": lambda: tfp.mcmc.UncalibratedLangevin(logdensity, step_size=2 * step_size),
        "mala": lambda: tfp.mcmc.MetropolisAdjustedLangevinAlgorithm(
            logdensity, step_size=2 * step_size
        ),
        "hmc": lambda: tfp.mcmc.HamiltonianMonteCarlo(
            logdensity, step_size=step_size, num_leapfrog_steps=num_integration_steps
        ),
    }[sampler]()

    def log_ratio(state: Any, results: Any) -> Any:
        return getattr(results, "log_accept_ratio", jnp.full(len(state), jnp.nan))

    def advance(starts: np.ndarray, num_steps: int) -> Callable[[int], Any]:
        def ends(key: Any, starts: Any) -> Any:
            return tfp.mcmc.sample_chain(
                1,
                starts,
                kernel=kernel,
                num_burnin_steps=num_steps - 1,
                trace_fn=None,
                seed=key,
            )[0]

        return jax_loops.timed(ends, starts)

    def draw(seed: int, starts: np.ndarray, num_draws: int, thin: int) -> Draws:
        def run(key: Any, starts: Any) -> Any:
            return tfp.mcmc.sample_chain(
                num_draws,
                starts,
                kernel=kernel,
                num_burnin_steps=thin - 1,
                num_steps_between_results=thin - 1,
                trace_fn=log_ratio,
                seed=key,
            )

        positions, ratio = jax.tree.map(np.asarray, jax_loops.timed(run, starts)(seed))
        error = -ratio.T if sampler == "hmc" else np.zeros((0, 0))
        rate = float(np.minimum(np.exp(np.minimum(ratio, 0)), 1).mean())
        return Draws(np.swapaxes(positions, 0, 1), rate, error)

    return Chains(advance, draw)


def evidence(num_samples: int) -> dict[str, EvidenceRun]:
    """Offer annealed importance sampling with HMC."""

    def run(key: Any) -> Any:
        key_base, key_chain = jax.random.split(key)
        start = EightGaussians.base_scale * jax.random.normal(key_base, (num_samples, 2))
        draws, log_w, _ = tfp.mcmc.sample_annealed_importance_chain(
            num_steps=200,
            proposal_log_prob_fn=lambda x: EightGaussians.base_logdensity(x, jnp),
            target_log_prob_fn=lambda x: EightGaussians.logdensity(x, jnp),
            current_state=start,
            make_kernel_fn=lambda logdensity: tfp.mcmc.HamiltonianMonteCarlo(
                logdensity, step_size=0.2, num_leapfrog_steps=2
            ),
            seed=key_chain,
        )
        log_z = jax.nn.logsumexp(log_w) - jnp.log(num_samples)
        return log_z, draws, jax.nn.softmax(log_w)

    compiled = jax_loops.timed(run)

    def evidence_run(seed: int) -> Evidence:
        log_z, draws, weights = map(np.asarray, compiled(seed))
        return Evidence(float(log_z), draws, weights)

    return {"AIS, 200 x HMC-2": evidence_run}
