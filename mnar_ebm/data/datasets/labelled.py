"""Images with their classes, to train on and to test with."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn import datasets
from sklearn.model_selection import train_test_split

from mnar_ebm import _checks

NAMES = ("digits", "mnist", "fashion_mnist", "cifar10")

CIFAR10 = "cifar10_11k.npz"
CIFAR10_HOME = (
    "www.cs.toronto.edu/~kriz/cifar.html (as arrays x_train, y_train, x_test and y_test of one npz)"
)


class Labelled(NamedTuple):
    """Images as rows of pixels.

    Attributes:
        x: from 0 to 16 of digits, from 0 to 1 of others; colours last. [N, D]
        label: classes, from 0. [N]
    """

    x: np.ndarray
    label: np.ndarray


class Parts(NamedTuple):
    """A data set.

    Attributes:
        train: images to train on.
        test: images to test with.
    """

    train: Labelled
    test: Labelled


def load(name: str, data_dir: str | os.PathLike[str] | None = None) -> Parts:
    """Return the images of a named set: a fifth of scikit-learn's digits are for the test.

    Args:
        name: one of ``NAMES``.
        data_dir: the folder of source files, for the sets that scikit-learn does not carry.

    Raises:
        ValueError: the name is unknown, or a source file is missing.
    """
    _checks.check_choice("dataset", name, NAMES)
    if name == "digits":
        bunch = datasets.load_digits()
        split = train_test_split(
            bunch.data, bunch.target, test_size=0.2, random_state=0, stratify=bunch.target
        )
        return Parts(Labelled(split[0], split[2]), Labelled(split[1], split[3]))
    if data_dir is None:
        raise ValueError(f"{name}: expected a folder of source files, got none; pass --data_dir")
    if name == "cifar10":
        return Parts(*(_cifar10(Path(data_dir), part) for part in ("train", "test")))
    from mnar_ebm.data.datasets import builders  # imports TFDS

    return Parts(*(_rows(*builders.load_images(name, data_dir, p)) for p in ("train", "test")))


def columns(num_columns: int) -> list[str]:
    """Return names of the pixels of square images, grey or of three colours."""
    colours = 1 if round(num_columns**0.5) ** 2 == num_columns else 3
    side = round((num_columns / colours) ** 0.5)
    ends = [""] if colours == 1 else [f"_{colour}" for colour in ("red", "green", "blue")]
    return [f"pixel_{i}_{j}{end}" for i in range(side) for j in range(side) for end in ends]


def _cifar10(data_dir: Path, part: str) -> Labelled:
    path = data_dir / "cifar10" / CIFAR10
    if not path.is_file():
        raise ValueError(f"cifar10: expected the file {path}, got none; get it from {CIFAR10_HOME}")
    with np.load(path) as arrays:
        return _rows(arrays[f"x_{part}"], arrays[f"y_{part}"])


def _rows(images: np.ndarray, label: np.ndarray) -> Labelled:
    return Labelled(images.reshape(len(images), -1) / 255, label.astype(int))
