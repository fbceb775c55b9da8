"""The base model p(z) p(x|z) with its encoder: a tuple of pure functions."""

from collections.abc import Callable
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp

from mnar_ebm import devices
from mnar_ebm.kinds import Block
from mnar_ebm.likelihoods import Likelihood, make_likelihood
from mnar_ebm.nets.autoencoder import Decoder, Encoder
from mnar_ebm.settings import ModelSettings
from mnar_ebm.types import Array, DecoderOutput, Key, PyTree


class VAE(NamedTuple):
    """p(z) = N(0, I), p(x|z), and q(z|x_obs, s) = N(loc, scale²) if an encoder says it.

    Attributes:
        init: ``(key) -> params``.
        encode: ``(params, x [D], mask [D]) -> (loc [L], scale [L])``; it never reads what a
            missing cell holds. ``None``: q is Laplace's (``models.posterior``).
        decode: ``(params, z [..., L]) -> DecoderOutput`` with leaves [..., D].
        likelihood: p(x|z) from the decoder's output.
        num_features: D.
        latent_dim: L, those of the gaps too, which are the last and not decoded.
        is_point: whether z is the mean of q, and p(z) is not modelled: an autoencoder.
    """

    init: Callable[[Key], PyTree]
    encode: Callable[[PyTree, Array, Array], tuple[Array, Array]] | None
    decode: Callable[[PyTree, Array], DecoderOutput]
    likelihood: Likelihood
    num_features: int
    latent_dim: int
    is_point: bool = False


def make_vae(
    settings: ModelSettings,
    num_features: int,
    blocks: tuple[Block, ...] = (),
    atom_side: tuple[int, ...] = (),
) -> VAE:
    """Return the VAE that the settings describe.

    Args:
        settings: of the model.
        num_features: D.
        blocks: the columns, if some of them are discrete.
        atom_side: of the encoded columns, as ``Likelihood`` keeps it. [D] or empty
    """
    likelihood = make_likelihood(settings.likelihood, blocks, atom_side)
    has_encoder = settings.proposal != "laplace"
    widths = settings.widths
    latent_dim = settings.latent_dim + settings.gap_latents
    encoder = Encoder(latent_dim, widths, settings.show_mask, settings.activation)
    decoder = Decoder(
        num_features,
        widths[::-1],
        kind=settings.decoder,
        scale=settings.decoder_scale,
        heads=likelihood.heads,
        atom_side=likelihood.atom_side,
        has_gain=settings.column_gain,
        activation=settings.activation,
    )

    def init(key: Key) -> PyTree:
        key_encoder, key_decoder = jax.random.split(key)
        made = {"decoder": decoder.init(key_decoder, jnp.zeros(settings.latent_dim))}
        if has_encoder:
            x, mask = jnp.zeros(num_features), jnp.ones(num_features, bool)
            made["encoder"] = encoder.init(key_encoder, x, mask)
        return made

    def encode(params: PyTree, x: Array, mask: Array) -> tuple[Array, Array]:
        filled = jnp.where(mask, x, 0.0)
        return cast(tuple[Array, Array], encoder.apply(params["encoder"], filled, mask))

    def decode(params: PyTree, z: Array) -> DecoderOutput:
        return cast(DecoderOutput, decoder.apply(params["decoder"], z[..., : settings.latent_dim]))

    return VAE(
        init=init,
        encode=encode if has_encoder else None,
        decode=decode,
        likelihood=likelihood,
        num_features=num_features,
        latent_dim=latent_dim,
        is_point=settings.proposal == "point",
    )


def sample_base(key: Key, vae: VAE, params: PyTree, num_samples: int) -> tuple[Array, Array]:
    """Draw (x, z) from p(z) p(x|z), over all devices. Returns x [N, D] and z [N, L]."""
    key_z, key_x = jax.random.split(key)
    z = devices.split(jax.random.normal(key_z, (num_samples, vae.latent_dim)))
    return vae.likelihood.sample(key_x, vae.decode(params, z)), z
