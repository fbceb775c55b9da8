"""Scores of pairs, splits and errors of the Coat task, on ratings that the test makes."""

import numpy as np
import pytest

from experiments.benchmark.debiasing import coat, ratings
from mnar_ebm.data.datasets.coat import Coat

USERS, ITEMS = 30, 40


@pytest.fixture(scope="module")
def shop():
    """Return ratings that follow a user, an item and one feature that men and women differ on."""
    rng = np.random.default_rng(0)
    is_man, is_parka = rng.integers(0, 2, USERS), rng.integers(0, 2, ITEMS)
    taste = np.where(is_man[:, None] == is_parka, 1.0, -1.0)
    mean = 3 + taste + rng.normal(0, 0.5, (USERS, 1)) + rng.normal(0, 0.3, ITEMS)
    truth = np.clip(np.rint(mean + rng.normal(0, 0.4, mean.shape)), 1, 5)
    is_chosen, is_random = rng.random((2, USERS, ITEMS)) < [[[0.4]], [[0.2]]]
    users, items = (np.eye(2)[features] for features in (is_man, is_parka))
    names = ("a:0", "a:1")
    selected, random = (np.where(mask, truth, np.nan) for mask in (is_chosen, is_random))
    return Coat(selected, random, users, items, names, names)


def test_inputs_of_a_pair(shop):
    """One-hot user and item, and the products of their features, in the order of the pairs."""
    inputs = ratings.make_inputs(shop, has_features=True).toarray()
    user, item = 7, 11
    row = inputs[user * ITEMS + item]
    of_user, of_item = shop.user_features[user], shop.item_features[item]
    parts = [np.eye(USERS)[user], np.eye(ITEMS)[item], of_item]
    parts += [np.kron(of_user, of_item), np.kron(np.eye(USERS)[user], of_item)]
    np.testing.assert_allclose(row, np.concatenate(parts))
    assert inputs.shape[0] == USERS * ITEMS


def test_features_help_where_tastes_differ(shop):
    """On pairs at random, which fitted nothing, the score with features has the lower error."""
    events = ratings.make_events(shop.random)
    mse = {}
    for has_features in (False, True):
        pairs = ratings.fit_scores(shop, has_features=has_features).pairs
        mse[has_features] = ratings.errors(pairs[events.users, events.items], events.ratings)["mse"]
    assert mse[True] < 0.6 * mse[False]


def test_scores_of_events_are_not_of_their_own_rating(shop):
    """Changing one rating leaves its own score, but not that of the pair, as it was."""
    events = ratings.make_events(shop.selected)
    other = shop.selected.copy()
    other[events.users[0], events.items[0]] = 6 - events.ratings[0] + (events.ratings[0] == 3)
    before, after = (
        ratings.fit_scores(shop._replace(selected=table), has_features=False)
        for table in (shop.selected, other)
    )
    assert before.alpha == after.alpha
    np.testing.assert_allclose(before.events[0], after.events[0], rtol=1e-3)
    assert abs(before.pairs - after.pairs)[events.users[0], events.items[0]] > 0.05


def test_errors_clip():
    """A prediction above 5 is one of 5."""
    found = ratings.errors(np.array([7.0, 2.0]), np.array([5.0, 4.0]))
    assert found == {"mse": 2.0, "mae": 1.0}


def test_table_of_events():
    """The rating one-hot, then the score."""
    table = ratings.make_table("coat", np.array([2.0, 5.0]), np.array([2.5, 3.5]))
    np.testing.assert_array_equal(table.x, [[0, 1, 0, 0, 0, 2.5], [0, 0, 0, 0, 1, 3.5]])


def test_splits_share_no_rating(shop):
    """5 % of events against the rest; 60 % of users against another 20 %."""
    events = ratings.make_events(shop.random)
    task = coat.make_task("events", shop, 0)
    assert len(task.unbiased.ratings) == round(0.05 * len(events.ratings))
    assert len(task.unbiased.ratings) + len(task.test.ratings) == len(events.ratings)
    pairs = [set(zip(part.users, part.items, strict=True)) for part in task[:2]]
    assert not pairs[0] & pairs[1]
    task = coat.make_task("users", shop, 0)
    given, tested = (np.unique(part.users) for part in task[:2])
    assert (len(given), len(tested)) == (18, 6) and not np.intersect1d(given, tested).size


def test_no_folder_is_told():
    """One line says which flag is missing."""
    with pytest.raises(ValueError, match="expected a folder of source files, got none; pass"):
        coat.load(None)


def test_text_names_the_winner():
    """The table says so where a baseline wins, and the guard says what it chose."""
    report = {"energy": "none", "tilt_scale": 0.0, "gain": 0.0, "ess_fraction": 1.0}

    def errors(mse):
        return {"mse": mse, "mae": mse, "mse_new": mse, "mae_new": mse}

    records = [
        {
            "kind": "events",
            "num_unbiased": 5,
            "num_test": 95,
            "results": {"biases": errors(1.0 + split), "data tilt": errors(1.5 + split)},
            "tilts": {"data": report},
        }
        for split in range(2)
    ]
    models = {"a": (-1.5, 2.9, 1.2), "b": (-2.5, -3.1, 2.4)}
    metrics = {
        name: {"bound": bound, "bias_shown": shown, "mse": mse, "mae": 1.0, "bias": 0.0}
        for name, (bound, shown, mse) in models.items()
    }
    text = coat.make_text([*records, {"kind": "guard", "results": metrics}])
    assert "| biases | 1.500 ± 0.500 |" in text
    assert "Lowest MSE: biases." in text and "0.500 ± 0.000" in text
    assert "the bound chooses a 1 times; that is the model of the lowest MSE 1 times" in text
    assert "| a | -1.500 | 2.9 | 0 of 1 |" in text
    assert "| b | -2.500 | -3.1 | 1 of 1 |" in text
