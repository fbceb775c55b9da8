"""The last table: our errors beside those that were published."""

import pathlib

import numpy as np
import pytest

from experiments import baselines, published, report
from mnar_ebm import data

METRICS = {
    "rmse": {"mean": 1.234, "iterative": 1.111, "base": 0.987, "tilted": 0.876},
    "bound": {"base": -20.0, "tilted": -19.5},
    "tilt": "latent",
    "config": {"validation_fraction": 0.1},
    "tilt_scale": 0.75,
    "log_z": 0.5,
    "log_z_standard_error": 0.01,
    "ess_fraction": 0.4,
    "pareto_k": 0.2,
    "unbiased": None,
    "wall_seconds": 12.0,
}


@pytest.fixture
def shown(capsys):
    """Return a function that prints a report of a table and returns its lines."""

    def shown(table, **changed):
        report.print_report(METRICS | changed, table, pathlib.Path("run"))
        return capsys.readouterr().out.splitlines()

    return shown


@pytest.fixture(scope="module")
def table():
    """Return the breast cancer table."""
    return data.load("breast_cancer")


def test_errors_stand_beside_published_ones(shown, table):
    """A row for each method: its name, our error, the published one."""
    lines = shown(table)
    assert lines[1] == "breast_cancer: 569 rows, 30 columns, " + lines[1].split(", ")[-1]
    for method, label in report.METHODS.items():
        (line,) = [line for line in lines if line.strip().startswith(label)]
        ours, theirs = line.split()[-2:]
        assert float(ours) == METRICS["rmse"][method]
        assert float(theirs) == published.RMSE["breast_cancer"][method]
    assert any("Ipsen et al. 2021" in line for line in lines)
    assert lines[-1] == "12 seconds; run folder run"


def test_nothing_is_published_of_a_toy(shown):
    """A dash stands in the column, and no source is named."""
    toy = next(name for name in data.names() if name not in published.RMSE)
    lines = shown(data.load(toy, seed=0))
    labels = tuple(report.METHODS.values())
    rows = [line for line in lines if line.strip().startswith(labels)]
    assert len(rows) == 4 and all(row.endswith(" -") for row in rows)
    assert not any("Ipsen" in line for line in lines)


@pytest.mark.parametrize(
    "changed, expected",
    [
        ({}, "tilt scale 0.75: +0.50 nats; log Z 0.500 +- 0.010, effective share of base draws"),
        ({"tilt_scale": 0, "pareto_k": None}, "tilt scale 0: no tilt raised"),
        ({"tilt": "none", "tilt_scale": 0, "pareto_k": None}, "no tilt was asked for"),
        ({"unbiased": {"words": "80 unbiased rows, bound -3 nats a row"}}, "80 unbiased rows"),
        ({"pareto_k": 0.9}, "warning: few base draws carry the tilt's weight"),
        ({"rmse": None}, "no RMSE: the true values of the missing cells are not known"),
    ],
)
def test_what_is_said_of_the_tilt(shown, table, changed, expected):
    """Gain and diagnostics, or why there are none."""
    assert any(line.startswith(expected) for line in shown(table, **changed))


def test_published_values():
    """Those of Table 1 of the paper, for the same rows."""
    assert published.RMSE["banknote"] == {
        "mean": 1.73,
        "iterative": 1.41,
        "base": 0.57,
        "tilted": 0.57,
    }
    for known in published.RMSE.values():
        assert known.keys() == report.METHODS.keys()


def test_baselines_fill_gaps_alone():
    """Observed cells stay; a gap gets its column's mean, or what the other columns say."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 1)) * [1.0, 2.0, 100.0] + 5.0
    hidden = x.copy()
    hidden[::3, 1] = np.nan
    table = data.make_table("line", ("a", "b", "c"), hidden)
    mean, iterative = baselines.impute_mean(table), baselines.impute_iterative(table)
    for completed in (mean, iterative):
        np.testing.assert_array_equal(completed[table.mask], x[table.mask])
    np.testing.assert_allclose(mean[::3, 1], np.nanmean(hidden[:, 1]))
    np.testing.assert_allclose(iterative, x, rtol=0.02)
