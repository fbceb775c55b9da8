"""What the imputer promises of tables, rows, seeds and words."""

import dataclasses
import functools
import pickle
import re
from types import SimpleNamespace

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mnar_ebm import MNARImputer
from mnar_ebm.estimator import selection
from mnar_ebm.estimator.report.cautions import find_warnings
from mnar_ebm.estimator.report.describe import HIGH, LOW, NO_LINK
from mnar_ebm.missingness import MECHANISMS
from mnar_ebm.screening import Evidence, Finding, Gain
from mnar_ebm.tilted import TiltReport
from mnar_ebm.training import NonFiniteLossError

pytestmark = pytest.mark.usefixtures("quick_compile_all")

QUICK = {"max_iter": 2, "num_models": 2, "num_samples": 100, "random_state": 0}
NUM_ROWS = 400


@functools.cache
def complete_rows():
    """Return three columns that go together, in units of their own. [N, 3]."""
    rng = np.random.default_rng(0)
    common = rng.normal(size=(NUM_ROWS, 1))
    x = common * [1.0, 0.9, -0.8] + 0.4 * rng.normal(size=(NUM_ROWS, 3))
    return x * [1.0, 10.0, 0.1] + [0.0, 50.0, 3.0]


def hide(kind):
    """Return these rows with a column that hides its high values, or cells at random."""
    x, rng = complete_rows().copy(), np.random.default_rng(1)
    if kind == "high":
        x[x[:, 1] > 53.0, 1] = np.nan
    else:
        x[:, 1:][rng.random((NUM_ROWS, 2)) < 0.25] = np.nan
    return x


@functools.cache
def quick_fit(**settings):
    """Return an imputer that was hardly trained, on rows missing at random."""
    return MNARImputer(**QUICK | {"mechanism": "selfmasking_probit"} | settings).fit(hide("random"))


@pytest.mark.slow
def test_columns_are_not_bent_where_hidden_values_are_read():
    """What was seen does not tell how they would have to be."""
    assert all(one.facts.standardiser.bend is None for one in quick_fit().ensemble_.models)


def test_frames_come_back_as_frames():
    """With index and names; observed cells are untouched; so from ``set_output`` too."""
    frame = pd.DataFrame(hide("random"), columns=["a", "b", "c"], index=range(7, 7 + NUM_ROWS))
    imputer = clone(quick_fit()).set_output(transform="pandas").fit(frame)
    filled = imputer.transform(frame)
    assert list(filled.columns) == ["a", "b", "c"] and filled.index.equals(frame.index)
    assert not filled.isna().any(axis=None)
    observed = frame.notna().to_numpy()
    assert (filled.to_numpy()[observed] == frame.to_numpy()[observed]).all()
    assert [column.name for column in imputer.report_.columns] == ["a", "b", "c"]
    with pytest.raises(ValueError, match="feature names"):
        imputer.transform(frame[["b", "a", "c"]])


@pytest.mark.parametrize("sample_posterior", [False, True])
def test_a_row_is_imputed_alike_alone_and_among_others(sample_posterior):
    """Bit for bit, in any order; complete and empty rows too."""
    imputer = quick_fit(sample_posterior=sample_posterior)
    x = np.vstack([hide("random")[:70], np.full((1, 3), np.nan), complete_rows()[:1]])
    filled = imputer.transform(x)
    for row in (0, 3, 69, 70, 71):
        assert (imputer.transform(x[row : row + 1]) == filled[row]).all()
    assert (imputer.transform(x[::-1])[::-1] == filled).all()
    assert (filled[-1] == x[-1]).all() and np.isfinite(filled).all()


def test_an_imputer_comes_back_from_disk_the_same(tmp_path):
    """By pickle and by joblib: means, draws and score, bit for bit; a second fit too."""
    imputer, x = quick_fit(), hide("random")[:20]
    joblib.dump(imputer, tmp_path / "imputer")
    again = clone(imputer).fit(hide("random"))
    for other in (pickle.loads(pickle.dumps(imputer)), joblib.load(tmp_path / "imputer"), again):
        assert (other.transform(x) == imputer.transform(x)).all()
        assert (other.sample(x, 2) == imputer.sample(x, 2)).all()
        assert other.score(x) == imputer.score(x)
        assert str(other.report_) == str(imputer.report_)
    another = clone(imputer).set_params(random_state=1).fit(hide("random"))
    assert (another.transform(x) != imputer.transform(x)).any()


def test_draws_scatter_about_the_mean():
    """Within five standard errors in every cell; observed cells do not move."""
    imputer, x = quick_fit(num_samples=1000), hide("random")[:12]
    draws, missing = imputer.sample(x, 400), np.isnan(x)
    assert draws.shape == (400, 12, 3)
    assert (draws[:, ~missing] == x[~missing]).all()
    hidden = draws[:, missing]
    error = hidden.mean(axis=0) - imputer.transform(x)[missing]
    # The draws come from 1000 weighted ones, those behind the mean from the same number.
    standard_error = hidden.std(axis=0) * np.sqrt(1 / 400 + 2 / 100)
    assert (hidden.std(axis=0) > 0).all() and (np.abs(error) < 5 * standard_error).all()


@pytest.mark.slow
def test_it_works_in_a_pipeline_and_a_grid_search():
    """Scored by the held-out bound, over mechanisms."""
    x = hide("high")
    target = complete_rows() @ [1.0, 0.1, 1.0]
    imputer = MNARImputer(
        mechanism="selfmasking_probit", max_iter=200, num_models=2, random_state=0
    )
    pipeline = make_pipeline(StandardScaler(), imputer, LinearRegression())
    assert pipeline.fit(x, target).score(x, target) > 0.5
    search = GridSearchCV(imputer, {"mechanism": ["mcar", "selfmasking_probit"]}, cv=2).fit(x)
    assert search.best_params_ == {"mechanism": "selfmasking_probit"}
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.slow
def test_a_score_does_not_depend_on_the_table_it_was_standardised_by():
    """Values in other units have a density that is smaller by that unit, in observed cells."""
    x = hide("random")
    other = x * [1.0, 8.0, 1.0]
    scores = [clone(quick_fit()).fit(table).score(table) for table in (x, other)]
    change = np.log(8.0) * np.mean(~np.isnan(x[:, 1]))
    np.testing.assert_allclose(scores[0] - scores[1], change, rtol=1e-4)


def test_limits_hold_for_imputed_values_alone():
    """Observed values beyond them stay."""
    x = hide("random")
    imputer = clone(quick_fit()).set_params(min_value=[-np.inf, 50.0, -np.inf], max_value=50.5)
    filled, missing = imputer.fit(x).transform(x), np.isnan(x)
    assert (filled[~missing] == x[~missing]).all() and filled[~missing].max() > 50.5
    hidden = filled[:, 1][missing[:, 1]]
    assert hidden.min() >= 50.0 and hidden.max() <= 50.5
    draws = imputer.sample(x, 2)[:, missing[:, 1], 1]
    assert draws.min() >= 50.0 and draws.max() <= 50.5
    unlimited = clone(quick_fit()).set_params(min_value=None, max_value=None).fit(x)
    assert (unlimited.transform(x) == quick_fit().transform(x)).all()


@pytest.mark.slow
@pytest.mark.parametrize("keep_empty_features", [False, True])
def test_columns_without_a_value_or_with_one(keep_empty_features):
    """Dropped or kept as zeros, with their marks; a constant stays; both are told of."""
    x = hide("random")[:60]
    x[:, 0] = np.nan
    x[1:, 2] = np.where(np.arange(59) % 3, 7.0, np.nan)
    x[0, 2] = 7.0
    imputer = MNARImputer(
        **QUICK,
        mechanism="mcar",
        keep_empty_features=keep_empty_features,
        add_indicator=True,
        min_value=[1.0, -np.inf, -np.inf],
    )
    filled = imputer.set_output(transform="pandas").fit_transform(x)
    marks = [f"missingindicator_x{column}" for column in range(3)]
    assert list(filled.columns) == ["x0", "x1", "x2"][not keep_empty_features :] + marks
    assert (filled[marks].to_numpy() == np.isnan(x)).all()
    assert (filled["x2"] == 7.0).all()
    if keep_empty_features:
        assert (filled["x0"] == 0).all()
    warnings = " | ".join(imputer.report_.warnings)
    assert "no value in x0" in warnings and "only one value in x2" in warnings


def test_a_number_can_mark_missing_cells_and_float32_stays():
    """The same answer as with NaN; single precision gives single precision back."""
    x = hide("random")
    marked = np.where(np.isnan(x), -99.0, x)
    filled = clone(quick_fit()).set_params(missing_values=-99).fit_transform(marked)
    assert (filled == quick_fit().transform(x)).all()
    single = quick_fit().transform(x.astype(np.float32))
    assert single.dtype == np.float32
    observed = ~np.isnan(x)
    assert (single[observed] == x.astype(np.float32)[observed]).all() and np.isfinite(single).all()


def test_what_happened_to_a_tilt_is_told():
    """That none helped, unless a second one was fitted to unbiased rows."""
    report = quick_fit().report_
    without = TiltReport(0.0, -1.0, -1.0, 0.0, 0.0, 1.0, np.zeros(1))
    second = without._replace(unbiased=SimpleNamespace(tilt_scale=0.5))
    none = without._replace(unbiased=SimpleNamespace(tilt_scale=0.0))
    for tilts, told in (
        ([], None),
        ([without], "in 1 of 1 fits"),
        ([second], None),
        ([none, second], "in 1 of 2 fits"),
    ):
        warnings = " | ".join(find_warnings(report, (), tilts, (), ()))
        assert f"{told} no tilt" in warnings if told else "so none is used" not in warnings
    lost = find_warnings(report, (), [], ("mar", "linear"), ())
    assert "the loss of mar, linear became" in lost[0]


def test_fits_that_disagree_are_told_of():
    """Of a column that one says hides its high values and another its low ones."""
    report = quick_fit().report_
    high, low, no_link = (
        tuple(dataclasses.replace(column, direction=direction) for column in report.columns[:1])
        + report.columns[1:]
        for direction in (HIGH, LOW, NO_LINK)
    )
    for others, is_told in (([high, low], True), ([high, no_link], False), ([], False)):
        first = dataclasses.replace(report, columns=high)
        warnings = " | ".join(find_warnings(first, (), [], (), others))
        assert ("do not agree on which values of x0 go missing" in warnings) == is_told


@pytest.mark.slow
def test_a_decoder_without_a_finite_loss_is_left_out(monkeypatch):
    """And told of; a fit of which none has one ends with the reason."""
    lost = ["linear"]
    train = selection.train_candidate

    def train_or_lose(config, *args):
        if config.model.decoder in lost:
            raise NonFiniteLossError("the loss of stage base is nan")
        return train(config, *args)

    found = selection.Mechanism({"mechanism": "ignorable"}, "as told")
    monkeypatch.setattr(selection, "train_candidate", train_or_lose)
    monkeypatch.setattr(selection, "find_mechanism", lambda *args: found)
    imputer = MNARImputer(**QUICK).fit(hide("random"))
    assert [one.config.model.decoder for one in imputer.ensemble_.models] == ["linear_mlp"] * 2
    assert imputer.mechanism_ == "ignorable"
    warnings = " ".join(imputer.report_.warnings)
    assert re.search("the loss of linear with straight columns.* linear became NaN", warnings)
    lost += ["linear_mlp"]
    with pytest.raises(NonFiniteLossError, match="the loss of stage base is nan"):
        imputer.fit(hide("random"))


def make_evidence(gap_terms=True):
    """Return evidence that the second column hides its high values."""
    findings = (
        Finding("self_masking", "ignorable", Gain(64.2, 9.1, 2), True),
        Finding("self_masking of x1", "that of the other columns", Gain(50.0, 8.0, 1), True),
        Finding("self_masking of x2", "that of the other columns", Gain(0.4, 1.0, 1), False),
    )
    means = np.array([0.0, 47.0, 3.0])
    return Evidence("self_masking", (0.0, 1.0, 0.0), gap_terms, findings, 200, 0.7, means)


WITH = "with gap terms"


@pytest.fixture(scope="module")
def auto_fit():
    """Return an imputer that was hardly trained, once the screening had found that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection.gaps, "are_predictable", lambda table: True)
        patch.setattr(selection, "screen", lambda table, seed, tell: make_evidence())
        patch.setattr(
            selection, "choose_gap_terms", lambda trained: (trained[WITH], f"taken {WITH}")
        )
        return MNARImputer(**QUICK | {"num_models": 1}).fit(hide("random"))


def test_auto_fits_what_the_screening_finds(auto_fit):
    """Columns that do not hide themselves have no slope, in model and report; it can be pickled."""
    report = auto_fit.report_
    assert auto_fit.mechanism_ == report.mechanism == "selfmasking_probit"
    (one,) = auto_fit.ensemble_.models
    assert one.config.model.own_slopes == (0.0, 1.0, 0.0) and one.config.model.gap_terms
    slopes = np.asarray(one.params.mechanism["own"]["slope"])
    assert slopes[1] != 0 and (slopes[[0, 2]] == 0).all()
    assert one.facts.standardiser.bend is None
    assert [bool(np.isfinite(column.slope)) for column in report.columns] == [False, True, False]
    assert [bool(np.isfinite(column.threshold)) for column in report.columns] == [0, 1, 0]
    assert all(((0 < one.probability) & (one.probability < 1)).all() for one in report.columns)
    x = hide("random")[:20]
    again = pickle.loads(pickle.dumps(auto_fit))
    assert (again.transform(x) == auto_fit.transform(x)).all()
    assert str(again.report_) == str(report)


def test_a_report_tells_what_is_assumed_and_why(auto_fit):
    """And what missing at random would give, what was compared, and what gaps have in common."""
    report = auto_fit.report_
    lines = str(report).splitlines()
    assert lines[0] == "assumed: values hide themselves (mechanism selfmasking_probit)"
    assert lines[1].startswith("why: values of x1 hide themselves, beside gaps that go together: ")
    assert "gains 64.2 ± 9.1 nats over gaps at random" in lines[1]
    assert [one.name for one in report.against_random] == ["x1", "x2"]
    told = [line for line in lines if line.startswith("under missing at random: the mean of x")]
    distances = [abs(one.distance) for one in report.against_random]
    first = "x1" if distances[0] >= distances[1] else "x2"
    assert len(told) == 2 and f"the mean of {first} would be" in told[0]
    start = lines.index(told[-1]) + 1
    assert lines[start].startswith("gains of log p(observed values, gaps) over 200 rows, in nats")
    assert lines[start + 1 : start + 4] == [f"  {one}" for one in make_evidence().findings]
    assert lines[start + 3].endswith(": 0.4 ± 1.0, 1 parameter more: not clear")
    assert [line for line in lines if line.startswith("gaps: ")] == [
        f"gaps: {sentence}" for sentence in report.patterns.sentences
    ]
    columns = lines.index("columns")
    assert "(slope " in lines[columns + 2] and "slope" not in lines[columns + 3]
    assert any(line.startswith("warning: that values are missing not at random") for line in lines)


def test_slopes_can_be_told(monkeypatch):
    """As any other setting of a mechanism that is named; nothing is screened then."""
    monkeypatch.setattr(selection, "screen", None)
    settings = {"own_slopes": (0.0, -2.0, 0.0), "gap_terms": True, "slope_start": "high"}
    quick = QUICK | {"num_models": 1, "settings": settings}
    report = MNARImputer(**quick, mechanism="selfmasking_probit").fit(hide("random")).report_
    assert report.evidence is None and report.reason == "as asked"
    assert report.columns[1].slope < 0 and np.isnan(report.columns[2].slope)
    with pytest.raises(ValueError, match="own_slopes: expected none but for self-masking of unkn"):
        MNARImputer(**quick, mechanism="linear").fit(hide("random"))


@pytest.mark.slow
@pytest.mark.parametrize("mechanism", ["none", "mar", "ignorable", "no_self_censoring", "linear"])
def test_gap_terms_go_with_every_mechanism(mechanism):
    """Fitted, told of, imputed by and scored."""
    settings = {"gap_terms": True, "slope_start": "flat"}
    imputer = MNARImputer(**QUICK | {"num_models": 1}, mechanism=mechanism, settings=settings)
    x = hide("random")
    filled = imputer.fit(x).transform(x[:20])
    assert np.isfinite(filled).all() and np.isfinite(imputer.score(x[:20]))
    hidden = imputer.report_.columns[1]
    assert np.isnan(hidden.probability).all() == (mechanism == "none")
    assert str(imputer.report_).startswith("assumed: ")
    assert bool(imputer.report_.against_random) == MECHANISMS[mechanism].reads_hidden


@pytest.mark.parametrize("value", [1e30, 1e60])
@pytest.mark.filterwarnings("error")
def test_a_row_without_a_density_is_told_of(value):
    """A value so far out that its square, or itself, is no float32; in that one line."""
    x = hide("random")[:3].copy()
    x[1] = [np.nan, value, 3.0]
    expected = rf"got {value:g} in row 1, column 'x1', whose values are about 49.8, by 10.1"
    with pytest.raises(ValueError, match=expected.replace("+", r"\+")):
        quick_fit().ensemble_.mean(x)


@pytest.mark.slow
def test_a_column_is_constant_only_if_unbiased_rows_say_so_too():
    """A dose that all selected rows share is not that of everybody."""
    x = hide("random")[:60]
    x[:, 2] = np.where(np.arange(60) % 3, 7.0, np.nan)
    few = complete_rows()[:40].copy()
    few[:, 2] = np.arange(40) % 2
    imputer = MNARImputer(**QUICK, mechanism="mcar").fit(x, unbiased=few)
    hidden = imputer.transform(x)[np.isnan(x[:, 2]), 2]
    assert (hidden != 7.0).all()


@pytest.mark.slow
def test_one_column_alone_is_missing_completely_at_random():
    """For nothing tells more; it is compared with nothing."""
    imputer = MNARImputer(**QUICK, settings={"decoder": "linear"}).fit(hide("high")[:, 1:2])
    assert imputer.mechanism_ == "mcar"


@pytest.mark.slow
def test_one_column_alone(capsys):
    """Nothing to learn from but the column itself; it is told when asked."""
    x = hide("high")[:, 1:2]
    imputer = MNARImputer(**QUICK, tilt="latent", mechanism="mcar", verbose=2).fit(x)
    assert np.isfinite(imputer.transform(x)).all()
    assert "MNARImputer: mcar: stage base, step 1 of 1, held-out" in capsys.readouterr().out
    assert imputer.n_iter_ == 2  # half of the steps, without an encoder, and one of the tilt


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"mechanism": "mnar"}, "mechanism: expected one of auto, none, mcar, .*, got 'mnar'"),
        ({"tilt": "all"}, "tilt: expected one of none, data, latent, joint, got 'all'"),
        ({"max_iter": 0}, "max_iter: expected at least 1, got 0"),
        ({"num_samples": 0}, "num_samples: expected at least 1, got 0"),
        ({"min_value": 3, "max_value": 2}, "min_value: expected below max_value .*, got 3.0 and"),
        ({"max_value": [1, 2]}, r"max_value: expected a number or 3 of them, got shape \(2,\)"),
        (
            {"settings": {"latent": 3}},
            "settings: expected some of gap_terms, gap_latents, own_slopes, .*, got 'latent'",
        ),
        ({"settings": {"seed": 3}}, "settings: expected some of .*, got 'seed'"),
        (
            {"settings": {"validation_fraction": 0}},
            "validation_fraction: expected a value from 0.01",
        ),
        ({"settings": {"latent_dim": 0}}, "latent_dim: expected at least 1, got 0"),
    ],
)
def test_a_wrong_parameter_is_told_in_one_line(settings, message):
    with pytest.raises(ValueError, match=message) as error:
        MNARImputer(**QUICK | settings).fit(hide("random"))
    assert "\n" not in str(error.value)


def test_a_wrong_table_is_told_in_one_line():
    with pytest.raises(ValueError, match="X: expected an observed value in some column, got none"):
        MNARImputer(**QUICK).fit(np.full((5, 2), np.nan))
    with pytest.raises(TypeError, match="settings: expected a dict, got list"):
        MNARImputer(**QUICK, settings=[]).fit(hide("random"))
    with pytest.raises(TypeError, match="missing_values: expected NaN or a number, got 'x'"):
        MNARImputer(**QUICK, missing_values="x").fit(hide("random"))
    with pytest.raises(ValueError, match="num_imputations: expected at least 1, got 0"):
        quick_fit().sample(hide("random"), 0)
    with pytest.raises(ValueError, match="max_columns: expected at least 1, got 0"):
        quick_fit().plot(0)
    with pytest.raises(TypeError, match="num_samples: expected a whole number, got 1000.0"):
        MNARImputer(**QUICK | {"num_samples": 1e3}).fit(hide("random"))
    for name in ("sample_posterior", "add_indicator", "keep_empty_features"):
        with pytest.raises(TypeError, match=f"{name}: expected True or False, got 'yes'"):
            MNARImputer(**QUICK | {name: "yes"}).fit(hide("random"))
    with pytest.raises(ValueError, match="^X: expected real numbers, got complex128[^\\n]*$"):
        MNARImputer(**QUICK).fit(hide("random") + 1j)
    with pytest.raises(TypeError, match="latent_dim: expected a whole number, got 2.5"):
        MNARImputer(**QUICK, settings={"latent_dim": 2.5}).fit(hide("random"))


@pytest.mark.slow
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_fit_that_ends_early_leaves_the_one_of_before(monkeypatch, error):
    """A table that is refused, of other columns too, or a person who has waited enough."""
    imputer = MNARImputer(**QUICK, mechanism="mcar").fit(hide("random"))
    before, answer = vars(imputer).copy(), imputer.transform(hide("random"))

    def stop(*args):
        raise error

    monkeypatch.setattr("mnar_ebm.estimator.imputer.fit_table", stop)
    for table in (complete_rows()[:, :2], pd.DataFrame({"a": ["x", None, "y"]})):
        with pytest.raises(error):
            imputer.fit(table)
    with pytest.raises(ValueError, match="infinity"):
        imputer.fit(np.full((9, 2), np.inf))
    assert vars(imputer) == before
    np.testing.assert_array_equal(imputer.transform(hide("random")), answer)


@pytest.mark.slow
def test_unbiased_rows_join_the_fit(monkeypatch):
    """With a tilt they fit a second energy, which the report tells of; without one they train."""
    monkeypatch.setattr("mnar_ebm.debiasing.second_tilt.NUM_NEGATIVES", 2048)
    frame = pd.DataFrame(hide("high"), columns=["a", "b", "c"])
    few = pd.DataFrame(complete_rows()[:40], columns=["a", "b", "c"])
    settings = {"unbiased_steps": 20, "unbiased_energy": "additive", "slope_start": "flat"}
    imputer = MNARImputer(**QUICK, mechanism="none", tilt="data", settings=settings)
    imputer.fit(frame, unbiased=few)
    assert imputer.report_.unbiased.num_rows == 40
    assert "40 unbiased rows, bound" in str(imputer.report_)
    alone = MNARImputer(**QUICK, mechanism="none", settings={"slope_start": "flat"})
    completed = alone.fit_transform(frame, unbiased=few)
    assert alone.report_.unbiased is None
    assert not np.isnan(completed).any()
    assert np.abs(completed - clone(alone).fit_transform(frame)).max() > 0  # they were trained on
    with pytest.raises(ValueError, match="feature names"):
        alone.fit(frame, unbiased=few.rename(columns={"a": "z"}))
