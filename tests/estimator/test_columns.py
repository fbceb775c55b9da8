"""Data frames into codes, codes into encoded columns, and back."""

import numpy as np
import pandas as pd
import pytest

from mnar_ebm.estimator import MNARImputer, columns, validation
from mnar_ebm.estimator.limits import make_limits

FRAME = pd.DataFrame(
    {
        "age": [31.5, np.nan, 50.25, 18.0],
        "single": np.array([1.5, 2.5, np.nan, 0.1], np.float32),
        "rooms": [3, 1, 2, 2],
        "children": pd.array([2, None, 0, 1], "Int64"),
        "owner": pd.array([True, False, None, True], "boolean"),
        "works": [True, False, False, True],
        "size": pd.Categorical(
            ["S", None, "L", "M"], categories=["XS", "S", "M", "L"], ordered=True
        ),
        "colour": pd.Categorical(["red", "blue", None, "green"]),
        "sex": ["f", "m", None, "f"],
        "said": pd.Series(["yes", None, "no", "perhaps"], dtype=object),
        "odd": pd.Series([1, 2.5, None, 3], dtype=object),
        "code": pd.Categorical([7, 9, 7, None]),
        "same": pd.Categorical(["x", "x", None, "x"]),
    }
).set_axis([5, 7, 11, 13])
KINDS = {
    "age": "numeric",
    "single": "numeric",
    "rooms": "numeric",
    "children": "numeric",
    "owner": "binary",
    "works": "binary",
    "size": "ordinal",
    "colour": "categorical",
    "sex": "binary",
    "said": "categorical",
    "odd": "numeric",
    "code": "binary",
    "same": "binary",
}


def learned(frame=FRAME):
    """Return what is known of the columns of a frame."""
    return columns.learn(frame, np.nan)


def codes_of(frame, handle_unknown="error", missing_values=np.nan):
    """Return codes by the columns of ``FRAME``."""
    return columns.to_codes(frame, learned(), missing_values, handle_unknown)


def test_dtypes_tell_the_kinds():
    """Levels are those seen, in order; a table of numbers alone has none."""
    assert {column.name: column.kind for column in learned()} == KINDS
    levels = {column.name: column.levels for column in learned()}
    assert levels["size"] == ("S", "M", "L") and levels["colour"] == ("blue", "green", "red")
    assert levels["owner"] == (False, True) and levels["code"] == (7, 9)
    assert levels["same"] == ("x",) and levels["said"] == ("no", "perhaps", "yes")
    assert learned(FRAME[["age", "rooms", "odd"]]) == () and learned(FRAME.to_numpy()) == ()


def test_encoded_columns_are_one_hot_or_missing():
    """The encoding goes there and back, and a code is what was seen."""
    codes = codes_of(FRAME)
    assert (np.isnan(codes) == FRAME.isna().to_numpy()).all()
    encoded = columns.expand(codes, learned())
    names = [name for column in learned() for name in column.encoded_names]
    assert encoded.shape == (4, len(names)) and names[6:12] == [
        "size=S", "size=M", "size=L", "colour=blue", "colour=green", "colour=red",
    ]  # fmt: skip
    np.testing.assert_array_equal(encoded[:, 6], [1, np.nan, 0, 0])
    np.testing.assert_array_equal(encoded[:, 9:12][0], [0, 0, 1])
    back = columns.contract(np.nan_to_num(encoded), learned())
    seen = ~np.isnan(codes)
    np.testing.assert_array_equal(back[seen], codes[seen])


def test_the_likeliest_level_is_taken():
    """Of probabilities, and never one that a column has not."""
    own = tuple(column for column in learned() if column.name in ("sex", "colour", "same"))
    weights = np.array([[0.2, 0.5, 0.3, 0.7, 0.9], [0.4, 0.3, 0.3, 0.2, 0.1]])
    np.testing.assert_array_equal(columns.contract(weights, own), [[1, 1, 0], [0, 0, 0]])


def test_dtypes_come_back():
    """Whole numbers stay so where their type can hold a gap; where it cannot they become floats."""
    codes = np.nan_to_num(codes_of(FRAME))
    frame = columns.to_frame(codes, learned(), FRAME, FRAME.notna().to_numpy())
    kept = [name for name in FRAME if name != "odd"]
    assert (frame.dtypes[kept] == FRAME.dtypes[kept]).all()
    assert frame.dtypes["odd"] == np.float64
    assert frame.index.equals(FRAME.index) and frame["rooms"].tolist() == [3, 1, 2, 2]
    seen = FRAME.notna()
    assert (frame.astype(object) == FRAME.astype(object)).where(seen, True).all(axis=None)


def test_what_is_imputed_of_whole_numbers_is_whole():
    """Rounded, within the dtype; what was observed is not touched, and needs a wider one then."""
    own = columns.learn(
        pd.DataFrame({"small": np.array([3, 250], np.uint8), "sex": ["f", "m"]}), np.nan
    )
    assert columns.contract(np.array([[2.6, 0.9]]), own).tolist() == [[3.0, 1.0]]
    x, unseen = np.array([[3.0, 0.0], [250.0, 1.0]]), np.zeros((2, 2), bool)
    low, high = make_limits(-np.inf, [np.inf, 9.0], own, x, unseen)
    assert (low[0], high[0]) == (0, 255) and (low[1], high[1]) == (-np.inf, np.inf)
    low, high = make_limits(1.5, [7.9, 9.0], own, x, unseen)
    assert (low[0], high[0]) == (2, 7)
    low, high = make_limits(-np.inf, [300.5, 9.0], own, x, ~unseen)
    assert (low[0], high[0]) == (3, 255)
    low, high = make_limits(1.5, np.inf, own, x, ~unseen)
    assert (low[0], high[0]) == (2, 250)
    for observed, dtype in (
        (7.0, np.uint8),
        (3.7, np.float64),
        (300.0, np.float64),
        (-1.0, np.float64),
    ):
        given = pd.DataFrame({"small": [observed], "sex": ["f"]})
        frame = columns.to_frame(np.array([[observed, 0.0]]), own, given, np.ones((1, 2), bool))
        assert frame["small"].dtype == dtype and frame["small"].item() == observed
    wide = columns.ColumnType("wide", dtype=np.dtype(np.int64))
    assert [int(limit) for limit in wide.integer_range] == [-(2**63), 2**63 - 1024]


@pytest.mark.parametrize("dtype", ["int64", "Int64", "Sparse[int64]"])
def test_whole_numbers_beyond_floats_come_back(dtype):
    """Codes are floats, which tell them apart only up to 2**53."""
    given = pd.DataFrame({"id": pd.array([2**60 + 1, 2**60 + 3], dtype), "sex": ["f", "m"]})
    own = columns.learn(given, np.nan)
    codes = columns.to_codes(given, own, np.nan, "error")
    mask = np.array([[True, True], [False, True]])  # as if the second was imputed
    frame = columns.to_frame(codes, own, given, mask)
    assert frame["id"].dtype == given["id"].dtype and frame["id"].tolist() == [2**60 + 1, 2**60]


def test_any_gap_in_a_table_of_numbers_is_nan():
    """In a column of objects too, where scikit-learn reads no ``pd.NA``."""
    frame = pd.DataFrame({"a": pd.Series([1, pd.NA, 3, None], dtype=object), "b": [1.0, 2, 3, 4]})
    plain = columns.plain_numbers(frame).to_numpy(float)
    np.testing.assert_array_equal(plain, [[1, 1], [np.nan, 2], [3, 3], [np.nan, 4]])


def test_new_rows_may_come_in_other_dtypes():
    """Objects or floats for what was boolean or a category."""
    row = FRAME.iloc[:1].astype({"owner": object, "size": object, "works": float, "code": float})
    np.testing.assert_array_equal(codes_of(row), codes_of(FRAME)[:1])


def test_an_unseen_level_is_named_or_taken_as_missing():
    """One that the dtype knows but ``fit`` has not seen, too."""
    new = FRAME.copy()
    new["colour"] = ["red", "mauve", "blue", "red"]
    message = "X: expected one of the levels seen in fit in column 'colour', got 'mauve' in row 1"
    with pytest.raises(ValueError, match=message):
        codes_of(new)
    np.testing.assert_array_equal(codes_of(new, "missing")[:, 7], [2, np.nan, 0, 2])
    new = FRAME.assign(size=pd.Categorical(["XS"] * 4, FRAME["size"].cat.categories, ordered=True))
    with pytest.raises(ValueError, match="in column 'size', got 'XS' in row 0"):
        codes_of(new)


def test_a_number_may_mark_missing_cells():
    """Beside what pandas takes as missing."""
    marked = FRAME.assign(rooms=[3, -9, 2, 2], code=pd.Categorical([7, 9, -9, None]))
    own = columns.learn(marked, -9)
    assert {column.name: column.dtype for column in own}["rooms"] == np.float64
    codes = columns.to_codes(marked, own, -9, "error")
    assert np.isnan(codes[1, 2]) and np.isnan(codes[2:, 11]).all() and codes[1, 11] == 1


def test_false_is_not_zero():
    """Nor True one: a number marks no truth value, in whatever dtype."""
    truths = {"a": [True, False], "b": pd.array([True, False], "boolean"), "c": [0, 1]}
    frame = pd.DataFrame(truths).assign(d=pd.Series([False, None], dtype=object))
    for marker in (0, 1):
        hidden = columns.hide_marked(frame, marker).isna().to_numpy()
        expected = frame.isna().to_numpy() | (frame == marker).to_numpy() & (np.arange(4) == 2)
        np.testing.assert_array_equal(hidden, expected)


GAP = pd.io.stata.StataMissingValue(102)
STATA = pd.Categorical(["none", 800.0, 1200.0, "refused"], ["none", 800.0, 1200.0, "refused"], True)


@pytest.mark.parametrize(
    "column, message",
    [
        (pd.Series(pd.to_datetime(["2020-01-01"] * 4)), "'new' as dates, which numbers of days"),
        (pd.Series([1, "a", 2, 3], dtype=object), "'new' with numbers and texts, as 1 and 'a'"),
        (pd.Series([[1], [2], [3], [4]]), r"'new' with values such as \[1\]"),
        (pd.Series([1j, 2, 3, 4]), "'new' as complex128"),
        (pd.Series(STATA), "as 800 and 'none': .*convert_categoricals=False"),
        (
            pd.Series([np.float64(1.5), GAP, 2, 3], dtype=object),
            "as 1.5 and '.a': make these missing",
        ),
    ],
    ids=["dates", "both", "lists", "complex", "labels on some amounts", "a gap of Stata"],
)
def test_what_is_no_column_is_told_in_one_line(column, message):
    with pytest.raises(TypeError, match=message) as raised:
        learned(FRAME.assign(new=column.array))
    assert "\n" not in str(raised.value)


def test_all_that_cannot_be_modelled_is_told_at_once():
    """Names, dates and codes among amounts, as a survey has them."""
    frame = pd.DataFrame(
        {
            "id": [f"person {index}" for index in range(201)],
            "day": pd.to_datetime("2020-01-01") + pd.to_timedelta(range(201), "D"),
            "age": range(201),
            "pay": pd.Series([*range(200), "no"], dtype=object),
        }
    )
    with pytest.raises(TypeError, match="'id' with 201 levels, .*'day' as dates.*'pay' with num"):
        learned(frame)


@pytest.mark.parametrize("kind", [float, str])
def test_two_columns_of_one_name_are_told_before_any_work(kind):
    frame = pd.DataFrame([[kind(1), kind(2)], [kind(3), kind(4)]], columns=["a", "a"])
    with pytest.raises(ValueError, match="X: expected distinct column names, got 'a' more than"):
        learned(frame)


@pytest.mark.parametrize("beside", ["float32", "float64", "text"])
def test_a_mark_is_found_in_either_precision(beside):
    """A float32 of 99.9, whatever the columns beside it are."""
    others = {"float32": np.float32([1, 2, 3]), "float64": [1.0, 2.0, 3.0], "text": ["a", "b", "a"]}
    frame = pd.DataFrame({"a": np.float32([99.9, 1.0, 2.0]), "b": others[beside]})
    imputer = MNARImputer(missing_values=99.9)
    assert validation.validate(imputer, frame, is_fit=True)[1].tolist() == [
        [False, True],
        [True, True],
        [True, True],
    ]


@pytest.mark.parametrize("dtype", [object, "category", "string"])
def test_a_dot_is_a_gap_and_no_level(dtype):
    """As in a CSV; with a letter too, which tells why in files of SAS and Stata."""
    frame = pd.DataFrame({"a": pd.Series(["x", ".", "y", ".a", ".z", "..", "x"], dtype=dtype)})
    (column,) = columns.learn(frame, np.nan)
    assert column.levels == ("..", "x", "y")
    codes = columns.to_codes(frame, (column,), np.nan, "error")[:, 0]
    np.testing.assert_array_equal(codes, [1, np.nan, 2, np.nan, np.nan, 0, 1])


def test_a_mark_that_is_nowhere_is_told():
    """It may be another one."""
    imputer = MNARImputer(missing_values=-9)
    with pytest.warns(UserWarning, match="missing_values: expected -9 in some cell of X, got none"):
        validation.validate(imputer, np.ones((3, 2)), is_fit=True)


def test_text_among_numbers_is_told_in_one_line():
    with pytest.raises(TypeError, match="X: expected numbers in column 'age', got "):
        codes_of(FRAME.assign(age=["old", "young", "old", "old"]))
    with pytest.raises(TypeError, match="X: expected numbers in column 'odd', got object"):
        codes_of(FRAME.assign(odd=pd.Series([10**400, 1, 2, 3], FRAME.index, dtype=object)))
