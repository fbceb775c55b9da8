"""Structural patterns of gaps, under masks that have them and under masks that do not."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer

from mnar_ebm.estimator.patterns import find_patterns


def find(mask):
    """Return the patterns of a mask whose columns are x0, x1 and so on."""
    return find_patterns([f"x{column}" for column in range(mask.shape[1])], mask)


def at_random(seed=0, num_rows=1000, num_columns=8, rate=0.3):
    """Return a mask with gaps completely at random."""
    return np.random.default_rng(seed).random((num_rows, num_columns)) > rate


def waves(mask, columns, first=0.2, step=0.1):
    """Make columns drop out in their order, in place; return the time each row leaves."""
    leaves = np.random.default_rng(9).random(len(mask))
    for wave, column in enumerate(columns):
        mask[:, column] = leaves > first + step * wave
    return leaves


@pytest.mark.parametrize("seed", range(50))
def test_of_gaps_completely_at_random_nothing_is_said(seed):
    """Whatever the size of the table; the smallest have pairs that are never observed together."""
    for num_rows, num_columns in ((100, 3), (500, 12), (2000, 30)):
        assert find(at_random(seed, num_rows, num_columns)).sentences == ()
    for num_rows, rate in ((20, 0.3), (60, 0.9), (1000, 0.95), (5000, 0.004)):
        patterns = find(at_random(seed, num_rows, 10, rate))
        assert patterns._replace(never_together=()).sentences == ()


@pytest.mark.parametrize("seed", range(5))
def test_of_gaps_that_depend_on_values_no_order_is_said(seed):
    """Columns of one factor, each missing where it is high: their gaps only resemble each other."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(1000, 1)) + 0.5 * rng.normal(size=(1000, 6))
    patterns = find(x < np.linspace(0.2, 1.2, 6))
    assert patterns.together == patterns.drop_out == patterns.never_together == ()


def test_columns_that_are_missing_together():
    """A section of three and one of two, in a table with other gaps."""
    mask = at_random()
    mask[:, 1] = mask[:, 2] = mask[:, 5]
    mask[:, 0] = mask[:, 7]
    first, second = find(mask).together
    assert (first.names, first.is_exact) == (("x1", "x2", "x5"), True)
    assert (second.names, second.is_exact) == (("x0", "x7"), True)
    assert first.share == pytest.approx(np.mean(~mask[:, 5]))
    assert find(mask).sentences == (
        f"x1, x2 and x5 are missing together, in {100 * first.share:.3g}% of the rows, as if a "
        "section had not been asked or a merge had failed",
        f"x0 and x7 are missing together, in {100 * second.share:.3g}% of the rows, as if a "
        "section had not been asked or a merge had failed",
    )


@pytest.mark.parametrize("rate", [0.02, 0.3, 0.95])
def test_columns_that_are_nearly_always_missing_together(rate):
    """One gap in fifty differs, at every share of gaps; one in three is too much."""
    mask = at_random(num_rows=5000, rate=rate)
    rarer, rng = min(rate, 1 - rate), np.random.default_rng(1)
    mask[:, 3] = mask[:, 4] ^ (rng.random(5000) < rarer / 50)
    mask[:, 1] = mask[:, 2] ^ (rng.random(5000) < rarer / 3)
    (group,) = find(mask).together
    assert (group.names, group.is_exact) == (("x3", "x4"), False)
    assert "x3 and x4 are nearly always missing together" in find(mask).sentences[0]


def test_columns_of_one_size_are_missing_together():
    """Radius, perimeter and area of a cell, each missing above its mean; no other of fifteen."""
    cancer = load_breast_cancer()
    hidden = cancer.data[:, :15]
    (group,) = find_patterns(list(cancer.feature_names[:15]), hidden <= hidden.mean(0)).together
    assert group.names == ("mean radius", "mean perimeter", "mean area")


def test_few_joint_gaps_are_no_section():
    """Four gaps that coincide, or five of ten rows."""
    few, small = np.ones((1000, 3), bool), np.ones((10, 3), bool)
    few[:4, :2] = small[:5, :2] = False
    assert find(few).sentences == find(small).sentences == ()
    few[4, :2] = False
    assert find(few).together[0].names == ("x0", "x1")


def test_columns_that_drop_out():
    """In the order of the waves, whatever their place in the table and the gaps beside."""
    mask = at_random()
    waves(mask, [6, 2, 4])
    patterns = find(mask)
    assert patterns.drop_out == ("x6", "x2", "x4")
    assert patterns.num_exceptions == 0
    assert patterns.sentences == (
        "x6, x2, x4 drop out in this order: a gap is followed by gaps in all later ones",
    )


def test_rows_that_come_back_are_exceptions():
    """Seven of 1000 are told; twenty are too many."""
    mask = at_random()
    leaves = waves(mask, [6, 2, 4])
    gone = np.flatnonzero(leaves < 0.2)
    mask[gone[:7], 4] = True
    assert find(mask).drop_out == ("x6", "x2", "x4")
    assert find(mask).sentences[0].endswith("(7 rows apart)")
    mask[gone[:20], 4] = True
    assert find(mask).drop_out == ()


def test_exceptions_in_one_column_leave_the_order_of_the_others():
    """Each pair has few enough, all together have not: only what holds in every row is kept."""
    mask = at_random(num_columns=9)
    leaves = waves(mask, [0, 1, 2, 3, 4])
    gone = np.flatnonzero(leaves < 0.2)
    mask[gone[:8], 1] = mask[gone[8:16], 3] = True
    patterns = find(mask)
    assert patterns.drop_out == ("x0", "x2", "x4")
    assert patterns.num_exceptions == 0


def test_columns_of_one_wave_are_one_step():
    """Two waves of two columns are no drop-out; three are, and each is told as a set too."""
    mask = at_random()
    waves(mask, [0, 2])
    mask[:, 1], mask[:, 3] = mask[:, 0], mask[:, 2]
    assert find(mask).drop_out == ()
    waves(mask, [0, 2, 4])
    mask[:, 1], mask[:, 3] = mask[:, 0], mask[:, 2]
    assert find(mask).drop_out == ("x0", "x1", "x2", "x3", "x4")
    assert [group.names for group in find(mask).together] == [("x0", "x1"), ("x2", "x3")]


def test_many_small_waves_are_not_one_set():
    """A few rows leave at each: neighbours nearly coincide, and a copy belongs to its own wave."""
    mask = at_random(num_rows=2000, num_columns=14)
    waves(mask, range(2, 14), first=0.3, step=0.02)
    copied = mask[:, 7] ^ (np.random.default_rng(0).random(2000) < 0.005)
    patterns = find(np.column_stack([mask, copied]))
    assert patterns.drop_out == tuple(f"x{column}" for column in range(2, 14))
    assert [group.names for group in patterns.together] == [("x7", "x14")]


def test_rows_with_no_value():
    """They are told, and do not make other columns go missing together or in order."""
    mask = at_random(num_columns=5)
    mask[100:400] = False
    patterns = find(mask)
    num_empty = int((~mask.any(axis=1)).sum())
    assert patterns.num_empty_rows == num_empty >= 300
    assert patterns.sentences == (
        f"{num_empty} rows have no value: they tell only that all is missing",
    )
    one = np.arange(100)[:, None] != np.full(5, 17)
    assert find(one).sentences == ("1 row has no value: it tells only that all is missing",)


def test_as_many_empty_rows_as_unrelated_gaps_leave_are_not_told():
    """They are counted all the same."""
    patterns = find(at_random(num_columns=2, rate=0.5))
    assert patterns.num_empty_rows > 200
    assert patterns.sentences == ()


def test_columns_that_are_never_observed_together():
    """Height in one half of the rows, weight in the other, a column without a value aside."""
    names, mask = ["height", "age", "weight", "none"], np.ones((40, 4), bool)
    mask[:20, 0] = mask[20:, 2] = mask[:, 3] = False
    patterns = find_patterns(names, mask)
    assert patterns.never_together == (("height", "weight"),)
    assert patterns.sentences == (
        "height and weight are never observed in the same row: no row tells how they go together, "
        "so what is imputed rests on the other columns and on the model alone",
    )


def test_of_much_five_are_told():
    """Two files with no column in common, and many sets."""
    mask = np.ones((200, 14), bool)
    mask[:100, :7] = mask[100:, 7:] = False
    patterns = find(mask)
    assert len(patterns.never_together) == 49
    assert patterns.sentences[0].startswith("x0, x1, x2, x3, x4 and 2 more columns are missing")
    assert patterns.sentences[2].startswith(
        "x0 with x7, x0 with x8, x0 with x9, x0 with x10, x0 with x11 and 44 more pairs are never"
    )
    sets = np.repeat(at_random(num_columns=7), 2, axis=1)
    assert len(find(sets).sentences) == 6
    assert find(sets).sentences[5] == "so are the columns of 2 more sets"


@pytest.mark.parametrize("shape", [(0, 0), (0, 2), (1, 1), (2, 1), (2, 3), (50, 1)])
def test_small_tables(shape):
    """With no gap nothing is said; with no value, that there is none."""
    assert find(np.ones(shape, bool)).sentences == ()
    told = find(np.zeros(shape, bool)).sentences
    assert [sentence.split(" ha")[0] for sentence in told] == (
        [f"{shape[0]} row{'s' * (shape[0] > 1)}"] if shape[0] else []
    )


def test_a_column_alone_has_no_pattern():
    """Its gaps are rows with no value, as many as there must be."""
    assert find(at_random(num_columns=1)).sentences == ()


def test_a_wide_table():
    """Of 500 columns two pairs have a pattern."""
    mask = at_random(num_columns=500)
    mask[:, 400] = mask[:, 3]
    mask[:, 499] = ~mask[:, 10]
    patterns = find(mask)
    assert [group.names for group in patterns.together] == [("x3", "x400")]
    assert patterns.never_together == (("x10", "x499"),)
    assert len(patterns.sentences) == 2


def test_a_mask_of_another_width_is_refused():
    """The message tells both."""
    with pytest.raises(ValueError, match=r"mask: expected shape \[N, 2\], got \(4, 3\)"):
        find_patterns(["a", "b"], np.ones((4, 3), bool))
