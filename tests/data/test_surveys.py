"""Files of SPSS and Stata: every kind of missing value, labels and dates, there and back."""

import dataclasses
import datetime

import numpy as np
import pandas as pd
import pytest

from mnar_ebm import data
from mnar_ebm.data import reasons

pyreadstat = pytest.importorskip("pyreadstat", reason="pyreadstat is not installed (extra survey)")

DAYS = [datetime.date(2020, 1, day) for day in (1, 2, 3, 4, 5)]
INCOME = {-9.0: "Refused", -8.0: "Not asked", -7.0: "Don't know"}


@pytest.fixture
def sav(tmp_path):
    """Write a file of SPSS: a range of codes, two codes, plain gaps, text and dates."""
    frame = pd.DataFrame(
        {
            "age": [34.0, 99.0, 56.0, np.nan, 41.0],
            "income": [2000.0, -9.0, -8.0, -7.0, 3100.0],
            "vote": [1.0, 2.0, 8.0, 9.0, 1.0],
            "id": list("abcde"),
            "day": DAYS,
        }
    )
    pyreadstat.write_sav(
        frame,
        str(tmp_path / "a.sav"),
        column_labels={"age": "Age in years"},
        variable_value_labels={
            "income": INCOME,
            "vote": {1.0: "yes", 2.0: "no", 8.0: "DK", 9.0: "No answer"},
        },
        missing_ranges={"income": [{"lo": -9, "hi": -7}], "vote": [8, 9], "age": [99]},
        variable_measure={"vote": "nominal"},
    )
    return tmp_path / "a.sav"


@pytest.fixture
def dta(tmp_path):
    """Write a file of Stata, with extended missing values."""
    frame = pd.DataFrame(
        {
            "income": pd.Series([2000.5, "a", "b", None, 3100.0], dtype=object),
            "count": pd.Series([1, 2, "c", 4, 5], dtype=object),
            "name": list("abcde"),
        }
    )
    pyreadstat.write_dta(
        frame,
        str(tmp_path / "a.dta"),
        column_labels={"income": "Income"},
        variable_value_labels={"income": {"a": "refused", "b": "not asked"}},
        missing_user_values={"income": ["a", "b"], "count": ["c"]},
    )
    return tmp_path / "a.dta"


def test_a_file_of_spss_tells_its_reasons(sav):
    survey = data.read_survey(sav)
    assert survey.numeric == ("age", "income", "vote")
    assert survey.reasons["age"].tolist() == ["", "other", "", "system", ""]
    assert survey.reasons["income"].tolist() == ["", "refused", "not asked", "don't know", ""]
    assert survey.reasons["vote"].tolist() == ["", "", "don't know", "refused", ""]
    assert survey.codes["income"].tolist() == [None, -9, -8, -7, None]
    assert survey.frame["income"].isna().tolist() == [False, True, True, True, False]
    assert survey.frame["day"].tolist() == DAYS and survey.frame["id"].tolist() == list("abcde")
    assert survey.value_labels["income"] == INCOME
    assert survey.column_labels == {"age": "Age in years"}
    assert survey.measures == {"vote": "nominal"}
    told = reasons.codes_of(survey.frame[["income"]].to_numpy()).ravel()
    assert told.tolist() == [-1, 1, 3, 2, -1]


def test_a_file_of_stata_tells_its_reasons(dta):
    survey = data.read_survey(dta)
    assert survey.numeric == ("income", "count")
    assert survey.reasons["income"].tolist() == ["", "refused", "not asked", "system", ""]
    assert survey.codes["income"].tolist() == [None, "a", "b", None, None]
    assert survey.reasons["count"].tolist() == ["", "", "other", "", ""]
    assert survey.frame["count"].tolist()[:2] == [1.0, 2.0]


@pytest.mark.parametrize("fills_not_asked", [False, True])
def test_what_was_not_asked_keeps_its_code(sav, tmp_path, fills_not_asked):
    """The rest is filled; labels, declared codes, text and dates are there again."""
    csv = dataclasses.replace(data.read_rows(sav), fills_not_asked=fills_not_asked)
    assert data.left_out(csv) == ("id", "day")
    values = np.full(csv.x.shape, 7.5)
    data.write_completed(tmp_path / "b.sav", csv, values)
    frame, meta = pyreadstat.read_sav(str(tmp_path / "b.sav"), user_missing=True)
    left = 7.5 if fills_not_asked else -8.0
    assert frame["income"].tolist() == [2000.0, 7.5, left, 7.5, 3100.0]
    assert frame["age"].tolist() == [34.0, 7.5, 56.0, 7.5, 41.0]
    assert frame["day"].tolist() == DAYS and frame["id"].tolist() == list("abcde")
    before = pyreadstat.read_sav(str(sav), user_missing=True)[1]
    for name in ("variable_value_labels", "missing_ranges", "column_names_to_labels"):
        assert getattr(meta, name) == getattr(before, name)


def test_a_completed_file_of_stata(dta, tmp_path):
    """Its letter stays where the question was not asked."""
    csv = data.read_rows(dta)
    data.write_completed(tmp_path / "b.dta", csv, np.full(csv.x.shape, 7.5))
    frame, meta = pyreadstat.read_dta(str(tmp_path / "b.dta"), user_missing=True)
    assert frame["income"].tolist() == [2000.5, 7.5, "b", 7.5, 3100.0]
    assert frame["name"].tolist() == list("abcde")
    assert meta.variable_value_labels["income"] == {"a": "refused", "b": "not asked"}
    assert frame["count"].tolist() == [1, 2, 7.5, 4, 5]


def test_a_survey_becomes_a_csv_file(sav, tmp_path):
    """With all its columns."""
    csv = data.read_rows(sav)
    data.write_completed(tmp_path / "b.csv", csv, np.full(csv.x.shape, 7.5))
    lines = (tmp_path / "b.csv").read_text().splitlines()
    assert lines[0] == "age,income,vote,id,day"
    assert lines[3] == "56.0,,7.5,c,2020-01-03"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no.sav", "No such file"),
        ("bad.sav", "expected a file of the kind .sav"),
        ("bad.txt", "expected one of .sav"),
    ],
)
def test_what_is_no_survey_is_refused(tmp_path, name, said):
    if name.startswith("bad"):
        (tmp_path / name).write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=said):
        data.read_survey(tmp_path / name)


def test_a_csv_file_is_no_survey(tmp_path):
    """And cannot become one."""
    (tmp_path / "a.csv").write_text("a,b\n1,\n3,4\n")
    csv = data.read_rows(tmp_path / "a.csv")
    with pytest.raises(ValueError, match="is no survey"):
        data.write_completed(tmp_path / "b.sav", csv, csv.x)
