"""Unbiased rows on the command line: as a file, a column, a named set, or rows followed up."""

import json

import numpy as np
import pandas as pd
import pytest

from mnar_ebm import data, diagnostics

TINY = (
    *("--latent_dim=2", "--hidden_dim=16", "--num_steps=200", "--tilt_steps=0", "--batch_size=64"),
    *("--num_imputation_samples=50", "--unbiased_steps=50", "--unbiased_energy=additive"),
    *("--mechanism=none", "--unbiased_share=0"),
)


def write(path, x, **more):
    """Write rows of two columns, NaN as an empty cell, and further columns."""
    pd.DataFrame({"a": x[:, 0], "b": x[:, 1], **more}).to_csv(path, index=False)


@pytest.fixture
def rows():
    """Return 300 rows about 0 without the high values of ``a``, and 60 about 1."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2)) @ np.array([[1.0, 0.6], [0.0, 0.8]])
    x[x[:, 0] > 0.5, 0] = np.nan
    return x, 1.0 + rng.normal(size=(60, 2)) @ np.array([[1.0, 0.6], [0.0, 0.8]])


@pytest.mark.slow
def test_a_file_of_unbiased_rows_and_a_sample_of_everybody(call, rows, tmp_path):
    """Its columns may stand in another order; the run folder has all, and sampling reads it."""
    many, few = rows
    write("many.csv", many)
    pd.DataFrame({"b": few[:, 1], "a": few[:, 0]}).to_csv("few.csv", index=False)
    said = call("train", "--data_path=many.csv", "--unbiased=few.csv", "--workdir=run", *TINY)
    assert said.status == 0, said
    assert "60 unbiased rows, bound" in said.out
    metrics = json.loads((tmp_path / "cwd" / "run" / "metrics.json").read_text())
    found = metrics["unbiased"]
    assert found["num_rows"] == 60
    assert found["gain"] > found["gain_standard_error"] > 0
    assert 0 < found["ess_fraction"] <= 1
    assert (tmp_path / "cwd" / "run" / "marginals.png").read_bytes().startswith(b"\x89PNG")
    assert np.isfinite(data.read_csv("run/imputed.csv").x).all()
    assert f"--unbiased={tmp_path}" in (tmp_path / "cwd" / "run" / "run.cfg").read_text()

    settings = ("--workdir=run", "--output=s.csv", "--num_samples=2000", "--method=snis")
    assert call("sample", *settings).status == 0
    drawn = pd.read_csv("s.csv")["a"].to_numpy()
    assert drawn.mean() > np.nanmean(many[:, 0]) + 4 / np.sqrt(len(drawn))  # towards everybody

    before = (tmp_path / "cwd" / "run" / "imputed.csv").read_text()
    again = call("evaluate", "--workdir=run")
    assert again.status == 0, again
    assert found["words"] in again.out
    assert (tmp_path / "cwd" / "run" / "imputed.csv").read_text() == before


@pytest.mark.slow
def test_where_few_base_draws_carry_the_weight_chains_run(call, rows, monkeypatch):
    """Said in words; here any share of draws is too few."""
    many, few = rows
    write("many.csv", many)
    write("few.csv", few)
    assert call("train", "--data_path=many.csv", "--unbiased=few.csv", "--workdir=r", *TINY)
    wary = diagnostics.TUNING._replace(unreliable_ess=1.1)
    monkeypatch.setattr(diagnostics, "TUNING", wary)
    said = call("sample", "--workdir=r", "--output=s.csv", "--num_samples=20", "--num_proposals=99")
    assert said.status == 0, said
    assert "few base draws carry the tilt's weight (ess_fraction" in said.out
    assert "so chains ran instead" in said.out
    assert "20 rows by mala" in said.out


@pytest.mark.slow
def test_a_column_marks_them(call, rows):
    """It is no column of the table, and the rows that it marks are not imputed."""
    x = np.concatenate(rows)
    write("all.csv", x, everybody=(np.arange(len(x)) >= 300).astype(int))
    args = ("--data_path=all.csv", "--unbiased=everybody", "--workdir=run", *TINY)
    said = call("train", *args)
    assert said.status == 0, said
    assert "all: 300 rows, 2 columns" in said.out
    assert "60 unbiased rows" in said.out
    assert data.read_csv("run/imputed.csv").columns == ("a", "b")


@pytest.mark.slow
def test_a_share_of_the_rows_is_followed_up(call):
    """All methods of the table see what was found, and the error is on the other gaps."""
    args = ("--dataset=linear_gaussian", "--unbiased=0.1", "--workdir=run", *TINY)
    said = call("train", *args)
    assert said.status == 0, said
    assert "200 unbiased rows" in said.out
    assert "tilted to unbiased" in said.out
    assert "debiased" in json.loads(open("run/metrics.json").read())["rmse"]


@pytest.mark.parametrize(
    "value, expected",
    [
        ("nowhere.csv", "--unbiased: expected a file, a named data set, a share from 0 to 1"),
        ("0.1", "expected the true values of its gaps, to follow up rows, got none"),
        ("two_moons", "unbiased: expected the columns a, b, got x0, x1"),
        ("other.csv", "expected the model's 2 columns, got 1; missing: b"),
        ("b", "expected 0 or 1 in column 'b'"),
    ],
)
def test_wrong_unbiased_rows_are_refused(refused, rows, value, expected):
    """In one line, before anything is trained."""
    write("many.csv", rows[0])
    pd.DataFrame({"a": [1.0, 2.0]}).to_csv("other.csv", index=False)
    args = ("--data_path=many.csv", f"--unbiased={value}", "--workdir=run", *TINY)
    assert expected in refused("train", *args)
