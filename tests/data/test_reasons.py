"""A NaN tells why a value is missing, and codes become such NaNs."""

import pickle

import numpy as np
import pytest

from mnar_ebm import data
from mnar_ebm.data import reasons

X = np.array([[1.0, np.nan], [reasons.gap("refused"), reasons.gap("not asked")]])


@pytest.mark.parametrize(
    "carry",
    [
        lambda x: x.copy(),
        lambda x: x.astype(np.float32),
        lambda x: np.where(np.isfinite(x), 2 * x, x),
        lambda x: pickle.loads(pickle.dumps(x)),
        lambda x: np.asfortranarray(x),
        lambda x: data.make_table("t", "ab", np.vstack([x, [0.0, 0.0]])).x[:2],
    ],
)
def test_reasons_go_where_cells_go(carry):
    np.testing.assert_array_equal(reasons.codes_of(carry(X)), [[-1, 0], [1, 3]])
    np.testing.assert_array_equal(reasons.is_not_asked(carry(X)), [[False, False], [False, True]])


def test_an_unknown_reason_is_refused():
    with pytest.raises(ValueError, match="expected one of system, refused.*got 'lost'"):
        reasons.gap("lost")


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        ("REFUSAL", "refused"),
        ("No answer", "refused"),
        ("Don’t know", "don't know"),
        ("DK/NA", "don't know"),
        ("Inapplicable (filter)", "not asked"),
        ("IAP", "not asked"),
        ("Referred to the office", "other"),
        ("", "other"),
    ],
)
def test_labels_name_reasons(label, reason):
    assert reasons.reason_of(label) == reason


def test_codes_become_gaps():
    x = np.array([[-9.0, 99.0], [-8.0, -9.0], [3.0, 1.0]])
    codes = reasons.read_codes("a: -9 refused, -8 not asked; b: 99 don't know")
    marked = reasons.mark_codes("t", ("a", "b"), x, codes)
    np.testing.assert_array_equal(reasons.codes_of(marked), [[1, 2], [3, -1], [-1, -1]])
    everywhere = reasons.mark_codes("t", ("a", "b"), x, reasons.read_codes("*: -9"))
    np.testing.assert_array_equal(reasons.codes_of(everywhere), [[4, -1], [-1, 4], [-1, -1]])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("income -9 refused", "expected COLUMN: CODE REASON"),
        ("a: refused", "got 'a: refused'"),
        ("c: 1 refused", "expected the column 'c' of missing_codes"),
        ("a: 7 refused", "expected a cell with 7 in 'a'"),
    ],
)
def test_wrong_codes_are_refused(text, said):
    with pytest.raises(ValueError, match=said):
        reasons.mark_codes("t", ("a", "b"), np.zeros((2, 2)), reasons.read_codes(text))
