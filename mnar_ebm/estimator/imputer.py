"""``MNARImputer``: fit, transform, sample and score, as scikit-learn's transformers do."""

import itertools
from typing import Any

import numpy as np
import pandas as pd
from sklearn.impute import MissingIndicator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from mnar_ebm import _checks
from mnar_ebm.data.table import make_table
from mnar_ebm.estimator import columns, frames, two_valued, validation
from mnar_ebm.estimator.analysis import analyse_imputer
from mnar_ebm.estimator.columns import ColumnType
from mnar_ebm.estimator.contract import Transformer, aside
from mnar_ebm.estimator.ensemble import Ensemble
from mnar_ebm.estimator.fit import fit_table
from mnar_ebm.estimator.limits import make_limits
from mnar_ebm.estimator.report import Report, plot
from mnar_ebm.estimator.sensitivity import Sensitivity
from mnar_ebm.estimator.settings import check_parameters, decoders, make_config


class MNARImputer(Transformer):
    """Impute columns with values missing not at random, or at random: it finds out.

    A generative model is fitted to the incomplete rows together with a model of why values are
    missing; a missing value is what both say of it. A row's answer depends on the fitted model and
    on the row alone, not on the rows beside it, but draws of equal rows are independent.

    The types of a data frame, of pandas or polars, tell what its columns are: numbers, truth
    values, ordered or unordered categories, or text (``estimator.columns``). If some are no
    numbers, or nullable integers, or it is of polars, the answer is such a frame with the same
    types: ``transform`` fills in the likeliest level, ``sample`` draws levels.

    Args:
        missing_values: what marks a missing cell; NaN, or a number, beside what pandas takes as
            missing in a table that has levels.
        sample_posterior: whether ``transform`` returns a draw from the posterior of the first
            fit, the same at every call, and not the mean.
        mechanism: the model of why values are missing, one of ``MECHANISMS``, or ``auto``:
            missing at random, completely or given what was observed, unless a hidden value clearly
            decides, of another column or the own (``screening``). That is evidence within a family
            of models, no proof. For gaps at random a deep decoder is taken if it fills better.
        tilt: what the energy that corrects the model reads: ``none``, ``data``, ``latent`` or
            ``joint``. It costs as much as the rest, and mends samples more than imputations.
        max_iter: most training steps, half of it for a linear decoder, whose steps come in rounds
            until one gains nothing (``selection.train_to_the_end``); a third more for a tilt.
            Without a tilt, a quarter of the last round follows with all rows.
        num_models: fits of the model that is taken, which are averaged or drawn from in turn: all
            but the first go on from it with rows drawn of the rows, a bootstrap, or, with a tilt,
            are made anew (``estimator.ensemble``).
        num_samples: most importance samples behind every row, of each fit; fewer where these do.
        settings: other fields of ``Config``, by name. ``standardise`` is ``yeo_johnson`` by
            default, which holds where the mechanism taken reads no hidden value.
        min_value: least imputed value, or None; a number, or one for each column; not of levels.
        max_value: largest imputed value, as ``min_value``.
        keep_empty_features: whether columns without a value in ``fit`` are kept, as zeros, or
            without a value where they are not numeric.
        two_valued: what numbers of only two values are: ``binary``, or ``numeric``.
        handle_unknown: a level that ``fit`` has not seen is an ``error``, or a ``missing`` cell.
        add_indicator: whether columns that mark the missing cells are appended.
        passthrough: names of columns of a data frame that are no part of the model, as an id or
            free text: the data frame that is returned has them as they came.
        random_state: of everything random; drawn from in ``fit`` alone.
        verbose: 0 is silent; 1 tells which mechanism was taken; 2 tells how training goes.

    Attributes:
        report_: what was learned of why values are missing; ``print`` it.
        mechanism_: the mechanism taken.
        ensemble_: its ``models`` are the fits, each a ``FittedModel`` of the columns with a value.
        n_iter_: steps of training of the first; ``report_`` warns if they had not converged.
        indicator_: the ``MissingIndicator``, or ``None``.
        n_features_in_, feature_names_in_: number of columns, and their names if they have any.

    Examples:
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
    ensemble_: Ensemble
    n_iter_: int
    indicator_: MissingIndicator | None
    _seed: int
    _limits: tuple[np.ndarray, np.ndarray]
    _has_value: np.ndarray
    _constant: np.ndarray
    _columns: tuple[ColumnType, ...]
    _is_mixed: bool
    _validate = validation.validate
    two_valued: str = "binary"  # of what was pickled before it was a parameter

    def __init__(  # noqa: D107 (the class tells what the parameters are)
        self,
        *,
        missing_values: float = np.nan,
        sample_posterior: bool = False,
        mechanism: str = "auto",
        tilt: str = "none",
        max_iter: int = 4000,
        num_models: int = 5,
        num_samples: int = 1000,
        settings: dict[str, Any] | None = None,
        min_value: Any = -np.inf,
        max_value: Any = np.inf,
        keep_empty_features: bool = False,
        two_valued: str = "binary",
        handle_unknown: str = "error",
        add_indicator: bool = False,
        passthrough: Any = (),
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.missing_values = missing_values
        self.sample_posterior = sample_posterior
        self.mechanism = mechanism
        self.tilt = tilt
        self.max_iter = max_iter
        self.num_models = num_models
        self.num_samples = num_samples
        self.settings = settings
        self.min_value = min_value
        self.max_value = max_value
        self.keep_empty_features = keep_empty_features
        self.two_valued = two_valued
        self.handle_unknown = handle_unknown
        self.add_indicator = add_indicator
        self.passthrough = passthrough
        self.random_state = random_state
        self.verbose = verbose

    @validation.whole_or_not_at_all
    @aside
    def fit(self, X: Any, y: Any = None, *, unbiased: Any = None) -> "MNARImputer":
        """Fit to incomplete rows; where that fails, a fit of before is as it was.

        Args:
            X: numeric table, or a data frame with columns of several kinds. [N, D]
            y: ignored.
            unbiased: a sample of the population, with the columns of X: a follow-up, a slice;
                its gaps at random. Its rows are trained on without a mechanism, and with a ``tilt``
                a second energy moves the model to them (``debiasing.unbiased``). [n, D]

        Raises:
            TypeError: a parameter or a column is of another type than expected.
            ValueError: a parameter or the table is not as expected; the message says which.
            NonFiniteLossError: the loss of every candidate became NaN or infinite.
        """
        check_parameters(self)
        x, mask = self._validate(X, is_fit=True)
        self._limits = make_limits(self.min_value, self.max_value, self._columns, x, mask)
        self._has_value = np.any(mask, axis=0)
        if not self._has_value.any():
            raise ValueError("X: expected an observed value in some column, got none")
        self.indicator_ = validation.make_indicator(self, x)
        self._seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        names = [name for column in self._kept for name in column.encoded_names]
        blocks = columns.blocks_of(self._kept)
        table = make_table("X", names, self._encode(x, mask), blocks=blocks)
        seen, few = np.where(mask, x, np.nan)[:, self._has_value], None
        if unbiased is not None:
            more, mask = self._validate(unbiased, is_fit=False)
            few = make_table("unbiased", names, self._encode(more, mask), blocks=blocks)
            seen = np.vstack([seen, np.where(mask, more, np.nan)[:, self._has_value]])
        low, high = np.nanmin(seen, axis=0), np.nanmax(seen, axis=0)
        self._constant = np.where(low == high, low, np.nan)
        fits, self.report_ = fit_table(
            make_config(self, table),
            self.mechanism,
            decoders(self, table),
            self.num_models,
            table,
            few,
            self._kept,
            [str(column.name) for column in itertools.compress(self._columns, ~self._has_value)],
            self._tell,
        )
        self.mechanism_ = self.report_.mechanism
        self.ensemble_ = Ensemble(tuple(one.fitted for one in fits), self._seed)
        self.n_iter_ = fits[0].num_steps
        return self

    @aside
    def transform(self, X: Any) -> Any:
        """Return rows with their missing cells filled; observed ones come as they are. [N, D].

        Args:
            X: table with the columns of ``fit``. [N, D]

        Returns:
            An array, or a data frame, as the class tells.

        Raises:
            NotFittedError: ``fit`` was not called.
            ValueError: ``X`` has other columns than the table of ``fit``, or a new level.
        """
        check_is_fitted(self)
        x, mask = self._validate(X, is_fit=False)
        filled = self._fill(x, mask, num_imputations=int(self.sample_posterior))[0]
        if self._is_mixed:
            filled = self._to_frame(filled, mask, X)
        if self.indicator_ is None:
            return filled
        flags = self.indicator_.transform(x)
        if not self._is_mixed:
            return np.concatenate([filled, flags.astype(filled.dtype)], axis=1)
        names = self.get_feature_names_out()[filled.shape[1] :]
        return frames.beside(filled, pd.DataFrame(flags, columns=names))

    @aside
    def sample(self, X: Any, num_imputations: int = 5) -> Any:
        """Return several completed tables, drawn from the posterior. [M, N, D].

        Analyse each, then pool by Rubin's rules: their spread is what the gaps cost. Draws of one
        fit share what it got wrong: have as many fits as draws where that matters.

        Args:
            X: table with the columns of ``fit``. [N, D]
            num_imputations: M.

        Returns:
            An array, or a list of data frames, as the class tells.

        Raises:
            ValueError: M is below 1, or ``X`` has other columns or levels than that of ``fit``.
        """
        check_is_fitted(self)
        _checks.check_whole("num_imputations", num_imputations, 1)
        x, mask = self._validate(X, is_fit=False)
        tables = self._fill(x, mask, num_imputations)
        return [self._to_frame(one, mask, X) for one in tables] if self._is_mixed else tables

    @aside
    def score(self, X: Any, y: Any = None) -> float:
        """Return the mean bound of a row, log p(x_obs, s), in nats, of values as they came.

        It is a log-density of numbers and a log-probability of levels and atoms, of the mixture of
        all fits.
        Higher is better, on rows that ``fit`` did not see. Mechanisms are compared with columns
        all straight (``settings={"standardise": "observed"}``) or by ``mechanism="auto"``; of
        ``none`` it is the bound of x_obs alone, and not to be compared with that of others.

        Args:
            X: table with the columns of ``fit``. [N, D]
            y: ignored.
        """
        check_is_fitted(self)
        return self.ensemble_.mean_bound(self._encode(*self._validate(X, is_fit=False)))

    @aside
    def sensitivity(
        self,
        X: Any,
        columns: Any,
        *,
        gamma: Any = None,
        delta: Any = None,
        statistic: Any = "mean",
        conclusion: float | None = None,
        num_imputations: int = 20,
    ) -> Sensitivity:
        """Return how a statistic depends on what missing values hold beyond the fitted model.

        Args:
            X: table with the columns of ``fit``. [N, D]
            columns: those whose missing values depart from the fit, by name or number.
            gamma: sizes of an exponential tilt of the missing values, exp(gamma u): log odds ratios
                of going missing. u is the value in standard deviations of what X shows of its
                column, or the number of its level, from 0: of two levels, or levels in order.
            delta: or sizes of a shift of them, in the same standard deviations; of numbers alone.
                To either 0 is added, the fitted model.
            statistic: ``mean``, ``share_above:VALUE`` or ``share_below:VALUE`` of the first of
                ``columns``; or a function of a completed table, as ``transform`` gives it, to an
                estimate or a pair (estimate, variance). Without a variance, rows are drawn anew.
            conclusion: a value that the statistic is said to be above or below.
            num_imputations: completed tables for each size.

        Raises:
            TypeError, ValueError: an argument is not as expected; the message says which.
        """
        check_is_fitted(self)
        sizes = {"gamma": gamma, "delta": delta, "conclusion": conclusion}
        return analyse_imputer(self, X, columns, statistic, num_imputations, **sizes)

    def plot(self, max_columns: int = plot.MAX_COLUMNS) -> Any:
        """Return a matplotlib figure: P(missing | value) of each column, by the first fit."""
        check_is_fitted(self)
        return plot.draw(self.report_, max_columns)

    @property
    def _kept(self) -> tuple[ColumnType, ...]:
        """The columns that are modelled."""
        return tuple(itertools.compress(self._columns, self._has_value))

    def _fill(self, x: np.ndarray, mask: np.ndarray, num_imputations: int) -> np.ndarray:
        """Return M completed tables of draws [M, N, D], or for M = 0 that of means [1, N, D]."""
        rows = np.flatnonzero(~mask[:, self._has_value].all(axis=1))
        encoded = self._encode(x[rows], mask[rows])
        if not rows.size:
            tables = np.zeros((max(num_imputations, 1), *encoded.shape))
        elif num_imputations:
            tables = self.ensemble_.draws(encoded, num_imputations).swapaxes(0, 1)
        else:
            tables = self.ensemble_.mean(encoded)[None]
        return self._complete(tables, x, mask, is_mean=not num_imputations)

    def _complete(self, tables: Any, x: Any, mask: Any, is_mean: bool = False) -> np.ndarray:
        """Return completed tables [M, N, D] of what the n rows with gaps hold. [M, n, D']."""
        rows = np.flatnonzero(~mask[:, self._has_value].all(axis=1))
        filled = np.zeros((len(tables), *x.shape))
        filled[:, rows[:, None], np.flatnonzero(self._has_value)] = np.where(
            np.isnan(self._constant), columns.contract(tables, self._kept, is_mean), self._constant
        )
        filled = np.where(self._has_value, np.clip(filled, *self._limits), 0.0)
        filled = filled if self._is_mixed else two_valued.decoded(filled, self._columns)
        filled = np.where(mask, x, filled.astype(x.dtype))
        return filled if self.keep_empty_features else filled[:, :, self._has_value]

    def _encode(self, x: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Return the encoded columns that are modelled, NaN where missing. [N, D']."""
        x = np.where(mask | np.isnan(x), x, np.nan)
        x = x if self._is_mixed else two_valued.coded(x, self._columns)
        return columns.expand(x[:, self._has_value], self._kept)

    def _to_frame(self, codes: np.ndarray, mask: np.ndarray, X: Any) -> Any:
        """Return what ``_fill`` gave as a data frame of the kind and with the index of X."""
        kept = np.flatnonzero(self._has_value | self.keep_empty_features)
        given, types = columns.as_frame(X).iloc[:, kept], [self._columns[i] for i in kept]
        return frames.like(X, columns.to_frame(codes, types, given, mask[:, kept]))

    def _tell(self, level: int, line: str) -> None:
        if self.verbose >= level:
            print(line)
