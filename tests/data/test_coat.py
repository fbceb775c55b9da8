"""Coat Shopping: what the files say, and what a person is told who lacks one."""

from pathlib import Path

import numpy as np
import pytest

from mnar_ebm.data.datasets.coat import load_coat

SOURCES = Path(__file__).parents[2] / "../shared/data"


@pytest.fixture
def tiny(tmp_path):
    """Return a folder with the files of two users and three coats."""
    features = tmp_path / "coat" / "user_item_features"
    features.mkdir(parents=True)
    (tmp_path / "coat" / "train.ascii").write_text("1 0 5 \n0 2 0 \n")
    (tmp_path / "coat" / "test.ascii").write_text("0 3 5\n0 0 4\n")
    (features / "user_features.ascii").write_text("1 0\n0 1\n")
    (features / "user_features_map.txt").write_text("gender:men\ngender:women")
    (features / "item_features.ascii").write_text("1\n0\n1\n")
    (features / "item_features_map.txt").write_text("onfrontpage:yes\n")
    return tmp_path


def test_zero_is_no_rating(tiny):
    """Ratings and features as written, NaN where the file has 0."""
    coat = load_coat(tiny)
    np.testing.assert_array_equal(coat.selected, [[1, np.nan, 5], [np.nan, 2, np.nan]])
    np.testing.assert_array_equal(coat.random, [[np.nan, 3, 5], [np.nan, np.nan, 4]])
    np.testing.assert_array_equal(coat.user_features, [[1, 0], [0, 1]])
    np.testing.assert_array_equal(coat.item_features, [[1], [0], [1]])
    assert coat.user_feature_names == ("gender:men", "gender:women")
    assert coat.item_feature_names == ("onfrontpage:yes",)


@pytest.mark.parametrize(
    "name",
    ["train.ascii", "test.ascii", "user_item_features/item_features_map.txt"],
)
def test_missing_file_says_where_to_get_it(tiny, name):
    """One line names the file and its home."""
    (tiny / "coat" / name).unlink()
    with pytest.raises(ValueError, match=f"expected the file .*{name}, got none; get it from www"):
        load_coat(tiny)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("train.ascii", "1 6 2\n0 2 0\n", "expected ratings from 1 to 5, and 0 for none, got 6"),
        ("train.ascii", "1 x 2\n0 2 0\n", "expected a table of ratings .*, got: .*'x'"),
        ("train.ascii", "1 2\n0 2 0\n", "expected a table of ratings .*, got: "),
        ("test.ascii", "1 2 3\n", r"expected shape \(2, 3\), as train.ascii has, got \(1, 3\)"),
        ("user_item_features/user_features.ascii", "1 2\n0 1\n", "expected 0 or 1, got 2"),
        ("user_item_features/item_features.ascii", "1\n0\n", "each of 3 items .* shape \\(2, 1\\)"),
    ],
)
def test_malformed_file_is_told_in_one_line(tiny, name, text, message):
    """What was given and what is expected."""
    (tiny / "coat" / name).write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        load_coat(tiny)
    assert "\n" not in str(caught.value) and Path(name).name in str(caught.value)


@pytest.mark.filterwarnings("ignore:loadtxt")
def test_empty_file(tiny):
    """A file without rows is malformed."""
    (tiny / "coat" / "train.ascii").write_text("")
    with pytest.raises(ValueError, match="train.ascii: expected ratings .*, got no rows"):
        load_coat(tiny)


def test_published_counts():
    """The sizes of the paper, sec. 6.5, and means that show the selection."""
    if not SOURCES.is_dir():
        pytest.skip("the folder of benchmark files, ../shared/data, is not here")
    coat = load_coat(SOURCES)
    assert coat.selected.shape == coat.random.shape == (290, 300)
    assert ((~np.isnan(coat.selected)).sum(axis=1) == 24).all()
    assert ((~np.isnan(coat.random)).sum(axis=1) == 16).all()
    assert coat.user_features.shape == (290, 14) and coat.item_features.shape == (300, 33)
    np.testing.assert_allclose(np.nanmean(coat.selected), 2.611, atol=1e-3)
    np.testing.assert_allclose(np.nanmean(coat.random), 2.229, atol=1e-3)
