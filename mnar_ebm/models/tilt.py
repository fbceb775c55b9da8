"""The tilt exp(-E): one energy, and the space decides what it is shown."""

import functools
from collections.abc import Callable
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp

from mnar_ebm import _checks
from mnar_ebm.config import ENERGIES, TILTS
from mnar_ebm.nets.energy import AdditiveEnergy, ClusterEnergy, Energy
from mnar_ebm.types import Array, Key, PyTree


class Tilt(NamedTuple):
    """An energy E; low energy makes a state likely.

    Attributes:
        reads_x: whether E depends on x.
        reads_z: whether E depends on z.
        init: ``(key) -> params``.
        energy: ``(params, x [..., D], z [..., L]) -> [...]``, in nats.
    """

    reads_x: bool
    reads_z: bool
    init: Callable[[Key], PyTree]
    energy: Callable[[PyTree, Array, Array], Array]


@functools.cache
def no_tilt() -> Tilt:
    """Return E = 0, with which the model is its base; always the same one, so that jit knows it."""
    return Tilt(False, False, lambda key: {}, lambda params, x, z: jnp.zeros(z.shape[:-1], z.dtype))


@functools.cache
def make_tilt(
    space: str,
    num_features: int,
    latent_dim: int,
    hidden_dim: int,
    bound: float,
    kind: str = "network",
) -> Tilt:
    """Return the tilt of ``space``: ``none``, ``data`` E(x), ``latent`` E(z), ``joint`` E(x, z).

    Args:
        space: one of ``config.TILTS``.
        num_features: D.
        latent_dim: L.
        hidden_dim: units in each hidden layer of a network.
        bound: largest absolute value of E, in nats.
        kind: ``network``; ``additive``, a sum over what is shown; or ``clusters`` of it.

    Returns:
        The tilt; always the same one for equal arguments, so that jit knows it.

    Raises:
        ValueError: space or kind is unknown; the message lists the known ones.
    """
    _checks.check_choice("tilt", space, TILTS)
    _checks.check_choice("kind", kind, ENERGIES)
    if space == "none":
        return no_tilt()
    reads_x, reads_z = space in ("data", "joint"), space in ("latent", "joint")
    networks = {
        "network": Energy(hidden_dim, bound),
        "additive": AdditiveEnergy(bound),
        "clusters": ClusterEnergy(bound),
    }
    network = networks[kind]
    num_inputs = num_features * reads_x + latent_dim * reads_z

    def energy(params: PyTree, x: Array, z: Array) -> Array:
        return cast(Array, network.apply(params, shown(tilt, x, z)))

    tilt = Tilt(reads_x, reads_z, lambda key: network.init(key, jnp.zeros(num_inputs)), energy)
    return tilt


def shown(tilt: Tilt, x: Array, z: Array) -> Array:
    """Return what the energy reads, x and z side by side or one of them. [..., I]."""
    return jnp.concatenate([x] * tilt.reads_x + [z] * tilt.reads_z, axis=-1)


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

    return Tilt(first.reads_x or second.reads_x, first.reads_z or second.reads_z, init, energy)
