"""Whether observed values predict gaps, under masks of known kinds."""

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer

from mnar_ebm import data
from mnar_ebm.estimator import gaps
from mnar_ebm.kinds import make_blocks


def hidden(mask, seed):
    """Return eleven columns of the breast cancer table, some of them skewed, under a mask."""
    truth = load_breast_cancer().data[:, 9:20]
    observed = data.hide(mask, seed, truth)
    return data.make_table("t", map(str, range(11)), np.where(observed, truth, np.nan))


@pytest.mark.parametrize(
    "seed", [*range(3), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(3, 8))]
)
def test_gaps_completely_at_random_are_not_predicted(seed):
    """Whatever the shape of a column: a chance of 1 in 40 each, were the gains not below 0."""
    assert not gaps.are_predictable(hidden("mcar", seed))


@pytest.mark.parametrize("mask", ["mar", "above_mean", "quantile", "weighted_sum"])
def test_gaps_that_depend_on_values_are_predicted(mask):
    """By other columns, or by their gaps."""
    assert gaps.are_predictable(hidden(mask, 0))


def test_gaps_of_a_column_alone_are_not_predicted():
    """Whatever was hidden: there is nothing to predict them from."""
    values = np.random.default_rng(0).normal(size=(200, 1))
    assert not gaps.are_predictable(
        data.make_table("t", ["a"], np.where(values > 0.5, np.nan, values))
    )


def test_the_encoded_columns_of_a_level_do_not_predict_its_own_gap():
    """They are missing together; a gap at random is not predicted, one by the level beside is."""
    rng = np.random.default_rng(0)
    blocks = make_blocks([("categorical", 3), ("numeric", 0)])
    level = rng.integers(0, 3, 400)
    value = level + rng.normal(size=400)
    one_hot = pd.get_dummies(level).to_numpy(float)

    def table(is_hidden):
        x = np.column_stack([np.where(is_hidden[:, None], np.nan, one_hot), value])
        return data.make_table("t", "abcd", x, blocks=blocks)

    assert not gaps.are_predictable(table(rng.random(400) < 0.3))
    assert gaps.are_predictable(table((level == 2) & (rng.random(400) < 0.7)))


def test_of_many_columns_some_are_read(monkeypatch):
    """As many as are asked for, and gaps that depend on values are still predicted."""
    table, counted = hidden("mar", 0), []
    predict = gaps.cross_val_predict

    def count(*args, **settings):
        counted.append(args)
        return predict(*args, **settings)

    monkeypatch.setattr(gaps, "cross_val_predict", count)
    monkeypatch.setattr(gaps, "TUNING", gaps.TUNING._replace(max_columns=3))
    assert gaps.are_predictable(table) and len(counted) == 3
