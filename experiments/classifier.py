"""The judge of generated images: a small network that reads their class and gives features."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from mnar_ebm.nets.convolution import image_shape
from mnar_ebm.types import Array, PyTree

BATCH_SIZE = 128
LEARNING_RATE = 2e-3
NUM_FEATURES = 64
ROWS_AT_ONCE = 1000


class Network(nn.Module):
    """Two convolutions and a dense layer of features.

    Attributes:
        num_classes: C.
    """

    num_classes: int

    @nn.compact
    def __call__(self, images: Array) -> tuple[Array, Array]:
        """Map square images [B, D] in [0, 1] to logits [B, C] and features [B, F]."""
        hidden = images.reshape(-1, *image_shape(images.shape[-1]))
        for channels in (16, 32):
            hidden = nn.relu(nn.Conv(channels, (5, 5), strides=2)(hidden))
        features = nn.relu(nn.Dense(NUM_FEATURES)(hidden.reshape(len(hidden), -1)))
        return nn.Dense(self.num_classes)(features), features


class Reading(NamedTuple):
    """What the classifier sees in images.

    Attributes:
        labels: the likeliest class of each. [N]
        features: the layer before the last. [N, F]
    """

    labels: np.ndarray
    features: np.ndarray


class Classifier(NamedTuple):
    """A trained network."""

    network: Network
    params: PyTree

    def read(self, images: np.ndarray) -> Reading:
        """Return what is seen in images with pixels in [0, 1]. [N, D]."""
        logits, features = zip(
            *(
                _apply(self.network, self.params, images[first : first + ROWS_AT_ONCE])
                for first in range(0, len(images), ROWS_AT_ONCE)
            ),
            strict=True,
        )
        return Reading(np.concatenate(logits).argmax(axis=-1), np.concatenate(features))


def fit(images: np.ndarray, labels: np.ndarray, num_steps: int = 1500, seed: int = 0) -> Classifier:
    """Train on images as they are and on the same images in black and white.

    Args:
        images: pixels in [0, 1]. [N, D]
        labels: from 0 to C - 1. [N]
        num_steps: of Adam.
        seed: of weights and batches.
    """
    network = Network(int(labels.max()) + 1)
    rng = np.random.default_rng(seed)
    params = network.init(jax.random.key(seed), jnp.zeros((1, images.shape[1])))
    optimiser = optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, num_steps))
    opt_state = optimiser.init(params)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params: PyTree, opt_state: Any, x: Array, y: Array) -> tuple[PyTree, Any]:
        def loss(params: PyTree) -> Array:
            logits, _ = network.apply(params, x)
            return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

        updates, opt_state = optimiser.update(jax.grad(loss)(params), opt_state)
        return optax.apply_updates(params, updates), opt_state

    for _ in range(num_steps):
        rows = rng.integers(len(images), size=BATCH_SIZE)
        x = images[rows]
        is_binary = rng.random((BATCH_SIZE, 1)) < 0.5
        params, opt_state = step(params, opt_state, np.where(is_binary, x > 0.5, x), labels[rows])
    return Classifier(network, params)


@functools.partial(jax.jit, static_argnums=0)
def _apply(network: Network, params: PyTree, images: Array) -> tuple[Array, Array]:
    return network.apply(params, images)
