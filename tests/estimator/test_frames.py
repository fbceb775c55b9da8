"""Frames of polars and nullable integers come back as they came, but for their gaps."""

import numpy as np
import pandas as pd
import pytest

from mnar_ebm import MNARImputer
from mnar_ebm.estimator import frames

pytestmark = pytest.mark.usefixtures("quick_compile_all")

QUICK = {
    "mechanism": "mcar",
    "max_iter": 20,
    "num_models": 1,
    "num_samples": 50,
    "random_state": 0,
    "settings": {"latent_dim": 1},
}


def rows():
    """Return rows with gaps, whose index is odd: integers and numbers."""
    rng = np.random.default_rng(0)
    size = rng.normal(size=60)
    frame = pd.DataFrame(
        {
            "count": pd.array(np.round(10 + 3 * size).astype(int), dtype="Int64"),
            "part": size + 0.3 * rng.normal(size=60),
        },
        index=range(100, 160),
    )
    frame.loc[frame.index[::5], "count"] = pd.NA
    frame.loc[frame.index[1::7], "part"] = np.nan
    return frame


@pytest.mark.slow
def test_nullable_integers_stay_integers_in_draws():
    """Means of them are no integers; index, names and what was observed stay in both."""
    frame = rows()
    imputer = MNARImputer(**QUICK)
    means, draws = imputer.fit_transform(frame), imputer.sample(frame, 2)
    is_gap = frame["count"].isna().to_numpy()
    assert means["count"].dtype == np.float64 and (means["count"][is_gap] % 1 != 0).any()
    for done in (means, *draws):
        assert done.index.equals(frame.index) and list(done) == list(frame)
        assert not done.isna().any(axis=None)
        assert (done["count"][~is_gap] == frame["count"][~is_gap]).all()
    assert all(one.dtypes.tolist() == frame.dtypes.tolist() for one in draws)


@pytest.mark.slow
def test_a_frame_of_polars_comes_back_as_one():
    """With its types, numbers, levels and truth values, and with marks of its gaps."""
    polars = pytest.importorskip("polars", reason="polars is not installed (extra dev)")
    frame = rows().reset_index(drop=True)
    given = polars.DataFrame(
        {
            "count": polars.Series([None if pd.isna(one) else int(one) for one in frame["count"]]),
            "part": polars.Series(frame["part"].to_numpy(), dtype=polars.Float32),
            "level": polars.Series(["a", "b", None] * 20, dtype=polars.Enum(["a", "b", "z"])),
            "yes": polars.Series([True, False, None, True] * 15),
        }
    )
    imputer = MNARImputer(add_indicator=True, **QUICK).fit(given)
    (draw,) = imputer.sample(given, 1)
    assert draw.schema == given.schema and draw.null_count().sum_horizontal()[0] == 0
    seen = given["count"].is_not_null()
    assert (draw["count"].filter(seen) == given["count"].filter(seen)).all()
    marked = imputer.transform(given)
    assert isinstance(marked, polars.DataFrame)
    assert marked.columns == imputer.get_feature_names_out().tolist()
    assert marked["missingindicator_yes"].sum() == 15
    assert marked["count"].dtype == polars.Float64 and marked["part"].dtype == polars.Float32


def test_polars_goes_to_pandas_and_back():
    """Also what neither model reads: text, dates, big integers."""
    polars = pytest.importorskip("polars", reason="polars is not installed (extra dev)")
    given = polars.DataFrame(
        {
            "big": polars.Series([2**62 + 1, None], dtype=polars.Int64),
            "byte": polars.Series([255, None], dtype=polars.UInt8),
            "text": ["x", None],
            "sort": polars.Series(["a", None], dtype=polars.Categorical),
        }
    )
    assert frames.like(given, frames.as_pandas(given)).equals(given)
