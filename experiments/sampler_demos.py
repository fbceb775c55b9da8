"""Every sampler on a target of ``sampler_targets``, for as many evaluations of the log-density.

Chain samplers run four chains from draws of the base; the others make one set of draws. Each spends
about 80 evaluations on every draw that is kept: 80 000 of them on 1000 draws.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import sampler_targets
from experiments.sampler_targets import Target
from mnar_ebm import diagnostics, samplers

NUM_CHAINS = 4
EVALUATIONS = 80
INVERSE_TEMPERATURES = (1, 1 / 4, 1 / 16, 1 / 64, 0)

Key = jax.Array


class Outcome(NamedTuple):
    """What a sampler drew, and what it tells of itself.

    Attributes:
        draws: of C chains or runs. [C, N, 2]
        facts: measured numbers, by name.
        weights: of the draws, which sum to one; None if they are equal. [C, N]
    """

    draws: np.ndarray
    facts: dict[str, Any]
    weights: np.ndarray | None = None


def ula(key: Key, target: Target, num_draws: int) -> Outcome:
    """Run unadjusted Langevin chains."""
    key_start, key_run = jax.random.split(key)
    chains = samplers.langevin(
        key_run,
        target.logdensity_fn,
        starts(key_start, target),
        num_draws // NUM_CHAINS,
        step_size=0.2 / target.stiffness,
        thin=EVALUATIONS,
    )
    return of_chains(chains.draws, EVALUATIONS)


def mala(key: Key, target: Target, num_draws: int) -> Outcome:
    """Run Metropolis-adjusted Langevin chains, adapted."""
    key_start, key_run = jax.random.split(key)
    x0, size = starts(key_start, target), num_draws // NUM_CHAINS
    chains = samplers.adjusted_langevin(key_run, target.logdensity_fn, x0, size, thin=EVALUATIONS)
    return of_chains(chains.draws, EVALUATIONS, chains.info.acceptance_rate)


def hmc(key: Key, target: Target, num_draws: int) -> Outcome:
    """Run Hamiltonian chains, adapted."""
    key_start, key_run = jax.random.split(key)
    x0, size = starts(key_start, target), num_draws // NUM_CHAINS
    chains = samplers.hamiltonian(key_run, target.logdensity_fn, x0, size, thin=EVALUATIONS // 10)
    return of_chains(chains.draws, EVALUATIONS, chains.info.acceptance_rate)


def elliptical_slice(key: Key, target: Target, num_draws: int) -> Outcome:
    """Run elliptical slice sampling, with the base as its prior."""
    algorithm = samplers.elliptical_slice(target.log_weight_fn, scale=target.scale)
    thin = EVALUATIONS // 5  # near 5 evaluations a step, measured below
    draws, info = run(key, algorithm, target, num_draws, thin)
    return of_chains(draws, thin * float(info.num_evaluations.mean()))


def gibbs(key: Key, target: Target, num_draws: int) -> Outcome:
    """Run block Gibbs sampling: label and place, or the two coordinates."""
    algorithm = samplers.gibbs(target.updates)
    thin = EVALUATIONS // 2
    draws, _ = run(key, algorithm, target, num_draws, thin, target.to_blocks)
    return of_chains(jax.vmap(jax.vmap(target.from_blocks))(draws), EVALUATIONS)


def parallel_tempering(key: Key, target: Target, num_draws: int) -> Outcome:
    """Run five replicas, from the target down to the base, moved by MALA."""
    algorithm = samplers.parallel_tempering(
        target.kernel,
        target.base_logdensity_fn,
        target.log_weight_fn,
        INVERSE_TEMPERATURES,
        num_steps=3,
    )
    thin = EVALUATIONS // (4 * len(INVERSE_TEMPERATURES))
    draws, info = run(key, algorithm, target, num_draws, thin)
    outcome = of_chains(draws, EVALUATIONS, info.kernel.acceptance_rate[..., 0])
    return outcome._replace(
        facts=outcome.facts | {"swapped": float(info.swap_rate.mean((0, 1)).min())}
    )


def replay(key: Key, target: Target, num_draws: int) -> Outcome:
    """Keep a buffer of MALA chains; in each round 5 % of those drawn start again."""
    num_rows, num_steps = max(1, num_draws // 5), 7
    key_start, key_rounds = jax.random.split(key)
    algorithm = target.kernel(target.logdensity_fn)

    def advance(key: Key, position: jax.Array) -> tuple[jax.Array, jax.Array]:
        state, (_, info) = samplers.sample(key, algorithm, position, num_steps)
        return state.position, info.acceptance_rate.mean()

    def turn(buffer: Any, key: Key) -> tuple[Any, jax.Array]:
        key_draw, key_fresh, key_restart, key_move = jax.random.split(key, 4)
        indices, rows = samplers.replay.draw(key_draw, buffer, num_rows)
        fresh = from_base(key_fresh, target, num_rows)
        rows = samplers.replay.restart(key_restart, rows, fresh, 0.05)
        positions, rates = jax.vmap(advance)(jax.random.split(key_move, num_rows), rows.positions)
        rows = rows._replace(positions=positions, ages=rows.ages + num_steps)
        return samplers.replay.put_back(buffer, indices, rows), rates.mean()

    buffer = samplers.replay.init(from_base(key_start, target, num_draws))
    num_rounds = 5 * EVALUATIONS // (num_steps + 1)
    buffer, rates = jax.jit(lambda *args: jax.lax.scan(turn, *args))(
        buffer, jax.random.split(key_rounds, num_rounds)
    )
    facts = {"evaluations": EVALUATIONS, "accepted": float(rates.mean())}
    return Outcome(np.asarray(buffer.positions)[None], facts | {"age": float(buffer.ages.mean())})


def snis(key: Key, target: Target, num_draws: int) -> Outcome:
    """Weight 80 times as many draws of the base, and resample."""
    key_draw, key_resample = jax.random.split(key)
    num_samples = EVALUATIONS * num_draws
    x, log_w, info = jax.jit(
        lambda key: samplers.snis(key, target.base_sample_fn, target.log_weight_fn, num_samples)
    )(key_draw)
    chosen = samplers.sir(key_resample, log_w, num_draws)
    facts = {"evaluations": EVALUATIONS, "share": float(info.ess) / num_samples}
    facts["k"] = diagnostics.pareto_k(log_w)
    return Outcome(np.asarray(x[chosen])[None], facts | log_z_of(info))


def ais(key: Key, target: Target, num_draws: int) -> Outcome:
    """Anneal draws of the base by MALA, and weight them."""
    num_temperatures, num_steps = 20, 2  # 4 evaluations at each
    estimate = jax.jit(
        lambda key: samplers.ais(
            key,
            target.base_sample_fn,
            target.base_logdensity_fn,
            target.log_weight_fn,
            target.kernel,
            ladder(num_temperatures),
            num_draws,
            num_steps,
        )
    )(key)
    weights = np.exp(samplers.normalise(estimate.log_w))
    share = float(estimate.effective_sample_size) / num_draws
    facts = {"evaluations": EVALUATIONS, "accepted": float(estimate.acceptance_rate.mean())}
    facts |= {"share": share} | log_z_of(estimate)
    return Outcome(np.asarray(estimate.draws)[None], facts, weights[None])


def smc(key: Key, target: Target, num_draws: int) -> Outcome:
    """Anneal, weight and resample a crowd, with temperatures chosen on the way."""
    num_steps = 25
    estimate = jax.jit(
        lambda key: samplers.smc(
            key,
            target.base_sample_fn,
            target.base_logdensity_fn,
            target.log_weight_fn,
            target.kernel,
            num_draws,
            num_steps,
        )
    )(key)
    num_temperatures = int(estimate.num_temperatures)
    facts = {"evaluations": (num_steps + 2) * num_temperatures}
    facts["accepted"] = float(jnp.nanmean(estimate.acceptance_rate))
    facts |= {"temperatures": num_temperatures} | log_z_of(estimate)
    return Outcome(np.asarray(estimate.draws)[None], facts)


SAMPLERS: dict[str, Callable[[Key, Target, int], Outcome]] = {
    "ula": ula,
    "mala": mala,
    "hmc": hmc,
    "elliptical_slice": elliptical_slice,
    "gibbs": gibbs,
    "parallel_tempering": parallel_tempering,
    "replay": replay,
    "snis": snis,
    "ais": ais,
    "smc": smc,
}
"""Each takes a key, a target and the number of draws to keep, of all chains."""


def ladder(num_temperatures: int) -> jax.Array:
    """Return β from 0 to 1, finer where the target is far from its base. [T + 1]."""
    return jnp.linspace(0, 1, num_temperatures + 1) ** 4


def starts(key: Key, target: Target) -> jax.Array:
    """Return where the chains start: draws of the base. [C, 2]."""
    return from_base(key, target, NUM_CHAINS)


def from_base(key: Key, target: Target, size: int) -> jax.Array:
    """Return draws of the base. [N, 2]."""
    return jax.vmap(target.base_sample_fn)(jax.random.split(key, size))


def run(
    key: Key,
    algorithm: samplers.SamplingAlgorithm,
    target: Target,
    num_draws: int,
    thin: int,
    to_position: Callable[[jax.Array], Any] = lambda x: x,
) -> tuple[Any, Any]:
    """Run the chains of a sampler; draws and info, each leaf [C, N, ...]."""
    key_start, key_chains = jax.random.split(key)
    size = num_draws // NUM_CHAINS

    def chain(key: Key, x: jax.Array) -> Any:
        return samplers.sample(
            key, algorithm, to_position(x), size, burn_in=size * thin // 10, thin=thin
        )[1]

    keys = jax.random.split(key_chains, NUM_CHAINS)
    return jax.jit(jax.vmap(chain))(keys, starts(key_start, target))


def of_chains(draws: jax.Array, evaluations: float, rate: jax.Array | None = None) -> Outcome:
    """Diagnose chains: the coordinate with the fewest effective draws, and the largest R-hat."""
    summary = diagnostics.summarise(draws)
    facts = {"evaluations": evaluations, "ess": summary["ess_bulk"], "rhat": summary["rhat"]}
    if rate is not None:
        facts["accepted"] = float(rate.mean())
    return Outcome(np.asarray(draws), facts)


def log_z_of(estimate: Any) -> dict[str, float]:
    """Return log Z and its standard error."""
    return {"log_z": float(estimate.log_z), "error": float(estimate.log_z_standard_error)}


def mode_facts(outcome: Outcome) -> dict[str, float]:
    """Compare draws with the eight modes.

    Returns:
        ``tv``, half the sum of |share of the draws - weight| over the modes, and ``variance``, the
        mean square around the nearest mode over σ², which is 1 for exact draws.
    """
    x, modes = outcome.draws.reshape(-1, 2), sampler_targets.MODES
    weights = np.full(len(x), 1 / len(x)) if outcome.weights is None else outcome.weights.ravel()
    squares = ((x[:, None] - modes) ** 2).sum(axis=-1)
    shares = np.bincount(squares.argmin(axis=1), weights, minlength=len(modes))
    variance = weights @ squares.min(axis=1) / 2 / sampler_targets.SIGMA**2
    return {"tv": np.abs(shares - sampler_targets.WEIGHTS).sum() / 2, "variance": variance}
