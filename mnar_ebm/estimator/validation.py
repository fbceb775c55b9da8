"""What comes in: a table of numbers or of several kinds, checked by scikit-learn's rules."""

import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from sklearn.base import OneToOneFeatureMixin
from sklearn.impute import MissingIndicator
from sklearn.utils.validation import check_array, validate_data

from mnar_ebm.estimator import columns
from mnar_ebm.estimator.columns import ColumnType

Method = TypeVar("Method", bound=Callable[..., Any])


def whole_or_not_at_all(method: Method) -> Method:
    """Return the method; where it raises, its object has the attributes that it had before."""

    @functools.wraps(method)
    def guarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        before = vars(self).copy()
        try:
            return method(self, *args, **kwargs)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise

    return cast(Method, guarded)


def validate(imputer: Any, X: Any, *, is_fit: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the table in its own precision, levels as codes, and its mask. [N, D].

    Args:
        imputer: a ``MNARImputer``, which keeps in ``fit`` what the columns are.
        X: any table.
        is_fit: whether the columns are to be learned.
    """
    if is_fit:
        imputer._columns = columns.learn(X, imputer.missing_values)
        imputer._is_mixed = bool(imputer._columns)
    if imputer._is_mixed:
        return _validate_frame(imputer, X, is_fit=is_fit)
    is_nan_marked = marks_by_nan(imputer)
    x = validate_data(
        imputer,
        columns.plain_numbers(X),
        reset=is_fit,
        dtype=[np.float64, np.float32],
        ensure_all_finite="allow-nan" if is_nan_marked else True,
        ensure_min_samples=2 if is_fit else 1,
    )
    if is_fit:
        names = OneToOneFeatureMixin.get_feature_names_out(imputer)
        imputer._columns = tuple(ColumnType(name) for name in names)
    if is_nan_marked:
        return x, ~np.isnan(x)
    is_marked = columns.is_marked(x, imputer.missing_values)
    if is_fit and not is_marked.any():
        warnings.warn(
            f"missing_values: expected {imputer.missing_values:g} in some cell of X, got none",
            stacklevel=4,
        )
    return np.where(is_marked, imputer.missing_values, x).astype(x.dtype), ~is_marked


def _validate_frame(imputer: Any, X: Any, *, is_fit: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the codes of a table with levels, and their mask. [N, D]."""
    validate_data(imputer, X, reset=is_fit, skip_check_array=True)
    codes = columns.to_codes(
        columns.as_frame(X), imputer._columns, imputer.missing_values, imputer.handle_unknown
    )
    codes = check_array(
        codes,
        ensure_all_finite="allow-nan",
        ensure_min_samples=2 if is_fit else 1,
        input_name="X",
        estimator=imputer,
    )
    return codes, ~np.isnan(codes)


def marks_by_nan(imputer: Any) -> bool:
    """Return whether NaN, and not a number, marks a missing cell."""
    return bool(imputer.missing_values != imputer.missing_values)


def make_indicator(imputer: Any, X: Any) -> MissingIndicator | None:
    """Return what marks the missing cells of a validated table, if it is asked for."""
    if not imputer.add_indicator:
        return None
    marker = np.nan if imputer._is_mixed else imputer.missing_values
    return MissingIndicator(missing_values=marker, error_on_new=False).fit(X)
