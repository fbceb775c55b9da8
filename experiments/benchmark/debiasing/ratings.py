"""From tables of ratings to scores of pairs, and to a table with one row for each pair.

A score is a prediction of the rating by a linear model with weights of

    user      item      features of the item      these times features of the user
    these times user

each with a Gaussian prior of one precision, chosen by cross-validation; the *biases* have the
first two alone. Nothing but self-selected ratings fits it.
"""

from typing import NamedTuple

import numpy as np
from scipy import sparse
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict
from sklearn.preprocessing import normalize

from mnar_ebm import data
from mnar_ebm.data.datasets.coat import Coat
from mnar_ebm.kinds import make_blocks
from mnar_ebm.tilted import FittedModel

ALPHAS = (1.0, 2.0, 5.0, 10.0, 20.0)
"""Precisions to choose from, in units of the noise of a rating."""

NUM_FOLDS = 20

LEVELS = np.arange(1.0, 6.0)
"""The ratings that there are."""


class Events(NamedTuple):
    """Pairs of a user and an item with a rating, in the order of the table.

    Attributes:
        users: indices. [N]
        items: indices. [N]
        ratings: from 1 to 5. [N]
    """

    users: np.ndarray
    items: np.ndarray
    ratings: np.ndarray

    def take(self, rows: np.ndarray) -> "Events":
        """Return some of the events."""
        return Events(*(column[rows] for column in self))


class Scores(NamedTuple):
    """Predictions of ratings from self-selected ones.

    Attributes:
        pairs: of every pair, by all self-selected ratings. [users, items]
        events: of every self-selected rating, by a model that was not fitted to it. [N]
        alpha: the precision chosen.
    """

    pairs: np.ndarray
    events: np.ndarray
    alpha: float


def make_events(ratings: np.ndarray) -> Events:
    """Return the events of a table of ratings, NaN where there is none. [users, items]."""
    users, items = np.nonzero(~np.isnan(ratings))
    return Events(users, items, ratings[users, items])


def fit_scores(coat: Coat, *, has_features: bool) -> Scores:
    """Return the scores of a linear model with features, or of biases alone."""
    selected = make_events(coat.selected)
    every = make_inputs(coat, has_features=has_features)
    inputs = every[selected.users * coat.selected.shape[1] + selected.items]
    folds = KFold(NUM_FOLDS, shuffle=True, random_state=0)
    search = GridSearchCV(
        Ridge(solver="sparse_cg"), {"alpha": ALPHAS}, scoring="neg_mean_squared_error", cv=folds
    )
    search.fit(inputs, selected.ratings)
    events = cross_val_predict(search.best_estimator_, inputs, selected.ratings, cv=folds)
    pairs = search.predict(every).reshape(coat.selected.shape)
    return Scores(pairs, events, search.best_params_["alpha"])


def make_inputs(coat: Coat, *, has_features: bool) -> sparse.csr_array:
    """Return the inputs of every pair, each part of unit length. [users * items, inputs]."""
    num_users, num_items = coat.selected.shape
    each_user, each_item = np.ones((num_users, 1)), np.ones((num_items, 1))
    user, item = sparse.eye_array(num_users), sparse.eye_array(num_items)
    parts = [(user, each_item), (each_user, item)]
    if has_features:
        user_features, item_features = map(_unit_rows, (coat.user_features, coat.item_features))
        shown = (each_user, user_features, user)
        parts += [(of_user, item_features) for of_user in shown]
    return sparse.hstack([sparse.kron(*part) for part in parts]).tocsr()


def _unit_rows(features: np.ndarray) -> sparse.csr_array:
    return sparse.csr_array(normalize(features))


BLOCKS = make_blocks([("ordinal", len(LEVELS)), ("numeric", 0)])
COLUMNS = (*(f"rating={level:g}" for level in LEVELS), "score")


def make_table(name: str, ratings: np.ndarray, scores: np.ndarray) -> data.Table:
    """Return a table with a row for each pair: its rating, one-hot, and its score.

    Args:
        name: what the table is called.
        ratings: from 1 to 5. [N]
        scores: of the pairs. [N]
    """
    one_hot = (ratings[:, None] == LEVELS).astype(float)
    return data.make_table(name, COLUMNS, np.column_stack([one_hot, scores]), blocks=BLOCKS)


def predict(fitted: FittedModel, scores: np.ndarray, seed: int) -> np.ndarray:
    """Return E[rating|score] of pairs whose rating is missing. [N]."""
    gaps = np.full((len(scores), len(LEVELS)), np.nan)
    imputed = fitted.impute(np.column_stack([gaps, scores]), seed=seed)
    return imputed.mean[:, : len(LEVELS)] @ LEVELS


def errors(predicted: np.ndarray, ratings: np.ndarray) -> dict[str, float]:
    """Return the mean squared and the mean absolute error, of predictions clipped to [1, 5]."""
    difference = np.clip(predicted, LEVELS[0], LEVELS[-1]) - ratings
    return {"mse": float(np.mean(difference**2)), "mae": float(np.mean(np.abs(difference)))}
