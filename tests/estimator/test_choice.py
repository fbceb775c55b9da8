"""Which mechanism the imputer takes, and how it tells of it."""

import functools

import numpy as np
import pytest

from mnar_ebm import MNARImputer
from mnar_ebm.estimator import selection

pytestmark = pytest.mark.slow  # six trainings, most of it compilation

NUM_ROWS = 400
THRESHOLDS = np.array([np.inf, 54.0, 3.05])


@functools.cache
def complete_rows():
    """Return three columns that go together, in units of their own. [N, 3]."""
    rng = np.random.default_rng(0)
    common = rng.normal(size=(NUM_ROWS, 1))
    x = common * [0.6, 0.6, -0.6] + 0.8 * rng.normal(size=(NUM_ROWS, 3))
    return x * [1.0, 10.0, 0.1] + [0.0, 50.0, 3.0]


def hide(kind):
    """Return these rows with two columns that hide their high values, or cells at random."""
    x, rng = complete_rows().copy(), np.random.default_rng(1)
    if kind == "high":
        return np.where(x > THRESHOLDS, np.nan, x)
    x[:, 1:][rng.random((NUM_ROWS, 2)) < 0.25] = np.nan
    return x


@functools.cache
def auto_fit(kind):
    """Return an imputer that was trained and chose its mechanism.

    So few rows tell self-masking from other shapes only if the decoder is said to be linear.
    """
    sizes = {"hidden_dim": 32, "batch_size": 32, "learning_rate": 0.01}
    sizes |= {"decoder": "linear"} if kind == "high" else {}
    return MNARImputer(max_iter=1000, num_models=2, settings=sizes, random_state=0).fit(hide(kind))


def test_auto_takes_self_masking_where_high_values_are_hidden():
    """And says so, per column, in the table's units; the imputation beats the mean by far."""
    imputer, x = auto_fit("high"), hide("high")
    report = imputer.report_
    assert report.mechanism == imputer.mechanism_ == "selfmasking_probit"
    column = report.columns[1]
    assert column.direction == "high values go missing"
    assert column.slope > 0
    assert abs(column.threshold - 53.0) < 4.0  # less than half a standard deviation
    assert column.probability[0] < 0.05 and column.probability[-1] > 0.95
    missing = np.isnan(x)
    error = (imputer.transform(x) - complete_rows())[missing]
    mean_error = (np.nanmean(x, axis=0) - complete_rows())[missing]
    assert np.sqrt(np.mean(error**2)) < 0.6 * np.sqrt(np.mean(mean_error**2))


def test_auto_takes_gaps_at_random_as_such():
    """Nothing that was observed predicts them, so that nothing else is tried."""
    report = auto_fit("random").report_
    assert report.mechanism == "mcar"
    assert report.reason.startswith("nothing that was observed predicts which values are missing")
    assert f"; decoder {auto_fit('random').ensemble_.models[0].config.decoder}" in report.reason
    assert "decoder" not in auto_fit("high").report_.reason
    assert [one.mechanism for one in report.candidates] == ["mcar"]
    assert report.columns[1].direction == "values go missing whatever they are"


@pytest.mark.parametrize("gain, expected", [(0.01, "linear_mlp"), (0, "linear"), (-0.01, "linear")])
def test_a_deep_decoder_is_taken_where_it_fills_cells_better(monkeypatch, gain, expected):
    """Whatever its bound is."""
    bounds, cells = np.random.default_rng(0).normal(size=(2, 2, 100))
    scores = {"linear": cells[0], "linear_mlp": cells[0] + gain}
    monkeypatch.setattr(selection, "hidden_cell_scores", lambda fitted, table: scores[fitted])
    trained = {
        "linear": selection.Trained("linear", None, 1, bounds[0]),
        "linear_mlp": selection.Trained("linear_mlp", None, 1, bounds[0] + 9),
    }
    kept, words = selection.choose_decoder("mar", trained, None)
    assert kept is trained[expected]
    assert words.startswith(f"decoder {expected}; its squared error of hidden cells is ")
    assert f" {abs(gain):.3f} ± 0.000 a held-out row below that of " in words
    for mechanism in ("selfmasking_probit", "linear"):
        kept, words = selection.choose_decoder(mechanism, trained, None)
        assert kept is trained["linear"] and words.endswith("beyond what was seen")


def test_a_report_reads():
    """Mechanism, reason, bounds, columns, draws and warnings, a line each."""
    text = str(auto_fit("high").report_)
    assert text.startswith("mechanism selfmasking_probit: its held-out bound is ")
    for words in (
        " nats a row above that of mar",
        "\n  mar ",
        "\n  linear ",
        "x1: 3",
        "high values go missing (slope ",
        "x0: 0.0% missing; no value is missing",
        "effective draws behind a row: median ",
        "warning: that values are missing not at random rests on the shape",
    ):
        assert words in text
    assert 1 <= auto_fit("high").report_.median_ess <= 1000


def test_the_picture_has_every_column_with_a_gap():
    """A curve from 0 to 1 over a histogram of observed values."""
    figure = auto_fit("high").plot()
    axis, other = (axis for axis in figure.axes if axis.lines)
    assert other.get_title().startswith("x2: ")
    curve = axis.lines[0].get_ydata()
    assert axis.get_title().startswith("x1: high values go missing")
    assert curve[0] < 0.05 and curve[-1] > 0.95 and axis.patches
