r"""Draws of an energy-based model while it trains: chains at temperature 1, and what they tell.

A step takes some chains of a buffer, leaps, moves and puts them back. The leap is a step of
Metropolis whose proposal is an independent draw of the reference,

    x' ~ p_0,      accepted with probability min(1, exp(E(x) - E(x')))

which leaves the model as it is: in few dimensions it carries chains between modes that no gradient
joins. A plain restart does not leave it; the chains that were just restarted are none of the model.

The step size of ``mala`` follows the acceptance rate from one training step to the next, and stands
still within one, so that each kernel leaves its model invariant.

References:
    T. Tieleman, "Training Restricted Boltzmann Machines using Approximations to the Likelihood
    Gradient", ICML 2008, https://doi.org/10.1145/1390156.1390290 (chains that persist).
    L. Tierney, "Markov Chains for Exploring Posterior Distributions", Annals of Statistics 22(4),
    1994, https://doi.org/10.1214/aos/1176325750, sec. 2.3.3 (independent proposals).
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mnar_ebm import _checks
from mnar_ebm.models.ebm import EBM, log_unnormalised
from mnar_ebm.numerics.uniform import positive_uniform
from mnar_ebm.samplers import mala, replay, ula
from mnar_ebm.samplers.annealed import move
from mnar_ebm.samplers.replay import Replay
from mnar_ebm.types import Array, Key

KERNELS = ("mala", "ula")
TARGET_ACCEPTANCE = 0.574
ADAPTATION_RATE = 0.05
GAP_DECAY = 0.9


class ChainSettings(NamedTuple):
    """How chains are run.

    Attributes:
        kernel: ``mala``, exact, or ``ula``, whose law is off by the order of the step size.
        num_chains: chains in the buffer, at least as many as rows in a batch.
        num_steps: steps of the kernel in a step of training.
        step_size: of ``ula``; of ``mala`` the first.
        restart: share of the chains of a step that start again from the reference.
    """

    kernel: str = "mala"
    num_chains: int = 1000
    num_steps: int = 10
    step_size: float = 0.01
    restart: float = 0.0


class Memory(NamedTuple):
    """What is carried from step to step.

    Attributes:
        buffer: the chains, with the steps that each made since it came from the reference; nothing
            where chains start at the data.
        log_step_size: []
        gap: running mean of the energy gap, by which a run-away is seen. []
    """

    buffer: Any
    log_step_size: Array
    gap: Array


class Drawn(NamedTuple):
    """Chains after a step.

    Attributes:
        negatives: where they stand. [B, ...]
        memory: what is carried on.
        info: what was seen.
    """

    negatives: Array
    memory: Memory
    info: dict[str, Array]


def check_settings(settings: ChainSettings) -> None:
    """Raise ``ValueError`` or ``TypeError`` if a setting may not be as it is."""
    _checks.check_choice("kernel", settings.kernel, KERNELS)
    _checks.check_whole("num_chains", settings.num_chains, 1)
    _checks.check_whole("num_steps", settings.num_steps, 1)
    _checks.check_positive("step_size", settings.step_size)
    _checks.check_between("restart", settings.restart, 0.0, 1.0)


def init_memory(key: Key, ebm: EBM, settings: ChainSettings, is_persistent: bool) -> Memory:
    """Return chains that stand at draws of the reference, or none."""
    buffer: Any = ()
    if is_persistent:
        keys = jax.random.split(key, settings.num_chains)
        buffer = replay.init(jax.vmap(ebm.sample_reference)(keys))
    return Memory(buffer, jnp.log(jnp.asarray(settings.step_size, float)), jnp.zeros((), float))


def leap(key: Key, ebm: EBM, params: Any, positions: Array) -> tuple[Array, Array]:
    """Return chains [C, ...] after a proposal of the reference each, and which accepted it. [C]."""
    key_fresh, key_accept = jax.random.split(key)
    num_chains = positions.shape[0]
    fresh = jax.vmap(ebm.sample_reference)(jax.random.split(key_fresh, num_chains))
    energy = jax.vmap(ebm.energy, (None, 0))
    log_ratio = energy(params.energy, positions) - energy(params.energy, fresh)
    is_accepted = jnp.log(positive_uniform(key_accept, (num_chains,))) < log_ratio
    return _where(is_accepted, fresh, positions), is_accepted


def advance(
    key: Key,
    ebm: EBM,
    params: Any,
    positions: Array,
    step_size: Array,
    settings: ChainSettings,
) -> tuple[Array, Array]:
    """Return chains [C, ...] after steps of the kernel, and the mean acceptance; NaN of ula. []."""
    kernel = {"mala": mala, "ula": ula}[settings.kernel]
    build = functools.partial(kernel, step_size=step_size)
    logdensity_fn = functools.partial(log_unnormalised, ebm, params)
    keys = jax.random.split(key, positions.shape[0])

    def one(key: Key, position: Array) -> tuple[Array, Array]:
        return move(key, build, logdensity_fn, position, settings.num_steps)

    positions, rates = jax.vmap(one)(keys, positions)
    return positions, rates.mean()


def draw_negatives(
    key: Key, ebm: EBM, params: Any, batch: Array, memory: Memory, settings: ChainSettings
) -> Drawn:
    """Return as many draws as there are rows: of chains that persist, or from the rows themselves.

    Args:
        key: random key.
        ebm: the model.
        params: its parameters, which nothing here is to be differentiated in.
        batch: rows of data. [B, ...]
        memory: what the step before has left.
        settings: of the chains.

    Raises:
        ValueError: there are fewer chains than rows.
    """
    key_move, key_rows, key_restart, key_fresh, key_leap = jax.random.split(key, 5)
    step_size = jnp.exp(memory.log_step_size)
    if not isinstance(memory.buffer, Replay):
        negatives, rate = advance(key_move, ebm, params, batch, step_size, settings)
        return Drawn(negatives, _adapt(memory, rate, settings), _seen(rate, settings))
    indices, rows = replay.draw(key_rows, memory.buffer, batch.shape[0])
    if settings.restart:
        keys = jax.random.split(key_fresh, batch.shape[0])
        fresh = jax.vmap(ebm.sample_reference)(keys)
        rows = replay.restart(key_restart, rows, fresh, settings.restart)
    positions, is_new = leap(key_leap, ebm, params, rows.positions)
    negatives, rate = advance(key_move, ebm, params, positions, step_size, settings)
    ages = jnp.where(is_new, 0, rows.ages) + settings.num_steps
    buffer = replay.put_back(memory.buffer, indices, Replay(negatives, ages))
    info = _seen(rate, settings) | {"chain_age": ages.mean(), "leaps": is_new.mean()}
    return Drawn(negatives, _adapt(memory._replace(buffer=buffer), rate, settings), info)


def remember_gap(memory: Memory, gap: Array) -> Memory:
    """Return what is carried on, with the gap of this step in its running mean."""
    return memory._replace(gap=GAP_DECAY * memory.gap + (1.0 - GAP_DECAY) * gap)


def _adapt(memory: Memory, rate: Array, settings: ChainSettings) -> Memory:
    if settings.kernel == "ula":
        return memory
    change = ADAPTATION_RATE * (rate - TARGET_ACCEPTANCE)
    return memory._replace(log_step_size=memory.log_step_size + change)


def _seen(rate: Array, settings: ChainSettings) -> dict[str, Array]:
    return {"acceptance_rate": rate} if settings.kernel == "mala" else {}


def _where(is_true: Array, new: Array, old: Array) -> Array:
    return jnp.where(is_true.reshape(-1, *[1] * (old.ndim - 1)), new, old)
