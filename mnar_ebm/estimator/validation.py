"""What comes in: a table of numbers or of several kinds, checked by scikit-learn's rules."""

import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from sklearn.base import OneToOneFeatureMixin
from sklearn.impute import MissingIndicator
from sklearn.utils.validation import check_array, validate_data

from mnar_ebm.data.codes import warn_of_codes
from mnar_ebm.estimator import columns, two_valued

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
    if getattr(X, "dtype", np.dtype(float)).kind == "c":
        raise ValueError(f"X: expected real numbers, got {X.dtype}. Complex data not supported")
    if is_fit:
        imputer._columns = columns.learn(X, imputer.missing_values, imputer.two_valued)
        imputer._is_mixed = bool(imputer._columns)
    read = _validate_frame if imputer._is_mixed else _validate_numbers
    x, mask = read(imputer, X, is_fit=is_fit)
    if is_fit:
        numeric = [i for i, one in enumerate(imputer._columns) if one.kind == "numeric"]
        names = [str(imputer._columns[i].name) for i in numeric]
        hint = "missing_values=NUMBER makes one a gap, NaN in their place makes all gaps"
        warn_of_codes(np.where(mask, x, np.nan)[:, numeric], names, hint, stacklevel=4)
    return x, mask


def _validate_numbers(imputer: Any, X: Any, *, is_fit: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return a table of numbers in its own precision, and its mask. [N, D]."""
    is_nan_marked = marks_by_nan(imputer)
    x = validate_data(
        imputer,
        columns.plain_numbers(X),
        reset=is_fit,
        dtype=[np.float64, np.float32],
        ensure_all_finite="allow-nan" if is_nan_marked else True,
        ensure_min_samples=2 if is_fit else 1,
    )
    is_marked = np.isnan(x) if is_nan_marked else columns.is_marked(x, imputer.missing_values)
    if is_fit and not is_nan_marked and not is_marked.any():
        warnings.warn(
            f"missing_values: expected {imputer.missing_values:g} in some cell of X, got none",
            stacklevel=5,
        )
    if is_fit:
        names = OneToOneFeatureMixin.get_feature_names_out(imputer)
        kind = imputer.two_valued
        imputer._columns = two_valued.learn_numbers(names, x, ~is_marked, kind)
    mask = two_valued.known_numbers(x, ~is_marked, imputer._columns, imputer.handle_unknown)
    is_kept = mask | np.isnan(x)  # a gap may tell why it is one
    return np.where(is_kept, x, imputer.missing_values).astype(x.dtype), mask


def _validate_frame(imputer: Any, X: Any, *, is_fit: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the codes of a table with levels, and their mask. [N, D]."""
    validate_data(imputer, columns.as_frame(X), reset=is_fit, skip_check_array=True)
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
