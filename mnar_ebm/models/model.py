"""The one density p(x, z, s) = p(z) p(x|z) exp(-E(x, z)) / Z p(s|x, z), put together."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mnar_ebm.kinds import Block
from mnar_ebm.likelihoods import masked_log_prob
from mnar_ebm.missingness import MECHANISMS, GapModel, make_gap_model
from mnar_ebm.models.tilt import Tilt, compose, linear_tilt, make_tilt, no_tilt
from mnar_ebm.models.vae import VAE, make_vae
from mnar_ebm.numerics.normal import log_density
from mnar_ebm.programs import once
from mnar_ebm.settings import ModelSettings
from mnar_ebm.types import Array, Key, PyTree

SECOND_HIDDEN_DIM = 32
"""Units of a network that is fitted to unbiased rows, which are few."""


class Model(NamedTuple):
    """The three factors, each a tuple of pure functions; static under ``jit``."""

    vae: VAE
    mechanism: GapModel
    tilt: Tilt


class Params(NamedTuple):
    """Everything that is learned.

    Attributes:
        base: of encoder and decoder.
        mechanism: of p(s|x, z).
        energy: of E.
        tilt_scale: lambda in [0, 1]; the tilt is lambda E. []
        log_z: log Z of lambda E, in nats: estimated, or learned by noise contrast. []
    """

    base: PyTree
    mechanism: PyTree
    energy: PyTree
    tilt_scale: Array
    log_z: Array


def make_model(
    settings: ModelSettings,
    num_features: int,
    observed_columns: tuple[int, ...],
    blocks: tuple[Block, ...] = (),
    atom_side: tuple[int, ...] = (),
    second_energy: str = "",
) -> Model:
    """Return the model that the settings describe; for equal ones the same, which jit knows.

    Args:
        settings: of the model.
        num_features: D.
        observed_columns: indices of the columns without a gap.
        blocks: the columns, if some of them are discrete.
        atom_side: of the encoded columns, as ``Likelihood`` keeps it. [D] or empty
        second_energy: kind of the energy fitted to unbiased rows, beside the first; empty: none.

    Raises:
        ValueError: mechanism, likelihood and data do not go together.
    """
    settings = getattr(settings, "model", settings)  # a whole Config, as before there were groups
    if not MECHANISMS[settings.mechanism].reads_complete:
        observed_columns = ()
    settings = dataclasses.replace(settings, own_slopes=settings.hides_itself)  # else: a start
    return _make_model(settings, num_features, observed_columns, blocks, atom_side, second_energy)


@once
def _make_model(
    settings: ModelSettings,
    num_features: int,
    observed_columns: tuple[int, ...],
    blocks: tuple[Block, ...],
    atom_side: tuple[int, ...],
    second_energy: str,
) -> Model:
    vae = make_vae(settings, num_features, blocks, atom_side)
    mechanism = make_gap_model(
        settings.mechanism,
        vae.likelihood,
        num_features,
        gap_terms=settings.gap_terms,
        latent_dim=settings.latent_dim,
        gap_latents=settings.gap_latents,
        sign=settings.sign,
        hidden_dim=settings.hidden_dim,
        observed_columns=observed_columns,
        own=tuple(bool(slope) for slope in settings.own_slopes),
    )
    tilt = make_tilt(
        settings.tilt,
        num_features,
        settings.latent_dim,
        settings.hidden_dim,
        settings.energy_bound,
        "network" if settings.network == "mlp" else settings.network,
        settings.channels,
        settings.spectral_norm,
    )
    if second_energy:
        tilt = compose(tilt, make_second_tilt(settings, num_features, second_energy))
    return Model(vae, mechanism, tilt)


def make_second_tilt(settings: ModelSettings, num_features: int, kind: str) -> Tilt:
    """Return the tilt that is fitted to unbiased rows: in the space of the first, of any kind."""
    return make_tilt(
        settings.tilt,
        num_features,
        settings.latent_dim,
        SECOND_HIDDEN_DIM,
        settings.energy_bound,
        kind,
    )


def init_params(key: Key, model: Model, missing_rate: Array, slope: Array | float = 0.0) -> Params:
    """Return fresh parameters; the tilt starts at 0, so Z starts at 1.

    Args:
        key: random key.
        model: the model.
        missing_rate: share of missing cells in each column, strictly in (0, 1). [D]
        slope: that the mechanism starts with, as ``Mechanism.init`` reads it.
    """
    key_base, key_mechanism, key_energy = jax.random.split(key, 3)
    return Params(
        base=model.vae.init(key_base),
        mechanism=model.mechanism.init(key_mechanism, missing_rate, slope),
        energy=model.tilt.init(key_energy),
        tilt_scale=jnp.ones(()),
        log_z=jnp.zeros(()),
    )


def without_tilt(model: Model) -> Model:
    """Return the base model: the same but for E = 0."""
    return model._replace(tilt=no_tilt())


def tilt_linearly(
    model: Model, params: Params, direction: Any, size: float, bend: PyTree = None
) -> tuple[Model, Params]:
    r"""Return model and parameters of log p(x, z, s) + size \sum_d direction_d u_d, to impute with.

    The model is the same one for every direction and size, so that jit knows it. Its log Z is not
    computed: no weight of a row depends on it.

    Args:
        model: the model, with a tilt or without.
        params: its parameters.
        direction: per standard unit of each column, 0 where nothing changes. [D]
        size: how far to go.
        bend: of the columns, if they are bent: u is the value before that.
    """
    terms = {
        "first": params.energy,
        "second": {
            "direction": jnp.asarray(direction, jnp.float32),
            "size": jnp.asarray(size, jnp.float32),
            "bend": bend,
        },
        "scales": jnp.stack([jnp.asarray(params.tilt_scale, jnp.float32), jnp.ones(())]),
        "first_log_z": params.log_z,
    }
    return _with_linear_tilt(model), params._replace(energy=terms, tilt_scale=jnp.ones(()))


@once
def _with_linear_tilt(model: Model) -> Model:
    return model._replace(tilt=compose(model.tilt, linear_tilt(model.vae.num_features)))


def energy(model: Model, params: Params, x: Array, z: Array) -> Array:
    """Return lambda E(x, z). [..., D], [..., L] -> [...]."""
    return params.tilt_scale * model.tilt.energy(params.energy, x, z)


def log_prior(z: Array) -> Array:
    """Return log N(z; 0, I). [..., L] -> [...]."""
    return log_density(z).sum(axis=-1)


def joint_log_prob(model: Model, params: Params, x: Array, z: Array, mask: Array) -> Array:
    """Return log p(x, z, s) + log Z of a complete row, the sum of the model's four terms. []."""
    everything = jnp.ones_like(mask)
    log_likelihood = masked_log_prob(
        model.vae.likelihood, model.vae.decode(params.base, z), x, everything
    )
    log_mechanism = model.mechanism.log_prob(params.mechanism, x, mask, z)
    return log_prior(z) + log_likelihood + log_mechanism - energy(model, params, x, z)
