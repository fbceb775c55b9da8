"""Tables of one's own: a complete CSV file, and one that says which of its cells to hide."""

import pathlib
from collections.abc import Sequence

import numpy as np
import pandas as pd
from pandas.api import types as dtypes

from experiments.benchmark.do_no_harm.designs import Design, Example
from experiments.benchmark.do_no_harm.values import Values, levels
from mnar_ebm import _checks
from mnar_ebm.estimator import columns
from mnar_ebm.estimator.columns import ColumnType

FAMILY = "file"
"""Of all of them: what decides on their gaps is not known here."""


def read(datasets: Sequence[str], mask_files: Sequence[str]) -> list[Design]:
    """Return a design for each NAME=PATH of complete values, with the NAME=PATH of its mask.

    Raises:
        ValueError: a flag or a file is not as expected; the message says which.
        OSError: a file cannot be read.
    """
    paths, masks = _parse("--datasets", datasets), _parse("--mask_file", mask_files)
    for name in masks:
        _checks.check_choice("--mask_file", name, paths)
    for name in paths:
        if name not in masks:
            raise ValueError(f"--mask_file: expected {name}=PATH.csv beside --datasets, got none")
    return [_design(name, path, masks[name]) for name, path in paths.items()]


def _parse(flag: str, told: Sequence[str]) -> dict[str, str]:
    paths: dict[str, str] = {}
    for one in told:
        name, _, path = one.partition("=")
        if not (name and path):
            raise ValueError(f"{flag}: expected NAME=PATH.csv, got {one!r}")
        if name in paths:
            raise ValueError(f"{flag}: expected distinct names, got {name} twice")
        paths[name] = path
    return paths


def _design(name: str, path: str, mask_path: str) -> Design:
    frame, shown = _read_csv(path), _read_csv(mask_path)
    if shown.shape != frame.shape:
        raise ValueError(
            f"{mask_path}: expected the shape of {path}, {frame.shape}, got {shown.shape}"
        )
    if list(shown.columns) != list(frame.columns):
        raise ValueError(f"{mask_path}: expected the header of {path}, got another")
    if not shown.isin([0, 1]).all(axis=None):
        raise ValueError(f"{mask_path}: expected 0 and 1 alone, got others")
    mask = shown.to_numpy().astype(bool)
    if mask.all() or not mask.any(axis=0).all():
        what = "a 0" if mask.all() else "a 1 in each column"
        raise ValueError(f"{mask_path}: expected {what}, got none")
    example = Example(_to_values(path, frame), mask)
    return Design(name, FAMILY, pathlib.Path(path).name, lambda seed, num_rows: example)


def _read_csv(path: str) -> pd.DataFrame:
    try:
        return pd.read_csv(path)
    except ValueError as error:  # of pandas, in several lines
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from None


def _to_values(path: str, frame: pd.DataFrame) -> Values:
    if frame.isna().any(axis=None):
        column = frame.columns[frame.isna().any(axis=0)][0]
        raise ValueError(
            f"{path}: expected complete values, got a missing one in column {column!r}"
        )
    try:
        columns.learn(frame, np.nan)
    except TypeError as error:  # dates and names, which would keep other methods busy for hours
        raise ValueError(f"{path}: {error}") from None
    codes, types = [], []
    for name in frame.columns:
        column = frame[name]
        if dtypes.is_numeric_dtype(column) and not dtypes.is_bool_dtype(column):
            codes.append(_checks.check_table(path, column.to_frame())[:, 0])
            types.append(ColumnType(name))
        else:
            names = sorted(column.unique(), key=str)
            codes.append(pd.Index(names, dtype=object).get_indexer(column).astype(float))
            types.append(levels(name, tuple(names)))
    return Values(np.stack(codes, axis=1), tuple(types))
