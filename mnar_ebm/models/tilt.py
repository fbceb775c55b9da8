"""The tilt exp(-E): one energy, and the space decides what it is shown."""

from collections.abc import Callable
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
from flax import linen as nn

from mnar_ebm import _checks
from mnar_ebm.nets.convolution import NETWORKS
from mnar_ebm.nets.energy import AdditiveEnergy, ClusterEnergy, Energy, ImageEnergy
from mnar_ebm.programs import once
from mnar_ebm.settings import ENERGIES, TILTS
from mnar_ebm.types import Array, Key, PyTree


class Tilt(NamedTuple):
    """An energy E; low energy makes a state likely.

    Attributes:
        reads_x: whether E depends on x.
        reads_z: whether E depends on z.
        init: ``(key) -> params``.
        energy: ``(params, x [..., D], z [..., L]) -> [...]``, in nats.
        order: ``(params, x [K, D]) -> [K]``, by which draws are put in order before some are chosen
            by their weights: what the same key chooses then moves smoothly with the params;
            ``None``: as they come.
        latent_dim: how many of the latents may be shown to E, the first; ``None``: all.
    """

    reads_x: bool
    reads_z: bool
    init: Callable[[Key], PyTree]
    energy: Callable[[PyTree, Array, Array], Array]
    order: Callable[[PyTree, Array], Array] | None = None
    latent_dim: int | None = None


@once
def no_tilt() -> Tilt:
    """Return E = 0, with which the model is its base; always the same one, so that jit knows it."""
    return Tilt(False, False, lambda key: {}, lambda params, x, z: jnp.zeros(z.shape[:-1], z.dtype))


@once
def make_tilt(
    space: str,
    num_features: int,
    latent_dim: int,
    hidden_dim: int,
    bound: float,
    kind: str = "network",
    channels: tuple[int, ...] = (),
    is_normalised: bool = False,
) -> Tilt:
    """Return the tilt of ``space``: ``none``, ``data`` E(x), ``latent`` E(z), ``joint`` E(x, z).

    Args:
        space: one of ``settings.TILTS``.
        num_features: D.
        latent_dim: L, of the latents that the decoder reads.
        hidden_dim: units in each hidden layer of a network.
        bound: largest absolute value of E, in nats.
        kind: ``network``; ``additive``, a sum over what is shown; or ``clusters`` of it; or, of
            the pixels of square images alone, a network of ``convolution.NETWORKS``.
        channels: of each convolution, or of each block, of such a network.
        is_normalised: whether its kernels have spectral norm at most 1.

    Returns:
        The tilt; always the same one for equal arguments, so that jit knows it.

    Raises:
        ValueError: space or kind is unknown; the message lists the known ones.
    """
    _checks.check_choice("tilt", space, TILTS)
    _checks.check_choice("kind", kind, (*ENERGIES, *NETWORKS))
    if space == "none":
        return no_tilt()
    reads_x, reads_z = space in ("data", "joint"), space in ("latent", "joint")
    networks: dict[str, nn.Module] = {
        "network": Energy(hidden_dim, bound),
        "additive": AdditiveEnergy(bound),
        "clusters": ClusterEnergy(bound),
    }
    if kind in NETWORKS:
        networks[kind] = ImageEnergy(kind, channels, is_normalised, bound)
    network = networks[kind]
    num_inputs = num_features * reads_x + latent_dim * reads_z

    def energy(params: PyTree, x: Array, z: Array) -> Array:
        return cast(Array, network.apply(params, shown(tilt, x, z)))

    def init(key: Key) -> PyTree:
        return network.init(key, jnp.zeros(num_inputs))

    tilt = Tilt(reads_x, reads_z, init, energy, latent_dim=latent_dim)
    return tilt


def shown(tilt: Tilt, x: Array, z: Array) -> Array:
    """Return what the energy reads, x and z side by side or one of them. [..., I]."""
    read = z[..., : tilt.latent_dim]
    return jnp.concatenate([x] * tilt.reads_x + [read] * tilt.reads_z, axis=-1)


def compose(first: Tilt, second: Tilt) -> Tilt:
    r"""Return the tilt by both: E = \lambda_1 E_1 + \lambda_2 E_2, each with a bound of its own.

    Its parameters are those of ``first`` and ``second``, the two ``scales`` [2], and
    ``first_log_z``, log Z of the first tilt alone, which is not read here. []
    """

    def init(key: Key) -> PyTree:
        key_first, key_second = jax.random.split(key)
        return {
            "first": first.init(key_first),
            "second": second.init(key_second),
            "scales": jnp.ones(2),
            "first_log_z": jnp.zeros(()),
        }

    def energy(params: PyTree, x: Array, z: Array) -> Array:
        energies = first.energy(params["first"], x, z), second.energy(params["second"], x, z)
        return params["scales"][0] * energies[0] + params["scales"][1] * energies[1]

    def order(params: PyTree, x: Array) -> Array:
        assert second.order is not None
        return second.order(params["second"], x)

    return Tilt(
        first.reads_x or second.reads_x,
        first.reads_z or second.reads_z,
        init,
        energy,
        order=None if second.order is None else order,
    )


@once
def linear_tilt(num_features: int) -> Tilt:
    r"""Return E(x) = -size \sum_d direction_d u_d, an exponential tilt of values of some columns.

    What was observed of a row is constant in it, and so it is a tilt of its missing values:

        p(x_mis|x_obs, s) \prod_{d missing} exp(size direction_d u_d), normalised

    It is not bounded, and a law with heavy tails has no such tilt. Its parameters are ``direction``
    [D], ``size`` [], and ``bend``, that of the columns: u is the value before that, or x itself if
    it is ``None``. Draws are chosen in the order of the sum: of one missing value, by inverting its
    distribution function, whatever the size.

    Args:
        num_features: D.

    Returns:
        The tilt; always the same one for equal arguments, so that jit knows it.

    References:
        A. Rotnitzky, J. M. Robins, D. O. Scharfstein, "Semiparametric Regression for Repeated
        Outcomes with Nonignorable Nonresponse", JASA 93, 1998, pp. 1321-1339.
        A. M. Franks, E. M. Airoldi, D. B. Rubin, "Nonstandard conditionally specified models for
        nonignorable missing data", PNAS 117, 2020, https://doi.org/10.1073/pnas.1815563117.
    """

    def init(key: Key) -> PyTree:
        return {"direction": jnp.zeros(num_features), "size": jnp.zeros(()), "bend": None}

    def score(params: PyTree, x: Array) -> Array:
        value = x if params["bend"] is None else params["bend"].invert(x)
        return value @ params["direction"]

    def energy(params: PyTree, x: Array, z: Array) -> Array:
        return -params["size"] * score(params, x)

    return Tilt(True, False, init, energy, order=score)
