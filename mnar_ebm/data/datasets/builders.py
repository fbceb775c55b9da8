"""TFDS builders for benchmark files that a person has: no TensorFlow, no network.

A prepared copy goes to TFDS's data folder, named after a digest of its source files, so that a
changed source is prepared anew. Floats are stored as bytes: TFDS's own floats are 32 bits wide.
"""

import contextlib
import dataclasses
import gzip
import hashlib
import io
import math
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from absl import logging

from mnar_ebm.data import csv_files
from mnar_ebm.data.datasets import labelled
from mnar_ebm.data.table import Table, benchmark_table

Folder = str | os.PathLike[str]

UCI = {
    "banknote": "10.24432/C55P57",
    "breast": "10.24432/C5DW2B",
    "concrete": "10.24432/C5PK67",
    "red": "10.24432/C56S3T",
}
"""DOIs at the UCI Machine Learning Repository."""

UCI_HOME = "doi.org/{} (as CSV: a header line, then the features and, last, the target)"

IMAGES = {
    "mnist": "yann.lecun.com/exdb/mnist",
    "fashion_mnist": "github.com/zalandoresearch/fashion-mnist",
}
"""Homes of the idx files."""

IDX_FILES = ("train-{}-ubyte.gz", "t10k-{}-ubyte.gz")


@dataclasses.dataclass
class SourceConfig(tfds.core.BuilderConfig):
    """Which files to prepare.

    Attributes:
        files: the source files.
        columns: the columns of a table to keep.
    """

    files: tuple[Path, ...] = ()
    columns: tuple[str, ...] = ()


class UciTable(tfds.core.GeneratorBasedBuilder):
    """A table of numbers, one feature per column."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        number = tfds.features.Tensor(shape=(), dtype=np.float64, encoding="bytes")
        return _info(self, dict.fromkeys(self.builder_config.columns, number))

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        (path,), columns = self.builder_config.files, self.builder_config.columns
        _, lines, text = csv_files.read_text(path)
        x = csv_files.to_numbers(path, columns, lines, text[:, : len(columns)])
        for index, row in enumerate(x):
            yield index, dict(zip(columns, row, strict=True))


class IdxImages(tfds.core.GeneratorBasedBuilder):
    """Images of 28 x 28 grey pixels, with their labels."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        image = tfds.features.Tensor(shape=(28, 28, 1), dtype=np.uint8, encoding="bytes")
        return _info(self, {"image": image, "label": tfds.features.ClassLabel(num_classes=10)})

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
        train_images, train_labels, test_images, test_labels = self.builder_config.files
        return {
            "train": self._generate_examples(train_images, train_labels),
            "test": self._generate_examples(test_images, test_labels),
        }

    def _generate_examples(self, images: Path, labels: Path) -> Iterator[tuple[int, dict]]:
        pairs = zip(read_idx(images), read_idx(labels), strict=True)
        for index, (image, label) in enumerate(pairs):
            yield index, {"image": image[..., None], "label": int(label)}


def load(name: str, data_dir: Folder) -> Table:
    """Return a table of :data:`UCI`, or training images of :data:`IMAGES` with pixels in [0, 1].

    Args:
        name: the data set.
        data_dir: the folder that holds ``uci/<name>.csv`` or ``<name>/*-ubyte.gz``.

    Raises:
        ValueError: a source file is missing or malformed; the message says where to get it.
    """
    if name in UCI:
        return load_uci(name, data_dir)
    images, _ = load_images(name, data_dir, "train")
    return benchmark_table(name, labelled.columns(28 * 28), images.reshape(-1, 28 * 28) / 255)


def load_uci(name: str, data_dir: Folder) -> Table:
    """Return a table of :data:`UCI` without its target, except that concrete keeps it.

    The paper's numbers for concrete are reproduced with the target as a ninth column only.
    """
    path = _source(name, Path(data_dir, "uci", f"{name}.csv"), UCI_HOME.format(UCI[name]))
    header, _, _ = csv_files.read_text(path)
    columns = header if name == "concrete" else header[:-1]
    rows = _rows(UciTable, name, "train", (path,), columns)
    return benchmark_table(name, columns, np.array([[row[c] for c in columns] for row in rows]))


def load_images(name: str, data_dir: Folder, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return images [N, 28, 28, 1] of 0..255 and labels [N]; ``split`` is train or test."""
    files = tuple(
        _source(name, Path(data_dir, name, pattern.format(part)), IMAGES[name])
        for pattern in IDX_FILES
        for part in ("images-idx3", "labels-idx1")
    )
    rows = _rows(IdxImages, name, split, files)
    return np.stack([row["image"] for row in rows]), np.array([row["label"] for row in rows])


def read_idx(path: Path) -> np.ndarray:
    """Return the array in a gzipped idx file of bytes.

    Raises:
        ValueError: the file is something else.
    """
    try:
        data = gzip.decompress(path.read_bytes())
        shape = np.frombuffer(data, ">i4", count=data[3], offset=4)
        if data[:3] != b"\0\0\x08" or len(data) != 4 + 4 * len(shape) + math.prod(shape.tolist()):
            raise ValueError("not idx")
    except (OSError, EOFError, IndexError, ValueError, zlib.error):
        raise ValueError(f"{path}: expected a gzipped idx file of bytes") from None
    return np.frombuffer(data, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


def _info(builder: Any, features: dict[str, Any]) -> tfds.core.DatasetInfo:
    """Return the description of a data set whose rows keep the order of their file."""
    return tfds.core.DatasetInfo(
        builder=builder, features=tfds.features.FeaturesDict(features), disable_shuffling=True
    )


def _source(name: str, path: Path, home: str) -> Path:
    """Return the path; raise ``ValueError`` if there is no such file."""
    if not path.is_file():
        raise ValueError(f"{name}: expected the file {path}, got none; get it from {home}")
    return path


def _rows(
    cls: Any, name: str, split: str, files: tuple[Path, ...], columns: tuple[str, ...] = ()
) -> list[dict[str, np.ndarray]]:
    """Return the rows of a split, prepared from the source files unless they were before."""
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
    config = SourceConfig(name=f"{name}-{digest[:16]}", files=files, columns=columns)
    with _quiet():
        folder = os.environ.get("TFDS_DATA_DIR")
        builder = cls(config=config, data_dir=folder, file_format="array_record")
        try:
            builder.download_and_prepare()
        except FileExistsError:  # another process was first, and its copy is complete
            builder = cls(config=config, data_dir=folder, file_format="array_record")
        source = builder.as_data_source(split=split)
        return source.__getitems__(range(len(source)))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep TFDS from printing its progress and a warning about every configuration."""
    tfds.disable_progress_bar()
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(verbosity)
