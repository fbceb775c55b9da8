"""A person's rows in any file that is read: CSV, a survey's, Parquet or Arrow."""

import dataclasses
import pathlib
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

from mnar_ebm.data import csv_files, reasons
from mnar_ebm.data.csv_files import Csv, Path, Scale
from mnar_ebm.data.surveys import SUFFIXES, Survey, read_survey, write_survey
from mnar_ebm.data.table import make_table
from mnar_ebm.files import replacing

COLUMNAR = {".parquet": "parquet", ".pq": "parquet", ".arrow": "feather", ".feather": "feather"}
"""Files of columns, and how pandas calls what reads them."""


def read_rows(path: Path, *, require_observed: bool = False, missing_codes: str = "") -> Csv:
    """Read a table of numbers with missing cells from a file of any kind.

    Columns of text and of dates in a file that knows its types are left out of the table, and stand
    in what is written. In a CSV file every column has to hold numbers.

    Args:
        path: a file; its suffix says of what kind it is, a CSV file if it is none of others.
        require_observed: refuse a column without a single value, as training must.
        missing_codes: numbers that stand for missing values, as ``reasons.read_codes`` reads them.

    Raises:
        ImportError: what reads such a file is not installed; the message names the extra.
        ValueError: the file is not such a table, or a code is not found in it.
    """
    suffix = pathlib.Path(path).suffix.lower()
    if suffix in SUFFIXES:
        csv = from_survey(read_survey(path))
    elif suffix in COLUMNAR:
        csv = from_frame(path, _read_columns(path, COLUMNAR[suffix]))
    else:
        csv = csv_files.read_csv(path)
    codes = reasons.read_codes(missing_codes)
    if codes:
        csv = dataclasses.replace(csv, x=reasons.mark_codes(csv.path, csv.columns, csv.x, codes))
    if require_observed:
        make_table(csv.path, csv.columns, csv.x)
    return csv


def _read_columns(path: Path, kind: str) -> pd.DataFrame:
    try:
        return getattr(pd, f"read_{kind}")(path)
    except ImportError:
        raise ImportError(
            f"{path}: expected pyarrow, which pip install 'mnar-ebm[parquet]' brings"
        ) from None
    except FileNotFoundError:
        raise ValueError(f"{path}: No such file or directory") from None
    except (OSError, ValueError) as error:  # of pyarrow
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from None


def from_survey(survey: Survey) -> Csv:
    """Return the numeric columns of a survey as a table, its gaps with their reasons."""
    csv = _from_numbers(survey.path, survey.frame[list(survey.numeric)], survey.frame)
    return dataclasses.replace(csv, source=survey)


def from_frame(path: Path, frame: pd.DataFrame) -> Csv:
    """Return the numeric columns of a data frame as a table.

    Raises:
        ValueError: two columns have one name, a value is infinite, or no column holds numbers.
    """
    names = [str(name) for name in frame.columns]
    if len({*names}) < len(names):
        raise ValueError(f"{path}: expected distinct column names, got {', '.join(names)}")
    frame = frame.set_axis(names, axis=1)
    numeric = [name for name in names if _is_number(frame[name].dtype)]
    return _from_numbers(str(path), frame[numeric], frame)


def _is_number(dtype: Any) -> bool:
    return types.is_bool_dtype(dtype) or (
        types.is_numeric_dtype(dtype) and not types.is_complex_dtype(dtype)
    )


def _from_numbers(path: str, numbers: pd.DataFrame, frame: pd.DataFrame) -> Csv:
    columns = tuple(map(str, numbers.columns))
    if not columns:
        raise ValueError(f"{path}: expected a column of numbers, got none")
    x = np.stack([_to_float(numbers[name]) for name in columns], axis=1)
    if not len(x):
        raise ValueError(f"{path}: expected at least one row, got none")
    if np.isinf(x).any():
        row, column = np.argwhere(np.isinf(x))[0]
        raise ValueError(f"{path}: expected finite numbers in {columns[column]!r}, row {row}")
    text = np.array([[repr(value) for value in row] for row in x.tolist()], object)
    text[np.isnan(x)] = ""
    return Csv(path, columns, text, x, columns, source=frame)


def _to_float(series: pd.Series) -> np.ndarray:
    return (
        series.to_numpy(np.float64, na_value=np.nan) if series.hasnans else series.to_numpy(float)
    )


def left_out(csv: Csv) -> tuple[str, ...]:
    """Return the names of columns of the file that are not in the table."""
    if csv.source is None:
        return ()
    frame = csv.source.frame if isinstance(csv.source, Survey) else csv.source
    return tuple(name for name in map(str, frame.columns) if name not in csv.columns)


def split_marked(csv: Csv, column: str) -> tuple[Csv, Csv]:
    """Return the rows where a column is 0 and those where it is 1, both without that column.

    Raises:
        ValueError: the column holds something else, or the same in all rows.
    """
    index = csv.columns.index(column)
    mark = csv.x[:, index]
    is_wrong = ~np.isin(mark, (0, 1))
    if is_wrong.any():
        row = int(np.argmax(is_wrong))
        raise ValueError(
            f"{csv.path}: expected 0 or 1 in column {column!r}, got {csv.text[row, index]!r} "
            f"in row {row}"
        )
    if mark.all() or not mark.any():
        raise ValueError(f"{csv.path}: expected both 0 and 1 in column {column!r}, got one alone")
    keep = np.arange(len(csv.columns)) != index
    names = tuple(name for name in csv.columns if name != column)
    file_names = tuple(name for name in csv.file_columns if name != column)

    def part(rows: np.ndarray) -> Csv:
        return dataclasses.replace(
            csv,
            columns=names,
            text=csv.text[rows][:, keep],
            x=csv.x[rows][:, keep],
            file_columns=file_names,
            source=None,
        )

    return part(mark == 0), part(mark == 1)


def write_completed(path: Path, csv: Csv, x: np.ndarray, scale: Scale = 0.0) -> None:
    """Write the file again, missing cells filled from ``x``, observed ones as they came.

    What was not asked stays a gap, with its code, unless ``csv.fills_not_asked``. Whole numbers
    stay so where what was filled is whole; else the column becomes one of floating-point numbers.

    Args:
        path: where to, as CSV, or by its suffix as a survey or as Parquet or Arrow.
        csv: the file.
        x: values. [N, D]
        scale: standard deviations of the columns, as in ``csv_files.to_text``. [D]

    Raises:
        ValueError: ``x`` has another shape than the file, or such a file cannot hold the rows.
    """
    suffix = pathlib.Path(path).suffix.lower()
    if suffix in SUFFIXES:
        if not isinstance(csv.source, Survey):
            raise ValueError(f"{path}: expected a CSV or Parquet file, for {csv.path} is no survey")
        return write_survey(path, csv.source, completed_frame(csv, x))
    if suffix in COLUMNAR:
        frame = completed_frame(csv, x)
        with replacing(path) as part:
            getattr(frame, f"to_{COLUMNAR[suffix]}")(part)
        return None
    if csv.source is None:
        return csv_files.write_completed(path, csv, x, scale)
    with replacing(path) as part:
        completed_frame(csv, x).to_csv(part, index=False)
    return None


def completed_frame(csv: Csv, x: np.ndarray) -> pd.DataFrame:
    """Return all columns of the file as a data frame, with the gaps of the table filled.

    Args:
        csv: the file.
        x: values. [N, D]
    """
    source = csv.source.frame if isinstance(csv.source, Survey) else csv.source
    if source is None:
        source = pd.DataFrame(csv.x[:, [*map(csv.columns.index, csv.file_columns)]])
        source.columns = pd.Index(csv.file_columns)
    frame = source.copy()
    for own, values, name in zip(
        csv_files.is_to_fill(csv).T, np.asarray(x).T, csv.columns, strict=True
    ):
        if own.any():
            frame[name] = _filled(frame[name], own, values)
    return frame


def _filled(series: pd.Series, is_filled: np.ndarray, values: np.ndarray) -> pd.Series:
    """Return a column with some cells filled, in its own type where that holds what they hold."""
    new = values[is_filled]
    if types.is_bool_dtype(series.dtype) or (
        types.is_integer_dtype(series.dtype) and not (new == np.round(new)).all()
    ):
        series = series.astype(np.float64)
    series = series.copy()
    series.iloc[np.flatnonzero(is_filled)] = new
    return series
