"""Numbers that look like codes for missing values."""

import numpy as np
import pytest

from mnar_ebm.data.codes import suspected_codes, warn_of_codes

RNG = np.random.default_rng(0)
GRADES = RNG.integers(1, 6, 400).astype(float)
AGES = RNG.integers(18, 90, 400).astype(float)
LENGTHS = RNG.normal(50, 10, 400)
AMOUNTS = RNG.lognormal(9.5, 0.6, 400)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    ("values", "codes"),
    [
        (GRADES, [9]),
        (GRADES, [8, 9]),
        (GRADES, [-9]),
        (GRADES, [-9, -8]),
        (GRADES, [-1, 9]),
        (AGES, [99]),
        (AGES, [998, 999]),
        (AGES, [-1]),
        (LENGTHS, [99.9]),
        (LENGTHS, [88.8, 99.9]),
        (LENGTHS, [-99.9]),
        (AMOUNTS, [99999]),
        (AMOUNTS, [-9]),
    ],
)
def test_codes_are_found(values, codes, dtype):
    """At the edges, alone or several, in either precision."""
    x = np.concatenate([values[values < 85], np.repeat(codes, 12)]).astype(dtype)
    if values is AMOUNTS:
        x = np.concatenate([values, np.repeat(codes, 12)]).astype(dtype)
    np.testing.assert_allclose(suspected_codes(x.astype(np.float64)), codes, rtol=1e-6)


@pytest.mark.parametrize(
    "values",
    [
        RNG.integers(1, 10, 400),  # a scale of 9 grades
        np.minimum(RNG.integers(1, 30, 400), 9),  # most at its end
        RNG.integers(-1, 2, 400),
        RNG.integers(-3, 4, 400),
        RNG.integers(0, 100, 400),
        RNG.integers(-5, 30, 400),  # degrees
        RNG.poisson(2.0, 400),
        RNG.poisson(40.0, 400),
        RNG.integers(0, 2, 400),
        np.full(400, 9),
        RNG.normal(size=400).round(1),
        np.append(LENGTHS, 99.9),  # once is no heap
        np.maximum(RNG.normal(size=400), 0.0),
        1000 * RNG.integers(5, 100, 400),
    ],
)
def test_other_columns_have_none(values):
    """Scales, counts, heaps at zero and a value far out."""
    assert suspected_codes(np.asarray(values, float)) == []


def test_the_warning_names_columns_and_codes():
    """In one line; missing cells are none."""
    x = np.stack([np.append(GRADES, [9.0] * 5), np.append(LENGTHS, [np.nan] * 5)], axis=1)
    with pytest.warns(UserWarning, match=r"9 in 'grade': taken as values, .*; make them gaps"):
        warn_of_codes(x, ["grade", "length"], "make them gaps")
