"""Impute: what was observed stays as it is, and a row's answer is its own."""

import numpy as np
import pandas as pd
import pytest

import mnar_ebm
from mnar_ebm import data


@pytest.fixture
def impute(call, trained):
    """Return a function that completes a file, by default the training data, as out.csv."""

    def impute(*args, text=None, output="out.csv"):
        path = trained.csv
        if text is not None:
            path = path.with_name("new.csv")
            path.write_text(text)
        given = (f"--workdir={trained.workdir}", f"--input={path}", f"--output={output}", *args)
        said = call("impute", *given)
        assert said.status == 0, said
        return pd.read_csv(output, dtype=str, keep_default_na=False)

    return impute


@pytest.fixture
def before(trained):
    """Return the training data as text and numbers."""
    return data.read_csv(trained.csv)


def test_observed_cells_keep_their_text(impute, before):
    """Rows, columns and observed cells are those of the input; every gap holds a number."""
    after = impute()
    assert tuple(after.columns) == before.columns
    observed = ~np.isnan(before.x)
    assert (after.to_numpy()[observed] == before.text[observed]).all()
    assert np.isfinite(after.to_numpy().astype(float)).all()


def test_gaps_at_random_are_filled_without_the_mechanism(impute, before, trained):
    """As by the same p(x) alone, which is another answer than by what the mechanism hides."""
    chosen = impute("--gaps_at_random").to_numpy().astype(float)
    fitted = mnar_ebm.load(trained.workdir).without_mechanism()
    np.testing.assert_allclose(chosen, fitted.impute(before.x).mean, rtol=1e-5)
    assert not np.allclose(chosen, impute(output="hidden.csv").to_numpy().astype(float))


def test_columns_in_another_order(impute, before):
    """They are found by name, written in the order of the input, and mean the same."""
    straight = impute()
    order = [3, 1, 0, 2]
    lines = [[before.columns[i] for i in order], *before.text[:, order].tolist()]
    turned = impute(text="\n".join(",".join(line) for line in lines) + "\n", output="turned.csv")
    assert list(turned.columns) == lines[0]
    assert turned[list(before.columns)].equals(straight)


def test_a_rows_answer_is_its_own(impute, before):
    """Other rows, their order and their number change nothing; another seed does."""
    everything = impute()
    chosen = [30, 1, 5, 42]
    lines = [before.columns, *before.text[chosen].tolist()]
    text = "\n".join(",".join(line) for line in lines) + "\n"
    few = impute(text=text, output="few.csv")
    assert few.to_numpy().tolist() == everything.iloc[chosen].to_numpy().tolist()
    assert impute(output="again.csv").equals(everything)
    assert not impute("--seed=1", output="other.csv").equals(everything)


def test_one_new_row(impute):
    """A row that the model has not seen, with as much as one value."""
    after = impute(text="height,weight,group,dose\n,81.50,,\n")
    assert after.shape == (1, 4)
    assert after["weight"][0] == "81.50"
    assert np.isfinite(after.to_numpy().astype(float)).all()


def test_several_imputations(impute, before):
    """A long table of draws that keep what was observed, their mean and their spread."""
    long = impute("--num_imputations=4")
    assert list(long.columns) == ["draw", "row", *before.columns]
    assert long["draw"].tolist() == np.repeat(["1", "2", "3", "4"], 60).tolist()
    assert long["row"].tolist() == [str(row) for row in range(60)] * 4
    observed = ~np.isnan(before.x)
    draws = long[list(before.columns)].to_numpy().reshape(4, 60, 4)
    for draw in draws:
        assert (draw[observed] == before.text[observed]).all()
    numbers = draws.astype(float)
    assert np.isfinite(numbers).all()

    mean = pd.read_csv("out.mean.csv", dtype=str)
    assert tuple(mean.columns) == before.columns
    assert (mean.to_numpy()[observed] == before.text[observed]).all()
    assert mean.equals(impute(output="one.csv"))  # the same posterior mean, draws or not

    std = pd.read_csv("out.std.csv")
    assert tuple(std.columns) == before.columns
    assert (std.to_numpy()[observed] == 0).all()
    np.testing.assert_allclose(std, numbers.std(axis=0, ddof=1), rtol=1e-3, atol=1e-3)
    assert (std["height"][~observed[:, 0]] > 0).all()


@pytest.mark.parametrize(
    "header, expected",
    [
        ("height,weight,group", "missing: dose; unexpected: none"),
        ("height,weight,group,dose,age", "missing: none; unexpected: age"),
        ("height,weight,Group,dose", "missing: group; unexpected: Group"),
        ("height,weight,group,group", "distinct column names"),
    ],
)
def test_wrong_columns(refused, trained, tmp_path, header, expected):
    """They are told by name, and nothing is written."""
    path = tmp_path / "wrong.csv"
    path.write_text(header + "\n" + ",".join("1" for _ in header.split(",")) + "\n")
    args = (f"--workdir={trained.workdir}", f"--input={path}", "--output=out.csv")
    assert expected in refused("impute", *args)
    assert not list((tmp_path / "cwd").iterdir())


def test_overwrite(impute):
    """With it, an old output is replaced."""
    first = impute()
    assert impute("--overwrite").equals(first)
