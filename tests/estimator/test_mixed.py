"""The imputer on tables with numbers, truth values, ordered and unordered categories."""

import functools
import pickle
import types

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from mnar_ebm import MNARImputer
from mnar_ebm.estimator import contract, selection
from mnar_ebm.screening import Evidence, Finding, Gain

pytestmark = pytest.mark.usefixtures("quick_compile_all")

NUM_ROWS = 500
QUICK = {
    "max_iter": 2,
    "num_models": 2,
    "num_samples": 50,
    "random_state": 0,
    "mechanism": "selfmasking_probit",
}


@functools.cache
def complete_rows():
    """Return four columns that a latent class makes go together."""
    rng = np.random.default_rng(0)
    kind = rng.integers(3, size=NUM_ROWS)
    levels = [(one + (rng.random(NUM_ROWS) < 0.15)) % 3 for one in (kind, kind)]
    return pd.DataFrame(
        {
            "income": 40.0 + 15.0 * kind + 5.0 * rng.normal(size=NUM_ROWS),
            "owner": np.where(rng.random(NUM_ROWS) < 0.1, kind == 0, kind > 0),
            "size": pd.Categorical.from_codes(levels[0], ["S", "M", "L"], ordered=True),
            "colour": pd.Categorical.from_codes(levels[1], ["red", "green", "blue"]),
        }
    )


@functools.cache
def incomplete_rows():
    """Return these rows where blue goes missing often, and other cells now and then."""
    rng, rows = np.random.default_rng(1), complete_rows().copy()
    rows["owner"] = rows["owner"].astype("boolean")
    rate = np.where(complete_rows()["colour"] == "blue", 0.6, 0.08)
    rows.loc[rng.random(NUM_ROWS) < rate, "colour"] = None
    for name in ("income", "owner", "size"):
        rows.loc[rng.random(NUM_ROWS) < 0.15, name] = None
    return rows


@functools.cache
def trained():
    """Return an imputer that was trained on them."""
    sizes = {"hidden_dim": 16, "batch_size": 64, "learning_rate": 0.02, "latent_dim": 2}
    return MNARImputer(
        mechanism="selfmasking_probit",
        max_iter=500,
        num_models=2,
        num_samples=100,
        settings=sizes,
        random_state=0,
    ).fit(incomplete_rows())


@functools.cache
def odd_rows():
    """Return these rows with columns that have one value, or none, which leave the model as is."""
    return incomplete_rows().assign(
        nothing=pd.Categorical([None] * NUM_ROWS, ["a", "b"]),
        never=pd.array([None] * NUM_ROWS, "boolean"),
        same=pd.Categorical(["x", None] * (NUM_ROWS // 2)),
    )


def quick_fit(rows, **parameters):
    """Return an imputer that was hardly trained."""
    return MNARImputer(**QUICK | parameters).fit(rows)


@functools.cache
def hardly_trained():
    """Return one that was fitted to the incomplete rows."""
    return quick_fit(incomplete_rows())


@pytest.mark.slow
def test_hidden_levels_are_guessed_better_than_by_the_commonest():
    """In every discrete column; and hidden numbers better than by their mean."""
    filled, rows, truth = trained().transform(incomplete_rows()), incomplete_rows(), complete_rows()
    for name in ("owner", "size", "colour"):
        hidden = rows[name].isna()
        guess = rows[name].mode()[0]
        right = (filled[name].astype(object) == truth[name].astype(object))[hidden].mean()
        assert right > 0.1 + (truth[name].astype(object) == guess)[hidden].mean(), name
    hidden = rows["income"].isna()
    error = (filled["income"] - truth["income"])[hidden]
    assert error.std() < 0.7 * truth["income"][hidden].std()


@pytest.mark.slow
def test_the_report_tells_which_level_goes_missing():
    """P(missing | level) is nearest to the truth where it is high; in words and in a picture."""
    report = trained().report_
    column = report.columns[3]
    assert column.levels == ("blue", "green", "red") or column.levels == ("red", "green", "blue")
    probability = dict(zip(column.levels, column.probability, strict=True))
    assert probability["blue"] > 0.4 > 0.2 > max(probability["red"], probability["green"])
    assert column.direction.startswith("blue goes missing most often, ")
    assert column.counts.sum() == incomplete_rows()["colour"].notna().sum()
    size = report.columns[2]
    assert np.ptp(size.probability) < 0.3 and "no clear link" in size.direction
    for words in (
        "colour: 2",
        "missing; blue goes missing most often, ",
        "(P(missing) of blue: 0.",
    ):
        assert words in str(report)
    figure = trained().plot()
    axis = next(a for a in figure.axes if a.get_title().startswith("colour: blue goes missing"))
    heights = [bar.get_height() for bar in axis.containers[1]]
    np.testing.assert_allclose(heights, column.probability)
    assert [label.get_text() for label in axis.get_xticklabels()] == list(column.levels)


@pytest.mark.slow
def test_a_table_comes_back_as_it_was_but_for_the_gaps():
    """Dtypes, index and names; observed cells as they were; draws are levels."""
    rows = incomplete_rows().set_index(np.arange(NUM_ROWS) + 7)[:60]
    seen = rows.notna()
    draws = hardly_trained().sample(rows, 2)  # one of each fit, as the sampler's
    sampler = pickle.loads(pickle.dumps(hardly_trained())).set_params(sample_posterior=True)
    tables = [hardly_trained().transform(rows), sampler.transform(rows), *draws]
    for filled in tables:
        assert filled.notna().all(axis=None) and filled.index.equals(rows.index)
        assert (filled.dtypes == rows.dtypes).all() and list(filled) == list(rows)
        assert (filled.astype(object) == rows.astype(object)).where(seen, True).all(axis=None)
    assert len(draws) == 2 and (tables[0] != tables[1]).any(axis=None)
    drawn = pd.concat(draws)["colour"][np.tile(rows["colour"].isna(), 2)]
    assert set(drawn) == {"red", "green", "blue"}


def test_a_row_is_imputed_alike_alone_and_after_a_pickle():
    """Bit for bit, and so is the score; rows without any value too."""
    rows = pd.concat([incomplete_rows()[:5], incomplete_rows()[:1].map(lambda _: None)])
    rows = rows.astype(incomplete_rows().dtypes)
    filled = hardly_trained().transform(rows)
    other = pickle.loads(pickle.dumps(hardly_trained()))
    for row in range(len(rows)):
        pd.testing.assert_frame_equal(other.transform(rows[row : row + 1]), filled[row : row + 1])
    assert other.score(rows) == hardly_trained().score(rows)


@pytest.mark.slow
def test_a_score_is_in_the_units_of_the_numbers():
    """A density is smaller by the unit; the probabilities of levels stay."""
    rows = odd_rows()
    other = rows.assign(income=8.0 * rows["income"])
    change = quick_fit(rows).score(rows) - quick_fit(other).score(other)
    np.testing.assert_allclose(change, np.log(8) * rows["income"].notna().mean(), rtol=1e-3)


@pytest.mark.slow
def test_it_goes_between_other_transformers():
    """Levels for a one-hot encoder, beside numbers for a regression."""
    target = complete_rows()["income"] > 55
    pipeline = make_pipeline(
        MNARImputer(**QUICK),
        make_column_transformer(
            (OneHotEncoder(), ["size", "colour"]), ("passthrough", ["income", "owner"])
        ),
        LogisticRegression(max_iter=2000),
    )
    assert pipeline.fit(odd_rows(), target).score(odd_rows(), target) > 0.8


@pytest.mark.slow
def test_marks_go_with_the_rows_of_an_index_that_repeats():
    """As after a bootstrap; a column with the name of a mark may stand beside it."""
    rows = incomplete_rows().iloc[[3, 5, 3, 9]].assign(missingindicator_size=1.0)
    imputer = quick_fit(incomplete_rows().assign(missingindicator_size=1.0), add_indicator=True)
    filled = imputer.transform(rows)
    assert filled.index.equals(rows.index) and len(filled) == 4
    marks = filled.iloc[:, rows.shape[1] :]
    names = [name.removeprefix("missingindicator_") for name in marks]
    assert (marks.to_numpy() == rows[names].isna().to_numpy()).all()


@pytest.mark.slow
def test_columns_without_a_value_or_with_one():
    """Dropped, or kept without one; a level that is the only one stays; marks come last."""
    rows = odd_rows()
    filled = quick_fit(rows).transform(rows)
    assert list(filled) == [*incomplete_rows(), "same"] and filled.notna().all(axis=None)
    imputer = MNARImputer(**QUICK, keep_empty_features=True, add_indicator=True)
    kept = imputer.set_output(transform="pandas").fit_transform(rows)
    marks = [f"missingindicator_{name}" for name in rows]
    assert list(kept) == list(imputer.get_feature_names_out()) == [*rows, *marks]
    assert (kept[marks].to_numpy() == rows.isna().to_numpy()).all()
    assert (kept["same"] == "x").all() and kept[["nothing", "never"]].isna().all(axis=None)
    assert (kept[list(rows)].dtypes == rows.dtypes).all()
    warnings = " | ".join(imputer.report_.warnings)
    assert "no value in nothing, never" in warnings and "only one value in same" in warnings


@pytest.mark.slow
@pytest.mark.parametrize("gap_terms", [False, True])
def test_auto_fits_what_the_screening_finds_where_levels_are_missing(monkeypatch, gap_terms):
    """A slope for every encoded column; levels that hide nothing are alike; numbers are compared.

    New rows may have gaps elsewhere.
    """
    rows, settings = incomplete_rows(), {"hidden_dim": 4, "batch_size": 16}
    slopes = (0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0)  # the colour alone hides itself
    finding = Finding("self_masking", "ignorable", Gain(41.0, 8.0, 7), True)
    means = np.full(8, 50.0)
    evidence = Evidence("self_masking", slopes, gap_terms, (finding,), 100, 0.9, means)
    monkeypatch.setattr(selection.gaps, "are_predictable", lambda table: True)
    monkeypatch.setattr(selection, "screen", lambda table, seed, tell: evidence)
    last = lambda trained: (list(trained.values())[-1], "taken")  # noqa: E731
    monkeypatch.setattr(selection, "choose_gap_terms", last)
    auto = MNARImputer(**QUICK | {"mechanism": "auto"}, settings=settings).fit(rows)
    report, config = auto.report_, auto.ensemble_.models[0].config
    assert (config.model.mechanism, config.model.own_slopes) == ("selfmasking_probit", slopes)
    assert config.model.gap_terms == gap_terms
    assert report.reason.startswith("values of colour")
    assert ("beside gaps that go together" in report.reason) == gap_terms
    assert [one.name for one in report.against_random] == ["income"]
    income, *of_levels = report.columns
    assert np.isnan(income.slope) and np.ptp(income.probability) < 1e-6
    for column in of_levels[:-1]:
        assert np.ptp(column.probability) < 1e-6, column.name
    assert np.ptp(of_levels[-1].probability) > 1e-6
    assert auto.transform(rows[:60]).notna().all(axis=None)


def test_a_wrong_table_or_parameter_is_told_in_one_line():
    rows = incomplete_rows()
    for wrong, message in (
        ({"handle_unknown": "ignore"}, "handle_unknown: expected one of error, missing, got 'ig"),
        (
            {"settings": {"likelihood": "bernoulli"}},
            "expected one of gaussian, two_part, student_t for the",
        ),
        (
            {"tilt": "data", "settings": {"negative_phase": "cd"}},
            "snis, jensen, nce for the data tilt of a table with discrete columns, got 'cd'",
        ),
    ):
        with pytest.raises(ValueError, match=message) as error:
            MNARImputer(**QUICK | wrong).fit(rows)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="feature names"):
        hardly_trained().transform(rows[["owner", "income", "size", "colour"]])
    new = rows[:2].assign(colour=["red", "mauve"])
    with pytest.raises(ValueError, match="in column 'colour', got 'mauve' in row 1"):
        hardly_trained().transform(new)
    lenient = pickle.loads(pickle.dumps(hardly_trained())).set_params(handle_unknown="missing")
    assert lenient.transform(new)["colour"].isin(["red", "green", "blue"]).all()
    with pytest.raises(ValueError, match="Input X contains infinity"):
        hardly_trained().transform(rows[:2].assign(income=np.inf))


def test_columns_that_are_passed_through_come_back_as_they_were():
    """An id with a level for each row is no part of the model, and stays where it was."""
    rows = incomplete_rows().copy()
    rows.insert(1, "id", [f"person {index}" for index in range(NUM_ROWS)])
    imputer = quick_fit(rows, passthrough=["id"])
    without = hardly_trained().transform(incomplete_rows())
    tables = [imputer.transform(rows), *imputer.sample(rows, 2)]
    for table in tables:
        assert list(table.columns) == list(rows.columns) == list(imputer.get_feature_names_out())
        pd.testing.assert_series_equal(table["id"], rows["id"])
    pd.testing.assert_frame_equal(tables[0].drop(columns="id"), without)
    assert imputer.score(rows) == hardly_trained().score(incomplete_rows())


def test_a_table_of_numbers_gets_its_columns_back_too():
    """Beside columns that the table had not, which come last."""
    given = pd.DataFrame({"a": [1.0, 2.0], "id": ["x", "y"], "b": [3.0, 4.0]}, index=[5, 7])
    names = np.array(["a", "id", "b", "gap_a"], object)
    imputer = types.SimpleNamespace(passthrough=["id"], get_feature_names_out=lambda: names)
    table = contract._together(imputer, np.arange(6.0).reshape(2, 3), given)
    expected = {"a": [0.0, 3.0], "id": ["x", "y"], "b": [1.0, 4.0], "gap_a": [2.0, 5.0]}
    pd.testing.assert_frame_equal(table, pd.DataFrame(expected, index=[5, 7]))


@pytest.mark.parametrize(
    "rows, names, error, message",
    [
        (pd.DataFrame({"a": [1.0]}), ["b"], ValueError, "passthrough: expected some of a, got 'b'"),
        (
            pd.DataFrame({"a": [1.0]}),
            "a",
            TypeError,
            "passthrough: expected a list of column names",
        ),
        (
            np.ones((2, 2)),
            ["a"],
            TypeError,
            "X: expected a data frame with passthrough, got ndarray",
        ),
    ],
)
def test_wrong_columns_to_pass_through(rows, names, error, message):
    with pytest.raises(error, match=message):
        MNARImputer(passthrough=names).fit(rows)
