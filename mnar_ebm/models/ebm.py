r"""A density by an energy on a reference that can be drawn from: the deep energy-based model.

    p(x) = p_0(x) exp(-E(x)) / Z,      Z = E_{p_0} exp(-E(x))

with p_0 = N(0, s²I), or uniform on a box. Z is finite if E is bounded below.
A classifier with logits f is such an energy too:

    E(x) = -log sum_y exp(f_y(x)),     E(x|y) = -f_y(x),     p(y|x) = softmax_y f(x)

Everything is of one example; batches are a ``vmap``.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp

from mnar_ebm import _checks
from mnar_ebm.nets.convolution import NETWORKS
from mnar_ebm.nets.energy import Energy, bounded
from mnar_ebm.programs import once
from mnar_ebm.types import Array, Key, PyTree


class Reference(NamedTuple):
    """A law that can be drawn from, with independent and equal coordinates.

    Attributes:
        log_prob: ``(x [...]) -> []``, log p_0 of one example.
        sample: ``(key) -> x [...]``.
    """

    log_prob: Callable[[Array], Array]
    sample: Callable[[Key], Array]


class EBM(NamedTuple):
    """An energy on a reference.

    Attributes:
        init: ``(key) -> params`` of the energy.
        energy: ``(params, x [...]) -> []``, in nats.
        log_reference: ``(x [...]) -> []``, log p_0.
        sample_reference: ``(key) -> x [...]``.
    """

    init: Callable[[Key], PyTree]
    energy: Callable[[PyTree, Array], Array]
    log_reference: Callable[[Array], Array]
    sample_reference: Callable[[Key], Array]


class EBMParams(NamedTuple):
    """What is learned.

    Attributes:
        energy: parameters of the energy.
        log_z: log Z, learned by noise contrast alone: elsewhere it is to be estimated. []
    """

    energy: PyTree
    log_z: Array


@once
def normal_reference(shape: tuple[int, ...], scale: float = 1.0) -> Reference:
    """Return N(0, scale² I) of examples of a shape.

    Raises:
        ValueError: the scale is not positive.
    """
    _checks.check_positive("scale", scale)
    log_peak = -math.prod(shape) * (math.log(scale) + 0.5 * math.log(2.0 * math.pi))

    def log_prob(x: Array) -> Array:
        return log_peak - 0.5 * jnp.vdot(x, x) / scale**2

    return Reference(log_prob, lambda key: scale * jax.random.normal(key, shape))


@once
def box_reference(shape: tuple[int, ...], low: float, high: float) -> Reference:
    """Return the uniform law on [low, high] in each coordinate, of examples of a shape.

    Raises:
        ValueError: low is not below high.
    """
    if not low < high:
        raise ValueError(f"box: expected low below high, got {low} and {high}")
    log_height = -math.prod(shape) * math.log(high - low)

    def log_prob(x: Array) -> Array:
        return jnp.where(((x >= low) & (x <= high)).all(), log_height, -jnp.inf)

    def sample(key: Key) -> Array:
        return jax.random.uniform(key, shape, minval=low, maxval=high)

    return Reference(log_prob, sample)


@once
def make_ebm(
    num_features: int, reference: Reference, hidden_dim: int = 128, bound: float = 50.0
) -> EBM:
    """Return the model of points whose energy is a smooth network, 0 at first.

    Args:
        num_features: D.
        reference: of points [D].
        hidden_dim: units in each of two hidden layers.
        bound: largest absolute value of E, in nats.

    Returns:
        The model; always the same one for equal arguments, so that jit knows it.
    """
    network = Energy(hidden_dim, bound)

    def energy(params: PyTree, x: Array) -> Array:
        return cast(Array, network.apply(params, x))

    def init(key: Key) -> PyTree:
        return network.init(key, jnp.zeros(num_features))

    return EBM(init, energy, reference.log_prob, reference.sample)


class Network(NamedTuple):
    """A network of one example: an energy, or the logits of classes.

    Attributes:
        init: ``(key) -> params``.
        apply: ``(params, x [...]) -> [O]``.
    """

    init: Callable[[Key], PyTree]
    apply: Callable[[PyTree, Array], Array]


@once
def image_network(
    kind: str,
    shape: tuple[int, int, int],
    channels: tuple[int, ...],
    num_outputs: int = 1,
    is_normalised: bool = False,
) -> Network:
    """Return a convolutional network of rows of pixels [H W C], row by row of an image.

    Args:
        kind: ``plain`` or ``residual``.
        shape: H, W and C of an image.
        channels: of each convolution, or of each block.
        num_outputs: O.
        is_normalised: whether kernels have spectral norm at most 1.

    Raises:
        ValueError: the kind is unknown.
    """
    _checks.check_choice("network", kind, NETWORKS)
    network = NETWORKS[kind](num_outputs, channels, is_normalised)

    def apply(params: PyTree, x: Array) -> Array:
        return cast(Array, network.apply(params, x.reshape(shape)))

    return Network(lambda key: network.init(key, jnp.zeros(shape)), apply)


@once
def network_ebm(network: Network, reference: Reference, bound: float = jnp.inf) -> EBM:
    """Return the model of rows whose energy is b tanh(f/b), f a network's one output.

    Args:
        network: f.
        reference: of rows.
        bound: b, in nats; infinite: E = f.
    """

    def energy(params: PyTree, x: Array) -> Array:
        return bounded(network.apply(params, x)[0], bound)

    return EBM(network.init, energy, reference.log_prob, reference.sample)


def energy_of_logits(logits: Array) -> Array:
    """Return E(x) = -log sum_y exp(f_y(x)). [..., Y] -> [...]."""
    return -jax.nn.logsumexp(logits, axis=-1)


@once
def classifier_ebm(classifier: Network, reference: Reference, label: int | None = None) -> EBM:
    """Return the density of a classifier's inputs, of all classes or of one.

    Args:
        classifier: its logits f [Y].
        reference: of inputs.
        label: the class whose density p(x|y) it is; ``None``: p(x).
    """

    def energy(params: PyTree, x: Array) -> Array:
        found = classifier.apply(params, x)
        return energy_of_logits(found) if label is None else -found[label]

    return EBM(classifier.init, energy, reference.log_prob, reference.sample)


def init_params(key: Key, ebm: EBM) -> EBMParams:
    """Return parameters before training, with log Z = 0."""
    return EBMParams(ebm.init(key), jnp.zeros((), float))


def log_unnormalised(ebm: EBM, params: Any, x: Array) -> Array:
    """Return log p_0(x) - E(x), which is log p + log Z, of one example. []."""
    return ebm.log_reference(x) - ebm.energy(params.energy, x)


def log_ratio(ebm: EBM, params: Any, x: Array, y: Array) -> Array:
    """Return log p(x) - log p(y) of two examples, which needs no log Z. []."""
    return log_unnormalised(ebm, params, x) - log_unnormalised(ebm, params, y)
