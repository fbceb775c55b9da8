"""Survey files of SPSS, Stata and SAS: values, labels, and why a value is missing.

Such a file stores a refusal as a value that is declared missing, with a label: -9 in SPSS, ``.a``
to ``.z`` in Stata, ``.A`` to ``.Z`` in SAS. Readers drop the reason by default. ``pyreadstat``
(extra ``survey``) is asked for it, and it is kept twice: in a table of reasons, and in the NaN of
the cell (``data.reasons``), so that a model can tell what was not asked from what may hide itself.
"""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from mnar_ebm.data import reasons
from mnar_ebm.files import replacing

SUFFIXES = (".sav", ".zsav", ".por", ".dta", ".sas7bdat", ".xpt")
WRITTEN = (".sav", ".dta")
"""What is read, and what is written, too."""

Label = dict[Any, str]


@dataclasses.dataclass(frozen=True, eq=False)
class Survey:
    """A survey file.

    Attributes:
        path: the file, for messages.
        frame: values as they are coded; gaps in numeric columns are NaN that tell their reasons.
            Text and dates come as they are. [N, D]
        reasons: why a cell is missing, one of ``reasons.REASONS``; empty where it is not. [N, D]
        codes: what stands in the file where a cell is missing: a number, a letter, or ``None``,
            which the file itself has for a plain gap; ``None`` where it is not. [N, D]
        value_labels: of a column, what each code stands for, those of missing values, too.
        column_labels: of a column, its question or its name in words.
        measures: of a column, ``nominal``, ``ordinal`` or ``scale``, if the file says so.
        ranges: of a column, which codes SPSS takes for missing.
    """

    path: str
    frame: pd.DataFrame
    reasons: pd.DataFrame
    codes: pd.DataFrame
    value_labels: dict[str, Label]
    column_labels: dict[str, str]
    measures: dict[str, str]
    ranges: dict[str, list[dict[str, float]]]

    @property
    def numeric(self) -> tuple[str, ...]:
        """Names of columns that hold numbers, not text or dates."""
        return tuple(str(one) for one in self.frame if self.frame[one].dtype == np.float64)


def read_survey(path: str | os.PathLike[str]) -> Survey:
    """Read a file of SPSS, Stata or SAS with its labels and its reasons.

    A code is of a reason by its label (``reasons.reason_of``); one without a label, or with
    another, is ``other``, and a gap without a code is ``system``.

    Args:
        path: a file with one of ``SUFFIXES``. Of ``.por`` and ``.xpt`` what reads them tells no
            reasons: every gap is ``system``.

    Raises:
        ImportError: ``pyreadstat`` is not installed.
        ValueError: the file cannot be read as what its suffix says.
    """
    suffix = pathlib.Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: expected one of {', '.join(SUFFIXES)}, got {suffix or 'none'}")
    if not pathlib.Path(path).is_file():
        raise ValueError(f"{path}: No such file or directory")
    frame, meta = _read(path, suffix)
    labels = {name: dict(own) for name, own in meta.variable_value_labels.items()}
    ranges = {name: list(own) for name, own in (meta.missing_ranges or {}).items()}
    letters = {name: set(own) for name, own in (meta.missing_user_values or {}).items()}
    values, why, codes = {}, {}, {}
    for name in frame:
        is_code = _is_code(frame[name], ranges.get(name, []), letters.get(name, set()))
        values[name], why[name], codes[name] = _split(frame[name], is_code, labels.get(name, {}))
    measures = {name: kind for name, kind in meta.variable_measure.items() if kind != "unknown"}
    column_labels = {name: text for name, text in meta.column_names_to_labels.items() if text}
    return Survey(
        str(path),
        frame=pd.DataFrame(values, index=frame.index),
        reasons=pd.DataFrame(why, index=frame.index),
        codes=pd.DataFrame(codes, index=frame.index, dtype=object),
        value_labels=labels,
        column_labels=column_labels,
        measures=measures,
        ranges=ranges,
    )


def _read(path: str | os.PathLike[str], suffix: str) -> tuple[pd.DataFrame, Any]:
    pyreadstat = _pyreadstat()
    read: Mapping[str, Callable[..., Any]] = {
        ".sav": pyreadstat.read_sav,
        ".zsav": pyreadstat.read_sav,
        ".dta": pyreadstat.read_dta,
        ".sas7bdat": pyreadstat.read_sas7bdat,
        ".por": pyreadstat.read_por,
        ".xpt": pyreadstat.read_xport,
    }
    asked = {} if suffix in (".por", ".xpt") else {"user_missing": True}
    try:
        return read[suffix](os.fspath(path), **asked)
    except pyreadstat.ReadstatError as error:
        raise ValueError(f"{path}: expected a file of the kind {suffix}: {error}") from None


def _pyreadstat() -> Any:
    try:
        import pyreadstat
    except ImportError:
        raise ImportError(
            "survey files: expected pyreadstat, which pip install 'mnar-ebm[survey]' brings"
        ) from None
    return pyreadstat


def _is_code(series: pd.Series, ranges: list[dict[str, float]], letters: set[str]) -> np.ndarray:
    """Return which cells hold a code that the file takes for missing. [N]."""
    is_code = np.zeros(len(series), bool)
    for one in ranges:
        if isinstance(one["lo"], str):  # of a column of text
            is_code |= series.eq(one["lo"]).to_numpy(bool)
        else:
            numbers = pd.to_numeric(series, errors="coerce")
            is_code |= numbers.between(one["lo"], one["hi"]).to_numpy(bool)
    return is_code | np.array([cell in letters for cell in series])


def _split(
    series: pd.Series, is_code: np.ndarray, labels: Label
) -> tuple[pd.Series, np.ndarray, np.ndarray]:
    """Return values, reasons and codes of a column. [N] each."""
    cells = series.to_numpy(object)
    is_gap = series.isna().to_numpy(bool)
    why, codes = np.full(len(cells), "", object), np.full(len(cells), None, object)
    why[is_gap] = "system"
    for code in set(cells[is_code].tolist()):
        here = is_code & (cells == code)
        why[here], codes[here] = reasons.reason_of(labels.get(code, "")), code
    is_number = np.array([isinstance(cell, (int, float, np.number)) for cell in cells])
    if not (is_number | is_code | is_gap).all() or not is_number.any() and not is_code.any():
        return series.mask(is_code), why, codes
    numbers = np.where(is_number & ~is_code & ~is_gap, cells, np.nan).astype(np.float64)
    return pd.Series(reasons.with_reasons(numbers, why), series.index), why, codes


def write_survey(path: str | os.PathLike[str], survey: Survey, frame: pd.DataFrame) -> None:
    """Write a survey whose cells were filled, with its labels; gaps that are left keep their codes.

    Args:
        path: a file with one of ``WRITTEN``.
        survey: as it was read.
        frame: its columns and rows; NaN where a gap is left as it was. [N, D]

    Raises:
        ImportError: ``pyreadstat`` is not installed.
        ValueError: a file of this kind is not written, or cannot hold what is to be written.
    """
    suffix = pathlib.Path(path).suffix.lower()
    if suffix not in WRITTEN:
        raise ValueError(f"{path}: expected one of {', '.join(WRITTEN)}, got {suffix or 'none'}")
    is_stata = suffix == ".dta"
    if is_stata != (pathlib.Path(survey.path).suffix.lower() == ".dta"):
        raise ValueError(f"{path}: expected a file of the kind that {survey.path} is")
    pyreadstat = _pyreadstat()
    whole, letters = {}, {}
    for name in frame:
        cells = frame[name].to_numpy(object).copy()
        codes = survey.codes[name].to_numpy(object)
        is_left = frame[name].isna().to_numpy(bool)
        cells[is_left] = codes[is_left]
        column = pd.Series(cells, frame.index, dtype=object)
        has_letter = any(isinstance(code, str) for code in codes[is_left])
        whole[name] = column if has_letter else column.infer_objects()
        known = {*survey.value_labels.get(str(name), {}), *codes}
        if is_stata and any(isinstance(code, str) for code in known):  # labels of these need it
            letters[name] = sorted(code for code in known if isinstance(code, str))
    kept: dict[str, Any] = {"missing_user_values": letters or None}
    if not is_stata:
        kept = {"missing_ranges": survey.ranges or None, "variable_measure": survey.measures}
    with replacing(path) as part:
        temporary = part.with_name(part.name + suffix)
        try:
            getattr(pyreadstat, f"write_{suffix[1:]}")(
                pd.DataFrame(whole),
                os.fspath(temporary),
                column_labels=survey.column_labels,
                variable_value_labels=survey.value_labels,
                **kept,
            )
            os.replace(temporary, part)
        except pyreadstat.PyreadstatError as error:
            raise ValueError(f"{path}: {error}") from None
        finally:
            temporary.unlink(missing_ok=True)
