"""Digits 0 to 4: many in wrong proportions, a few of each class, and who judges generated ones."""

import functools
from typing import NamedTuple

import numpy as np

from experiments import classifier
from experiments.benchmark.debiasing.jobs import Record
from mnar_ebm import data, metrics
from mnar_ebm.data import Table
from mnar_ebm.data.datasets import builders

NUM_CLASSES = 5
PROPORTIONS = (0.12, 0.33, 0.28, 0.20, 0.07)
NUM_SELECTED = 20_000
PER_CLASS = (2, 5, 10, 50, 100)


class Digits(NamedTuple):
    """Images as rows of pixels in [0, 1], and their labels.

    Attributes:
        train_x, test_x: images. [N, 28 * 28]
        train_y, test_y: labels. [N]
    """

    train_x: np.ndarray
    train_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray


class Split(NamedTuple):
    """What a seed draws.

    Attributes:
        selected: images in the wrong proportions.
        unbiased: by number per class, other images, those of a smaller number among them.
    """

    selected: Table
    unbiased: dict[int, Table]


class Judge(NamedTuple):
    """Who says which digits were drawn, and how well.

    Attributes:
        reader: the classifier.
        accuracy: of it, the mean over classes of test images.
        features: of as many test images of each class. [N, F]
    """

    reader: classifier.Classifier
    accuracy: float
    features: np.ndarray

    def judge(self, images: np.ndarray) -> Record:
        """Return class shares, their total variation from equal ones, and the FID. [N, 28 * 28]."""
        seen = self.reader.read(images)
        shares = np.bincount(seen.labels, minlength=NUM_CLASSES) / len(images)
        equal = np.full(NUM_CLASSES, 1 / NUM_CLASSES)
        return {
            "shares": shares.tolist(),
            "variation": metrics.total_variation(shares, equal),
            "fid": metrics.frechet_distance(seen.features, self.features),
        }


@functools.cache
def load_digits(data_dir: str | None) -> Digits:
    """Return the images of digits 0 to 4 under ``data_dir``.

    Raises:
        ValueError: no folder was named, or a file is missing.
    """
    if data_dir is None:
        raise ValueError("--data_dir: expected the folder with mnist/, got none")
    parts: list[np.ndarray] = []
    for name in ("train", "test"):
        images, labels = builders.load_images("mnist", data_dir, name)
        kept = labels < NUM_CLASSES
        x = images[kept].reshape(-1, 28 * 28).astype(np.float32) / 255
        parts += [x, labels[kept]]
    return Digits(*parts)


def to_black_and_white(x: np.ndarray) -> np.ndarray:
    """Return pixels that are 0 or 1. [N, 28 * 28]."""
    return (x > 0.5).astype(np.float32)


def split_digits(digits: Digits, seed: int, num_selected: int = NUM_SELECTED) -> Split:
    """Return the selected images, and from those left over the unbiased ones."""
    rng = np.random.default_rng(seed)
    selected: list[int] = []
    left: list[np.ndarray] = []
    for label, share in enumerate(PROPORTIONS):
        rows = rng.permutation(np.flatnonzero(digits.train_y == label))
        count = round(num_selected * share)
        if len(rows) < count + max(PER_CLASS):
            raise ValueError(
                f"mnist: expected {count + max(PER_CLASS)} images of {label}, got {len(rows)}"
            )
        selected.extend(rows[:count])
        left.append(rows[count:])
    unbiased = {n: np.concatenate([rows[:n] for rows in left]) for n in PER_CLASS}
    return Split(
        _table(digits, rng.permutation(selected)),
        {n: _table(digits, rng.permutation(rows)) for n, rows in unbiased.items()},
    )


def _table(digits: Digits, rows: np.ndarray) -> Table:
    columns = [f"pixel_{number}" for number in range(digits.train_x.shape[1])]
    return data.make_table("mnist", columns, to_black_and_white(digits.train_x[rows]))


@functools.cache
def make_judge(data_dir: str | None) -> Judge:
    """Return the classifier, trained on all training images, and what it sees in test images."""
    digits = load_digits(data_dir)
    reader = classifier.fit(digits.train_x, digits.train_y)
    rows_of = [np.flatnonzero(digits.test_y == label) for label in range(NUM_CLASSES)]
    read = reader.read(digits.test_x).labels
    accuracy = np.mean([np.mean(read[rows] == label) for label, rows in enumerate(rows_of)])
    fewest = min(map(len, rows_of))
    balanced = np.concatenate([rows[:fewest] for rows in rows_of])
    return Judge(reader, float(accuracy), reader.read(digits.test_x[balanced]).features)
