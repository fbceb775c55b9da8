"""MNIST as bits, and what both benchmarks know of it."""

import jax.numpy as jnp

from experiments import settings
from experiments.benchmark.debiasing.digits import to_black_and_white
from mnar_ebm.types import Array


def load(name: str = "MNIST") -> tuple[Array, Array]:
    """Return training and test images of all digits as bits. [60000, 784], [10000, 784]."""
    from mnar_ebm.data.datasets import builders  # imports TFDS

    if settings.DATA_DIR.value is None:
        raise ValueError("--data_dir: expected the folder with mnist/, got none")
    splits = []
    for split in ("train", "test"):
        images, _ = builders.load_images("mnist", settings.DATA_DIR.value, split)
        bits = to_black_and_white(images.reshape(len(images), -1) / 255)
        splits.append(jnp.asarray(1 - bits if name.startswith("1 -") else bits))
    return splits[0], splits[1]


def rate(rows: Array) -> Array:
    """Return how often each pixel is on, kept off 0 and 1. [784]."""
    return (rows.sum(axis=0) + 1.0) / (len(rows) + 2.0)
