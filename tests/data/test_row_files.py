"""CSV with codes, Parquet and Arrow: types stay, columns without numbers come along."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from mnar_ebm import data
from mnar_ebm.data import reasons

FRAME = pd.DataFrame(
    {
        "whole": pd.array([1, None, 3], dtype="Int64"),
        "part": [0.5, np.nan, 2.5],
        "yes": pd.array([True, None, False], dtype="boolean"),
        "name": ["a", None, "c"],
        "small": np.array([1, 2, 3], np.int8),
    }
)


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_types_stay(tmp_path, suffix):
    """Of what is filled, too, where a type holds it."""
    pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra parquet)")
    kind = {"arrow": "feather"}.get(suffix, suffix)
    getattr(FRAME, f"to_{kind}")(tmp_path / f"a.{suffix}")
    csv = data.read_rows(tmp_path / f"a.{suffix}")
    assert csv.columns == ("whole", "part", "yes", "small") and data.left_out(csv) == ("name",)
    np.testing.assert_array_equal(np.isnan(csv.x)[1], [True, True, True, False])
    data.write_completed(tmp_path / f"b.{suffix}", csv, np.full(csv.x.shape, 2.0))
    done = getattr(pd, f"read_{kind}")(tmp_path / f"b.{suffix}")
    kept = ["whole", "part", "name", "small"]
    assert done.dtypes[kept].tolist() == FRAME.dtypes[kept].tolist()
    assert done["whole"].tolist() == [1, 2, 3] and done["part"].tolist() == [0.5, 2.0, 2.5]
    data.write_completed(tmp_path / f"b.{suffix}", csv, np.full(csv.x.shape, 2.25))
    done = getattr(pd, f"read_{kind}")(tmp_path / f"b.{suffix}")
    assert done["whole"].tolist() == [1.0, 2.25, 3.0]


def test_codes_of_a_csv_file(tmp_path):
    """They are gaps; what was not asked stays as it stands in the file, unless asked for."""
    (tmp_path / "a.csv").write_text("income,age\n10,99\n-9,30\n-8,40\n20,\n")
    csv = data.read_rows(tmp_path / "a.csv", missing_codes="income: -9 refused, -8 not asked")
    assert reasons.codes_of(csv.x)[:, 0].tolist() == [-1, 1, 3, -1]
    assert csv.x[0, 1] == 99
    done = []
    for one in (csv, dataclasses.replace(csv, fills_not_asked=True)):
        data.write_completed(tmp_path / "b.csv", one, np.full((4, 2), 5.0))
        done.append((tmp_path / "b.csv").read_text().splitlines())
    assert done[0] == ["income,age", "10,99", "5,30", "-8,40", "20,5"]
    assert done[1] == ["income,age", "10,99", "5,30", "5,40", "20,5"]


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (pd.DataFrame({"a": ["x"]}), "expected a column of numbers, got none"),
        (pd.DataFrame({"a": [np.inf]}), "expected finite numbers in 'a', row 0"),
        (pd.DataFrame([[1.0, 2.0]], columns=["a", "a"]), "expected distinct column names"),
        (pd.DataFrame({"a": np.zeros(0)}), "expected at least one row"),
    ],
)
def test_frames_without_a_table_are_refused(frame, said):
    with pytest.raises(ValueError, match=said):
        data.from_frame("t.parquet", frame)


def test_a_file_that_is_not_there(tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra parquet)")
    with pytest.raises(ValueError, match="No such file"):
        data.read_rows(tmp_path / "no.parquet")
