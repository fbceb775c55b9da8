r"""What a stage takes for log Z while it trains, and the chains that it may carry along.

``snis`` and ``jensen`` draw from the base. ``cd`` and ``pcd`` run chains of MALA at the tilted
model: ``cd`` from fresh base draws or from data, k steps at every step of training; ``pcd`` from
where a replay buffer left them, less a share that starts again. A chain moves where the base is
N(0, I),

    noise     -½|e_z|² - ½|e_x|² - \lambda E(x(e), z(e))     a tilt that reads x
    latent    log p(z) - \lambda E(z)                        a tilt that reads z alone

and log Z = log E_{N(0, I)} exp(-\lambda E) there. With the *noise* of the draws held fixed, and not
their x, the gradient of mean(-\lambda E) is therefore that of log Z in the energy and in the base
alike, and a chain stays valid when the base moves under it.

References:
    Z. Xiao, K. Kreis, J. Kautz, A. Vahdat, "VAEBM: A Symbiosis between Variational Autoencoders
    and Energy-based Models", ICLR 2021, https://arxiv.org/abs/2010.00654, sec. 3.2.
    T. Tieleman, "Training Restricted Boltzmann Machines using Approximations to the Likelihood
    Gradient", ICML 2008, https://doi.org/10.1145/1390156.1390290.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mnar_ebm import devices, models, samplers
from mnar_ebm.inference import targets
from mnar_ebm.models import Model, Params
from mnar_ebm.negative_phases import NEGATIVE_PHASES
from mnar_ebm.objectives import bounds
from mnar_ebm.objectives.negative_phase import base_energies
from mnar_ebm.samplers import replay
from mnar_ebm.settings import NegativeSettings
from mnar_ebm.types import Array, Batch, Key, PyTree

Info = dict[str, Array]
LogZ = Callable[[Array], Array]

NUM_POSTERIOR_DRAWS = 20
"""Weighted draws of a row's posterior, of which a chain starts at one."""


class Negatives(NamedTuple):
    """An estimate of log Z to differentiate, and what it remembers.

    Attributes:
        init: ``(key) -> chains``, any pytree; empty where nothing is remembered.
        log_z: ``(key, params, chains, batch) -> (log_z [], chains, info)``; the batch of rows is
            where chains may start.
    """

    init: Callable[[Key], PyTree]
    log_z: Callable[[Key, Params, PyTree, Batch], tuple[Array, PyTree, Info]]


def make_negatives(settings: NegativeSettings, model: Model) -> Negatives:
    """Return the negatives of ``settings.negative_phase``; without a tilt, log Z = 0.

    Training by ``nce`` has a loss of its own; where a bound is wanted beside it, it is by snis.
    """
    if not (model.tilt.reads_x or model.tilt.reads_z):
        return _remember_nothing(lambda key, params, batch: (jnp.zeros(()), {}))
    phase = NEGATIVE_PHASES[settings.negative_phase]
    if phase.has_chains:
        make = _persistent_chains if phase.is_persistent else _fresh_chains
        return make(phase.log_z, settings, model)

    def log_z(key: Key, params: Params, batch: Batch) -> tuple[Array, Info]:
        return phase.log_z(base_energies(key, model, params, settings.num_negatives)), {}

    return _remember_nothing(log_z)


def _remember_nothing(log_z: Callable[[Key, Params, Batch], tuple[Array, Info]]) -> Negatives:
    def keep(key: Key, params: Params, chains: PyTree, batch: Batch) -> tuple[Array, PyTree, Info]:
        value, info = log_z(key, params, batch)
        return value, chains, info

    return Negatives(lambda key: (), keep)


def _fresh_chains(estimate: LogZ, settings: NegativeSettings, model: Model) -> Negatives:
    def log_z(key: Key, params: Params, batch: Batch) -> tuple[Array, Info]:
        key_start, key_chains = jax.random.split(key)
        if settings.chain_start == "data":
            starts = data_positions(key_start, model, params, batch, settings.num_negatives)
        else:
            starts = base_positions(key_start, model, settings.num_negatives)
        positions, info = advance(key_chains, settings, model, params, starts)
        return estimate(energies_at(model, params, positions)), info

    return _remember_nothing(log_z)


def _persistent_chains(estimate: LogZ, settings: NegativeSettings, model: Model) -> Negatives:
    def init(key: Key) -> replay.Replay:
        return replay.init(base_positions(key, model, settings.replay_size))

    def log_z(key: Key, params: Params, buffer: PyTree, batch: Batch) -> tuple[Array, PyTree, Info]:
        key_draw, key_fresh, key_restart, key_chains = jax.random.split(key, 4)
        indices, rows = replay.draw(key_draw, buffer, settings.num_negatives)
        fresh = base_positions(key_fresh, model, settings.num_negatives)
        rows = replay.restart(key_restart, rows, fresh, settings.restart_share)
        positions, info = advance(key_chains, settings, model, params, rows.positions)
        rows = replay.Replay(positions, rows.ages + settings.num_chain_steps)
        value = estimate(energies_at(model, params, positions))
        info = {**info, "chain_age": rows.ages.mean()}
        return value, replay.put_back(buffer, indices, rows), info

    return Negatives(init, log_z)


def base_positions(key: Key, model: Model, num_chains: int) -> PyTree:
    """Return draws of the base where chains move: of its noise, or of its latent. [N, ...]."""
    if not model.tilt.reads_x:
        return jax.random.normal(key, (num_chains, model.vae.latent_dim))
    keys = jax.random.split(key, num_chains)
    return jax.vmap(lambda key: targets.init_noise(key, model))(keys)


def data_positions(key: Key, model: Model, params: Params, batch: Batch, num_chains: int) -> PyTree:
    """Return rows of data where chains move, latents and missing values drawn with them. [N, ...].

    A row is drawn from the batch, and z and x_mis from its posterior, by weights. With a Gaussian
    likelihood the noise of x is e_x = (x - loc(z)) / scale(z).
    """
    key_rows, key_draws = jax.random.split(key)
    params = jax.lax.stop_gradient(params)
    rows = jax.random.randint(key_rows, (num_chains,), 0, batch.x.shape[0])

    def one(key: Key, row: Batch) -> PyTree:
        key_weights, key_chosen = jax.random.split(key)
        told = (row.x, row.mask, NUM_POSTERIOR_DRAWS, row.is_selected)
        draws = bounds.log_weights(key_weights, model, params, *told)
        chosen = jax.random.categorical(key_chosen, draws.log_w)
        if not model.tilt.reads_x:
            return draws.z[chosen]
        eta = model.vae.decode(params.base, draws.z[chosen])
        return {"z": draws.z[chosen], "x": ((draws.x[chosen] - eta.loc) / eta.scale)[None]}

    keys = jax.random.split(key_draws, num_chains)
    return jax.vmap(one)(keys, jax.tree.map(lambda leaf: jnp.asarray(leaf)[rows], batch))


def advance(
    key: Key, settings: NegativeSettings, model: Model, params: Params, positions: PyTree
) -> tuple[PyTree, Info]:
    """Return chains after ``settings.num_chain_steps`` steps of MALA at the tilted model.

    Args:
        key: random key.
        settings: of the negative phase.
        model: the tilted model.
        params: its parameters; no gradient flows into them.
        positions: where the chains stand. [N, ...]

    Returns:
        Where they get to [N, ...], and their ``acceptance_rate`` at the last step.
    """
    params = jax.lax.stop_gradient(params)
    target = targets.noise_logdensity if model.tilt.reads_x else targets.latent_logdensity
    algorithm = samplers.mala(target(model, params), settings.chain_step_size)

    def run(key: Key, position: PyTree) -> tuple[PyTree, Array]:
        state, acceptance_rate = samplers.sample(
            key,
            algorithm,
            position,
            num_steps=1,
            thin=settings.num_chain_steps,
            transform=lambda state, info: info.acceptance_rate,
        )
        return state.position, acceptance_rate

    chains = devices.split((jax.random.split(key, settings.num_negatives), positions))
    positions, acceptance_rates = jax.vmap(run)(*chains)
    return positions, {"acceptance_rate": acceptance_rates.mean()}


def energies_at(model: Model, params: Params, positions: PyTree) -> Array:
    r"""Return \lambda E at chains, differentiable in energy and base. [N, ...] -> [N]."""

    def energy(position: PyTree) -> Array:
        if model.tilt.reads_x:
            x, z = targets.from_noise(model, params, position)
        else:
            x, z = jnp.zeros(model.vae.num_features), position
        return models.energy(model, params, x, z)

    return jax.vmap(energy)(positions)
