"""The command: a table over the sizes, a figure, words; what is wrong is told in one line."""

import numpy as np
import pandas as pd
import pytest

import mnar_ebm
from mnar_ebm import data
from mnar_ebm.estimator import analysis, departures, statistics
from mnar_ebm.estimator.ensemble import Ensemble
from mnar_ebm.kinds import Block


@pytest.fixture
def given(trained):
    """Return the flags that every call needs."""
    return (f"--workdir={trained.workdir}", f"--input={trained.csv}", "--output=out.csv")


def test_it_writes_what_the_analysis_of_the_model_gives(call, given, trained, tmp_path):
    """One row a size, 0 among them; a figure beside it; the tipping point in words."""
    said = call(
        "sensitivity",
        *given,
        "--column=height,dose",
        "--gamma=-0.5,1",
        "--conclusion=170",
        "--num_imputations=5",
        "--seed=3",
    )
    assert said.status == 0, said
    out = pd.read_csv("out.csv")
    fitted = mnar_ebm.load(trained.workdir)
    x = data.read_csv(trained.csv).x
    places = [fitted.facts.columns.index(name) for name in ("height", "dose")]
    expected = analysis.analyse(
        Ensemble((fitted,), 3),
        x,
        [
            departures.make_target(name, Block("numeric", 0, place), x)
            for name, place in zip(("height", "dose"), places, strict=True)
        ],
        statistics.mean_of(places[0]),
        name="mean of height",
        gamma=[-0.5, 1.0],
        conclusion=170.0,
        num_imputations=5,
    )
    assert list(out.columns) == list(expected.to_frame().columns)
    np.testing.assert_allclose(out, expected.to_frame(), rtol=1e-4, atol=1e-6)
    assert out["gamma"].tolist() == [-0.5, 0.0, 1.0] and out["estimate"].is_monotonic_increasing
    assert str(expected) in said.out and "by the fitted model" in said.out
    assert (tmp_path / "cwd" / "out.png").stat().st_size > 1000


def test_a_shift_and_a_share(call, given):
    """By delta, of a share, with other draws behind a row, on top of gaps at random."""
    args = (
        "--column=height",
        "--delta=1",
        "--statistic=share_above:175",
        "--num_imputations=4",
        "--num_importance_samples=30",
        "--gaps_at_random",
    )
    said = call("sensitivity", *given, *args)
    assert said.status == 0, said
    out = pd.read_csv("out.csv")
    assert out["delta"].tolist() == [0.0, 1.0]
    assert 0 < out["estimate"][0] < out["estimate"][1] < 1
    assert (out["median_ess"] <= 30).all() and "share_above:175 of height" in said.out
    assert call("sensitivity", *given, *args).status == 1  # the files exist
    again = call("sensitivity", *given, *args, "--overwrite")
    assert again.status == 0 and pd.read_csv("out.csv").equals(out)


@pytest.mark.parametrize(
    "args, expected",
    [
        ([], "expected one of gamma and delta, got neither"),
        (["--gamma=1", "--delta=1"], "expected one of gamma and delta, got both"),
        (["--gamma=1,x"], "--gamma: expected numbers by commas, got 'x'"),
        (["--gamma=inf"], "gamma: expected a list of finite numbers"),
        (["--gamma=1", "--column=wage"], "height, weight, group, dose, got 'wage'"),
        (["--gamma=1", "--statistic=median"], "expected mean, share_above:VALUE"),
        (["--gamma=1", "--num_imputations=1"], "--num_imputations: expected at least 2, got 1"),
        (["--gamma=1", "--num_importance_samples=0"], "--num_importance_samples"),
        (["--gamma=1", "--output=out.png"], "expected a CSV file, got out.png"),
        (["--gamma=1", "--input=nowhere.csv"], "nowhere.csv: No such file"),
        (["--gamma=1", "--workdir=nowhere"], "nowhere: expected a checkpoint"),
        (["--gamma=1", "--seed=-1"], "--seed"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(refused, given, args, expected, tmp_path):
    """And nothing is written."""
    assert expected in refused("sensitivity", *given, "--column=height", *args)
    assert not list((tmp_path / "cwd").iterdir())
