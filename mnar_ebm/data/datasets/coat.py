"""Coat Shopping: ratings of coats that users chose to rate, and of coats drawn at random.

References:
    T. Schnabel, A. Swaminathan, A. Singh, N. Chandak, T. Joachims, "Recommendations as Treatments:
    Debiasing Learning and Evaluation", ICML 2016, https://arxiv.org/abs/1602.05352, sec. 6.5.
"""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

HOME = "www.cs.cornell.edu/~schnabts/mnar"


class Coat(NamedTuple):
    """Ratings from 1 to 5 of 300 coats by 290 users; NaN where there is none.

    A pair may be in both tables, with the same rating.

    Attributes:
        selected: 24 ratings of each user, of coats that the user chose. [290, 300]
        random: 16 ratings of each user, of coats drawn at random. [290, 300]
        user_features: 0 or 1. [290, 14]
        item_features: 0 or 1. [300, 33]
        user_feature_names: as ``attribute:value``.
        item_feature_names: as ``attribute:value``.
    """

    selected: np.ndarray
    random: np.ndarray
    user_features: np.ndarray
    item_features: np.ndarray
    user_feature_names: tuple[str, ...]
    item_feature_names: tuple[str, ...]


def load_coat(data_dir: str | os.PathLike[str]) -> Coat:
    """Return the ratings and the features of users and coats.

    Args:
        data_dir: the folder that holds ``coat``, the files as their authors publish them.

    Raises:
        ValueError: a file is missing, the message says where to get it; or it is malformed.
    """
    folder = Path(data_dir, "coat")
    selected = _ratings(folder / "train.ascii")
    random = _ratings(folder / "test.ascii")
    if random.shape != selected.shape:
        raise ValueError(
            f"{folder / 'test.ascii'}: expected shape {selected.shape}, as train.ascii has, "
            f"got {random.shape}"
        )
    num_users, num_items = selected.shape
    users, user_names = _features(folder, "user", num_users)
    items, item_names = _features(folder, "item", num_items)
    return Coat(selected, random, users, items, user_names, item_names)


def _ratings(path: Path) -> np.ndarray:
    """Return ratings, with NaN for the file's 0. [N, D]."""
    ratings = _numbers(path, range(6), "ratings from 1 to 5, and 0 for none")
    return np.where(ratings == 0, np.nan, ratings)


def _features(folder: Path, owner: str, num_rows: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the features [num_rows, F] of users or items, and their F names."""
    path = folder / "user_item_features" / f"{owner}_features.ascii"
    features = _numbers(path, range(2), "0 or 1")
    names = tuple(_read(path.with_name(f"{owner}_features_map.txt")).split("\n"))
    names = tuple(name for name in map(str.strip, names) if name)
    if features.shape != (num_rows, len(names)):
        raise ValueError(
            f"{path}: expected a row for each of {num_rows} {owner}s and a column for each of "
            f"{len(names)} names, got shape {features.shape}"
        )
    return features, names


def _numbers(path: Path, allowed: range, meaning: str) -> np.ndarray:
    """Return a file's table of whole numbers, as floats. [N, D]."""
    try:
        table = np.loadtxt(_read(path).splitlines(), ndmin=2)
    except ValueError as error:
        raise ValueError(f"{path}: expected a table of {meaning}, got: {error}") from None
    wrong = table[~np.isin(table, allowed)]
    if not table.size or wrong.size:
        got = f"{wrong[0]:g}" if wrong.size else "no rows"
        raise ValueError(f"{path}: expected {meaning}, got {got}")
    return table


def _read(path: Path) -> str:
    if not path.is_file():
        raise ValueError(f"coat: expected the file {path}, got none; get it from {HOME}")
    return path.read_text(encoding="utf-8")
