"""What the imputer makes of the mechanism that is found, and how it tells of it."""

import functools

import numpy as np
import pytest

from mnar_ebm import MNARImputer
from mnar_ebm.estimator import selection
from mnar_ebm.screening import Evidence, Finding, Gain

pytestmark = pytest.mark.slow  # four trainings, most of it compilation

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


def make_evidence(table, seed, tell):
    """Return evidence that the last two columns hide their high and their low values."""
    finding = Finding("self_masking", "ignorable", Gain(25.0, 6.2, 2), True)
    means = np.nanmean(table.x, axis=0)
    return Evidence("self_masking", (0.0, 1.0, 1.0), False, (finding,), NUM_ROWS, 0.9, means)


@functools.cache
def auto_fit(kind):
    """Return an imputer that was trained and chose its mechanism, by a screening that is told.

    So few rows tell self-masking from other shapes only if the decoder is said to be linear.
    """
    sizes = {"hidden_dim": 32, "batch_size": 32, "learning_rate": 0.01}
    sizes |= {"decoder": "linear"} if kind == "high" else {}
    imputer = MNARImputer(max_iter=1000, num_models=2, settings=sizes, random_state=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "screen", make_evidence if kind == "high" else None)
        return imputer.fit(hide(kind))


def test_self_masking_is_fitted_where_it_is_found():
    """It says so, per column, in the table's units; the imputation beats the mean by far."""
    imputer, x = auto_fit("high"), hide("high")
    report = imputer.report_
    assert report.mechanism == imputer.mechanism_ == "selfmasking_probit"
    assert report.reason.startswith("values of x1, x2 hide themselves: ")
    assert "gains 25.0 ± 6.2 nats over gaps at random" in report.reason
    column = report.columns[1]
    assert column.direction == "high values go missing"
    assert column.slope > 0
    assert abs(column.threshold - 53.0) < 4.0  # less than half a standard deviation
    assert column.probability[0] < 0.05 and column.probability[-1] > 0.95
    missing = np.isnan(x)
    error = (imputer.transform(x) - complete_rows())[missing]
    mean_error = (np.nanmean(x, axis=0) - complete_rows())[missing]
    assert np.sqrt(np.mean(error**2)) < 0.6 * np.sqrt(np.mean(mean_error**2))


def test_what_hidden_values_are_moves_the_means_that_are_told():
    """Up, for high values are missing, and to where the truth is rather than where it was seen."""
    report, truth = auto_fit("high").report_, complete_rows().mean(axis=0)
    assert [one.name for one in report.against_random] == ["x1", "x2"]
    for one, column in zip(report.against_random, (1, 2), strict=True):
        assert one.distance > 0 and abs(one.mean - truth[column]) < abs(one.random - truth[column])


def test_auto_takes_gaps_at_random_as_such():
    """Nothing that was observed predicts them, so that nothing is screened; decoders are chosen."""
    report = auto_fit("random").report_
    assert report.mechanism == "mcar" and report.evidence is None and report.against_random == ()
    assert report.reason.startswith("nothing that was observed predicts which values are missing")
    config = auto_fit("random").ensemble_.models[0].config
    straight = " with straight columns" * (config.standardise == "observed")
    assert f"; decoder {config.model.decoder}{straight}; its" in report.reason
    assert "decoder" not in auto_fit("high").report_.reason
    assert report.columns[1].direction == "values go missing whatever they are"


@pytest.mark.parametrize(
    "gain, expected", [(0.3, "linear_mlp"), (0.05, "linear"), (-0.3, "linear")]
)
def test_a_deep_decoder_is_taken_where_it_fills_cells_better(monkeypatch, gain, expected):
    """Clearly, by a standard error, of .1 here; whatever its bound is."""
    bounds, cells = np.random.default_rng(0).normal(size=(2, 2, 100))
    noise = (cells[1] - cells[1].mean()) / cells[1].std(ddof=1)
    scores = {"linear": cells[0], "linear_mlp": cells[0] + gain + noise}
    monkeypatch.setattr(selection, "hidden_cell_scores", lambda fitted, table: scores[fitted])
    trained = {
        "linear": selection.Trained("linear", None, 1, bounds[0]),
        "linear_mlp": selection.Trained("linear_mlp", None, 1, bounds[0] + 9),
    }
    kept, best, words = selection.choose_decoder(trained, None)
    assert best == ("linear_mlp" if gain > 0 else "linear")
    assert kept == expected
    assert words.startswith(f"decoder {expected}; its ranked probability score of hidden cells is ")
    by = gain if expected == "linear_mlp" else -gain
    assert f" {by:.3f} ± 0.100 a held-out row below that of " in words


def test_a_report_reads():
    """Assumption, reason, comparisons, columns, draws and warnings, a line each."""
    text = str(auto_fit("high").report_)
    assert text.startswith("assumed: values hide themselves (mechanism selfmasking_probit)\nwhy: ")
    for words in (
        "\nunder missing at random: the mean of x",
        "\n  self_masking against ignorable: 25.0 ± 6.2, 2 parameters more: clear\n",
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
