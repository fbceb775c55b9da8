"""Numbers of two values are levels: nothing between or beyond them is imputed."""

import numpy as np
import pandas as pd
import pytest

from mnar_ebm import MNARImputer
from mnar_ebm.estimator import two_valued

QUICK = {
    "max_iter": 4,
    "num_models": 2,
    "num_samples": 50,
    "random_state": 0,
    "mechanism": "mcar",
    "settings": {"hidden_dim": 8, "latent_dim": 1},
}


def rows():
    """Return rows of a number, and of two values that go with it, some of them missing."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 2))
    x[:, 1] = x[:, 0] + 0.5 * x[:, 1] > 0
    x[rng.random(40) < 0.3, 1] = np.nan
    return x


@pytest.mark.slow
@pytest.mark.parametrize("values", [(0.0, 1.0), (1.0, 2.0), (-0.5, 99.9)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_two_values_come_out_of_two(values, dtype):
    """In arrays of either precision, in means and in draws, and in the report."""
    x = rows()
    x[:, 1] = np.where(np.isnan(x[:, 1]), np.nan, np.choose(x[:, 1] > 0, values))
    x = x.astype(dtype)
    imputer = MNARImputer(**QUICK).fit(x)
    tables = [imputer.transform(x), *imputer.sample(x, 20)]
    assert {float(one) for one in np.unique(np.stack(tables)[..., 1])} == {*np.array(values, dtype)}
    seen = ~np.isnan(x)
    assert all((table[seen] == x[seen]).all() and table.dtype == dtype for table in tables)
    assert "two numbers alone, which are taken as levels" in str(imputer.report_)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["int64", "int8", "Int64", "float32", "Sparse[int64]"])
def test_two_whole_numbers_of_a_frame_come_out_in_their_dtype(dtype):
    """Beside levels; a gap in new rows alone, or a gap in fit."""
    x = rows()
    codes = np.nan_to_num(x[:, 1]).astype(int)
    frame = pd.DataFrame({"a": x[:, 0], "b": pd.array(codes, dtype), "c": np.choose(codes, "xy")})
    frame.loc[3, "c"] = None
    imputer = MNARImputer(**QUICK).fit(frame)
    assert imputer.transform(frame)["b"].dtype == frame["b"].dtype
    new = frame.astype({"b": "float64"})
    new.loc[:9, "b"] = np.nan
    draws = pd.concat(imputer.sample(new, 5))
    assert set(draws["b"]) == {0, 1}


def test_other_numbers_are_told():
    """A third value in new rows is an error, or a gap, as a new level is; or all are numbers."""
    x = rows()
    new = x.copy()
    new[5, 1] = 0.37
    imputer = MNARImputer(**QUICK).fit(x)
    with pytest.raises(ValueError, match="got 0.37 in row 5; .*two_valued='numeric'"):
        imputer.transform(new)
    lenient = imputer.set_params(handle_unknown="missing")
    assert lenient.transform(new)[5, 1] in (0, 1)
    numeric = MNARImputer(**QUICK, two_valued="numeric").fit(x)
    assert numeric.transform(new)[5, 1] == 0.37
    assert len(np.unique(numeric.sample(x, 5)[..., 1])) > 10
    with pytest.raises(ValueError, match="two_valued: expected one of binary, numeric"):
        MNARImputer(**QUICK, two_valued="yes").fit(x)


def test_few_or_other_values_are_numbers():
    """Three values, few cells, and values that float32 does not tell apart."""

    def kind(*values, count=10):
        x = np.resize(np.array(values), count)[:, None]
        return two_valued.learn_numbers("a", x, np.isfinite(x), "binary")[0].kind

    assert kind(0.0, 1.0) == kind(3.0, np.nan, 7.5, count=15) == "binary"
    assert kind(0.0, 1.0, count=9) == kind(0.0, 1.0, 2.0) == kind(1.0) == "numeric"
    assert kind(1e9, 1e9 + 1) == "numeric"
