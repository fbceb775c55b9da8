"""``MNARImputer``: fit, transform, sample and score, as scikit-learn's transformers do."""

import dataclasses
import numbers
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.impute import MissingIndicator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from mnar_ebm import _checks
from mnar_ebm.config import MECHANISMS, TILTS, Config
from mnar_ebm.data.table import Table, make_table
from mnar_ebm.estimator import plot, selection
from mnar_ebm.estimator.report import Candidate, Report, describe_columns
from mnar_ebm.estimator.settings import make_config
from mnar_ebm.estimator.warnings import find_warnings
from mnar_ebm.training import FittedModel


class MNARImputer(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Impute numeric columns with values missing not at random, or at random: it finds out.

    A variational autoencoder is fitted to the incomplete rows together with a model of why values
    are missing; a missing value is then what both say of it. A row's answer depends on the fitted
    model and on the row alone, never on the rows beside it.

    Args:
        missing_values: what marks a missing cell; NaN, or a number.
        sample_posterior: whether ``transform`` returns a draw from the posterior, the same at
            every call, and not its mean.
        mechanism: the model of why values are missing, one of ``config.MECHANISMS``, or ``auto``:
            the held-out bound decides between values missing at random, self-masking and a
            linear mechanism that reads the whole row (``estimator.selection``).
        tilt: what the energy that corrects the autoencoder reads: ``none``, ``data``, ``latent``
            or ``joint``. It costs about as much again as the rest, and mends samples more than
            imputations.
        max_iter: budget of training steps, of each candidate; a third as many more for the tilt.
            Training ends before where the held-out bound no longer rises.
        num_samples: importance samples behind every row.
        settings: other fields of ``Config``, by name.
        min_value: least imputed value; a number, or one for each column.
        max_value: largest imputed value; a number, or one for each column.
        keep_empty_features: whether columns without a value in ``fit`` are kept, as zeros.
        add_indicator: whether columns that mark the missing cells are appended.
        random_state: of everything random; drawn from in ``fit`` alone.
        verbose: 0 is silent; 1 tells which mechanism was taken; 2 tells how training goes.

    Attributes:
        report_: what was learned of why values are missing; ``print`` it.
        mechanism_: the mechanism taken.
        fitted_: the model, a ``FittedModel`` of the columns with a value.
        n_iter_: steps that it was trained for.
        indicator_: the ``MissingIndicator``, or ``None``.
        n_features_in_: number of columns.
        feature_names_in_: their names, if they have any.

    Example:
        >>> import numpy as np
        >>> from mnar_ebm.estimator import MNARImputer
        >>> x = np.random.default_rng(0).normal(size=(50, 2))
        >>> x[x[:, 0] > 0.5, 0] = np.nan
        >>> imputer = MNARImputer(max_iter=10, num_samples=100, random_state=0)
        >>> completed = imputer.fit_transform(x)
        >>> bool(np.isnan(completed).any())
        False
    """

    report_: Report
    mechanism_: str
    fitted_: FittedModel
    n_iter_: int
    indicator_: MissingIndicator | None
    _seed: int
    _limits: tuple[np.ndarray, np.ndarray]
    _has_value: np.ndarray
    _constant: np.ndarray

    def __init__(  # noqa: D107 (the class tells what the parameters are)
        self,
        *,
        missing_values: float = np.nan,
        sample_posterior: bool = False,
        mechanism: str = "auto",
        tilt: str = "none",
        max_iter: int = 2000,
        num_samples: int = 1000,
        settings: dict[str, Any] | None = None,
        min_value: Any = -np.inf,
        max_value: Any = np.inf,
        keep_empty_features: bool = False,
        add_indicator: bool = False,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.missing_values = missing_values
        self.sample_posterior = sample_posterior
        self.mechanism = mechanism
        self.tilt = tilt
        self.max_iter = max_iter
        self.num_samples = num_samples
        self.settings = settings
        self.min_value = min_value
        self.max_value = max_value
        self.keep_empty_features = keep_empty_features
        self.add_indicator = add_indicator
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: NaN is allowed where it marks what is missing."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self._marks_by_nan()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def fit(self, X: Any, y: Any = None) -> "MNARImputer":
        """Fit to incomplete rows; ``y`` is not read.

        Args:
            X: numeric table, an array or a data frame. [N, D]
            y: ignored.

        Raises:
            TypeError: a parameter is of another type than expected.
            ValueError: a parameter or the table is not as expected; the message says which.
        """
        if not isinstance(self.missing_values, numbers.Real):
            raise TypeError(
                f"missing_values: expected NaN or a number, got {self.missing_values!r}"
            )
        _checks.check_choice("mechanism", self.mechanism, ("auto", *MECHANISMS))
        _checks.check_choice("tilt", self.tilt, TILTS)
        _checks.check_at_least("max_iter", self.max_iter, 1)
        _checks.check_at_least("num_samples", self.num_samples, 1)
        x, mask = self._validate(X, is_fit=True)
        self._limits = self._make_limits()
        self._has_value = mask.any(axis=0)
        if not self._has_value.any():
            raise ValueError("X: expected an observed value in some column, got none")
        self.indicator_ = self._make_indicator(X)
        names = np.asarray(OneToOneFeatureMixin.get_feature_names_out(self), object)
        columns = tuple(str(name) for name in names[self._has_value])
        x = np.where(mask, x, np.nan)[:, self._has_value]
        low, high = np.nanmin(x, axis=0), np.nanmax(x, axis=0)
        self._constant = np.where(low == high, low, np.nan)
        self._seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        self._fit_table(make_table("X", columns, x), tuple(names[~self._has_value]))
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Return rows with their missing cells filled; observed ones come as they are. [N, D].

        Args:
            X: numeric table with the columns of ``fit``. [N, D]

        Raises:
            NotFittedError: ``fit`` was not called.
            ValueError: ``X`` has other columns than the table of ``fit``.
        """
        check_is_fitted(self)
        x, mask = self._validate(X, is_fit=False)
        filled = self._fill(x, mask, num_imputations=int(self.sample_posterior))[0]
        if self.indicator_ is not None:
            flags = self.indicator_.transform(x).astype(filled.dtype)
            filled = np.concatenate([filled, flags], axis=1)
        return filled

    def sample(self, X: Any, num_imputations: int = 5) -> np.ndarray:
        """Return several completed tables, drawn from the posterior. [M, N, D].

        Analyse each, then pool by Rubin's rules: their spread is what the gaps cost.

        Args:
            X: numeric table with the columns of ``fit``. [N, D]
            num_imputations: M.

        Raises:
            ValueError: M is below 1, or ``X`` has other columns than the table of ``fit``.
        """
        check_is_fitted(self)
        _checks.check_at_least("num_imputations", num_imputations, 1)
        x, mask = self._validate(X, is_fit=False)
        return self._fill(x, mask, num_imputations)

    def score(self, X: Any, y: Any = None) -> float:
        """Return the mean bound of a row, log p(x_obs, s), in nats, of values as they came.

        Higher is better, on rows that ``fit`` did not see; of the mechanism ``none`` it is the
        bound of x_obs alone, and not to be compared with that of others.

        Args:
            X: numeric table with the columns of ``fit``. [N, D]
            y: ignored.
        """
        check_is_fitted(self)
        x, mask = self._validate(X, is_fit=False)
        mask = mask[:, self._has_value]
        x = np.where(mask, x[:, self._has_value], np.nan)
        bound = self.fitted_.impute(x, seed=self._seed).bound
        # dx = scale d(standard x) turns a density of standard values into one of values.
        log_scale = np.log(self.fitted_.facts.standardiser.scale)
        return float(np.mean(bound - np.where(mask, log_scale, 0.0).sum(axis=1)))

    def plot(self, max_columns: int = plot.MAX_COLUMNS) -> Any:
        """Return a matplotlib figure: P(missing | value) of each column over observed values."""
        check_is_fitted(self)
        return plot.draw(self.report_, max_columns)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the columns that ``transform`` gives."""
        check_is_fitted(self)
        names = super().get_feature_names_out(input_features)
        kept = names if self.keep_empty_features else names[self._has_value]
        if self.indicator_ is None:
            return kept
        return np.concatenate([kept, self.indicator_.get_feature_names_out(names)])

    def _fit_table(self, table: Table, empty: tuple[str, ...]) -> None:
        """Train the candidates, keep one, and report."""
        config = make_config(self, table)
        is_auto = self.mechanism == "auto"
        candidates = selection.candidate_mechanisms(table, config.likelihood)
        names = candidates if is_auto else (self.mechanism,)
        trained = {name: self._train(config, name, table) for name in names}
        chosen, reason = names[0], "as asked"
        if is_auto:
            chosen, reason = selection.choose({k: one.row_bounds for k, one in trained.items()})
        kept = trained[chosen]
        self.mechanism_, self.fitted_, self.n_iter_ = chosen, kept.fitted, kept.num_steps
        report = Report(
            mechanism=chosen,
            reason=reason,
            candidates=tuple(
                Candidate(
                    name,
                    float(one.row_bounds.mean()),
                    *selection.difference(one.row_bounds, kept.row_bounds),
                )
                for name, one in trained.items()
            ),
            columns=describe_columns(kept.fitted, table),
            num_held_out=len(kept.row_bounds),
            median_ess=float(np.median(kept.ess)),
            num_samples=self.num_samples,
            tilt_scale=kept.tilt.tilt_scale,
            warnings=(),
        )
        warnings = find_warnings(report, empty, kept.tilt if self.tilt != "none" else None)
        self.report_ = dataclasses.replace(report, warnings=warnings)
        self._tell(1, f"MNARImputer: mechanism {chosen}: {reason}")

    def _train(self, config: Config, mechanism: str, table: Table) -> selection.Trained:
        config = dataclasses.replace(config, mechanism=mechanism)
        return selection.train_candidate(
            config, table, lambda line: self._tell(2, f"MNARImputer: {line}")
        )

    def _fill(self, x: np.ndarray, mask: np.ndarray, num_imputations: int) -> np.ndarray:
        """Return M completed tables of draws [M, N, D], or for M = 0 that of means [1, N, D]."""
        num_tables = max(num_imputations, 1)
        filled = np.zeros((num_tables, *x.shape))
        rows = np.flatnonzero(~mask[:, self._has_value].all(axis=1))
        if rows.size:
            hidden = np.where(mask, x, np.nan)[rows][:, self._has_value]
            imputed = self.fitted_.impute(hidden, num_imputations=num_imputations, seed=self._seed)
            tables = imputed.draws.swapaxes(0, 1) if num_imputations else imputed.mean[None]
            columns = np.flatnonzero(self._has_value)
            filled[:, rows[:, None], columns] = np.where(
                np.isnan(self._constant), tables, self._constant
            )
        filled = np.where(mask, x, np.clip(filled, *self._limits).astype(x.dtype))
        return filled if self.keep_empty_features else filled[:, :, self._has_value]

    def _validate(self, X: Any, *, is_fit: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return the table in its own precision, and its mask. [N, D]."""
        x = validate_data(
            self,
            X,
            reset=is_fit,
            dtype=[np.float64, np.float32],
            ensure_all_finite="allow-nan" if self._marks_by_nan() else True,
            ensure_min_samples=2 if is_fit else 1,
        )
        return x, ~np.isnan(x) if self._marks_by_nan() else x != self.missing_values

    def _marks_by_nan(self) -> bool:
        return bool(self.missing_values != self.missing_values)

    def _make_limits(self) -> tuple[np.ndarray, np.ndarray]:
        limits = []
        for name in ("min_value", "max_value"):
            limit = np.asarray(getattr(self, name), np.float64)
            if limit.shape not in ((), (self.n_features_in_,)):
                raise ValueError(
                    f"{name}: expected a number or {self.n_features_in_} of them, "
                    f"got shape {limit.shape}"
                )
            limits.append(np.broadcast_to(limit, self.n_features_in_))
        if not (limits[0] < limits[1]).all():
            column = int(np.argmin(limits[0] < limits[1]))
            raise ValueError(
                f"min_value: expected below max_value in every column, got {limits[0][column]} and "
                f"{limits[1][column]} in column {column}"
            )
        return limits[0], limits[1]

    def _make_indicator(self, X: Any) -> MissingIndicator | None:
        if not self.add_indicator:
            return None
        indicator = MissingIndicator(missing_values=self.missing_values, error_on_new=False)
        return indicator.fit(X)

    def _tell(self, level: int, line: str) -> None:
        if self.verbose >= level:
            print(line)
