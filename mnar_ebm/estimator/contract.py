"""What scikit-learn asks of a transformer, and columns that are put aside while it is at work."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from mnar_ebm.estimator import validation

Method = TypeVar("Method", bound=Callable[..., Any])


class Transformer(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Tags and names of columns; ``passthrough`` names those that are no part of the model."""

    passthrough: Any = ()  # of what was pickled before it was a parameter
    indicator_: Any
    keep_empty_features: bool
    _has_value: np.ndarray
    _given: list[Any]

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: NaN is allowed where it marks what is missing."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = validation.marks_by_nan(self)
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the columns that ``transform`` gives."""
        check_is_fitted(self)
        names = super().get_feature_names_out(input_features)
        kept = names if self.keep_empty_features else names[self._has_value]
        if self.indicator_ is not None:
            kept = np.concatenate([kept, self.indicator_.get_feature_names_out(names)])
        if not len(self.passthrough):
            return kept
        return np.array(_in_order(list(kept), self._given, self.passthrough), object)


def aside(method: Method) -> Method:
    """Return the method for tables whose columns ``passthrough`` are put aside.

    Where it returns tables, these columns are where they were, as they came.
    """

    @functools.wraps(method)
    def wrapped(self: Any, X: Any, *args: Any, **kwargs: Any) -> Any:
        names = self.passthrough
        if isinstance(names, str) or not isinstance(names, Sequence):
            raise TypeError(f"passthrough: expected a list of column names, got {names!r}")
        if not len(names):
            return method(self, X, *args, **kwargs)
        own = _without(X, names)
        if kwargs.get("unbiased") is not None:
            kwargs["unbiased"] = _without(kwargs["unbiased"], names)
        self._given = list(X.columns)
        return _together(self, method(self, own, *args, **kwargs), X)

    return cast(Method, wrapped)


def _without(X: Any, names: Sequence[Any]) -> pd.DataFrame:
    if not isinstance(X, pd.DataFrame):
        raise TypeError(f"X: expected a data frame with passthrough, got {type(X).__name__}")
    unknown = [name for name in names if name not in X.columns]
    if unknown:
        shown = ", ".join(map(str, X.columns))
        raise ValueError(f"passthrough: expected some of {shown}, got {unknown[0]!r}")
    return X.drop(columns=list(names))


def _together(imputer: Any, found: Any, X: pd.DataFrame) -> Any:
    """Return tables with the columns that were put aside; what is no table as it is."""
    if isinstance(found, list) or np.ndim(found) == 3:
        return [_together(imputer, one, X) for one in found]
    names = imputer.passthrough
    if isinstance(found, np.ndarray):
        own = [name for name in imputer.get_feature_names_out() if name not in names]
        found = pd.DataFrame(found, index=X.index, columns=own[: found.shape[1]])
    if not isinstance(found, pd.DataFrame):
        return found
    order = _in_order(list(found.columns), list(X.columns), names)
    return pd.concat([found, X[list(names)]], axis=1)[order]


def _in_order(found: list[Any], given: list[Any], names: Sequence[Any]) -> list[Any]:
    """Return names in the order of the table that was given, and then those that it had not."""
    first = [name for name in given if name in found or name in names]
    return first + [name for name in found if name not in given]
