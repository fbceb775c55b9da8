"""Samples of the tilted model by chains.

ULA, MALA or HMC on one of the log-densities of ``targets``, many chains side by side.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mnar_ebm import _checks, devices, models, samplers
from mnar_ebm.inference import targets
from mnar_ebm.inference.targets import LogDensity
from mnar_ebm.models import Model, Params, posterior
from mnar_ebm.types import Array, Key, PyTree

SPACES = ("latent", "data", "noise")
METHODS = ("ula", "mala", "hmc")


class ChainSamples(NamedTuple):
    """Draws from the tilted model by Markov chains.

    Attributes:
        x: rows. [C, T, D]
        z: their latents. [C, T, L]
        info: what the sampler reported of each draw, by name. [C, T]
        step_size: of each chain. [C]
    """

    x: Array
    z: Array
    info: dict[str, Array]
    step_size: Array


@functools.partial(
    jax.jit,
    static_argnames=(
        *("model", "num_chains", "num_draws", "method", "space"),
        *("num_steps", "thin", "step_size", "temperature"),
    ),
)
def sample_by_chains(
    key: Key,
    model: Model,
    params: Params,
    num_chains: int,
    num_draws: int,
    *,
    method: str,
    space: str,
    num_steps: int,
    thin: int = 1,
    step_size: float | None = None,
    temperature: float = 1.0,
) -> ChainSamples:
    """Draw from the tilted model by chains that start at base draws.

    It is jitted; all arguments but the key and the parameters are static.

    Args:
        key: random key.
        model: the model.
        params: its parameters.
        num_chains: C.
        num_draws: T, kept of each chain.
        method: ``ula``, ``mala`` or ``hmc``.
        space: ``latent``, ``data`` or ``noise``.
        num_steps: steps in which ``mala`` and ``hmc`` adapt, and as many again, of any method,
            before the first draw can be kept.
        thin: steps from one draw to the next.
        step_size: in the space's units. For ``mala`` and ``hmc``, ``None`` adapts it, for each
            chain.
        temperature: of ``ula``; other than 1 it samples another model.

    Raises:
        ValueError: a name is unknown, the space does not go with the tilt or the likelihood,
            ``ula`` has no step size, or another method has a temperature.
    """
    _checks.check_choice("space", space, SPACES)
    key_init, key_target, key_chains, key_x = jax.random.split(key, 4)
    if space == "latent":
        logdensity = targets.latent_logdensity(model, params)
        start = jax.random.normal(key_init, (num_chains, model.vae.latent_dim))
    elif space == "data":
        logdensity = targets.data_logdensity(key_target, model, params, num_samples=16)
        start, _ = models.sample_base(key_init, model.vae, params.base, num_chains)
    else:
        logdensity = targets.noise_logdensity(model, params)
        keys_init = jax.random.split(key_init, num_chains)
        start = jax.vmap(lambda key: targets.init_noise(key, model))(keys_init)

    def run(key: Key, position: PyTree) -> tuple[PyTree, dict[str, Array], Array]:
        return run_chain(
            key,
            logdensity,
            position,
            num_draws,
            method=method,
            warm_up=num_steps,
            thin=thin,
            step_size=step_size,
            temperature=temperature,
        )

    chains = devices.split((jax.random.split(key_chains, num_chains), start))
    position, info, step_sizes = jax.vmap(run)(*chains)
    if space == "latent":
        z = position
        x = model.vae.likelihood.sample(key_x, model.vae.decode(params.base, z))
    elif space == "data":
        everything = jnp.ones(model.vae.num_features, bool)
        encode = jax.vmap(jax.vmap(lambda x: posterior(model, params, x, everything).mode))
        x, z = position, encode(position)
    else:
        x, z = jax.vmap(jax.vmap(lambda noise: targets.from_noise(model, params, noise)))(position)
    return ChainSamples(x, z, info, step_sizes)


def run_chain(
    key: Key,
    logdensity: LogDensity,
    position: PyTree,
    num_draws: int,
    *,
    method: str,
    warm_up: int,
    thin: int,
    step_size: float | Array | None = None,
    temperature: float = 1.0,
) -> tuple[PyTree, dict[str, Array], Array]:
    """Run one chain, its settings adapted first unless the step size is given.

    Args:
        key: random key.
        logdensity: of one position.
        position: where the chain starts.
        num_draws: T, draws that are kept.
        method: ``ula``, ``mala`` or ``hmc``.
        warm_up: steps of the adaptation, and of the burn-in.
        thin: steps from one draw to the next.
        step_size: ``None`` adapts it, to an acceptance rate of 0.574 (``mala``), or 0.8 with a
            mass matrix (``hmc``).
        temperature: of ``ula``.

    Returns:
        The draws, each leaf [T, ...]; of each what the sampler reported, by name [T]; and the
        step size. []

    Raises:
        ValueError: the method is unknown, ``ula`` has no step size, or another a temperature.
    """
    _checks.check_choice("method", method, METHODS)
    if method == "ula" and step_size is None:
        raise ValueError("step_size: expected a positive number for ula, got none")
    if method != "ula" and temperature != 1.0:
        raise ValueError(f"temperature: expected 1 for {method}, got {temperature}")
    key_adapt, key_chain = jax.random.split(key)
    build = {"ula": samplers.ula, "mala": samplers.mala, "hmc": samplers.hmc}[method]
    make_algorithm = functools.partial(build, logdensity)
    settings: dict[str, Any] = {"step_size": step_size}
    if method == "ula":
        settings["temperature"] = temperature
    elif step_size is None and method == "mala":
        adapted, state = samplers.adapt_step_size(key_adapt, make_algorithm, position, warm_up, 0.1)
        settings, position = {"step_size": adapted}, state.position
    elif step_size is None:
        settings, state = samplers.window_adaptation(key_adapt, make_algorithm, position, warm_up)
        position = state.position
    _, (draws, info) = samplers.sample(
        key_chain, make_algorithm(**settings), position, num_draws, burn_in=warm_up, thin=thin
    )
    return draws, info._asdict(), jnp.asarray(settings["step_size"])
